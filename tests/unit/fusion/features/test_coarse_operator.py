"""The coarse sensor's operator: conserved means, hand-computed composites, calendar dekads."""

import numpy as np
import pytest

from fusion.features.coarse_operator import (
    coarse_aggregate,
    coarse_psf_weights,
    dekad_starts,
    maximum_value_composite,
)


def grid(size: int, pixel_m: float = 10.0) -> np.ndarray:
    return (np.arange(size) + 0.5) * pixel_m


@pytest.mark.parametrize("sigma_m", [0.0, 70.0, 150.0])
def test_point_spread_function_conserves_means(sigma_m):
    """Weights of a pixel sum to one; the mean of a periodic image survives; a constant image stays."""
    rows, columns = grid(240), grid(200)
    a, b, inside = coarse_psf_weights(rows, columns, grid(8, 300.0), grid(6, 300.0), sigma_m=sigma_m)
    np.testing.assert_allclose(a.sum(axis=1), 1)
    np.testing.assert_allclose(b.sum(axis=1), 1)
    np.testing.assert_allclose(coarse_aggregate(np.full((240, 200), 0.37), a, b), 0.37)
    assert inside[3, 3] == pytest.approx(1.0, abs=0.01) and inside.max() <= 1
    if sigma_m:
        assert inside[0, 0] < inside[3, 3]


def test_box_is_a_plain_mean():
    image = np.random.default_rng(0).random((60, 90))
    a, b, _ = coarse_psf_weights(grid(60), grid(90), grid(2, 300.0), grid(3, 300.0), sigma_m=0.0)
    expected = image.reshape(2, 30, 3, 30).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse_aggregate(image, a, b), expected)


def test_missing_pixels_are_left_out():
    image = np.full((30, 30), 0.5)
    image[:10] = np.nan
    a, b, _ = coarse_psf_weights(grid(30), grid(30), np.array([150.0]), np.array([150.0]), sigma_m=0.0)
    np.testing.assert_allclose(coarse_aggregate(image, a, b), [[0.5]])
    image[:20] = np.nan
    assert np.isnan(coarse_aggregate(image, a, b)).all()  # less than half of the weight is left


def test_dekads_of_a_leap_february():
    first, last = (np.datetime64(d).astype(int) for d in ("2020-02-15", "2020-03-12"))
    starts = dekad_starts(first, last).astype("datetime64[D]").astype(str).tolist()
    assert starts == ["2020-02-11", "2020-02-21", "2020-03-01", "2020-03-11"]


def test_composite_takes_the_largest_observation():
    days = np.array([0, 4, 9, 10, 25])
    obs = np.array([[0.2, np.nan], [0.5, np.nan], [0.3, np.nan], [0.1, 0.4], [0.9, 0.8]])
    out = maximum_value_composite(days, obs, np.array([0, 10, 20]))
    np.testing.assert_array_equal(out, [[0.5, np.nan], [0.1, 0.4], [0.9, 0.8]])
