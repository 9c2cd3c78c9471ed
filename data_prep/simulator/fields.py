"""Random fields in space and time, fast enough for hundreds per scene.

A Gaussian field with squared-exponential correlation is the product A z A', with z white noise on knots and A a
Gaussian basis with rows of unit norm (process convolution, Higdon 2002, doi:10.1007/978-1-4471-0657-9_2).
"""

import numpy as np


def _basis(size: int, length: float) -> np.ndarray:
    step = max(length / 1.5, 1.0)
    knots = np.arange(-2 * length, size + 2 * length + step, step)
    weights = np.exp(-(((np.arange(size)[:, None] - knots) / length) ** 2))
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


def smooth_fields(rng: np.random.Generator, n: int, height: int, width: int, length_px: float) -> np.ndarray:
    """``n`` independent unit-variance Gaussian fields, float32 (n, H, W), with a correlation length in pixels."""
    rows, columns = _basis(height, length_px), _basis(width, length_px)
    white = rng.standard_normal((n, rows.shape[1], columns.shape[1]), dtype=np.float32)
    return rows @ white @ columns.T


def smooth_series(rng: np.random.Generator, n: int, days: int, length_d: float) -> np.ndarray:
    """``n`` independent unit-variance Gaussian series, float32 (n, days), with a correlation length in days."""
    basis = _basis(days, length_d)
    return rng.standard_normal((n, basis.shape[1]), dtype=np.float32) @ basis.T


def autoregressive(rng: np.random.Generator, days: int, memory_d: float) -> np.ndarray:
    """A unit-variance first-order autoregressive daily series whose correlation falls to 1/e in ``memory_d`` days."""
    from scipy.signal import lfilter

    a = np.exp(-1.0 / memory_d)
    white = rng.standard_normal(days)
    white[1:] *= np.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], white)


def draw(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """One uniform random value from a settings range (low, high)."""
    return float(limits[0] + (limits[1] - limits[0]) * rng.random())
