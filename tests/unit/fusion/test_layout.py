"""Inputs as people have them: every layout gives the answer of the contract's cube, in the user's own layout."""

import logging
from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import fusion
from fusion.cli import app as cli
from fusion.contract import ContractError
from fusion.data.cube_files import read_cube
from fusion.evaluation.predictor import ModelPredictor
from fusion.inference.session import load_session
from fusion.place import latitude_of
from tests.factory import mock_cube, mock_model, write_cube

PERIOD = {"start": "2019-03-11", "end": "2019-06-09"}
USERS = {"t": "time", "bands": "band", "y": "latitude", "x": "longitude"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mock_model(tmp_path_factory.mktemp("model") / "random", 1)


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    return mock_cube(y=20, x=17, seed=2)


@pytest.fixture(scope="module")
def dense(cube: xr.DataArray, model: Path) -> xr.DataArray:
    return fuse(cube, model)


def fuse(cube, model: Path, **more):
    return fusion.fuse(cube, model=model, threads=1, **{**PERIOD, **more})


def south_up(cube: xr.DataArray) -> xr.DataArray:
    return cube.isel(y=slice(None, None, -1))


def mirrored(cube: xr.DataArray) -> xr.DataArray:
    return cube.isel(x=slice(None, None, -1))


TURNS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {"y ascending": south_up, "x descending": mirrored}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_direction_of_the_axes_does_not_change_the_answer_in_memory(turn, cube, dense, model):
    for given in (turn(cube), turn(cube).chunk({"y": 7})):
        answer = fuse(given, model)
        xr.testing.assert_identical(answer.compute(), turn(dense))


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_direction_of_the_axes_does_not_change_scores(turn, cube, model):
    predictor = ModelPredictor(load_session(model, threads=1))
    dates = cube.t.values[3:9]
    plain, turned = (predictor.predict(c, dates).ndvi for c in (cube, turn(cube)))
    axis = -2 if turn is south_up else -1
    np.testing.assert_array_equal(np.flip(turned, axis), plain)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_files_are_read_from_north_to_south(turn, cube, dense, model, tmp_path):
    write_cube(tmp_path / "turned.nc", turn(cube))
    assert read_cube(tmp_path / "turned.nc").y.values.tolist() == cube.y.values.tolist()
    assert predict(tmp_path / "turned.nc", model) == cli.OK
    np.testing.assert_array_equal(read_cube(tmp_path / "dense.nc").values, dense.values)


def predict(file: Path, model: Path, *more: str) -> int:
    out = file.with_name("dense.nc")
    period = [f"{key}={value}" for key, value in PERIOD.items()]
    return cli.main(["predict", f"cube={file}", f"out={out}", f"model={model}", "threads=1", *period, *more])


def test_other_names_of_dimensions_come_back(cube, dense, model):
    given = cube.rename(USERS)
    before = given.copy(deep=True)
    answer = fuse(given, model)
    assert answer.dims == ("time", "band", "latitude", "longitude")
    np.testing.assert_array_equal(answer.values, dense.values)
    xr.testing.assert_identical(given, before)
    suspect = fusion.suspect_observations(given, answer)
    assert suspect.dims == ("time", "latitude", "longitude")
    np.testing.assert_array_equal(suspect.values, fusion.suspect_observations(cube, dense).values)
    seasons = fusion.seasons(answer)
    assert set(seasons.SOSD.dims) == {"season", "latitude", "longitude"}
    xr.testing.assert_equal(seasons.rename(latitude="y", longitude="x"), fusion.seasons(dense))
    assert fusion.smooth(answer).dims == ("time", "latitude", "longitude")


def test_latitude_and_longitude_tell_the_crs(cube, model):
    degrees = cube.drop_vars("spatial_ref").assign_coords(y=51 - 9e-5 * np.arange(20), x=5 + 14e-5 * np.arange(17))
    answer = fuse(degrees.rename(USERS), model)
    assert answer.rio.crs.to_epsg() == 4326
    np.testing.assert_array_equal(
        answer.values, fuse(degrees, model, latitude=latitude_of(degrees.rio.write_crs(4326)))
    )


def test_a_dataset_gives_a_dataset(cube, dense, model):
    given = cube.to_dataset("bands").rename(t="time", S2NDVI="ndvi", VV="vv", VH="vh").assign_attrs(cube.attrs)
    given["scene"] = ("time", ["a"] * given.sizes["time"])
    given["cloud_share"] = ("time", np.zeros(given.sizes["time"]))
    answer = fuse(given, model)
    assert isinstance(answer, xr.Dataset) and set(answer.data_vars) == {"NDVI", "NDVI_SIGMA"}
    assert answer.NDVI.dims == ("time", "y", "x") and answer.rio.crs == cube.rio.crs
    np.testing.assert_array_equal(answer.NDVI_SIGMA.values, dense.sel(bands="NDVI_SIGMA").values)
    xr.testing.assert_equal(fusion.seasons(answer), fusion.seasons(dense))
    flags = fusion.suspect_observations(given, answer)
    np.testing.assert_array_equal(flags.values, fusion.suspect_observations(cube, dense).values)


def test_one_pixel_a_row_and_points(cube, model):
    alone = fuse(cube.isel(y=[3], x=[4]), model)
    pixel = fuse(cube.isel(y=3, x=4), model)
    assert pixel.dims == ("t", "bands") and float(pixel.x) == float(cube.x[4])
    np.testing.assert_array_equal(pixel.values, alone.values[:, :, 0, 0])
    row = fuse(cube.isel(y=3), model)
    np.testing.assert_array_equal(row.values, fuse(cube.isel(y=[3]), model).values[:, :, 0])
    points = cube.isel(y=xr.DataArray([3, 9], dims="station"), x=xr.DataArray([4, 0], dims="station"))
    answer = fuse(points.assign_coords(station=["meadow", "maize"]), model)
    assert answer.dims == ("t", "bands", "station") and answer.station.values.tolist() == ["meadow", "maize"]
    np.testing.assert_array_equal(answer.sel(station="meadow").values, pixel.values)
    assert answer.y.values.tolist() == points.y.values.tolist()
    with dask.config.set(scheduler=_refuse):
        chunked = points.copy(data=da.from_array(points.values, chunks=(7, 2, 1)))
        lazy = fuse(chunked.assign_coords(station=["meadow", "maize"]), model)
    assert lazy.chunks[2] == (1, 1)
    xr.testing.assert_identical(lazy.compute(), answer)
    stacked = fuse(cube.stack(pixel=("y", "x")).isel(pixel=[3 * 17 + 4]), model)
    np.testing.assert_array_equal(stacked.values[..., 0], pixel.values)
    assert set(fusion.seasons(answer).SOSD.dims) == {"season", "station"}


def _refuse(*_, **__):
    raise AssertionError("a lazy call computed something")


def test_series_and_tables_give_tables(cube, model):
    pixel = cube.isel(y=3, x=4)
    degrees = latitude_of(pixel)
    expected = fuse(pixel, model)
    table = pixel.to_pandas().rename_axis("date")
    answer = fuse(table.iloc[::-1], model, s1_units="dB", latitude=degrees)
    assert list(answer.columns) == ["NDVI", "NDVI_SIGMA"] and answer.index.name == "date"
    np.testing.assert_allclose(answer.NDVI.to_numpy(), expected.sel(bands="NDVI").values, atol=1e-6)
    series = table.S2NDVI.rename("ndvi").dropna()
    alone = fuse(series, model, latitude=degrees)
    np.testing.assert_array_equal(
        alone.NDVI.to_numpy(), fuse(table[["S2NDVI"]], model, latitude=degrees).NDVI.to_numpy()
    )
    there = series.tz_localize("Asia/Tokyo").tz_convert("Asia/Tokyo")
    assert len(fuse(there, model)) == len(alone)
    assert isinstance(fusion.smooth(series), pd.Series) and fusion.seasons(series).SOSD.dims == ("season",)


def test_a_file_with_nothing_but_masked_ndvi(cube, model, tmp_path):
    own = cube.sel(bands="S2NDVI", drop=True).rename(t="time", y="lat", x="lon").rename("NDVI_masked")
    own.encoding = {}
    own = own.drop_vars("spatial_ref").assign_coords(lat=51 - 9e-5 * np.arange(20), lon=5 + 14e-5 * np.arange(17))
    own.to_netcdf(tmp_path / "own.nc")
    assert predict(tmp_path / "own.nc", model) == cli.OK
    with xr.open_dataarray(tmp_path / "own.nc") as array:
        np.testing.assert_array_equal(fuse(array, model).values, read_cube(tmp_path / "dense.nc").values)
    out = f"out={tmp_path / 'seasons'}"
    assert cli.main(["phenology", f"cube={tmp_path / 'own.nc'}", out, "maps=false", "geotiff=false"]) == cli.OK


REFUSED = {
    "fused already": (lambda c: fusion.fuse(c, **PERIOD), "fused already"),
    "two NDVI": (lambda c: c.assign_coords(bands=["ndvi_a", "ndvi_b", "VV", "VH"]), "'S2NDVI' is required"),
    "another quantity": (lambda c: c.sel(bands="VV", drop=True).rename("EVI"), r"call cube.rename\('NDVI'\)"),
    "no dates": (lambda c: c.isel(t=0, drop=True).to_dataset("bands"), "a dimension of dates"),
    "index without dates": (lambda c: c.isel(y=0, x=0).to_pandas().reset_index(drop=True), "pandas.to_datetime"),
    "a day twice": (lambda c: c.isel(y=0, x=0, t=[0, 1, 1]).to_pandas(), r"groupby\(data.index.floor\('D'\)\)"),
    "unsorted": (lambda c: c.rename(t="time").isel(time=[1, 0]), r"call cube.sortby\('time'\)"),
    "no data at all": (lambda c: c.values, "expected an xarray.DataArray"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_one_sentence(name, cube, model):
    change, said = REFUSED[name]
    with pytest.raises(ContractError, match=said):
        fuse(change(cube), model)


def test_dates_far_from_the_images_are_nan_and_named(cube, model, tmp_path, caplog):
    write_cube(tmp_path / "cube.nc", cube)
    inside = fuse(cube, model)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        answer = fuse(cube, model, end="2029-03-01")
    assert "images run from 2019-03-01 to 2019-06-24" in caplog.text and "are NaN" in caplog.text
    last = cube.t.values[-1] + np.timedelta64(180, "D")
    assert np.isfinite(answer.sel(t=slice(None, last)).values).all()
    assert np.isnan(answer.where(answer.t > last, drop=True).values).all()
    np.testing.assert_allclose(answer.values[: inside.sizes["t"]], inside.values, atol=2e-3)
    assert predict(tmp_path / "cube.nc", model, "end=2029-03-01") == cli.OK
    share = float(np.isfinite(answer.values).mean())
    assert share < 0.1 and np.isfinite(read_cube(tmp_path / "dense.nc").values).mean() == pytest.approx(share)


@pytest.mark.parametrize(("side", "warned"), [(10.0, False), (20.0, True), (300.0, True)])
def test_pixels_of_another_size_are_named(side, warned, cube, model, caplog):
    resized = cube.assign_coords(y=5_660_000 - side * np.arange(20), x=640_000 + side * np.arange(17))
    with caplog.at_level(logging.WARNING):
        answer = fuse(resized, model)
    assert (f"pixels are {side:.4g} x {side:.4g} m" in caplog.text) == warned
    assert np.isfinite(answer.values).all()


def test_suspect_observations_are_dropped_without_dropping_radar(cube):
    suspect = cube.sel(bands="S2NDVI", drop=True) < 0.3
    kept = cube.where(~suspect | (cube.bands != "S2NDVI"))
    assert bool(kept.sel(bands="S2NDVI").where(suspect).isnull().all())
    np.testing.assert_array_equal(kept.sel(bands=["VV", "VH"]).values, cube.sel(bands=["VV", "VH"]).values)
