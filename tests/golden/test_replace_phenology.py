"""The page on swapping the phenology UDF: its code runs through openEO's own runner and gives the right day."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

PAGE = Path(__file__).parents[2] / "docs" / "replace_phenology_udf.md"


def test_the_pages_udf_runs():
    openeo = pytest.importorskip("openeo.udf", reason="the openEO client is not installed")
    from openeo.udf.run_code import run_udf_code

    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)
    days = np.arange(0, 365, 5)
    ndvi = 0.2 + 0.6 * np.exp(-(((days - 180) / 50) ** 2))
    values = np.tile(np.stack([ndvi, 0 * ndvi + 0.02], 1)[:, :, None, None], (1, 1, 3, 4)).astype(np.float32)
    values[:, :, 0, 0] = np.nan
    cube = xr.DataArray(
        values,
        dims=("t", "bands", "y", "x"),
        coords={
            "t": np.datetime64("2019-01-01", "ns") + days.astype("timedelta64[D]"),
            "bands": ["NDVI", "NDVI_SIGMA"],
        },
    )
    data = openeo.UdfData(datacube_list=[openeo.XarrayDataCube(cube)], user_context={})
    out = run_udf_code(code, data).get_datacube_list()[0].get_array()
    assert out.dims == ("t", "bands", "y", "x") and out.bands.values.tolist() == ["peak_day", "peak_ndvi"]
    assert out.t.values.tolist() == [np.datetime64("2019-01-01", "ns").astype(int)]
    assert float(out[0, 0, 1, 1]) == 181 and np.isnan(out[0, 0, 0, 0])
