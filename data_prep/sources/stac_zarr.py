"""Items of a STAC catalogue whose assets lie in EOPF's Zarr products: their digital numbers on the area's grid, lazy.

An asset's address names the array in the product: ``.../S2B_MSIL2A_....zarr/measurements/reflectance/r10m/b04``.
"""

import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.grid import to_grid
from data_prep.optical_offset import pending_offset
from data_prep.raw.cubes import SourceError
from data_prep.raw.eopf import open_eopf

_SCALE = 1e-4


def address_of(asset: Any) -> str:
    """Absolute address of an asset, without ``file://``."""
    return str(asset.get_absolute_href() or asset.href).removeprefix("file://")


def in_zarr(asset: Any) -> bool:
    """Whether an asset is an array inside a Zarr product."""
    return ".zarr/" in address_of(asset)


def check_array(asset: Any) -> None:
    """Open the product of an asset and read the last row of its array; raises where it cannot be read."""
    _array(address_of(asset)).isel(y=-1).load()


def stated_offset(item: Any, key: str) -> int | None:
    """Offset in digital numbers that is still to be added, by the array's attributes, else by the item's metadata.

    Raises
    ------
    SourceError
        The array states another scale than 0.0001.
    """
    attrs = _array(address_of(item.assets[key])).attrs
    scale = float(attrs.get("scale_factor", _SCALE))
    if not np.isclose(scale, _SCALE, rtol=1e-3):
        raise SourceError(f"item {item.id}: {key} states scale_factor {scale:g}; expected {_SCALE:g}")
    return round(float(attrs["add_offset"]) / scale) if "add_offset" in attrs else pending_offset(item, key)


def open_arrays(items: list[Any], roles: dict[str, str], grid: Any) -> xr.Dataset:
    """Arrays of ``roles`` (role to asset key) on ``grid`` (odc GeoBox), nearest cell; dims (t, y, x), NaN = no data.

    One image per solar day; where items of a day overlap, the first with data, as from other assets.
    """
    from odc.geo.xr import xr_coords

    at = xr_coords(grid, dims=("y", "x"))
    like = xr.Dataset(coords={"y": at["y"].values, "x": at["x"].values}).rio.write_crs(grid.crs.to_wkt())
    days: dict[datetime.date, list[Any]] = {}
    for item in items:
        days.setdefault(_solar_day(item), []).append(item)
    images: dict[str, list[xr.DataArray]] = {role: [] for role in roles}
    for members in days.values():
        time = np.datetime64(members[0].datetime.replace(tzinfo=None), "ns")
        for role, key in roles.items():
            parts = [to_grid(_numbers(item, key), like, "nearest", f"item {item.id}") for item in members]
            whole = parts[0]
            for part in parts[1:]:
                whole = whole.where(whole.notnull(), part)
            images[role].append(whole.assign_coords(t=[time]))
    found = xr.Dataset({role: xr.concat(parts, "t") for role, parts in images.items()})
    return found.transpose("t", "y", "x").rio.write_crs(grid.crs.to_wkt())


def _numbers(item: Any, key: str) -> xr.DataArray:
    """The stored numbers, float32 (t, y, x) with one t, NaN = fill value."""
    stored = _array(address_of(item.assets[key]))
    values = stored.chunk({"y": "auto", "x": "auto"}).astype(np.float32)
    return values.where(values != float(stored.attrs["_FillValue"])).expand_dims("t").rio.write_crs(stored.rio.crs)


def _solar_day(item: Any) -> datetime.date:
    west, _, east, _ = item.bbox
    return (item.datetime + datetime.timedelta(hours=(west + east) / 30)).date()


def _array(address: str) -> xr.DataArray:
    root, _, inside = address.partition(".zarr/")
    name = inside.rsplit("/", 1)[-1]
    for data in _product(f"{root}.zarr"):
        if name in data:
            return data[name]
    raise SourceError(f"{address} is none of the arrays b04, b08 and scl of level 2A at 10 and 20 m")


@lru_cache(maxsize=512)
def _product(path: str) -> tuple[xr.Dataset, ...]:
    if "://" not in path and not Path(path).is_dir():
        raise SourceError(f"{path} does not exist")
    try:
        return tuple(open_eopf(path))
    except SourceError:
        raise
    except Exception as error:  # of zarr, fsspec or the network
        raise SourceError(
            f"{path} cannot be opened ({type(error).__name__}: {str(error)[:150]}); check the address, and that fsspec "
            "has what it needs for it (aiohttp for https, s3fs for s3)"
        ) from error
