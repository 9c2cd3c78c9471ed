import numpy as np
import pytest

from fusion.features.calibration import LAPLACE_STD, NORMAL_90, Calibration, covering_factor, covering_noise


def test_ninety_percent_of_a_normal():
    assert pytest.approx(1.6448536, abs=1e-6) == NORMAL_90


def test_covering_factor_covers_ninety_percent():
    rng = np.random.default_rng(0)
    error, sigma = rng.laplace(0, 0.05, 20_000), np.full(20_000, 0.03)
    factor = covering_factor(error, sigma)
    assert np.mean(np.abs(error) <= NORMAL_90 * factor * sigma) == pytest.approx(0.9, abs=1e-3)


def test_covering_noise_covers_ninety_percent_and_is_zero_where_enough():
    rng = np.random.default_rng(1)
    error, sigma = rng.normal(0, 0.05, 20_000), np.full(20_000, 0.03)
    noise = covering_noise(error, sigma)
    assert noise == pytest.approx(0.04, abs=0.002)  # 0.05^2 = 0.03^2 + 0.04^2
    assert covering_noise(error, np.full(20_000, 0.2)) == 0.0


def test_tables_are_interpolated_and_held_at_the_ends():
    table = Calibration((0.0, 10.0), (1.0, 2.0), (0.0, 0.03))
    scale = np.full(4, 0.02, np.float32)
    gap = np.array([0, 5, 10, 500], np.float32)
    np.testing.assert_allclose(
        table.sigma(scale, gap, "ndvi"), 0.02 * LAPLACE_STD * np.array([1, 1.5, 2, 2]), rtol=1e-5
    )
    observation = table.sigma(scale, gap, "observation")
    np.testing.assert_allclose(observation[2], np.hypot(0.04 * LAPLACE_STD, 0.03), rtol=1e-5)
    with pytest.raises(ValueError, match="observation"):
        table.sigma(scale, gap, "truth")
