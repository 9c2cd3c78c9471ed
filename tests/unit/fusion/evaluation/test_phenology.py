"""Season dates by gap, on curves whose dates are known."""

import numpy as np
import pandas as pd
import pytest

from fusion.contract import S2NDVI
from fusion.evaluation.baselines import Linear
from fusion.evaluation.phenology import (
    OBS,
    PhenologyRules,
    SeasonDates,
    score_seasons,
    season_cases,
    season_dates,
    season_table,
    season_truth,
)
from fusion.evaluation.predictor import Prediction, to_days
from fusion.evaluation.scenes import TruthScene
from tests.unit.fusion.evaluation.cubes import cube_of

DAY0 = int(np.datetime64("2020-01-01", "D").astype(int))
DAYS = np.arange(420)


def season(green: float = 130.0, brown: float = 260.0) -> np.ndarray:
    """A season that rises around ``green`` and falls around ``brown``, daily from 2020-01-01."""
    return 0.15 + 0.65 * (1 / (1 + np.exp(-(DAYS - green) / 8)) - 1 / (1 + np.exp(-(DAYS - brown) / 10)))


def scene_of(curve: np.ndarray, obs_every: int = 5) -> TruthScene:
    truth = np.broadcast_to(curve[:, None, None], (len(curve), 2, 2)).astype(np.float32)
    cube = cube_of({S2NDVI: truth[::obs_every]}, step_days=obs_every)
    return TruthScene("s", cube, DAY0 + DAYS, truth)


class Shifted:
    """A perfect series that is ``days`` late."""

    name = "late"

    def __init__(self, scene: TruthScene, days: int) -> None:
        self.scene, self.days = scene, days

    def predict(self, cube, dates, *, target="ndvi"):
        wanted = np.clip(to_days(dates) - self.days, DAY0, DAY0 + len(DAYS) - 1)
        return Prediction(self.scene.truth_at(wanted), None)


def test_dates_of_a_logistic_season_by_hand():
    # rise from 0.15 to 0.80: a quarter of the amplitude is crossed at green - 8 ln 3 = 121.2; the fall passes 15 %
    # of it at brown + 10 ln(0.85 / 0.15) = 277.3
    found = season_dates(DAY0 + DAYS, season()[:, None]).main()
    assert found.dates["SOS"].item() - DAY0 == pytest.approx(130 - 8 * np.log(3), abs=1.5)
    assert found.dates["EOS"].item() - DAY0 == pytest.approx(260 + 10 * np.log(0.85 / 0.15), abs=1.5)


def test_a_late_series_is_late_by_its_shift():
    scene = scene_of(season())
    rows = score_seasons(scene, Shifted(scene, 12), PhenologyRules(gaps_days=(0, 60)))
    assert set(rows.event) == {"SOS", "peak", "EOS"} and len(rows) == 3 * 2 * 4
    assert rows.error_days.to_numpy() == pytest.approx(12.0, abs=1.0)


def test_the_gap_lies_over_the_event():
    scene, rules = scene_of(season()), PhenologyRules(gaps_days=(0, 60))
    truth = season_truth(scene, rules)
    for case in season_cases(scene, truth, rules):
        assert case.scored.all()
        days = to_days(case.cube.t.values)
        withheld = days[~np.isfinite(case.cube.sel(bands=S2NDVI).values).all(axis=(1, 2))]
        if case.gap_days == 0:
            assert withheld.size == 0
            continue
        centre = truth.season.dates[case.event][0, 0]
        assert withheld.min() <= centre - 24 and withheld.max() >= centre + 24 and np.ptp(withheld) <= 60


def test_observations_without_a_gap_give_the_dates_of_the_truth():
    rows = score_seasons(scene_of(season()), None, PhenologyRules(gaps_days=(0,)))
    assert set(rows.predictor) == {OBS}
    assert np.abs(rows.error_days).max() < 2.0


def test_a_gap_over_green_up_costs_linear_days():
    rows = score_seasons(scene_of(season()), Linear(), PhenologyRules(gaps_days=(0, 90)))
    table = season_table(rows).set_index(["event", "gap_days"])
    assert table.rmse_days["SOS", 0] < 2.0 < table.rmse_days["SOS", 90]


def test_no_season_gives_no_row():
    assert score_seasons(scene_of(np.full(420, 0.2)), Linear(), PhenologyRules()).empty


def test_the_nearest_season_within_reach_is_taken():
    dates = {"SOS": np.array([[10.0], [200.0]]), "EOS": np.array([[90.0], [300.0]])}
    sigmas = {event: np.array([[1.0], [2.0]]) for event in dates}
    both = SeasonDates(dates, sigmas, np.array([[50.0], [250.0]]), np.array([[0.3], [0.6]]), np.ones((2, 1), bool))
    assert both.main().dates["SOS"].item() == 200.0  # the larger amplitude
    assert both.main().sigmas["SOS"].item() == 2.0
    assert both.nearest(np.array([60.0])).dates["SOS"].item() == 10.0
    assert np.isnan(both.nearest(np.array([150.0])).dates["SOS"].item())  # 100 days from either


def test_table_by_hand():
    case = {"scene": "a", "event": "SOS", "gap_days": 60, "pixel": range(4)}
    rows = pd.DataFrame(
        {"predictor": "p", **case, "error_days": [3.0, -4.0, 5.0, np.nan], "sigma_days": [2.0, 2.0, 4.0, 1.0]}
    )
    observations = pd.DataFrame({"predictor": OBS, **case, "error_days": [np.nan, 8.0, -10.0, 20.0], "sigma_days": 1.0})
    table = season_table(pd.concat([rows, observations])).iloc[0]
    assert table.rmse_days == pytest.approx(np.sqrt(50 / 3)) and table.median_absolute_days == 4.0
    assert table.bias_days == pytest.approx(4 / 3) and table.missed_percent == 25.0 and table.n == 4
    assert table.coverage_90 == pytest.approx(200 / 3)  # 4 days lie outside +-1.645 x 2
    assert table.n_both == 2 and table.observations_rmse_ratio == pytest.approx(0.5)  # only pixels 1 and 2 have both
