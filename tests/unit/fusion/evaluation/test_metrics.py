"""Metrics against numbers derived by hand."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from fusion.evaluation.bootstrap import bootstrap_mean, bootstrap_ratio
from fusion.evaluation.metrics import BIAS, COVERAGE, CRPS, HALF_WIDTHS, MAE, R2, RMSE, WIDTH_90, crps, tally

NAN = np.nan


def score(metric, prediction, reference, sigma=None):
    return metric.formula(tally(prediction, reference, sigma))


def test_errors_by_hand():
    # pairs: (0.5, 0.4), (0.2, 0.4), (0.9, 0.6); the others miss a side. errors: 0.1, -0.2, 0.3
    prediction = np.array([[0.5, 0.2, 0.9], [NAN, 0.7, 0.1]])
    reference = np.array([[0.4, 0.4, 0.6], [0.3, NAN, NAN]])
    assert score(MAE, prediction, reference) == pytest.approx(0.6 / 3)
    assert score(BIAS, prediction, reference) == pytest.approx(0.2 / 3)
    assert score(RMSE, prediction, reference) == pytest.approx(np.sqrt((0.01 + 0.04 + 0.09) / 3))
    # mean reference 1.4 / 3; total squares = 0.16 + 0.16 + 0.36 - 1.4^2 / 3 = 0.0266667; R2 = 1 - 0.14 / 0.0266667
    assert score(R2, prediction, reference) == pytest.approx(1 - 0.14 / (0.68 - 1.96 / 3))


def test_nothing_to_score_gives_nan():
    empty = np.full((2, 2), NAN)
    for metric in (MAE, RMSE, BIAS, R2, CRPS, WIDTH_90, *COVERAGE):
        assert np.isnan(score(metric, empty, empty, empty))
    assert np.isnan(score(R2, np.array([0.1, 0.2]), np.array([0.5, 0.5])))


def test_coverage_and_width_by_hand():
    # sigma 0.1, gaussian half widths .0674, .1282, .1645: errors .05 in all, .1 in 80 and 90, .15 in 90, .2 in none
    reference = np.zeros(4)
    prediction = np.array([0.05, -0.1, 0.15, 0.2])
    sigma = np.full(4, 0.1)
    got = [score(metric, prediction, reference, sigma) for metric in COVERAGE]
    assert got == [25.0, 50.0, 75.0]
    assert score(WIDTH_90, prediction, reference, sigma) == pytest.approx(2 * 1.6448536 * 0.1)


def test_sigma_that_is_missing_or_zero_does_not_count():
    sums = tally(np.zeros(3), np.zeros(3), np.array([0.1, 0.0, NAN]))
    assert sums["n"] == 3 and sums["n_sigma"] == 1


@pytest.mark.parametrize("error", [0.0, 0.2, -1.1])
def test_crps_equals_its_integral(error):
    law = norm(scale=0.3)
    # CRPS = integral of (F(z) - 1[z >= y])^2 with the prediction's mean at 0 and the observation at y = -error
    expected = quad(lambda z: law.cdf(z) ** 2, -9, -error)[0] + quad(lambda z: law.sf(z) ** 2, -error, 9)[0]
    assert crps(np.array(error), np.array(0.3)) == pytest.approx(expected, abs=1e-7)


def test_half_widths_hold_their_share():
    for level, half in HALF_WIDTHS.items():
        assert norm.cdf(half) - norm.cdf(-half) == pytest.approx(level / 100)


def test_bootstrap_of_equal_values_is_a_point_and_nan_is_left_out():
    interval = bootstrap_mean(np.array([0.2, 0.2, NAN, 0.2]))
    assert (interval.mean, interval.low, interval.high, interval.units) == pytest.approx((0.2, 0.2, 0.2, 3))
    assert bootstrap_mean(np.array([NAN])).units == 0


def test_bootstrap_matches_the_normal_interval_of_many_values():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    interval = bootstrap_mean(values, draws=4000)
    half = 1.645 * values.std() / np.sqrt(400)
    assert interval.high - interval.mean == pytest.approx(half, rel=0.1)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.1)


def test_pooled_mean_weighs_units_by_their_count():
    # (1 + 9) / (1 + 3): a scene with three times the pixels counts three times
    assert bootstrap_ratio(np.array([1.0, 9.0]), np.array([1.0, 3.0])).mean == pytest.approx(2.5)
