"""Resampling to a common grid: aligned cells are copied exactly, others are warped."""

from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import in_window
from fusion.place import pixel_size, project_bounds, transform_of

_WARPED_PX = 2048  # side of what is warped at once, of a lazy series
_ALIGNED = 1e-3  # tolerance in pixels of the finer grid: edges that differ by less coincide


def same_grid(a: xr.DataArray | xr.Dataset, b: xr.DataArray | xr.Dataset) -> bool:
    """True if both have equal CRS, shape and pixel centres (to a thousandth of a pixel)."""
    if a.rio.crs != b.rio.crs or a.sizes["y"] != b.sizes["y"] or a.sizes["x"] != b.sizes["x"]:
        return False
    tolerance = _ALIGNED * pixel_size(b)
    return bool(np.abs(a.x.values - b.x.values).max() < tolerance and np.abs(a.y.values - b.y.values).max() < tolerance)


def bounds(grid: xr.DataArray | xr.Dataset) -> tuple[float, float, float, float]:
    """Outer pixel edges: left, bottom, right, top in units of the CRS."""
    return tuple(float(v) for v in grid.rio.bounds())  # type: ignore[return-value]


def nesting(coarse: xr.DataArray, fine: xr.DataArray | xr.Dataset) -> int | None:
    """Number of fine pixels along one coarse pixel if the grids share CRS and cell edges, else None."""
    if coarse.rio.crs != fine.rio.crs or min(coarse.sizes["x"], coarse.sizes["y"]) < 1:
        return None
    fine_px, coarse_px = pixel_size(fine), pixel_size(coarse)
    ratio = coarse_px / fine_px
    step = round(ratio)
    if step < 1 or abs(ratio - step) > _ALIGNED:
        return None
    for axis, sign in (("x", -1.0), ("y", 1.0)):
        gap = (coarse[axis].values[0] + sign * coarse_px / 2) - (fine[axis].values[0] + sign * fine_px / 2)
        if abs(gap / fine_px - round(gap / fine_px)) > _ALIGNED * 10:
            return None
    return step


def to_grid(values: xr.DataArray, grid: xr.DataArray | xr.Dataset, resampling: str, what: str) -> xr.DataArray:
    """Resample (t, y, x) values to ``grid``; NaN outside the source.

    Cells that align with the grid are copied exactly: always at equal pixel size, with ``resampling="nearest"`` also
    from a coarser source. All other values are warped by GDAL with ``resampling`` (nearest, bilinear, cubic, average).
    Coordinates along t, such as ``orbit``, are kept. ``what`` names the data in error messages.

    Raises
    ------
    SourceError
        The source does not overlap the grid; the message names both extents.
    """
    if same_grid(values, grid):
        return values.assign_coords(y=grid.y, x=grid.x)
    if overlap_share(values, grid, what) == 0:
        return values.isel(y=slice(0), x=slice(0)).reindex(y=grid.y, x=grid.x).rio.write_crs(grid.rio.crs)
    step = nesting(values, grid)
    if step is not None and (step == 1 or resampling == "nearest"):
        picked = values.sel(y=_inside(grid.y, values.y, step), x=_inside(grid.x, values.x, step), method="nearest")
        picked = picked.assign_coords(
            y=_inside(grid.y, values.y, step).values, x=_inside(grid.x, values.x, step).values
        )
        return picked.reindex(y=grid.y, x=grid.x).rio.write_crs(grid.rio.crs, inplace=True)
    return _warp(values, grid, resampling)


def overlap_share(values: xr.DataArray, grid: xr.DataArray | xr.Dataset, what: str) -> float:
    """Share of the grid's area covered by the source, 0..1, from the bounding boxes; 0 in windows only.

    Raises
    ------
    SourceError
        The source does not overlap the grid; the message names both extents.
    """
    left, bottom, right, top = bounds(grid)
    box = project_bounds(bounds(values), values.rio.crs, grid.rio.crs)
    width, height = min(right, box[2]) - max(left, box[0]), min(top, box[3]) - max(bottom, box[1])
    if in_window() and (width <= 0 or height <= 0):
        return 0.0
    if width <= 0 or height <= 0:
        here = tuple(round(v, 1) for v in (left, bottom, right, top))
        raise SourceError(
            f"{what} covers {tuple(round(v, 1) for v in box)} and Sentinel-2 {here} ({grid.rio.crs}); they do not "
            "overlap; provide both for the same area"
        )
    return width * height / ((right - left) * (top - bottom))


def _inside(fine: xr.DataArray, coarse: xr.DataArray, step: int) -> xr.DataArray:
    size = abs(float(fine[1] - fine[0])) if fine.size > 1 else 1.0
    half = size * step / 2
    low, high = float(coarse.min()) - half, float(coarse.max()) + half
    return fine[(fine.values > low) & (fine.values < high)]


def _warp(values: xr.DataArray, grid: xr.DataArray | xr.Dataset, resampling: str) -> xr.DataArray:
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_reproject

    box = GeoBox((grid.sizes["y"], grid.sizes["x"]), transform_of(grid), grid.rio.crs.to_wkt())
    lazily: dict[str, Any] = {}
    if values.chunks:  # by default in chunks of the source's size, tiny ones of a coarse series
        part = tuple(min(side, _WARPED_PX) for side in box.shape)
        values = values.chunk({"t": max(1, _WARPED_PX**2 // (part[0] * part[1]))})
        lazily = {"chunks": part}
    source = values.rio.write_nodata(np.nan)
    moved = xr_reproject(source, box, resampling=resampling, dst_nodata=np.nan, **lazily)
    dims = {d: n for d, n in zip(moved.dims[-2:], ("y", "x"), strict=True) if d != n}
    moved = moved.rename(dims).reset_coords(drop=True)
    along_t = {name: c.variable for name, c in values.coords.items() if name != "t" and c.dims == ("t",)}
    moved = moved.assign_coords(y=grid.y.values, x=grid.x.values).assign_coords(along_t)
    moved.attrs = {}
    return moved.rio.write_crs(grid.rio.crs, inplace=True)  # without a copy
