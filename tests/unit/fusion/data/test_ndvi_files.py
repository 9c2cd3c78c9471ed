"""S2-only inputs: NDVI in NetCDF and single-pixel tables."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from fusion.contract import S2NDVI, ContractError, check_cube
from fusion.data.ndvi_files import open_ndvi
from fusion.evaluation.leave_gap_out import LeaveGapOut, scorable_days


def test_table_becomes_a_pixel(tmp_path):
    file = tmp_path / "AA-Bbb.csv"
    file.write_text(
        "t,NDVI\n2020-01-11,0.5\n2020-01-01,0.25\n2020-01-06,\n2020-01-16,inf\n2020-01-21,1.4\n2020-01-01,0.35\n"
    )
    cube = open_ndvi(file)
    check_cube(cube)
    assert cube.sizes == {"t": 5, "bands": 1, "y": 1, "x": 1} and cube.bands.item() == S2NDVI
    # sorted; the two observations of 1 January are averaged; empty, infinite and impossible values are no observations
    np.testing.assert_allclose(cube.values[:, 0, 0, 0], [0.3, np.nan, 0.5, np.nan, np.nan], atol=1e-6)


def test_netcdf_variable_becomes_a_cube(tmp_path):
    values = np.full((3, 2, 4), 0.5, np.float32)
    values[1] = np.nan
    coords = {"t": pd.date_range("2021-02-01", periods=3), "y": [20.0, 10.0], "x": [0.0, 10.0, 20.0, 30.0]}
    dataset = xr.Dataset({"NDVI": (("t", "y", "x"), values), "crs": ((), b"")}, coords=coords)
    dataset.to_netcdf(tmp_path / "meadow.nc")
    cube = open_ndvi(tmp_path / "meadow.nc")
    check_cube(cube)
    assert cube.sizes == {"t": 3, "bands": 1, "y": 2, "x": 4}
    assert "latitude" not in cube.attrs and open_ndvi(tmp_path / "meadow.nc", latitude=-40.0).attrs["latitude"] == -40.0
    dataset.drop_vars("crs").rio.write_crs("EPSG:4326").to_netcdf(tmp_path / "placed.nc")
    assert open_ndvi(tmp_path / "placed.nc").attrs["latitude"] == 15.0
    with pytest.raises(ContractError, match=r"has variables \['NDVI', 'crs'\]; expected 'EVI'"):
        open_ndvi(tmp_path / "meadow.nc", variable="EVI")


def test_wrong_inputs_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("date,value\n2020-01-01,1\n")
    with pytest.raises(ContractError, match="expected \\('t', 'NDVI'\\)"):
        open_ndvi(tmp_path / "a.csv")
    with pytest.raises(ContractError, match=r"ends in '.tif'"):
        open_ndvi(tmp_path / "a.tif")


@pytest.mark.real_data
def test_real_single_pixels_and_fields_can_be_read(real_data):
    rules = LeaveGapOut()
    for name in ("meadow_2021/s2_meadow.nc", "spain_2019/raw_s2_ndvi_field.nc"):
        cube = open_ndvi(real_data / name)
        check_cube(cube)
        assert scorable_days(cube, rules).size >= 10
    sites = sorted((real_data / "flux_sites" / "ndvi").glob("*.csv"))
    assert len(sites) == 20
    for site in sites:
        cube = open_ndvi(site)
        check_cube(cube)
        assert cube.sizes["y"] == cube.sizes["x"] == 1
        assert scorable_days(cube, rules).size >= 100
