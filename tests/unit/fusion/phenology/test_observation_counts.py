"""QFLAG, counts and gaps of a fused series are those of the observations behind it, on every path."""

import json

import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.cli.app import main
from fusion.contract import NDVI, NDVI_SIGMA, OBS_COUNT
from fusion.data.cube_files import read_cube, write_cube
from tests.factory import mock_cube
from tests.unit.udf.fakes import fake_model, fusion_context, run_udf

PERIOD = {"start": "2018-12-20", "end": "2020-02-13"}
COUNTED = ("OBS_UP", "OBS_PEAK", "OBS_DOWN", "LONGEST_GAP", "QFLAG")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    return fake_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    """Fourteen months, an observation every 5 days in one half, and none from 10 April to 9 June in the other."""
    cube = mock_cube(t=85, y=4, x=6, start=PERIOD["start"], cloud=0.0, radar=False, coarse=False)
    gap = (cube.t >= np.datetime64("2019-04-10")) & (cube.t < np.datetime64("2019-06-10"))
    return cube.where(~(gap & (cube.x < cube.x.values[3])))


def test_fuse_counts_the_observations_nearest_to_each_date(cube, model) -> None:
    late = cube.assign_coords(t=cube.t + np.timedelta64(2, "D"))
    both = xr.concat([cube, late], "t").sortby("t")
    fused = fusion.fuse(both, model=model, **PERIOD)
    seen = np.isfinite(cube.isel(bands=0)).values.astype(int)
    np.testing.assert_array_equal(fused[OBS_COUNT].values, 2 * seen)
    assert fused[OBS_COUNT].dims == ("t", "y", "x")
    ten = fusion.fuse(cube, model=model, step_days=10, **PERIOD)[OBS_COUNT].values
    wanted = seen[::2] + np.concatenate([np.zeros_like(seen[:1]), seen[1:-1:2]])  # those halfway count for the later
    np.testing.assert_array_equal(ten, wanted)
    np.testing.assert_array_equal(fusion.fuse(cube, model=model, tile=8, **PERIOD)[OBS_COUNT], seen)


def test_seasons_of_a_fused_series_count_the_observations_behind_it(cube, model) -> None:
    dense = fusion.fuse(cube, model=model, **PERIOD)
    data = fusion.seasons(dense, use_numba=False).isel(season=0)
    exact = fusion.seasons(dense.drop_vars(OBS_COUNT), observations=cube, use_numba=False).isel(season=0)
    for name in COUNTED:
        np.testing.assert_array_equal(data[name], exact[name], err_msg=name)
    gap = data.LONGEST_GAP
    assert (gap.isel(x=slice(0, 3)) >= 55).all() and (gap.isel(x=slice(3, 6)) == 5).all()
    assert (data.QFLAG.isel(x=slice(0, 3)) < 10).all() and (data.QFLAG.isel(x=slice(3, 6)) == 10).all()
    lazy = fusion.seasons(dense.chunk({"x": 2}), use_numba=False)
    assert lazy.QFLAG.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), fusion.seasons(dense, use_numba=False), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_counts_travel_with_the_file_and_the_commands(cube, model, suffix, tmp_path) -> None:
    dense = fusion.fuse(cube, model=model, **PERIOD)
    back = read_cube(write_cube(dense, tmp_path / f"d{suffix}"))
    assert list(back.bands.values) == [NDVI, NDVI_SIGMA] and back[OBS_COUNT].dtype == np.uint8
    np.testing.assert_array_equal(back[OBS_COUNT], dense[OBS_COUNT])
    write_cube(cube, tmp_path / "c.nc")
    words = [f"cube={tmp_path / 'c.nc'}", f"out={tmp_path / f'n{suffix}'}", f"model={model}", "threads=1"]
    assert main(["predict", *words]) == 0
    assert main(["phenology", f"cube={tmp_path / f'n{suffix}'}", f"out={tmp_path / 's'}", "maps=false"]) == 0
    with xr.open_dataset(tmp_path / "s" / "seasons.nc") as stored:
        for name in COUNTED:
            np.testing.assert_array_equal(stored[name], fusion.seasons(dense, use_numba=False)[name], err_msg=name)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_udfs_pass_the_counts_on(cube, model, labelled) -> None:
    context = {**fusion_context(model), **PERIOD}
    assert list(run_udf("fusion_udf", cube, context).bands.values) == [NDVI, NDVI_SIGMA]
    chunk = run_udf("fusion_udf", cube, {**context, "counts": True})
    assert list(chunk.bands.values) == [NDVI, NDVI_SIGMA, OBS_COUNT]
    given = chunk if labelled else chunk.drop_vars("bands")
    options = {"variables": ["SOSD", *COUNTED], "use_numba": False}
    maps = run_udf("phenology_udf", given, {"phenology": options})
    data = fusion.seasons(chunk, use_numba=False)
    for name in COUNTED:
        for k in (1, 2):
            np.testing.assert_array_equal(maps.sel(bands=f"{name}_s{k}")[0], data[name].sel(season=k), err_msg=name)
    smoothed = run_udf("phenology_udf", given, {"output": "smoothed"})
    assert list(smoothed.bands.values) == [NDVI]
    for output in ("smoothed", "seasons"):
        twice = [
            run_udf("phenology_udf", series, {"output": output, "method": "reference"})
            for series in (given, given.isel(bands=slice(0, 2)))
        ]
        xr.testing.assert_identical(*twice)


def test_the_udfs_take_what_lies_before_the_period_for_season_maps_only(model) -> None:
    """A season that starts in autumn, for a period from 1 January: its start is found; other results stay."""
    dates = np.datetime64("2018-08-01", "ns") + np.arange(0, 520, 5).astype("timedelta64[D]")
    day = (dates - np.datetime64("2019-01-01")).astype("timedelta64[D]").astype(float)[:, None, None]
    rise, fall = 1 / (1 + np.exp(-(day + 60) / 9)), 1 / (1 + np.exp(-(day - 180) / 9))
    ndvi = np.float32(0.2 + 0.6 * (rise - fall)) * np.ones((1, 3, 3), np.float32)
    cube = xr.DataArray(ndvi[:, None], dims=("t", "bands", "y", "x"), coords={"t": dates, "bands": ["S2NDVI"]})
    context = {**fusion_context(model), "start": "2019-01-01", "end": "2019-12-31"}
    alone, led = (run_udf("fusion_udf", cube, {**context, **more}) for more in ({}, {"lead_days": 122, "counts": True}))
    assert led.t.values[0] == np.datetime64("2018-08-29") and "2019-01-01" in led.t.values.astype(
        "datetime64[D]"
    ).astype(str)
    period = {"start": "2019-01-01", "end": "2019-12-31", "phenology": {"use_numba": False}}
    cut, whole = (run_udf("phenology_udf", series, period) for series in (alone, led))
    assert whole.t.values.tolist() == cut.t.values.tolist() == [np.datetime64("2019-01-01", "ns").astype(int)]
    assert np.isnan(cut.sel(bands="SOSD_main")).all()
    np.testing.assert_allclose(whole.sel(bands="SOSD_main"), -60 - 9 * np.log(3), atol=4)
    for method in ("reference", "relative_amplitude"):
        for output in ("smoothed", "seasons")[: 2 if method == "reference" else 1]:
            same = [run_udf("phenology_udf", s, {**period, "method": method, "output": output}) for s in (alone, led)]
            np.testing.assert_allclose(*same, atol=1e-4)
            np.testing.assert_array_equal(same[0].t, same[1].t)


def test_a_graph_for_season_maps_asks_for_the_counts() -> None:
    from udf.targets import load_target
    from udf.workflow import WorkflowOptions, build_workflow

    for output, wanted in (("seasons", True), ("fused", None), ("smoothed", None)):
        options = WorkflowOptions(start="2019-01-01", end="2019-12-31", output=output)
        text = json.dumps(build_workflow(load_target("local"), options).flat_graph())
        assert ('"counts": true' in text) is ('"lead_days": 122' in text) is (wanted is True), output
    own = build_workflow(load_target("local"), WorkflowOptions(start="2019", end="2019"), phenology_code="x = 1")
    assert '"counts"' not in json.dumps(own.flat_graph())  # another UDF is given the period alone
