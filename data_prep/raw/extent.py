"""A rectangle on the ground, and the part of a raster that lies in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.raw.cubes import SourceError
from fusion.place import LONLAT, Bounds, on_s2_grid, project_bounds, utm_of_bounds

AROUND_PX = 4  # pixels of a raster kept around an extent, for resampling


@dataclass(frozen=True)
class Extent:
    """Left, bottom, right and top in a CRS (WKT or EPSG code)."""

    bounds: Bounds
    crs: str

    def cut(self, raster: Any, crs: Any, around: int = AROUND_PX) -> Any:
        """Pixels of a raster (y, x) whose centres lie inside, and ``around`` more on each side; at least two by two,
        the nearest ones, so that a raster elsewhere keeps its grid. Lazy where the raster is."""
        left, bottom, right, top = project_bounds(self.bounds, self.crs, crs)
        rows = _inside(raster.y.values, bottom, top, around)
        return raster.isel(y=rows, x=_inside(raster.x.values, left, right, around))

    def part(self, raster: xr.DataArray) -> xr.DataArray:
        """Pixels of a raster (..., y, x) with a CRS whose centres lie inside.

        Raises
        ------
        SourceError
            There is none, or the raster has no CRS.
        """
        if raster.rio.crs is None:
            raise SourceError("the cube has no CRS, so that an area cannot be found in it; write one (rio.write_crs)")
        left, bottom, right, top = project_bounds(self.bounds, self.crs, raster.rio.crs)
        inside = raster.sel(x=(raster.x > left) & (raster.x < right), y=(raster.y > bottom) & (raster.y < top))
        if 0 in inside.shape:
            area, there = (tuple(round(v, 1) for v in box) for box in ((left, bottom, right, top), raster.rio.bounds()))
            raise SourceError(
                f"the area {area} ({raster.rio.crs}) has no pixel of Sentinel-2, whose nearest pixels cover {there}; "
                "choose an area inside of it"
            )
        return inside


def extent_of_area(bounds: Bounds) -> Extent:
    """An area in degrees, in its UTM zone and enlarged to whole cells of 20 m."""
    crs = f"EPSG:{utm_of_bounds(bounds)}"
    return Extent(on_s2_grid(project_bounds(bounds, LONLAT, crs)), crs)


def described(grid: xr.DataArray) -> list[Any]:
    """A grid in plain values: CRS, first and last pixel centre and number of pixels along x and y."""
    sides = ((float(grid[a].values[0]), float(grid[a].values[-1]), grid.sizes[a]) for a in ("x", "y"))
    return [grid.rio.crs.to_wkt(), *(value for side in sides for value in side)]


def grid_of(description: Sequence[Any]) -> xr.DataArray:
    """The grid that :func:`described` tells, without values."""
    crs, *sides = description
    x, y = np.linspace(*sides[:3]), np.linspace(*sides[3:])
    empty = np.broadcast_to(np.float32(np.nan), (len(y), len(x)))
    return xr.DataArray(empty, dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(crs)


def reaches(raster: Any, crs: Any, extent: Extent | None) -> bool:
    """Whether a pixel centre of a raster (y, x) lies inside of an extent or as near as :meth:`Extent.cut` keeps it."""
    if extent is None:
        return True
    left, bottom, right, top = project_bounds(extent.bounds, extent.crs, crs)
    sides = ((raster.x.values, left, right), (raster.y.values, bottom, top))
    return all(bool(_near(centres, low, high, AROUND_PX).any()) for centres, low, high in sides)


def upper_left(raster: Any) -> tuple[float, float]:
    """Left and upper edge of a raster (y, x); of one pixel a side its centre."""
    half = [abs(float(c[-1] - c[0])) / max(len(c) - 1, 1) / 2 for c in (raster.x.values, raster.y.values)]
    return float(raster.x.min()) - half[0], float(raster.y.max()) + half[1]


def _near(centres: np.ndarray, low: float, high: float, around: int) -> np.ndarray:
    side = abs(float(centres[-1] - centres[0])) / (len(centres) - 1) if len(centres) > 1 else 0.0
    return (centres > low - around * side) & (centres < high + around * side)


def _inside(centres: np.ndarray, low: float, high: float, around: int) -> slice:
    """Positions of centres from ``low`` to ``high``, rising or falling."""
    at = np.flatnonzero(_near(centres, low, high, around))
    if len(at) < 2:
        nearest = int(np.argmin(np.abs(centres - (low + high) / 2)))
        first = max(0, min(nearest, len(centres) - 2))
        return slice(first, first + 2)
    return slice(int(at[0]), int(at[-1]) + 1)
