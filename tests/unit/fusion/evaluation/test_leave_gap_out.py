"""Leave-gap-out: which dates, what is withheld, what is scored, and that nothing leaks."""

import numpy as np
import pytest

from fusion.contract import COARSE_NDVI, S2NDVI, VV, ContractError
from fusion.evaluation.baselines import EfastLike, Linear, SavitzkyGolay, Whittaker
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out, scorable_days, season_of
from fusion.evaluation.predictor import Without, to_days
from fusion.evaluation.withholding import composite_end, cut_after, withhold_s2, withhold_window
from tests.unit.fusion.evaluation.cubes import Recorder, cube_of

NAN = np.nan


def three_sensors(seed: int = 0, dates: int = 40):
    random = np.random.default_rng(seed)
    return cube_of(
        {
            S2NDVI: random.uniform(0.2, 0.8, (dates, 3, 3)),
            VV: random.uniform(-15, -8, (dates, 3, 3)),
            COARSE_NDVI: random.uniform(0.2, 0.8, (dates, 3, 3)),
        }
    )


def test_season_of_each_month():
    days = to_days(np.arange("2019-01", "2020-01", dtype="datetime64[M]").astype("datetime64[D]"))
    expected = ["DJF", "DJF", "MAM", "MAM", "MAM", "JJA", "JJA", "JJA", "SON", "SON", "SON", "DJF"]
    assert season_of(days).tolist() == expected


def test_dates_within_the_margin_or_too_cloudy_are_not_scored():
    # 21 dates, 5 days apart: day 0..100; margins of 45 days leave 45, 50, 55; 50 has one of four pixels clear
    values = np.full((21, 2, 2), 0.5)
    values[10] = [[0.5, NAN], [NAN, NAN]]
    cube = cube_of({S2NDVI: values})
    chosen = scorable_days(cube, LeaveGapOut()) - to_days(cube.t.values)[0]
    assert chosen.tolist() == [45, 55]
    assert scorable_days(cube, LeaveGapOut(max_dates=1)).size == 1
    assert scorable_days(cube, LeaveGapOut(dates=("2020-02-20",))).size == 1


def test_pixels_outside_the_field_do_not_make_a_date_cloudy():
    values = np.full((21, 2, 2), 0.5)
    values[:, 0, 0] = NAN  # never seen: outside
    assert scorable_days(cube_of({S2NDVI: values}), LeaveGapOut()).size == 3


def test_nothing_to_score_says_why():
    with pytest.raises(ContractError, match="no date can be scored.*lower min_clear or edge_days"):
        scorable_days(cube_of({S2NDVI: np.full(10, 0.5)}), LeaveGapOut())
    with pytest.raises(ContractError, match="no date can be scored.*0 % clear"):
        scorable_days(cube_of({S2NDVI: np.full(30, NAN)}), LeaveGapOut())
    with pytest.raises(ContractError, match="no S2 observation on"):
        scorable_days(cube_of({S2NDVI: np.full(30, 0.5)}), LeaveGapOut(dates=("2020-01-02",)))


def test_a_window_withholds_observations_and_the_composites_that_overlap_it_but_no_radar():
    cube = three_sensors(dates=11)  # days 0, 5, ... 50
    first = int(to_days(cube.t.values)[0])
    withheld = withhold_window(cube, first + 20, first + 30)
    gone = np.isnan(withheld).all(("y", "x"))
    assert gone.sel(bands=S2NDVI).values.nonzero()[0].tolist() == [4, 5, 6]  # days 20, 25, 30
    # a composite of s .. s + 9 overlaps 20..30 for s in 11..30: stamps 15, 20, 25, 30 (day 0 is 1 January)
    assert gone.sel(bands=COARSE_NDVI).values.nonzero()[0].tolist() == [3, 4, 5, 6]
    assert not gone.sel(bands=VV).any()
    assert np.isfinite(cube).all()  # the cube given stays whole
    assert np.isfinite(withhold_s2(cube, first + 20, first + 30).sel(bands=COARSE_NDVI)).all()


def test_bands_beyond_the_contract_tell_nothing_about_withheld_observations():
    cube = cube_of({S2NDVI: np.full(11, 0.5), "S2_SUSPECT": np.ones(11), VV: np.full(11, -12.0)})
    first = int(to_days(cube.t.values)[0])
    for withheld in (withhold_window(cube, first + 20, first + 30), withhold_s2(cube, first + 20, first + 30)):
        gone = np.isnan(withheld).all(("y", "x"))
        assert gone.sel(bands="S2_SUSPECT").values.nonzero()[0].tolist() == [4, 5, 6]
        assert not gone.sel(bands=VV).any()


def test_cut_after_leaves_only_what_was_known_that_day():
    cube = three_sensors(dates=11)
    known = cut_after(cube, int(to_days(cube.t.values)[6]))  # day 30
    assert known.sizes["t"] == 7
    seen = np.isfinite(known).all(("y", "x"))
    assert seen.sel(bands=S2NDVI).all() and seen.sel(bands=VV).all()
    assert seen.sel(bands=COARSE_NDVI).values.nonzero()[0].tolist() == [0, 1, 2, 3, 4]  # stamp 20 is complete on day 29


def test_the_third_dekad_runs_to_the_end_of_its_month():
    stamps = to_days(np.array(["2020-01-01", "2020-01-11", "2020-01-21", "2020-02-21", "2019-02-21"], "datetime64[D]"))
    ends = composite_end(stamps).astype("datetime64[D]").astype(str).tolist()
    # the dekad of February 2019 has 8 days; ten are assumed at least, which withholds too much rather than too little
    assert ends == ["2020-01-10", "2020-01-20", "2020-01-31", "2020-03-01", "2019-03-02"]


def test_linear_between_the_visible_neighbours_by_hand():
    # a line 0.2 + 0.005 * day with a bump of +0.1 at day 60: withholding the bump's date leaves the line, error -0.1
    day = 5.0 * np.arange(25)
    ndvi = 0.2 + 0.005 * day
    ndvi[12] += 0.1
    rules = LeaveGapOut(gaps_days=(2,), dates=("2020-03-01",))
    frame = leave_gap_out(cube_of({S2NDVI: ndvi}), [Linear()], rules)
    assert frame.mae.item() == pytest.approx(0.1, abs=1e-6)
    assert frame.error.item() / frame.n.item() == pytest.approx(-0.1, abs=1e-6)
    assert frame.visible_gap_days.item() == 5 and frame.season.item() == "MAM"
    # withheld 7 days each side, the dates 55, 60, 65 are gone; the nearest visible ones are 10 days away
    rules = LeaveGapOut(gaps_days=(7,), dates=("2020-03-01",))
    frame = leave_gap_out(cube_of({S2NDVI: ndvi}), [Linear()], rules)
    assert frame.visible_gap_days.item() == 10 and frame.mae.item() == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("gap", [2, 10, 20])
def test_changing_withheld_values_changes_no_prediction(gap):
    cube = three_sensors()
    day = int(to_days(cube.t.values)[20])
    rules = LeaveGapOut(gaps_days=(gap,), dates=(str(np.datetime64(day, "D")),))
    days = to_days(cube.t.values)
    poisoned = cube.copy(deep=True)
    poisoned.loc[{"bands": S2NDVI}] = poisoned.sel(bands=S2NDVI).where(np.abs(cube.t - cube.t[20]).dt.days > gap, 0.99)
    overlap = (days <= day + gap) & (composite_end(days) >= day - gap)
    poisoned.loc[{"bands": COARSE_NDVI}] = poisoned.sel(bands=COARSE_NDVI).where(~overlap[:, None, None], 0.99)
    assert (poisoned != cube).any()
    spies = [Recorder(), Recorder()]
    baselines = [Linear(), Whittaker(100.0), SavitzkyGolay(31), EfastLike()]
    clean, dirty = (leave_gap_out(c, [spy, *baselines], rules) for c, spy in zip((cube, poisoned), spies, strict=True))
    seen = [spy.seen[0][0] for spy in spies]
    np.testing.assert_array_equal(seen[0].values, seen[1].values)
    # the reference of the poisoned cube is 0.99 everywhere: prediction = error + reference must agree
    predictions = [(f.error + f.reference) / f.n for f in (clean, dirty)]
    np.testing.assert_allclose(predictions[0], predictions[1], atol=1e-6)


def test_the_model_is_asked_for_the_sigma_of_an_observation():
    spy = Recorder(sigma=0.1)
    frame = leave_gap_out(three_sensors(), [spy], LeaveGapOut(gaps_days=(2,)))
    assert {target for _, _, target in spy.seen} == {"observation"}
    assert (frame.n_sigma == 9).all()


def test_ablation_takes_bands_away():
    spy = Recorder()
    Without(spy, (VV, "VH"), "minus S1").predict(three_sensors(), np.array(["2020-03-01"], "datetime64[D]"))
    assert spy.seen[0][0].bands.values.tolist() == [S2NDVI, COARSE_NDVI]


def test_all_observations_withheld_gives_nan_and_an_unscored_row():
    values = np.full(40, NAN)
    values[20] = 0.5
    rules = LeaveGapOut(gaps_days=(2,))
    frame = leave_gap_out(cube_of({S2NDVI: values}), [Linear(), EfastLike(), SavitzkyGolay()], rules)
    assert (frame.n == 0).all() and frame.mae.isna().all() and frame.visible_gap_days.isna().all()
