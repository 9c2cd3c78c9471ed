"""Geometry of a cube's grid: CRS, axes, bounding boxes and polygons."""

from typing import Any

import numpy as np
import rasterio.features
import rioxarray  # noqa: F401  (registers the .rio accessor)
import shapely
import xarray as xr
from pyproj import CRS, Transformer
from rasterio.transform import Affine
from shapely.geometry.base import BaseGeometry


def crs_of(cube: xr.DataArray) -> CRS | None:
    """The CRS of the cube, or None when it has none."""
    crs = cube.rio.crs
    return None if crs is None else CRS.from_user_input(crs.to_wkt())


def keep_crs(result: xr.DataArray, source: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """``result`` with the CRS of ``source``."""
    crs = source.rio.crs
    return result if crs is None else result.rio.write_crs(crs)


def extend_axis(axis: np.ndarray, before: int, after: int) -> np.ndarray:
    """A regular axis continued by ``before`` and ``after`` steps beyond its ends."""
    step = axis[1] - axis[0] if len(axis) > 1 else 1.0
    return np.concatenate([axis[0] - step * np.arange(before, 0, -1), axis, axis[-1] + step * np.arange(1, after + 1)])


def pixel_transform(cube: xr.DataArray) -> Affine:
    """Affine transform of a regular grid from its pixel centres."""
    y, x = np.asarray(cube.y.values, float), np.asarray(cube.x.values, float)
    dx = x[1] - x[0] if len(x) > 1 else 1.0
    dy = y[1] - y[0] if len(y) > 1 else -dx
    return Affine(dx, 0.0, x[0] - dx / 2, 0.0, dy, y[0] - dy / 2)


def project(geometry: BaseGeometry, source: Any, target: Any) -> BaseGeometry:
    """``geometry`` from CRS ``source`` to CRS ``target``."""
    source, target = CRS.from_user_input(source), CRS.from_user_input(target)
    if source == target:
        return geometry
    move = Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(geometry, move.transform, interleaved=False)


def inside_polygon(cube: xr.DataArray, geometry: BaseGeometry) -> np.ndarray:
    """Whether each pixel centre lies inside ``geometry`` (in the cube's CRS); bool (y, x)."""
    return rasterio.features.geometry_mask(
        [geometry], out_shape=(cube.sizes["y"], cube.sizes["x"]), transform=pixel_transform(cube), invert=True
    )


def crop(cube: xr.DataArray, bounds: tuple[float, ...]) -> xr.DataArray:
    """The pixels whose centre lies within ``bounds`` (west, south, east, north, in the cube's CRS)."""
    west, south, east, north = bounds
    y, x = cube.y.values, cube.x.values
    rows, columns = np.flatnonzero((y >= south) & (y <= north)), np.flatnonzero((x >= west) & (x <= east))
    if not len(rows) or not len(columns):
        raise ValueError(
            f"no pixel centre lies within x {west:.6g}..{east:.6g}, y {south:.6g}..{north:.6g}; the data cover "
            f"x {x.min():.6g}..{x.max():.6g}, y {y.min():.6g}..{y.max():.6g}; check extent and CRS"
        )
    return cube.isel(y=slice(rows[0], rows[-1] + 1), x=slice(columns[0], columns[-1] + 1))
