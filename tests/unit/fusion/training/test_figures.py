"""Example figures of a run: what is withheld is withheld, and the panels show what they say."""

from types import SimpleNamespace

import numpy as np
import pytest

from fusion.contract import S2NDVI
from fusion.evaluation.predictor import to_days
from fusion.training.figures import (
    FEW_OBS,
    WINDOW_DAYS,
    draw_maps,
    draw_series,
    fullest_window,
    make_example,
    map_day,
)
from tests.factory import mock_observations, mock_truth
from tests.unit.fusion.evaluation.cubes import Recorder

DAY0 = int(np.datetime64("2019-03-01", "D").astype(int))


def scene(truth: bool = True, t: int = 40, **more):
    obs = mock_observations(t=t, y=8, x=12, cloud=0.3, **more)
    days = DAY0 + np.arange(5 * t)
    return SimpleNamespace(
        observations=obs,
        truth_days=days if truth else None,
        truth=mock_truth(days, 8, 12) if truth else None,
    )


def test_the_window_with_most_observations_is_withheld_and_both_ends_stay():
    days = np.arange(0, 200, 5)
    clear = np.where((days >= 100) & (days < 160), 10, 1)
    assert fullest_window(days, clear) == (100, 159)
    clear[0] = clear[-1] = 1000  # the ends hold most, yet they are never withheld
    first, last = fullest_window(days, clear)
    assert first > days[0] and last < days[-1] and last - first == WINDOW_DAYS - 1
    assert fullest_window(np.array([0, 10, 20, 30]), np.ones(4)) == (10, 20)  # shorter than the window


def test_the_map_shows_a_clear_observation_near_the_middle():
    days = np.array([0, 20, 30, 60])
    obs = np.full((4, 2, 2), 0.5)
    assert map_day(days, obs) == 20 or map_day(days, obs) == 30
    obs[2, 0] = np.nan
    assert map_day(days, obs) == 20


def test_the_predictor_sees_no_withheld_observation_and_is_asked_for_the_signal():
    spy = Recorder(0.5, sigma=0.1)
    example = make_example(scene(), spy)
    seen, dates, target = spy.seen[0]
    first, last = example.window
    days = to_days(seen.t.values)
    inside = (days >= first) & (days <= last)
    assert inside.any() and np.isnan(seen.sel(bands=S2NDVI).values[inside]).all()
    assert target == "ndvi"
    assert first <= example.days[example.row] <= last
    assert to_days(dates)[example.row] == example.days[example.row]
    assert set(example.withheld[0]) <= set(range(first, last + 1)) and not set(example.shown[0]) & set(
        example.withheld[0]
    )
    truth = mock_truth(example.days, 8, 12)
    np.testing.assert_allclose(example.reference, truth, atol=1e-6)


@pytest.mark.parametrize("late_days", range(5))
def test_truth_of_every_fifth_day_is_shown_on_its_days_only(late_days):
    whole = scene()
    rows = slice(late_days, None, 5)
    stored = SimpleNamespace(
        observations=whole.observations, truth_days=whole.truth_days[rows], truth=whole.truth[rows]
    )
    example = make_example(stored, Recorder(0.5, sigma=0.1))
    assert np.isfinite(example.reference).all(axis=(1, 2)).mean() > 0.9  # all but an end
    assert np.isfinite(example.reference[example.row]).all()
    known = np.isfinite(example.reference[:, 0, 0])
    np.testing.assert_allclose(example.reference[known], mock_truth(example.days, 8, 12)[known], atol=1e-6)


def test_without_truth_the_withheld_observation_of_the_date_is_the_reference():
    spy = Recorder(0.5, sigma=0.1)
    example = make_example(scene(truth=False), spy)
    assert spy.seen[0][2] == "observation" and not example.has_truth
    known = np.isfinite(example.reference).any(axis=(1, 2))
    assert np.flatnonzero(known).tolist() == [example.row]
    observation = example.withheld[1][np.searchsorted(example.withheld[0], example.days[example.row])]
    np.testing.assert_array_equal(example.reference[example.row], observation)


def test_a_scene_with_few_observations_is_passed_over():
    assert make_example(scene(t=FEW_OBS - 1), Recorder()) is None


@pytest.mark.parametrize("truth", [True, False])
def test_panels_hold_what_their_titles_say(truth):
    example = make_example(scene(truth=truth), Recorder(0.5, sigma=0.1))
    panels = {axis.get_title(): axis.images[0].get_array() for axis in draw_maps(example).axes if axis.images}
    reference = panels["truth" if truth else "withheld observation"]
    error = np.ma.masked_invalid(0.5 - reference)
    np.testing.assert_allclose(panels["model - reference"], error, atol=1e-6)
    assert (panels["sigma"] == 0.1).all() and (panels["model"] == 0.5).all()
    axes = draw_series(example).axes
    labels = [line.get_label() for line in axes[0].lines]
    assert labels == [*(["truth"] if truth else []), "linear", "model", "observation", "withheld observation"]
    assert len(axes) == 4
