"""What a back-end hands over, dates and NDVI, is read right or refused in a sentence."""

from collections.abc import Callable

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
from tests.factory import mock_cube
from udf.chunk import in_order, in_time
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
