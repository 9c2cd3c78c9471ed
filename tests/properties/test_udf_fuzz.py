"""Fuzz of both UDFs through openEO's runner: the right shape and labels, or one readable sentence; never anything else.

``NDVI_FUSION_FUZZ_CASES`` sets the number of cases (default 100 each; the release run takes 2000).
"""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fusion.inference.fuse import FAR_DAYS
from tests.unit.udf.fakes import fake_model, run_udf

CASES = int(os.environ.get("NDVI_FUSION_FUZZ_CASES", "100"))
QUIET = settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ROLES = ("S2NDVI", "VV", "VH", "COARSE_NDVI")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return fake_model(tmp_path_factory.mktemp("fuzz") / "m")


@st.composite
def cubes(draw: st.DrawFn) -> xr.DataArray:
    """Chunks as back-ends hand them over, and as they should not."""
    t, y, x = draw(st.integers(0, 6)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    count = draw(st.integers(1, 5))
    labels = draw(st.permutations([*ROLES, "B99"]))[:count]
    labels = labels if "S2NDVI" in labels or draw(st.integers(0, 4)) == 0 else ["S2NDVI", *labels[1:]]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.uniform(draw(st.sampled_from([-0.3, -0.1, 0.1])), 1.0, (t, count, y, x))
    mixed = draw(st.integers(0, 4)) == 0  # units as they should not be
    for k, label in enumerate(labels):
        if mixed or label in ("VV", "VH"):
            values[:, k] = rng.uniform(-25, -5, (t, y, x)) if k in (1, 2) or not mixed else values[:, k]
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))] = np.nan
    if draw(st.integers(0, 3)) == 0 and values.size:
        values.flat[0] = draw(st.sampled_from([np.inf, -np.inf, 1e9, -9999.0, 0.0]))
    dtype = draw(st.sampled_from(["float32", "float32", "float64", "int16", "uint8"]))
    values = (
        np.nan_to_num(values, nan=0, posinf=9, neginf=-9).astype(dtype) if dtype[0] in "iu" else values.astype(dtype)
    )
    days = np.array(draw(st.lists(st.integers(0, 200), min_size=t, max_size=t)), "timedelta64[D]").astype(
        "timedelta64[D]"
    )
    coords: dict = {}
    if draw(st.integers(0, 9)):
        coords["t"] = (np.datetime64("2019-03-01") + days).astype("datetime64[ns]")
    if draw(st.integers(0, 9)):
        coords["bands"] = labels
    if draw(st.booleans()):
        coords |= {"y": 10.0 * np.arange(y)[::-1], "x": 10.0 * np.arange(x)}
    cube = xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords)
    if draw(st.integers(0, 9)) == 0:
        cube = cube.isel({draw(st.sampled_from(["t", "bands"])): 0}, drop=True) if t else cube
    return cube.transpose(*draw(st.permutations(list(cube.dims))))


GOOD_CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "end": st.sampled_from(["2019-03-01", "2019-07-01"]),
        "step_days": st.sampled_from([1, 5, 10, 7.0]),
        "sigma": st.sampled_from(["observation", "ndvi"]),
        "min_observations": st.sampled_from([0, 1, 3]),
        "insufficient": st.sampled_from(["nan", "keep"]),
    },
)
ANY_CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "start": st.sampled_from(["2019-03-01", "2019-06-01", "soon", None]),
        "end": st.sampled_from(["2019-07-01", "2019-03-01", "2018-01-01"]),
        "step_days": st.sampled_from([1, 5, 10, 7.0, 0, "5"]),
        "s1_units": st.sampled_from(["dB", "linear", "db", None]),
        "sigma": st.sampled_from(["observation", "ndvi", "both"]),
        "min_observations": st.sampled_from([0, 1, 5]),
        "insufficient": st.sampled_from(["nan", "keep", "error"]),
        "band_order": st.sampled_from([None, list(ROLES), ["S2NDVI"]]),
        "bands": st.sampled_from([None, {"S2NDVI": "B99"}, {"S3": "x"}]),
        "coarse_scale": st.sampled_from([1.0, 0.004]),
        "unknown_key": st.just(1),
    },
)
CONTEXTS = st.one_of(GOOD_CONTEXTS, GOOD_CONTEXTS, ANY_CONTEXTS)


def enough_obs(cube: xr.DataArray, context: dict) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels (y, x) that must be answered, counted here anew, and those of which that is certain (exactly 0 and 1 may
    be no data); None where the roles of the bands are not plain.
    """
    if {"bands", "band_order"} & set(context) or "bands" not in cube.coords or "bands" not in cube.dims:
        return None
    ndvi = cube.sel(bands="S2NDVI").transpose("t", "y", "x").values
    seen = np.abs(ndvi) <= 1.25
    days = cube.t.values.astype("datetime64[D]")
    obs = sum(seen[days == day].any(axis=0).astype(int) for day in np.unique(days))
    need = context.get("min_observations", 1) if context.get("insufficient", "nan") == "nan" else 1
    return obs >= max(1, need), ~((ndvi == 0) | (ndvi >= 1)).any(axis=0)


def sentence(error: Exception) -> None:
    """An error of ours: a class that says whose fault it is, and a message that a person can act on."""
    assert type(error).__name__ in ("ContractError", "DateError", "ModelFileError"), repr(error)
    text = str(error)
    assert 20 < len(text) < 700
    assert "Traceback" not in text


@QUIET
@given(cube=cubes(), context=CONTEXTS)
def test_fusion(cube: xr.DataArray, context: dict, small_model: Path) -> None:
    given_context = {"start": "2019-03-01", "end": "2019-04-15", "s1_units": "dB", "deps_dir": None, **context}
    given_context["model_dir"] = str(small_model)
    try:
        answer = run_udf("fusion_udf", cube, given_context)
    except Exception as error:
        sentence(error)
        event("refused in a sentence")
        return
    event("answered")
    step = int(given_context.get("step_days", 5))
    start, end = np.datetime64(given_context["start"]), np.datetime64(given_context["end"])
    assert answer.dims == ("t", "bands", "y", "x")
    assert answer.shape == (int((end - start).astype(int)) // step + 1, 2, cube.sizes["y"], cube.sizes["x"])
    assert list(answer.bands.values) == ["NDVI", "NDVI_SIGMA"]
    assert answer.dtype == np.float32
    ndvi, sigma = answer.values[:, 0], answer.values[:, 1]
    np.testing.assert_array_equal(np.isnan(ndvi), np.isnan(sigma))
    known = enough_obs(cube, context)
    if known is not None:
        enough, certain = known
        apart = np.abs(answer.t.values[:, None] - cube.t.values) / np.timedelta64(1, "D")
        near = apart.min(axis=1) <= FAR_DAYS  # further from every image, nothing is answered
        np.testing.assert_array_equal(np.isfinite(ndvi)[:, certain], near[:, None] & enough[certain])
    assert (sigma[np.isfinite(sigma)] > 0).all()


@QUIET
@given(
    cube=cubes(),
    method=st.sampled_from(["reference", "relative_amplitude", "absolute", "wrong"]),
    smoothed=st.booleans(),
)
def test_phenology(cube: xr.DataArray, method: str, smoothed: bool) -> None:
    context = {"method": method, "output": "smoothed" if smoothed else "seasons", "phenology": {"use_numba": False}}
    try:
        answer = run_udf("phenology_udf", cube, context)
    except Exception as error:
        sentence(error)
        event("refused in a sentence")
        return
    event("answered")
    assert answer.dims == ("t", "bands", "y", "x")
    assert answer.shape[2:] == (cube.sizes["y"], cube.sizes["x"])
    assert np.issubdtype(answer.t.dtype, np.datetime64)
    if method == "reference" and not smoothed:
        assert answer.dtype == np.int16
        assert answer.sizes["t"] == 1
