"""The page on swapping the phenology UDF: its code runs by openEO's own runner, and in the whole graph."""

import datetime
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

PAGE = Path(__file__).parents[2] / "docs" / "replace_phenology_udf.md"


def page_code() -> str:
    """The complete replacement that the page shows."""
    return re.search(r"```python\n(import numpy.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)


def test_the_pages_udf_runs():
    openeo = pytest.importorskip("openeo.udf", reason="the openEO client is not installed")
    from openeo.udf.run_code import run_udf_code

    code = page_code()
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


def test_the_graph_takes_the_pages_udf(tmp_path):
    """The whole local graph with the page's code in the place of this project's phenology."""
    pytest.importorskip("openeo_processes_dask", reason="client-side processing is not installed")
    from tests.unit.udf.fakes import fake_model
    from tests.unit.udf.raw_scene import write_raw
    from udf.local_backend import execute_graph
    from udf.targets import load_target
    from udf.workflow import WorkflowOptions, build_workflow

    options = {
        "start": datetime.date(2019, 1, 10), "end": datetime.date(2019, 11, 1), "window_px": 24, "overlap_px": 16,
        "source": write_raw(tmp_path / "raw", height=20, width=20),
        "context": {"model_dir": str(fake_model(tmp_path / "model"))},
    }  # fmt: skip
    graph = build_workflow(load_target("local"), WorkflowOptions(**options), phenology_code=page_code(), save=False)
    fused = build_workflow(load_target("local"), WorkflowOptions(**options, output="fused"), save=False)
    out, ndvi = (execute_graph(g).compute().transpose("t", "bands", "y", "x") for g in (graph, fused))
    assert out.bands.values.tolist() == ["peak_day", "peak_ndvi"]
    np.testing.assert_allclose(out.sel(bands="peak_ndvi")[0], ndvi.sel(bands="NDVI").max("t"), atol=1e-5)
    at = ndvi.sel(bands="NDVI").argmax("t").values
    np.testing.assert_array_equal(out.sel(bands="peak_day")[0], ndvi.t.dt.dayofyear.values[at])
