"""The held places as cubes, the scored dates, and the table of the leaderboard, by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.leaderboard.__main__ import GAPS_DAYS, table_of
from benchmarks.leaderboard.coverage import deviations, left_out, one_factor, summary
from benchmarks.leaderboard.sets import RealSet, cube_of, scored_dates
from fusion.contract import check_cube
from fusion.features.calibration import NORMAL_90
from fusion.features.observations import Observations


def observations(days: np.ndarray, radar: bool = True) -> Observations:
    s2 = np.full((len(days), 1, 1), 0.5, np.float32)
    s1 = days + 1 if radar else days[:0]
    vv = np.full((len(s1), 1, 1), -10.0, np.float32)
    return Observations(days, s2, s1, vv, vv - 6, days[:0], s2[:0], 48.9)


def test_each_sensor_keeps_its_dates_in_the_cube():
    cube = cube_of(observations(np.array([18700, 18710])))
    check_cube(cube)
    assert cube.sizes["t"] == 4 and cube.attrs["latitude"] == 48.9
    np.testing.assert_array_equal(cube.sel(bands="S2NDVI").values[:, 0, 0], [0.5, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(cube.sel(bands="VH").values[:, 0, 0], [np.nan, -16, np.nan, -16])
    assert list(cube_of(observations(np.array([18700]), radar=False)).bands.values) == ["S2NDVI"]


def test_only_dates_of_the_months_away_from_the_ends_are_scored():
    days = np.array([f"2021-{month:02d}-10" for month in range(1, 13)], "datetime64[D]").astype(np.int64)
    dates = scored_dates(cube_of(observations(days)), RealSet("x", months=(4, 10), dates=8))
    assert dates == tuple(f"2021-{month:02d}-10" for month in range(4, 11))
    assert len(scored_dates(cube_of(observations(days)), RealSet("x", dates=3))) == 3


def test_scores_count_only_dates_for_which_every_method_has_a_value():
    rows = pd.DataFrame(
        [("a", "d1", 5, "model", 1, 0.1, 0.1, 1, 1), ("a", "d1", 5, "linear", 1, 0.2, -0.2, 0, 0),
         ("b", "d2", 5, "model", 1, 0.3, -0.3, 1, 0), ("b", "d2", 5, "linear", 1, 0.2, 0.2, 0, 0),
         ("b", "d3", 5, "model", 1, 9.0, 9.0, 1, 0), ("b", "d3", 5, "linear", 0, 0.0, 0.0, 0, 0)],
        columns=["site", "date", "gap_days", "predictor", "n", "absolute_error", "error", "n_sigma", "inside_90"],
    )  # fmt: skip
    linear, model = table_of(rows)
    assert (linear["mae"], linear["bias"], linear["covered_90"], linear["places"]) == (0.2, 0.0, None, 2)
    assert model["mae"] == pytest.approx(0.2) and model["bias"] == pytest.approx(-0.1)
    assert model["covered_90"] == 0.5 and model["n"] == 2 and model["mae_90"] == [0.1, 0.3]


def narrow_and_wide(places: int = 40) -> dict[str, pd.DataFrame]:
    """Two sets whose normal errors are 0.5 and 2 times the standard deviation that the network states."""
    rng = np.random.default_rng(0)
    rows = [(f"p{place}", gap) for place in range(places) for gap in GAPS_DAYS for _ in range(100)]
    frames = {}
    for name, size in (("wide", 0.5), ("narrow", 2.0)):
        ratio = np.abs(rng.normal(0, size, len(rows)))
        frames[name] = pd.DataFrame(rows, columns=["place", "gap_days"]).assign(ratio=ratio)
    return frames


def test_a_factor_of_the_own_set_covers_and_one_of_the_other_set_does_not():
    tables = narrow_and_wide()
    assert all(value == pytest.approx(90, abs=1) for value in one_factor(tables["wide"]).values())
    assert left_out(tables, "wide", 5) > 99.9  # four times too wide
    # |z| < 1.645 / 4 of a normal: 31.9 %
    assert left_out(tables, "narrow", 5) == pytest.approx(31.9, abs=2)
    rows = summary(tables)
    (first,) = [row for row in rows if row["set"] == "narrow" and row["gap_days"] == 10]
    assert first["as_is"] == pytest.approx(58.9, abs=2)  # |z| < 1.645 / 2
    assert deviations(rows)["one_factor"]["share_88_to_92"] == 1.0
    assert deviations([{"as_is": 87, "left_out": 90, "one_factor": 91}])["as_is"] == {
        "mean": 3.0, "largest": 3.0, "share_88_to_92": 0.0,
    }  # fmt: skip
    assert pytest.approx(1.645, abs=1e-3) == NORMAL_90
