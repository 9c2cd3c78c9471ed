"""The process graph levels the passes of Sentinel-1 as ``cube`` does: per pixel, by the medians of the passes."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fusion
from data_prep.radar import prepare_radar
from data_prep.settings import RadarSettings
from fusion.contract import VH, VV
from tests.factory import mock_cube
from tests.unit.udf.raw_scene import write_raw
from udf.graph_loading import load
from udf.graph_options import WorkflowOptions
from udf.graph_radar import radar
from udf.local_backend import execute_graph
from udf.local_run import present_sensors
from udf.targets import TargetSettings, load_target

START, END = datetime.date(2019, 1, 3), datetime.date(2019, 11, 20)
STEP_DB = {"VV": 1.5, "VH": 1.2}
ASCENDING, DESCENDING = "ascending 88", "descending 37"


def two_passes(folder: Path, units: str = "dB", same_day: bool = False, orbit: bool = True) -> tuple[xr.Dataset, Path]:
    """A scene whose every second image is of another pass, 1.5 dB higher and with a slope across the image."""
    write_raw(folder, 24, 28)
    path = folder / "s1.nc"
    with xr.open_dataset(path, decode_coords="all") as file:
        flat = file.load()
    path.unlink()
    late = np.arange(flat.sizes["t"]) % 2 == 1
    radar = flat.copy(deep=True)
    slope = np.linspace(-0.7, 0.7, flat.sizes["x"], dtype=np.float32)
    for band, step in STEP_DB.items():
        radar[band].values[late] += np.float32(step) + slope
        if units == "linear":
            radar[band] = (10 ** (radar[band] / 10)).astype(np.float32)
    if same_day:
        times = radar.t.values.copy()
        times[7] = times[6]
        radar = radar.assign_coords(t=times)
        radar["VV"][6, :10] = np.nan  # the edge of a swath
    if orbit:
        radar = radar.assign_coords(orbit=("t", np.where(late, DESCENDING, ASCENDING)))
    radar.assign_attrs(s1_units=units).to_netcdf(path)
    return flat, folder


def target_of(folder: Path, units: str = "dB") -> TargetSettings:
    return present_sensors(load_target("local").model_copy(update={"s1_units": units}), folder)


def radar_of(folder: Path, units: str = "dB", **changes: object) -> xr.DataArray:
    """VV and VH as the graph makes them."""
    options, target = WorkflowOptions(start=START, end=END, source=folder, **changes), target_of(folder, units)
    grid = load(target.s2_collection, [target.red_band], options)
    return execute_graph(radar(target, options, grid)).compute().transpose("t", "bands", "y", "x")


def by_hand(file: xr.Dataset, band: str) -> np.ndarray:
    """The rule in numpy: each pass against the mean of the medians, images of a day averaged."""
    values, orbit = file[band].values.astype(float), file.orbit.values
    level = {name: np.nanmedian(values[orbit == name], axis=0) for name in (ASCENDING, DESCENDING)}
    common = np.nanmean(list(level.values()), axis=0)
    linear = file.attrs["s1_units"] == "linear"
    moved = [v * common / level[o] if linear else v - level[o] + common for v, o in zip(values, orbit, strict=True)]
    days = np.unique(file.t.values)
    with np.errstate(all="ignore"):
        return np.stack([np.nanmean([m for m, t in zip(moved, file.t.values, strict=True) if t == d], 0) for d in days])


@pytest.mark.parametrize("units", ["dB", "linear"])
@pytest.mark.parametrize("same_day", [False, True])
def test_each_pass_is_moved_by_its_median_per_pixel(units: str, same_day: bool, tmp_path: Path) -> None:
    _, folder = two_passes(tmp_path / "raw", units, same_day)
    cube = radar_of(folder, units)
    with xr.open_dataset(folder / "s1.nc") as file:
        for band in (VV, VH):
            expected = by_hand(file, band)
            mine = cube.sel(bands=band, t=np.unique(file.t.values)).values
            np.testing.assert_allclose(mine, expected, rtol=2e-5)
    assert np.isfinite(mine).all(), "where one pass of a day is missing the other counts"


def test_a_pass_of_its_own_level_is_levelled_and_switched_off_or_alone_is_not(tmp_path: Path) -> None:
    flat, folder = two_passes(tmp_path / "raw")
    passes = flat.t.values[::2], flat.t.values[1::2]

    def step(cube: xr.DataArray) -> np.ndarray:
        early, late = (cube.sel(bands=VV, t=times).median("t") for times in passes)
        return (late - early).values

    truth = np.median(flat.VV.values[1::2], 0) - np.median(flat.VV.values[::2], 0)  # the passes see other days
    assert np.abs(step(radar_of(folder))).max() < 1e-4
    assert np.median(step(radar_of(folder, radar_levelled=False)) - truth) == pytest.approx(1.5, abs=0.05)
    for state, times in (("ascending", passes[0]), ("descending", passes[1])):
        one = radar_of(folder, radar_pass=state).sel(bands=VV).dropna("t", how="all")
        np.testing.assert_array_equal(one.t.values, times)


def test_files_that_tell_no_pass_are_one_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, folder = two_passes(tmp_path / "raw", orbit=False)
    assert target_of(folder).s1_pass_property is None
    np.testing.assert_array_equal(radar_of(folder).values, radar_of(folder, radar_levelled=False).values)
    with pytest.raises(ValueError, match="set target.s1_pass_property, or radar_pass=all"):
        radar_of(folder, radar_pass="ascending")


def test_a_pass_that_the_file_does_not_hold_is_named(tmp_path: Path) -> None:
    _, folder = two_passes(tmp_path / "raw")
    file = folder / "s1.nc"
    with xr.open_dataset(file, decode_coords="all") as data:
        one = data.isel(t=slice(None, None, 2)).load()
    file.unlink()
    one.to_netcdf(file)
    assert np.isfinite(radar_of(folder).sel(bands=VV)).any()  # one pass needs no level
    with pytest.raises(ValueError, match=r"no image of the orbit requested; it holds \['ASCENDING 88'\]"):
        radar_of(folder, radar_pass="descending")


def test_the_fused_answer_is_near_that_of_cube_and_nearer_to_the_truth_than_unlevelled(tmp_path: Path) -> None:
    """A pass 1.5 dB higher with a slope of 1.4 dB across the image: the graph is at least as near as ``cube``."""
    flat, folder = two_passes(tmp_path / "raw")
    cloudy = mock_cube(66, 24, 28, cloud=0.9, radar=False, coarse=False, start="2019-01-04")
    with xr.open_dataset(folder / "s1.nc", decode_coords="all") as file:
        by_cube, _ = prepare_radar(file.load(), RadarSettings(units="dB", speckle="none"))
    of_cube = by_cube[[VV, VH]].to_array("bands").transpose("t", "bands", "y", "x")
    right = flat[[VV, VH]].to_array("bands").transpose("t", "bands", "y", "x")

    def fused(backscatter: xr.DataArray) -> xr.DataArray:
        cube = xr.concat([cloudy, backscatter.drop_vars("spatial_ref", errors="ignore")], "bands", join="outer")
        options = {"start": START, "end": END, "latitude": 51.0, "s1_units": "dB"}
        return fusion.fuse(cube.sortby("y", ascending=False), **options).sel(bands="NDVI")

    best = fused(right)
    answers = radar_of(folder, radar_levelled=False), of_cube, radar_of(folder)
    unlevelled, cube, mine = (float(np.abs(fused(a) - best).mean()) for a in answers)
    assert mine < 0.6 * unlevelled
    assert mine < cube + 0.001
