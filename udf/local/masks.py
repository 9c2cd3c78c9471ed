"""openEO ``mask``, ``mask_polygon`` and ``filter_spatial``, lazy on Dask."""

from typing import Any

import numpy as np
import xarray as xr

from fusion.place import LONLAT
from udf.local.cubes import on_same_grid, resample_cube_spatial
from udf.local.grid import crop, crs_of, inside_polygon, keep_crs, project
from udf.local.logic import is_true
from udf.polygon import polygon_of


def mask(data: xr.DataArray, mask: xr.DataArray, replacement: Any = None) -> xr.DataArray:
    """openEO ``mask``: values where ``mask`` is true are replaced, by no data where ``replacement`` is null.

    Where the mask has no data, values are kept. The library's version computes the mask of the whole area at once.

    Raises
    ------
    ValueError
        The mask has a dimension that the data lack, or other labels along t or bands.
    """
    strange = [d for d in mask.dims if d not in data.dims]
    if strange:
        raise ValueError(f"the mask has dimension {strange[0]!r}, the data have {data.dims}; reduce it first")
    for name in {"t", "bands"} & set(mask.dims):
        if not np.array_equal(mask[name].values, data[name].values):
            raise ValueError(
                f"mask and data have different labels along {name} ({mask.sizes[name]} and {data.sizes[name]}); take "
                "both from the same dates and bands"
            )
    try:
        mask = on_same_grid(data, mask)
    except ValueError:  # openEO aligns a mask by itself
        mask = on_same_grid(data, resample_cube_spatial(mask, data))
    dims = [d for d in data.dims if d in mask.dims]
    removed = xr.DataArray(is_true(mask.transpose(*dims).data), dims=dims)
    nodata = np.float32(np.nan) if data.dtype == np.float32 else np.nan
    masked = data.where(~removed, nodata if replacement is None else replacement)
    return keep_crs(masked.transpose(*data.dims), data)


def mask_polygon(data: xr.DataArray, mask: dict, replacement: Any = None, inside: bool = False) -> xr.DataArray:
    """openEO ``mask_polygon``: pixels whose centre lies outside every polygon (lon/lat GeoJSON) are replaced."""
    crs = crs_of(data)
    if crs is None:
        raise ValueError(
            "the cube carries no CRS, so a polygon in longitude and latitude cannot be applied; write one with "
            "rioxarray's write_crs"
        )
    polygon = _polygon_on(mask, crs)
    hit = xr.DataArray(inside_polygon(data, polygon), dims=("y", "x"), coords={"y": data.y, "x": data.x})
    keep = ~hit if inside else hit
    if replacement is None:
        cube = data if data.dtype.kind == "f" else data.astype("float32")
        return keep_crs(cube.where(keep).transpose(*data.dims), data)
    return keep_crs(data.where(keep | data.isnull(), replacement).astype(data.dtype).transpose(*data.dims), data)


def filter_spatial(data: xr.DataArray, geometries: Any) -> xr.DataArray:
    """openEO ``filter_spatial``: the bounding box of the polygons (lon/lat GeoJSON), no data outside them."""
    crs = crs_of(data)
    if crs is None:
        raise ValueError(
            "the cube carries no CRS, so polygons in longitude and latitude cannot be applied; write one with "
            "rioxarray's write_crs"
        )
    return mask_polygon(crop(data, _polygon_on(geometries, crs).bounds), geometries)


def _polygon_on(geojson: Any, crs: Any) -> Any:
    """Union of the polygons of a GeoJSON object (its own CRS, longitude and latitude by default) in ``crs``."""
    return project(polygon_of(geojson, "the polygon"), LONLAT, crs)
