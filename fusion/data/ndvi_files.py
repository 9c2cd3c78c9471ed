"""NDVI from other sources, as S2-only cubes: an NDVI variable in a NetCDF file, or a table of dates and values."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import DIMS, NDVI_MAX, NDVI_MIN, S2NDVI, ContractError
from fusion.data.cube_files import plain_dims
from fusion.netcdf import open_netcdf
from fusion.place import latitude_of
from fusion.same_day import one_image_per_day

TABLE_COLUMNS = ("t", "NDVI")


def open_ndvi(path: str | Path, *, variable: str = "NDVI", latitude: float | None = None) -> xr.DataArray:
    """A merged cube with band ``S2NDVI`` only.

    Parameters
    ----------
    path : path
        NetCDF with ``variable`` of dims (t, y, x), or CSV with columns ``t`` and ``NDVI``, which gives a single pixel.
    variable : str
        Name of the NDVI variable of a NetCDF file.
    latitude : float, optional
        Degrees north, for tables and for files without a CRS; the network derives the season from it.

    Returns
    -------
    xarray.DataArray
        Dims (t, bands, y, x), float32. Infinite values and values outside the contract's NDVI range become NaN;
        observations of one day are averaged.

    Raises
    ------
    ContractError
        Unknown suffix, or the variable or column is missing.
    """
    path = Path(path)
    if path.suffix == ".csv":
        return to_cube(_table(path), latitude)
    if path.suffix in (".nc", ".nc4"):
        with open_netcdf(path, decode_coords="all") as opened:
            dataset = plain_dims(opened)
            if variable not in dataset or set(dataset[variable].dims) != {"t", "y", "x"}:
                seen = sorted(map(str, dataset.data_vars))
                raise ContractError(f"{path} has variables {seen}; expected {variable!r} with dims (t, y, x)")
            found = latitude_of(dataset[variable])
            return to_cube(dataset[variable].load(), latitude if found is None else found)
    raise ContractError(f"{path} ends in {path.suffix!r}; expected .nc or .csv")


def _table(path: Path) -> xr.DataArray:
    """A single-pixel series (t, y, x) from a table of dates and values."""
    table = pd.read_csv(path)
    if not set(TABLE_COLUMNS) <= set(table.columns):
        raise ContractError(f"{path} has columns {list(table.columns)}; expected {TABLE_COLUMNS}")
    values = pd.to_numeric(table.NDVI, errors="coerce").to_numpy(np.float32)
    coords = {"t": pd.to_datetime(table.t).to_numpy(), "y": [0.0], "x": [0.0]}
    return xr.DataArray(values[:, None, None], dims=("t", "y", "x"), coords=coords)


def to_cube(ndvi: xr.DataArray, latitude: float | None = None) -> xr.DataArray:
    """NDVI (t, y, x) as a cube of the contract."""
    ndvi = ndvi.transpose("t", "y", "x").astype(np.float32)
    ndvi = ndvi.where(np.isfinite(ndvi) & (ndvi >= NDVI_MIN) & (ndvi <= NDVI_MAX))
    ndvi = one_image_per_day(ndvi, "mean")
    cube = ndvi.drop_vars([c for c in ndvi.coords if c not in ("t", "y", "x")])
    cube = cube.expand_dims(bands=[S2NDVI]).transpose(*DIMS)
    cube.name, cube.attrs = "cube", {} if latitude is None else {"latitude": latitude}
    return cube
