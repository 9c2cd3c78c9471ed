"""When the phenology UDF takes numba: compiling costs a process more than a few chunks are worth."""

import numpy as np
import pytest
import xarray as xr
from openeo.udf.run_code import load_module_from_string

from tests.unit.udf.fakes import run_udf
from tests.unit.udf.test_contract_table import series
from udf import season_chunk
from udf.workflow import udf_source


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The count of a process that has seen nothing yet."""
    counts = {"season maps": 0}
    monkeypatch.setattr(season_chunk, "PIXELS_SEEN", counts)
    return counts


def test_numba_only_when_a_process_has_seen_many_pixels(seen: dict) -> None:
    assert season_chunk.takes_numba(100_000, None) is False
    assert season_chunk.takes_numba(100_000, None) is False
    assert season_chunk.takes_numba(100_000, None) is None  # taken where it is installed
    assert seen["season maps"] == 300_000


@pytest.mark.parametrize("requested", [True, False])
def test_what_is_asked_for_is_done(requested: bool, seen: dict) -> None:
    assert season_chunk.takes_numba(1, requested) is requested
    assert seen["season maps"] == 0


def test_both_ways_give_the_same_maps(seen: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it does not matter which chunk of a process is the first to be compiled."""
    noisy = series(y=4, x=5)
    noisy.values[:, 0] += np.random.default_rng(0).normal(0, 0.03, noisy.values[:, 0].shape)
    plain = season_chunk.season_chunk(noisy, {})
    monkeypatch.setattr(season_chunk, "NUMBA_PIXELS", 0)
    compiled = season_chunk.season_chunk(noisy, {})
    np.testing.assert_allclose(compiled.values, plain.values, atol=1e-3)


def test_a_udf_does_not_compile_for_a_small_chunk(caplog: pytest.LogCaptureFixture) -> None:
    bundled = load_module_from_string(udf_source("phenology_udf"))["bundled"]
    kernels = bundled("fusion.phenology.compiled").KERNELS
    kernels.clear()
    bundled("udf.season_chunk").PIXELS_SEEN["season maps"] = 0
    run_udf("phenology_udf", series(y=4, x=4), {})
    assert not kernels


def test_the_compiled_path_runs_in_a_udf_and_agrees() -> None:
    """numba compiles source that has no file; its answer is that of numpy."""
    answers = [
        run_udf("phenology_udf", series(y=2, x=3), {"phenology": {"use_numba": use_numba}})
        for use_numba in (True, False)
    ]
    assert np.isfinite(answers[0].sel(bands="SOSD_s1")).all()
    np.testing.assert_allclose(answers[0].values, answers[1].values, atol=1e-3)
    kernels = load_module_from_string(udf_source("phenology_udf"))["bundled"]("fusion.phenology.compiled").KERNELS
    assert {name for _, name in kernels} >= {"_detect_kernel", "_guess_kernel", "fit_kernel", "_analytic_kernel"}
    assert all(kernel.signatures for kernel in kernels.values())  # each was compiled


@pytest.mark.parametrize("labelled", [True, False])
def test_fused_output_is_the_fused_series_of_the_period(labelled: bool) -> None:
    """A published process computes what season maps need; its fused output has neither the lead nor the counts."""
    dates = np.datetime64("2018-12-02", "ns") + np.arange(30) * np.timedelta64(5, "D")
    bands = {"bands": ["NDVI", "NDVI_SIGMA", "OBS_COUNT"]} if labelled else {}
    coords = {"t": dates, "y": [1.0, 0.0], "x": [0.0, 1.0]} | bands
    cube = xr.DataArray(np.full((30, 3, 2, 2), 0.5, np.float32), dims=("t", "bands", "y", "x"), coords=coords)
    found = season_chunk.season_chunk(cube, {"output": "fused", "temporal_extent": ["2019-01-01", "2019-05-01"]})
    assert list(found.bands.values) == ["NDVI", "NDVI_SIGMA"]
    assert found.t.values[0] == np.datetime64("2019-01-01") and found.sizes["t"] == 24
    np.testing.assert_array_equal(found.values, 0.5)
