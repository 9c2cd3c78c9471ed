"""A file that is replaced while this process has it open is read anew, by every reader, in every format."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from data_prep.raw.reading import read_bands
from fusion.contract import S2NDVI
from fusion.data.cube_files import opened_cube, read_cube
from fusion.data.ndvi_files import open_ndvi
from fusion.viewer.layers import open_stack
from tests.factory import mock_cube
from udf.local.loading import open_raster

BAND = "NDVI"


def series(seed: int, x: int = 4) -> xr.DataArray:
    """A band (t, y, x) without gaps."""
    ndvi = mock_cube(t=6, y=5, x=x, seed=seed).sel(bands=S2NDVI, drop=True).rename(BAND)
    return ndvi.copy(data=np.random.default_rng(seed).uniform(0.2, 0.8, ndvi.shape).astype(np.float32))


def save(ndvi: xr.DataArray, path: Path) -> None:
    if path.suffix == ".tif":
        ndvi.isel(t=0, drop=True).drop_attrs(deep=False).rio.to_raster(path)
    elif path.suffix == ".zarr":
        ndvi.to_dataset().to_zarr(path, consolidated=False)
    else:
        ndvi.to_dataset().to_netcdf(path)


def in_its_place(new: Path, path: Path, how: str) -> None:
    """``new`` under the name ``path``: renamed, copied after the old one was removed, or copied into the old one."""
    copy: Any = shutil.copytree if new.is_dir() else shutil.copyfile
    if how == "overwritten":
        copy(new, path, **({"dirs_exist_ok": True} if new.is_dir() else {}))
        return
    if how == "removed" or path.is_dir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    new.replace(path) if how == "renamed" else copy(new, path)


def raw_band(path: Path) -> xr.DataArray:
    return read_bands(path)[0].values


def of_layer(path: Path) -> xr.DataArray:
    with open_raster(path) as data:
        return next(v for v in data.data_vars.values() if {"y", "x"} <= set(v.dims))


def of_block(path: Path) -> xr.DataArray:
    with opened_cube(path) as cube:
        return cube.load()


def of_cube(path: Path) -> xr.DataArray:
    return read_cube(path)


def lazily(path: Path) -> xr.DataArray:
    return read_cube(path, lazy=True)


def on_screen(path: Path) -> xr.DataArray:
    return open_stack(path, "result").ndvi


READERS: list[tuple[Callable[[Path], xr.DataArray], tuple[str, ...]]] = [
    (of_cube, (".nc", ".zarr")),
    (lazily, (".nc", ".zarr")),
    (of_block, (".nc", ".zarr")),
    (on_screen, (".nc", ".zarr")),
    (open_ndvi, (".nc",)),
    (raw_band, (".nc", ".zarr", ".tif")),
    (of_layer, (".nc", ".zarr", ".tif")),
]


@pytest.mark.parametrize("how", ["renamed", "removed", "overwritten"])
@pytest.mark.parametrize(
    ("reader", "suffix"), [(reader, suffix) for reader, suffixes in READERS for suffix in suffixes]
)
def test_a_replaced_file_is_read_anew(
    reader: Callable[[Path], xr.DataArray], suffix: str, how: str, tmp_path: Path
) -> None:
    """HDF5 gives an overwritten file as it was to whoever opens it, while an earlier array keeps it open."""
    path, new = tmp_path / f"ndvi_20190301{suffix}", tmp_path / f"new{suffix}"
    save(series(seed=1), path)
    held = [reader(path)]
    assert held[0].shape[-1] == 4 and np.isfinite(held[0].values).all()
    for seed, x in ((2, 4), (3, 7)):  # values and size are others, as those of a new download
        save(series(seed, x), new)
        in_its_place(new, path, how)
        held.append(reader(path))
        shutil.rmtree(new, ignore_errors=True)
        found = held[-1].values.reshape(-1, 5, x)
        np.testing.assert_array_equal(found, series(seed, x).values[: len(found)])


def test_a_handle_of_the_user_does_not_keep_the_earlier_content(tmp_path: Path) -> None:
    path, new = tmp_path / "a.nc", tmp_path / "new.nc"
    save(series(seed=1), path)
    save(series(seed=2), new)
    with xr.open_dataset(path) as own:
        assert own[BAND].isel(t=0).values.shape == (5, 4)
        in_its_place(new, path, "overwritten")
        np.testing.assert_array_equal(read_cube(path).values[:, 0], series(seed=2).values)
        np.testing.assert_array_equal(own[BAND].isel(t=1).values, series(seed=2).values[1])
