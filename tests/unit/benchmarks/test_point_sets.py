"""Tables of single pixels as cubes, and their scores, by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.point_sets import SETS, pixel_cube, scored_dates, table_of
from fusion.contract import check_cube

GRASSLAND, FRANCE = SETS


def table(dates: list[str], ndvi: list[float], **columns) -> pd.DataFrame:
    rows = {"date": pd.to_datetime(dates), "ndvi": ndvi, "vv_db": -10.0, "vh_db": -16.0, "lat": 48.9, **columns}
    return pd.DataFrame(rows)


def test_snow_and_cloud_are_no_observations_and_a_day_is_averaged():
    dates = ["2021-01-05", "2021-06-01", "2021-06-01", "2021-06-11", "2021-11-20"]
    rows = table(dates, [0.1, 0.6, 0.8, 0.7, 0.3], cloud_score=[0.9, 0.9, 0.9, 0.5, 0.9])
    cube = pixel_cube(rows, GRASSLAND)
    check_cube(cube)
    np.testing.assert_allclose(cube.sel(bands="S2NDVI").values[:, 0, 0], [np.nan, 0.7, np.nan, 0.3], rtol=1e-6)
    assert float(cube.sel(bands="VH").min()) == -16.0 and cube.attrs == {"s1_units": "dB", "latitude": 48.9}


def test_dekads_are_dated_by_their_middle_and_hazy_pixels_are_left_out():
    cube = pixel_cube(table(["2022-09-01", "2022-09-11"], [0.5, 0.6], red=[0.05, 0.4]), FRANCE)
    assert [str(day)[:10] for day in cube.t.values] == ["2022-09-06", "2022-09-16"]
    np.testing.assert_allclose(cube.sel(bands="S2NDVI").values[:, 0, 0], [0.5, np.nan])


def test_only_dates_of_the_growing_months_away_from_the_ends_are_scored():
    dates = [f"2021-{month:02d}-10" for month in range(1, 13)]
    cube = pixel_cube(table(dates, [0.5] * 12, cloud_score=1.0), GRASSLAND)
    assert scored_dates(cube, GRASSLAND) == tuple(f"2021-{month:02d}-10" for month in range(4, 11))


def test_scores_count_only_dates_for_which_every_method_has_a_value():
    rows = pd.DataFrame(
        [("a", "d1", 5, "model", 1, 0.1, 1, 1), ("a", "d1", 5, "linear", 1, 0.2, 0, 0),
         ("a", "d2", 5, "model", 1, 0.3, 1, 0), ("a", "d2", 5, "linear", 1, 0.2, 0, 0),
         ("a", "d3", 5, "model", 1, 9.0, 1, 0), ("a", "d3", 5, "linear", 0, 0.0, 0, 0)],
        columns=["site", "date", "gap_days", "predictor", "n", "absolute_error", "n_sigma", "inside_90"],
    )  # fmt: skip
    linear, model = table_of(rows)
    assert linear == {"predictor": "linear", "gap_days": 5, "n": 2, "mae": 0.2, "to_linear": 1.0, "covered_90": None}
    assert model["mae"] == pytest.approx(0.2) and model["covered_90"] == 0.5 and model["n"] == 2
