"""Cutting an area into tiles whose results agree at the seams."""

from collections.abc import Iterator
from dataclasses import dataclass


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


def cut_tiles(height: int, width: int, size: int, inner_px: int, reach_px: int) -> Iterator[Tile]:
    """Tiles of at most ``size`` pixels per side, row by row; widened windows are cut at the area's border."""

    def widened(start: int, stop: int, by: int, limit: int) -> slice:
        return slice(max(start - by, 0), min(stop + by, limit))

    for top in range(0, height, size):
        bottom = min(top + size, height)
        for left in range(0, width, size):
            right = min(left + size, width)
            inner, reach = (
                (widened(top, bottom, by, height), widened(left, right, by, width)) for by in (inner_px, reach_px)
            )
            yield Tile((slice(top, bottom), slice(left, right)), inner, reach)
