"""Metrics of predicted NDVI against a reference, each with unit and source.

All metrics are computed from sums (:func:`tally`), so that scores of many scenes or dates can be added, grouped and
bootstrapped without storing pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

# half width of the central interval of a Gaussian in standard deviations: the normal quantile at (1 + p) / 2
HALF_WIDTHS = {50: 0.6744897501960817, 80: 1.2815515655446004, 90: 1.6448536269514722}
COVERAGE_LEVELS = tuple(HALF_WIDTHS)

SUMS = (
    "n",
    "error",
    "absolute_error",
    "squared_error",
    "reference",
    "squared_reference",
    "n_sigma",
    "crps",
    "width_90",
    *(f"inside_{level}" for level in COVERAGE_LEVELS),
)


def crps(error: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each value for a Gaussian prediction, NDVI; lower is better.

    Parameters
    ----------
    error : ndarray
        Prediction minus reference.
    sigma : ndarray
        Standard deviation of the predictive distribution, > 0.

    Notes
    -----
    Gneiting and Raftery 2007, doi:10.1198/016214506000001437.
    """
    z = error / sigma
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return sigma * (z * erf(z / np.sqrt(2)) + 2 * density - 1 / np.sqrt(np.pi))


def tally_groups(
    prediction: np.ndarray, reference: np.ndarray, sigma: np.ndarray | None, groups: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Sums per group over the pixels that have both a prediction and a reference.

    Parameters
    ----------
    prediction, reference : ndarray
        NDVI, equal shapes, NaN = missing.
    sigma : ndarray or None
        Standard deviation; only pixels with sigma > 0 count for coverage, CRPS and width.
    groups : int ndarray
        Group of each pixel, same shape, 0 to ``count`` - 1; pixels of a negative group are left out.
    count : int
        Number of groups.

    Returns
    -------
    dict
        Float64 (count,) for every name in :data:`SUMS`.
    """
    pair = np.isfinite(prediction) & np.isfinite(reference) & (groups >= 0)
    group = np.asarray(groups)[pair]
    predicted = np.asarray(prediction, np.float64)[pair] if pair.any() else np.zeros(0)
    observed = np.asarray(reference, np.float64)[pair] if pair.any() else np.zeros(0)

    def total(of: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(of, weights=values, minlength=count).astype(np.float64)

    error = predicted - observed
    sums = {name: np.zeros(count) for name in SUMS}
    sums.update(
        n=total(group),
        error=total(group, error),
        absolute_error=total(group, np.abs(error)),
        squared_error=total(group, error**2),
        reference=total(group, observed),
        squared_reference=total(group, observed**2),
    )
    if sigma is None:
        return sums
    spread = np.asarray(sigma, np.float64)[pair]
    known = np.isfinite(spread) & (spread > 0)
    spread, error, group = spread[known], error[known], group[known]
    sums.update(
        n_sigma=total(group),
        crps=total(group, crps(error, spread)),
        width_90=total(group, 2 * HALF_WIDTHS[90] * spread),
    )
    for level in COVERAGE_LEVELS:
        sums[f"inside_{level}"] = total(group, (np.abs(error) <= HALF_WIDTHS[level] * spread).astype(np.float64))
    return sums


def tally(prediction: np.ndarray, reference: np.ndarray, sigma: np.ndarray | None = None) -> dict[str, float]:
    """:func:`tally_groups` with all pixels in one group, as Python floats."""
    everything = np.zeros(np.shape(prediction), np.int64)
    sums = tally_groups(prediction, reference, sigma, everything, 1)
    return {name: float(values[0]) for name, values in sums.items()}


def divide(total: float, count: float) -> float:
    """``total / count``; NaN if ``count`` is 0."""
    return float(total / count) if count > 0 else float("nan")


def r_squared(sums: Mapping[str, float]) -> float:
    """1 - residual sum of squares / total sum of squares; NaN for fewer than two values or a constant reference."""
    if sums["n"] < 2:
        return float("nan")
    total = sums["squared_reference"] - sums["reference"] ** 2 / sums["n"]
    return float(1 - sums["squared_error"] / total) if total > 1e-12 * max(sums["n"], 1.0) else float("nan")


@dataclass(frozen=True)
class Metric:
    """One metric: name, unit, source, and formula over the sums of :func:`tally`."""

    name: str
    unit: str
    source: str
    formula: Callable[[Mapping[str, float]], float]


def coverage_metric(level: int) -> Metric:
    """Share of references inside the central ``level`` % interval, in percent (ideal: ``level``)."""
    return Metric(
        name=f"coverage_{level}",
        unit="%",
        source="doi:10.1111/j.1467-9868.2007.00587.x",  # Gneiting, Balabdaoui and Raftery 2007
        formula=lambda sums: 100 * divide(sums[f"inside_{level}"], sums["n_sigma"]),
    )


MAE = Metric("mae", "NDVI", "doi:10.3354/cr030079", lambda s: divide(s["absolute_error"], s["n"]))
RMSE = Metric("rmse", "NDVI", "doi:10.5194/gmd-7-1247-2014", lambda s: divide(s["squared_error"], s["n"]) ** 0.5)
BIAS = Metric("bias", "NDVI", "prediction minus reference", lambda s: divide(s["error"], s["n"]))
R2 = Metric("r2", "1", "doi:10.7717/peerj-cs.623", r_squared)
CRPS = Metric("crps", "NDVI", "doi:10.1198/016214506000001437", lambda s: divide(s["crps"], s["n_sigma"]))
WIDTH_90 = Metric("width_90", "NDVI", "mean width of the 90 % interval", lambda s: divide(s["width_90"], s["n_sigma"]))
COVERAGE = tuple(coverage_metric(level) for level in COVERAGE_LEVELS)
METRICS = (MAE, RMSE, BIAS, R2, *COVERAGE, CRPS, WIDTH_90)
