"""Observation operator of a coarse sensor: point-spread function at 300 m, 10-day maximum-value composite.

The PROBA-V point-spread function is modelled as the 300 m pixel box blurred by a Gaussian: a large part of a pixel's
signal comes from outside of it (Huang et al. 2002, doi:10.1016/S0034-4257(01)00298-X). Composites follow Holben 1986
(doi:10.1080/01431168608948945), on the dekads of the PROBA-V S10 product (starting on day 1, 11 and 21 of a month).
"""

import numpy as np
from scipy.special import erf

from fusion.contract import COARSE_COMPOSITE_DAYS, COARSE_PIXEL_M

FINE_PIXEL_M = 10.0  # the grid of the Sentinel-2 red and near-infrared bands, and of the fused NDVI
COARSE_PSF_SIGMA_M = 100.0  # blur in addition to the pixel box; total full width at half maximum about 330 m


def coarse_psf_axis(centres_m: np.ndarray, positions_m: np.ndarray, sigma_m: float, pixel_m: float) -> np.ndarray:
    """Point-spread weights along one axis, shape (coarse, fine); rows are not normalised. All lengths in metres."""
    distance = positions_m[None, :] - centres_m[:, None]
    if sigma_m <= 0:
        return (np.abs(distance) <= pixel_m / 2).astype(float)
    root = np.sqrt(2.0) * sigma_m
    return 0.5 * (erf((distance + pixel_m / 2) / root) - erf((distance - pixel_m / 2) / root))


def coarse_psf_weights(
    rows_m: np.ndarray,
    columns_m: np.ndarray,
    coarse_rows_m: np.ndarray,
    coarse_columns_m: np.ndarray,
    *,
    sigma_m: float = COARSE_PSF_SIGMA_M,
    pixel_m: float = COARSE_PIXEL_M,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Separable weights of the coarse sensor over a fine grid.

    Parameters
    ----------
    rows_m, columns_m : numpy.ndarray
        Positions of the fine pixel centres along each axis, metres, shapes (H,) and (W,).
    coarse_rows_m, coarse_columns_m : numpy.ndarray
        Positions of the coarse pixel centres, metres, shapes (h,) and (w,).
    sigma_m : float
        Standard deviation of the Gaussian blur, metres; 0 for the pixel box alone.
    pixel_m : float
        Side of a coarse pixel, metres.

    Returns
    -------
    row_weights, column_weights : numpy.ndarray
        Shapes (h, H) and (w, W); each row sums to 1 over the part of the function inside the fine grid.
    inside : numpy.ndarray
        Share of each coarse pixel's point-spread function inside the fine grid, shape (h, w), 0..1. Compare composites
        with aggregated fine values only where it is close to 1.
    """
    weights, shares = [], []
    for fine, coarse in ((rows_m, coarse_rows_m), (columns_m, coarse_columns_m)):
        raw = coarse_psf_axis(np.asarray(coarse, float), np.asarray(fine, float), sigma_m, pixel_m)
        step = abs(float(fine[1] - fine[0])) if len(fine) > 1 else pixel_m
        total = raw.sum(axis=1, keepdims=True)
        shares.append(np.clip(total[:, 0] * step / pixel_m, 0.0, 1.0))
        weights.append(raw / np.where(total > 0, total, 1.0))
    return weights[0], weights[1], shares[0][:, None] * shares[1][None, :]


def coarse_aggregate(images: np.ndarray, row_weights: np.ndarray, column_weights: np.ndarray) -> np.ndarray:
    """Fine images (..., H, W) aggregated to the coarse grid, (..., h, w); NaN pixels are left out.

    A coarse pixel is NaN where less than half of its weight falls on finite pixels.
    """
    seen = np.isfinite(images)
    if seen.all():
        return row_weights @ images @ column_weights.T
    total = row_weights @ np.where(seen, images, 0.0) @ column_weights.T
    share = row_weights @ seen.astype(float) @ column_weights.T
    return np.where(share >= 0.5, total / np.maximum(share, 1e-9), np.nan)


def dekad_starts(first_day: int, last_day: int) -> np.ndarray:
    """First days (since 1970-01-01, int64) of the dekads that overlap a period: day 1, 11 and 21 of each month."""
    days = np.arange(int(first_day) - COARSE_COMPOSITE_DAYS, int(last_day) + 1)
    dates = days.astype("datetime64[D]")
    of_month = (dates - dates.astype("datetime64[M]")).astype(int) + 1
    starts = days[np.isin(of_month, (1, 11, 21))]
    begin = max(int(np.searchsorted(starts, first_day, side="right")) - 1, 0)
    return starts[begin:].astype(np.int64)


def maximum_value_composite(days: np.ndarray, obs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Largest observation of each dekad, NaN where a dekad has none.

    Parameters
    ----------
    days : numpy.ndarray
        Sorted days of the observations, shape (n,).
    obs : numpy.ndarray
        NDVI, NaN = no observation, shape (n, ...).
    starts : numpy.ndarray
        First day of each dekad, shape (m,); the last dekad includes all later observations.

    Returns
    -------
    numpy.ndarray
        Shape (m, ...).
    """
    out = np.full((len(starts), *obs.shape[1:]), np.nan, obs.dtype)
    edges = np.append(np.searchsorted(days, starts), len(days))
    for k in range(len(starts)):
        part = obs[edges[k] : edges[k + 1]]
        if len(part):
            best = np.where(np.isfinite(part), part, -np.inf).max(axis=0)
            out[k] = np.where(np.isfinite(best), best, np.nan)
    return out
