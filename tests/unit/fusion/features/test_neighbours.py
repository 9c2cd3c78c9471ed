import numpy as np
import pytest

from fusion.features.neighbours import (
    FAR_DAYS,
    find_neighbours,
    gap_to_nearest,
    interpolate_linear,
    later_weight,
    strictly_before_and_after,
)


def holey_series(seed=0, n=30, pixels=40):
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(200, n, replace=False)) + 18_000
    values = rng.uniform(0, 1, (n, pixels)).astype(np.float32)
    values[rng.random((n, pixels)) < 0.5] = np.nan
    return days, values


def test_linear_equals_numpy_pixel_by_pixel():
    days, values = holey_series()
    grid = np.arange(17_990, 18_220, 3)
    found = interpolate_linear(days, values, grid)
    for p in range(values.shape[1]):
        seen = np.isfinite(values[:, p])
        np.testing.assert_allclose(found[:, p], np.interp(grid, days[seen], values[seen, p]), atol=1e-6)


def test_linear_without_an_observation_is_nan():
    assert np.isnan(interpolate_linear(np.array([1, 2]), np.full((2, 3), np.nan), np.array([1, 5]))).all()


def test_neighbours_equal_a_slow_search():
    days, values = holey_series(1)
    valid = np.isfinite(values)
    grid = np.arange(17_995, 18_210, 7)
    near = find_neighbours(valid, days, grid)
    n = len(days)
    for p in range(0, values.shape[1], 7):
        obs = np.flatnonzero(valid[:, p])
        for t, day in enumerate(grid):
            earlier = obs[days[obs] <= day][::-1]
            later = obs[days[obs] > day]
            assert near.before[t, p] == (earlier[0] if len(earlier) else n)
            assert near.before2[t, p] == (earlier[1] if len(earlier) > 1 else n)
            assert near.after[t, p] == (later[0] if len(later) else n)
            assert near.after2[t, p] == (later[1] if len(later) > 1 else n)


def test_gap_is_the_distance_to_the_nearest_observation():
    values = np.array([[np.nan], [0.4], [np.nan], [0.5]])
    gap = gap_to_nearest(np.array([0, 10, 20, 40]), values, np.array([0, 10, 24, 26, 50]))
    np.testing.assert_array_equal(gap[:, 0], [10, 0, 14, 14, 10])
    assert gap_to_nearest(np.array([0]), np.array([[np.nan]]), np.array([3]))[0, 0] == FAR_DAYS


@pytest.mark.parametrize("n", [0, 1, 2, 12])
def test_strict_neighbours_equal_a_slow_search(n):
    valid = np.random.default_rng(n).random((n, 9)) < 0.4
    before, after = strictly_before_and_after(valid)
    assert before.shape == after.shape == (n + 1, 9)
    for k, p in np.ndindex(n, 9):
        assert before[k, p] == max(np.flatnonzero(valid[:k, p]), default=n)
        assert after[k, p] == min(k + 1 + np.flatnonzero(valid[k + 1 :, p]), default=n)
    assert (before[n] == n).all() and (after[n] == n).all()


def test_weight_of_the_later_neighbour():
    before, after = np.array([[3, FAR_DAYS, 4, FAR_DAYS, 0]], np.float32), np.array([[1, 2, FAR_DAYS, FAR_DAYS, 9]])
    np.testing.assert_allclose(later_weight(before, after.astype(np.float32)), [[0.75, 1, 0, 0, 0]])
