"""Cube files of several makers come back as one array of the contract; damage is named."""

import numpy as np
import pytest
import xarray as xr

from fusion.contract import check_cube
from fusion.data.cube_files import CubeFileError, is_cube_file, read_cube, to_dataset, write_cube
from tests.factory import mock_cube
from tests.factory import write_cube as write_four_dimensional


def test_one_variable_with_band_labels_is_read_too(tmp_path):
    path = write_four_dimensional(tmp_path / "c.nc", t=6)
    got = read_cube(path)
    check_cube(got)
    xr.testing.assert_allclose(got.drop_vars("spatial_ref"), mock_cube(t=6).drop_vars("spatial_ref"))
    assert got.attrs["s1_units"] == "dB" and got.rio.crs.to_epsg() == 32631 and is_cube_file(path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_lazy_equals_loaded_and_values_are_exact(tmp_path, suffix):
    cube = mock_cube(t=6)
    path = write_cube(cube, tmp_path / f"c{suffix}")
    lazy = read_cube(path, lazy=True)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, read_cube(path).values)
    np.testing.assert_array_equal(read_cube(path).values, cube.values)


def test_files_say_units_axes_and_grid(tmp_path):
    dataset = to_dataset(mock_cube(t=3, s1_units="linear"))
    assert dataset.VV.attrs["units"] == "1" and dataset.S2NDVI.attrs["units"] == "1"
    assert dataset.S2NDVI.attrs["grid_mapping"] == "spatial_ref" and dataset.attrs["s1_units"] == "linear"
    assert to_dataset(mock_cube(t=3)).VH.attrs["units"] == "dB"
    with xr.open_dataset(write_cube(mock_cube(t=3), tmp_path / "c.nc")) as stored:
        assert stored.y.attrs["standard_name"] == "projection_y_coordinate"
        assert stored.t.encoding["units"] == "days since 1970-01-01"


def test_an_existing_zarr_is_replaced_whole(tmp_path):
    path = write_cube(mock_cube(t=6), tmp_path / "c.zarr")
    write_cube(mock_cube(t=4), path)
    assert read_cube(path).sizes["t"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]
    with pytest.raises(CubeFileError, match="exists"):
        write_cube(mock_cube(t=4), path, overwrite=False)


def test_damage_and_foreign_files_are_named(tmp_path):
    path = write_cube(mock_cube(t=6), tmp_path / "c.nc")
    content = path.read_bytes()
    (tmp_path / "half.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(CubeFileError, match=r"half\.nc"):
        read_cube(tmp_path / "half.nc")
    with pytest.raises(CubeFileError, match="does not exist"):
        read_cube(tmp_path / "none.nc")
    with pytest.raises(CubeFileError, match=r"\.tif"):
        write_cube(mock_cube(t=3), tmp_path / "c.tif")
    xr.Dataset({"height": (("y", "x"), np.zeros((2, 2)))}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(CubeFileError, match="height"):
        read_cube(tmp_path / "other.nc")
    assert not is_cube_file(tmp_path / "other.nc") and not is_cube_file(tmp_path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("name", ["spatial_ref", "crs"])
def test_a_crs_that_no_band_points_to_is_found(tmp_path, name, suffix):
    """An ``encoding`` given on writing replaces the ``grid_mapping`` of rioxarray."""
    cube = mock_cube(t=4, radar=False, coarse=False)
    own = cube.sel(bands="S2NDVI", drop=True).drop_vars("spatial_ref").rename("ndvi").to_dataset()
    own[name] = ((), 0, {"crs_wkt": cube.rio.crs.to_wkt()})
    (own.to_netcdf if suffix == ".nc" else own.to_zarr)(tmp_path / f"own{suffix}")
    assert read_cube(tmp_path / f"own{suffix}").rio.crs.to_epsg() == 32631
