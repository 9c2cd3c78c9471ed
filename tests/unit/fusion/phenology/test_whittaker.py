"""Whittaker against a dense solve, on regular and irregular dates, with and without numba."""

import numpy as np
import pytest

from fusion.phenology.whittaker import whittaker


def dense(y, w, lam, order=2):
    """Slow oracle: the normal equations as full matrices."""
    d = np.diff(np.eye(len(y)), order, axis=0)
    return np.linalg.solve(np.diag(w) + lam * d.T @ d, w * np.where(w > 0, y, 0))


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_dense_solve(order, use_numba):
    rng = np.random.default_rng(1)
    y, w = rng.normal(size=(40, 21)), rng.uniform(0.1, 3, (40, 21))
    y[rng.random(y.shape) < 0.4] = np.nan
    z = whittaker(y, w, lam=7.0, order=order, use_numba=use_numba)
    for k in range(y.shape[1]):
        np.testing.assert_allclose(
            z[:, k], dense(y[:, k], np.where(np.isnan(y[:, k]), 0, w[:, k]), 7.0, order), atol=1e-9
        )


@pytest.mark.parametrize("use_numba", [False, True])
def test_irregular_days_are_solved_on_the_daily_axis(use_numba):
    rng = np.random.default_rng(2)
    days = np.array([103, 100, 111, 120, 121, 140])
    y = rng.normal(size=6)
    grid = np.arange(98, 150, 4)
    axis, w = np.zeros(49), np.zeros(49)
    axis[days - 98], w[days - 98] = y, 1
    z = whittaker(y, lam=50.0, days=days, grid_days=grid, use_numba=use_numba)
    np.testing.assert_allclose(z, dense(axis, w, 50.0)[grid - 98], atol=1e-9)


def test_duplicate_dates_count_as_their_weighted_mean():
    y, w, days = np.array([0.2, 0.4, 0.6, 0.5]), np.array([1.0, 1.0, 3.0, 1.0]), np.array([0, 10, 10, 20])
    merged = whittaker(np.array([0.2, 0.55, 0.5]), np.array([1.0, 4.0, 1.0]), lam=100, days=np.array([0, 10, 20]))
    np.testing.assert_allclose(whittaker(y, w, lam=100, days=days)[[0, 1, 3]], merged, atol=1e-12)


def test_straight_line_is_kept_and_continued():
    days = np.array([0, 7, 9, 30])
    z = whittaker(0.1 + 0.01 * days, lam=1e4, days=days, grid_days=np.arange(-5, 41))
    np.testing.assert_allclose(z, 0.1 + 0.01 * np.arange(-5, 41), atol=1e-7)


def test_all_nan_stays_nan_and_single_observation_is_constant():
    y = np.full((12, 2, 2), np.nan, np.float32)
    y[4, 1, 1] = 0.5
    for use_numba in (False, True):
        z = whittaker(y, lam=10.0, use_numba=use_numba)
        assert z.dtype == np.float64 and np.isnan(z[:, 0]).all() and np.isnan(z[:, 1, 0]).all()
        np.testing.assert_allclose(z[:, 1, 1], 0.5)


def test_envelope_lies_above_the_plain_curve():
    rng = np.random.default_rng(3)
    y = 0.6 - 0.3 * (rng.random((73, 5)) < 0.2)
    assert (whittaker(y, lam=20, envelope_iterations=3).mean(0) > whittaker(y, lam=20).mean(0) + 0.02).all()


BAD = [
    {"lam": 0},
    {"lam": 1, "order": 4},
    {"lam": 1, "weights": np.ones(3)},
    {"lam": 1, "weights": -np.ones(9)},
    {"lam": 1, "days": np.arange(3)},
    {"lam": 1, "grid_days": np.arange(3)},
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=r"expected|pass"):
        whittaker(np.ones(9), **bad)


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_many_columns_and_a_rest_of_a_block(use_numba, shared):
    """More columns than stand side by side in the compiled kernel, float32, a column-major input."""
    rng = np.random.default_rng(4)
    y = np.asfortranarray(rng.normal(size=(30, 300)).astype(np.float32))
    y[rng.random(y.shape) < 0.3] = np.nan
    w = rng.uniform(0.1, 2, 30) if shared else rng.uniform(0.1, 2, y.shape)
    z = whittaker(y, w, lam=5.0, use_numba=use_numba)
    for k in (0, 127, 128, 255, 256, 299):
        own = np.where(np.isnan(y[:, k]), 0, w if shared else w[:, k])
        np.testing.assert_allclose(z[:, k], dense(y[:, k], own, 5.0), atol=1e-9)
