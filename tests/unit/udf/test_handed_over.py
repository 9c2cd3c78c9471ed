"""What a back-end hands over, dates and NDVI, is read right or refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import fusion
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.settings import SceneSettings
from fusion.contract import S2NDVI, ContractError
from fusion.features.measured import refuse_negative_red
from fusion.features.observations import observations_from_cube
from fusion.inference.locate import locate_model
from tests.factory import mock_cube
from tests.unit.udf.fakes import as_back_end_chunk, fusion_context
from udf.chunk import in_order, in_time
from udf.fuse_chunk import fuse_chunk
from udf.season_chunk import season_chunk


def cube_on(dates: object) -> xr.DataArray:
    return mock_cube(t=24, y=2, x=2).assign_coords(t=dates)


def through_fusion_udf(cube: xr.DataArray) -> None:
    in_time(in_order(cube))


def through_phenology_udf(cube: xr.DataArray) -> None:
    season_chunk(cube.isel(bands=[0]), {})


def through_fuse(cube: xr.DataArray) -> None:
    observations_from_cube(cube)


def through_seasons(cube: xr.DataArray) -> None:
    fusion.seasons(cube)


PATHS = [through_fusion_udf, through_phenology_udf, through_fuse, through_seasons]
DAYS = pd.date_range("2019-01-05", periods=24, freq="15D")
BAD = {
    "another time zone": pd.Series(DAYS.tz_localize("Europe/Brussels")).astype(object).to_numpy(),
    "before 1678": np.datetime64("1500-01-05", "s") + 15 * np.arange(24) * np.timedelta64(1, "D"),
    "after 2261": np.datetime64("2500-01-05", "s") + 15 * np.arange(24) * np.timedelta64(1, "D"),
    "no dates": np.arange(24),
    "missing": np.where(np.arange(24) == 3, np.datetime64("NaT"), DAYS.to_numpy()),
}


@pytest.mark.parametrize("path", PATHS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", list(BAD))
def test_dates_that_cannot_be_read_are_refused(path: Callable[[xr.DataArray], None], kind: str) -> None:
    with pytest.raises(ContractError, match="time zone|UTC|1678|datetime|NaT"):
        path(cube_on(BAD[kind]))


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(DAYS.tz_localize("UTC")).astype(object).to_numpy(),
        DAYS.strftime("%Y-%m-%dT10:30:00Z").to_numpy().astype(object),
        DAYS.strftime("%Y-%m-%d").to_numpy().astype("U10"),
        DAYS.to_numpy().astype("datetime64[s]"),
    ],
    ids=["objects in UTC", "text in UTC", "days as text", "seconds"],
)
def test_dates_in_utc_are_read_by_the_udfs(given: np.ndarray) -> None:
    days = in_time(in_order(cube_on(given))).t.values.astype("datetime64[D]")
    np.testing.assert_array_equal(days, DAYS.to_numpy().astype("datetime64[D]"))


CONTEXTS = [{}, {"method": "reference"}, {"output": "smoothed"}, {"method": "reference", "output": "smoothed"}]


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize("value", [-9999.0, 0.0, 1.0, np.inf])
def test_every_method_and_output_leaves_out_what_cannot_be_ndvi(context: dict, value: float) -> None:
    series = mock_cube(t=24, y=2, x=2).isel(bands=[0]).assign_coords(t=DAYS)
    series.values[:] = 0.5 + 0.2 * np.sin(np.arange(24) / 4)[:, None, None, None]
    bad, missing = series.copy(deep=True), series.copy(deep=True)
    bad.values[9:11, :, 1, 0], missing.values[9:11, :, 1, 0] = value, np.nan
    np.testing.assert_array_equal(season_chunk(bad, context).values, season_chunk(missing, context).values)


def test_a_fill_value_does_not_take_the_place_of_the_days_other_image() -> None:
    series = mock_cube(t=24, y=2, x=2).isel(bands=[0]).assign_coords(t=DAYS)
    series.values[:] = 0.5
    twice = xr.concat([xr.full_like(series, -9999.0), series.assign_coords(t=DAYS + pd.Timedelta("1h"))], "t")
    np.testing.assert_array_equal(season_chunk(twice, {}).values, season_chunk(series, {}).values)


def test_the_place_of_a_chunk_comes_from_the_context_alone(model: Path) -> None:
    """A chunk carries no CRS: x and y of another zone, degrees or none change nothing, the latitude does."""
    chunk = as_back_end_chunk(mock_cube(t=24, y=6, x=6))
    here = fuse_chunk(chunk, fusion_context(model, latitude=51.0)).values
    moved = chunk.assign_coords(x=5.1 + 1e-4 * np.arange(6), y=-34.0 - 1e-4 * np.arange(6))
    for other in (moved, chunk.drop_vars(["x", "y"])):
        np.testing.assert_array_equal(fuse_chunk(other, fusion_context(model, latitude=51.0)).values, here)
    field = {"type": "Polygon", "coordinates": [[[5.0, 50.9], [5.1, 50.9], [5.1, 51.1], [5.0, 50.9]]]}
    by_area = fuse_chunk(chunk, fusion_context(model, spatial_extent=field)).values
    np.testing.assert_array_equal(by_area, here)
    south = fuse_chunk(chunk, fusion_context(model, latitude=-51.0)).values
    assert np.nanmax(np.abs(south - here)) > 1e-5


def test_levels_of_radar_that_differ_by_pass_or_satellite_are_no_ndvi() -> None:
    """A chunk tells no passes. A level common to all changes nothing; every second acquisition 1.5 dB higher, as of
    two passes, moves NDVI by 0.0008 on average, where its standard deviation is 0.07."""
    chunk = as_back_end_chunk(mock_cube(t=60, y=8, x=8, cloud=0.6))
    context = {**fusion_context(locate_model()), "latitude": 51.0}
    plain = fuse_chunk(chunk, context)
    all_higher, two_passes = chunk.copy(deep=True), chunk.copy(deep=True)
    all_higher.values[:, 1:3] += 1.5
    two_passes.values[::4, 1:3] += 1.5  # radar looks at every second date
    np.testing.assert_allclose(fuse_chunk(all_higher, context).values, plain.values, atol=2e-5)
    change = np.abs(fuse_chunk(two_passes, context).sel(bands="NDVI") - plain.sel(bands="NDVI"))
    assert 0 < float(change.mean()) < 0.002 and float(change.max()) < 0.01
    assert 0.05 < float(plain.sel(bands="NDVI_SIGMA").mean()) < 0.09


def test_coarse_ndvi_as_digital_numbers_is_refused_until_its_scale_is_given(model: Path) -> None:
    chunk = as_back_end_chunk(mock_cube(t=24, y=6, x=6))
    numbers = chunk.copy(deep=True)
    numbers.values[:, 3] = np.round((numbers.values[:, 3] + 0.08) / 0.004)
    with pytest.raises(ContractError, match="COARSE_NDVI"):
        fuse_chunk(numbers, fusion_context(model))
    scaled = fuse_chunk(numbers, fusion_context(model, coarse_scale=0.004, coarse_offset=-0.08))
    np.testing.assert_allclose(scaled.values, fuse_chunk(chunk, fusion_context(model)).values, atol=1e-3)


def test_an_offset_removed_twice_is_refused_by_the_phenology_udf_too() -> None:
    """Where it is given Sentinel-2 instead of a fused series: NDVI above 1 is no measurement, and most values are."""
    green = np.array([0.03, 0.04, 0.05])  # red of vegetation; near infrared 0.4
    red, nir = np.resize(green, 24) - 0.1, np.full(24, 0.4 - 0.1)
    series = mock_cube(t=24, y=2, x=2).isel(bands=[0]).assign_coords(t=DAYS)
    series.values[:] = ((nir - red) / (nir + red))[:, None, None, None]
    with pytest.raises(ContractError, match="outside|beyond|NDVI"):
        season_chunk(series, {})


@pytest.mark.parametrize("removed_again", [0.0, 0.1])
def test_an_offset_that_was_removed_twice_is_seen_in_ndvi(removed_again: float) -> None:
    s2 = simulate_raw(SceneSettings(height=24, width=24, n_days=200), 5).raw.s2
    red, nir = s2.B04 - removed_again, s2.B08 - removed_again
    cube = ((nir - red) / (nir + red)).expand_dims(bands=[S2NDVI]).transpose("t", "bands", "y", "x")
    if removed_again:
        with pytest.raises(ContractError, match="offset of baseline 04.00 seems to be removed twice"):
            refuse_negative_red(cube)
    else:
        refuse_negative_red(cube)
