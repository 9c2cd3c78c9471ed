"""Bootstrap intervals over independent units (dates or scenes) rather than pixels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval and number of units (dates or scenes)."""

    mean: float
    low: float
    high: float
    units: int


def bootstrap_mean(values: np.ndarray, *, level: float = 0.9, draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean of ``values`` (Efron 1979, doi:10.1214/aos/1176344552); NaN is left out."""
    return bootstrap_ratio(values, np.isfinite(values).astype(float), level=level, draws=draws, seed=seed)


def bootstrap_ratio(
    totals: np.ndarray, counts: np.ndarray, *, level: float = 0.9, draws: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the pooled mean ``sum(totals) / sum(counts)``, over units drawn with replacement.

    Parameters
    ----------
    totals, counts : ndarray
        Shape (units,). Units without a count, or with a NaN total, are left out.
    level : float
        Probability inside the interval.
    draws, seed : int
        Number of resamples, and seed of the random numbers.
    """
    totals, counts = np.asarray(totals, np.float64), np.asarray(counts, np.float64)
    known = np.isfinite(totals) & (counts > 0)
    totals, counts = totals[known], counts[known]
    if totals.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    picks = np.random.default_rng(seed).integers(totals.size, size=(draws, totals.size))
    means = totals[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(totals.sum() / counts.sum()), float(low), float(high), int(totals.size))
