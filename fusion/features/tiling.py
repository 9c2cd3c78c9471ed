"""Cutting an area into tiles whose results agree at the seams."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

SMALLEST_PX = 32  # side of a tile that is made smaller for memory or for idle cores
STRIP_PX = 512  # pixels of which all dates are processed together: they stay in the cache of a core


@dataclass(frozen=True)
class Tile:
    """One tile as (row, column) slices: ``core`` is predicted, ``reach`` is read for its features.

    ``inner`` is the network input: the core widened by the network's spatial radius.
    """

    core: tuple[slice, slice]
    inner: tuple[slice, slice]
    reach: tuple[slice, slice]


def cut_tiles(
    shape: tuple[int, int],
    size: int,
    inner_px: int,
    reach_px: int,
    *,
    window: tuple[slice, slice] = (slice(None), slice(None)),
    pixels: int | None = None,
    workers: int = 1,
) -> Iterator[Tile]:
    """Tiles of at most ``size`` pixels per side of a window of an area, row by row.

    Widened windows are cut at the border of the area (H, W). The tiles differ by one pixel per side at most. They are
    smaller than ``size``, down to ``SMALLEST_PX``, where ``inner`` would have more than ``pixels``, and where
    ``workers`` side by side then compute fewer pixels each.
    """
    rows, columns = grown(window, shape, 0)
    if rows.stop == rows.start or columns.stop == columns.start:
        return
    heights, widths = (
        {n: _longest(part, n, whole, inner_px) for n in _divisions(part.stop - part.start, size)}
        for part, whole in zip((rows, columns), shape, strict=True)
    )

    def cost(parts: tuple[int, int]) -> tuple[bool, int, int, int]:
        """Whether a tile is too large, the pixels of one worker, the tiles, those beside each other; less is better."""
        tile, count = heights[parts[0]] * widths[parts[1]], parts[0] * parts[1]
        return pixels is not None and tile > pixels, tile * -(-count // workers), count, parts[1]

    down, across = min(product(heights, widths), key=cost)
    for top, bottom in pairwise(_edges(rows, down)):
        for left, right in pairwise(_edges(columns, across)):
            core = slice(top, bottom), slice(left, right)
            yield Tile(core, grown(core, shape, inner_px), grown(core, shape, reach_px))


def _divisions(length: int, size: int) -> range:
    """Numbers of parts of an axis, from parts of ``size`` to parts of ``SMALLEST_PX``."""
    fewest = -(-length // size)
    return range(fewest, max(fewest, length // SMALLEST_PX) + 1)


def _edges(part: slice, count: int) -> list[int]:
    return [part.start + k * (part.stop - part.start) // count for k in range(count + 1)]


def _longest(part: slice, count: int, whole: int, by: int) -> int:
    """The longest of ``count`` parts of an axis of ``whole`` pixels, each widened by ``by`` and cut at the border."""
    return max(min(last + by, whole) - max(first - by, 0) for first, last in pairwise(_edges(part, count)))


def row_strips(height: int, width: int) -> Iterator[slice]:
    """Rows of a window in strips of about ``STRIP_PX`` pixels."""
    size = max(1, STRIP_PX // max(width, 1))
    return (slice(top, min(top + size, height)) for top in range(0, height, size))


def strip(images: np.ndarray, rows: slice) -> np.ndarray:
    """Some rows of images (n, H, W) as contiguous (n, P)."""
    part = images[:, rows]
    return part.reshape(len(images), part.shape[1] * part.shape[2])


def grown(window: tuple[slice, slice], shape: tuple[int, int], by: int) -> tuple[slice, slice]:
    """The window with ``by`` pixels more on each side, cut at the border."""
    rows, columns = (
        slice(max(part.indices(size)[0] - by, 0), min(part.indices(size)[1] + by, size))
        for part, size in zip(window, shape, strict=True)
    )
    return rows, columns


def inside(part: tuple[slice, slice], whole: tuple[slice, slice]) -> tuple[slice, slice]:
    """``part`` in the pixel coordinates of ``whole``."""
    rows, columns = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))
    return rows, columns


def area(window: tuple[slice, slice]) -> int:
    """Number of pixels of a window."""
    rows, columns = window
    return (rows.stop - rows.start) * (columns.stop - columns.start)
