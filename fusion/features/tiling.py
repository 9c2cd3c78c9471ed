"""Cutting an area into tiles whose results agree at the seams."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SMALLEST_PX = 32  # rows of a tile that is divided only so that no core is idle
STRIP_PX = 512  # pixels of which all dates are processed together: they stay in the cache of a core


@dataclass(frozen=True)
class Tile:
    """One tile as (row, column) slices: ``core`` is predicted, ``reach`` is read for its features.

    ``inner`` is the network input: the core widened by the network's spatial radius.
    """

    core: tuple[slice, slice]
    inner: tuple[slice, slice]
    reach: tuple[slice, slice]

    def inside(self, part: tuple[slice, slice], whole: tuple[slice, slice]) -> tuple[slice, slice]:
        """``part`` in the pixel coordinates of ``whole``."""
        return tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))  # type: ignore[return-value]


def cut_tiles(
    shape: tuple[int, int],
    size: int,
    inner_px: int,
    reach_px: int,
    *,
    window: tuple[slice, slice] = (slice(None), slice(None)),
    at_least: int = 1,
) -> Iterator[Tile]:
    """Tiles of at most ``size`` pixels per side of a window of an area, row by row.

    Widened windows are cut at the border of the area (H, W). The tiles differ by one pixel per side at most. Rows are
    divided further, down to ``SMALLEST_PX``, until there are ``at_least`` tiles.
    """
    rows, columns = grown(window, shape, 0)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    down, across = -(-height // size), -(-width // size)
    down = max(down, min(-(-at_least // max(across, 1)), height // SMALLEST_PX))
    for top, bottom in pairwise(_edges(rows.start, height, down)):
        for left, right in pairwise(_edges(columns.start, width, across)):
            core = slice(top, bottom), slice(left, right)
            yield Tile(core, grown(core, shape, inner_px), grown(core, shape, reach_px))


def _edges(first: int, length: int, parts: int) -> list[int]:
    return [first + k * length // parts for k in range(parts + 1)] if length else []


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
