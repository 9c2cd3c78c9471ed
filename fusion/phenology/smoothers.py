"""Smoothers of irregular, weighted series with gaps: arrays (T, N) at dates in, (G, N) at grid dates out."""

from functools import partial

import numpy as np

from fusion.contract import ContractError
from fusion.phenology.reference import fill_gaps_linear, interpolation_matrix
from fusion.phenology.whittaker import DAILY_LAMBDA, robust_weights, whittaker

SMOOTHERS = ("whittaker", "savitzky_golay", "double_logistic", "spline", "hants", "none")
WINDOW_DAYS = 91  # savitzky_golay, as in the original use case
POLYORDER = 3
HARMONICS = 3  # hants, number of harmonics of one year
YEAR_DAYS = 365.25
HANTS_TOLERANCE = 0.08  # NDVI; observations further below the curve are dropped in each round
HANTS_ROUNDS = 6


def smooth_values(
    days: np.ndarray,
    values: np.ndarray,
    grid_days: np.ndarray,
    *,
    method: str = "whittaker",
    weights: np.ndarray | None = None,
    lam: float = DAILY_LAMBDA,
    window_days: int = WINDOW_DAYS,
    polyorder: int = POLYORDER,
    harmonics: int = HARMONICS,
    envelope_iterations: int = 0,
    robust_iterations: int = 0,
    use_numba: bool | None = None,
) -> np.ndarray:
    """Smooth every series (column).

    Parameters
    ----------
    days : int ndarray, (T,)
        Sorted dates, duplicates allowed.
    values : ndarray, (T, N)
        NaN = missing.
    grid_days : int ndarray, (G,)
        Dates of the result.
    method : str
        One of ``SMOOTHERS`` except ``double_logistic``, see :func:`fusion.phenology.smoothing.smooth`. ``none`` is
        linear interpolation, constant beyond the ends.
    weights : ndarray, (T, N), optional
        Weight of each observation, for example ``1 / sigma**2``.

    Returns
    -------
    ndarray, float64, (G, N)
        NaN for a series without observations.

    Raises
    ------
    ContractError
        Unknown method, or options that do not fit the series.
    """
    days, values, weights = _merge_same_days(np.asarray(days), np.asarray(values, float), weights)
    if method == "whittaker":
        solve = partial(
            whittaker, values, lam=lam, days=days, envelope_iterations=envelope_iterations, use_numba=use_numba
        )
        for _ in range(robust_iterations):
            weights = robust_weights(values, solve(weights), weights)
        return solve(weights, grid_days=grid_days)
    if method == "savitzky_golay":
        return savitzky_golay(days, values, grid_days, weights, window_days, polyorder)
    if method == "spline":
        return smoothing_spline(days, values, grid_days, weights, lam)
    if method == "hants":
        return hants(days, values, grid_days, weights, harmonics)
    if method == "none":
        return interpolation_matrix(days, np.asarray(grid_days)) @ fill_gaps_linear(days, values)
    raise ContractError(f"smoother is {method!r}; expected one of {', '.join(SMOOTHERS)}")


def _merge_same_days(days: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> tuple:
    """Average observations of the same day by weight; their weights are added."""
    if (np.diff(days) > 0).all():
        return days, values, weights
    unique, at = np.unique(days, return_inverse=True)
    seen = np.isfinite(values)
    w = seen.astype(float) if weights is None else np.where(seen, weights, 0.0)
    total, mass = np.zeros((len(unique), values.shape[1])), np.zeros((len(unique), values.shape[1]))
    np.add.at(total, at, w * np.where(seen, values, 0.0))
    np.add.at(mass, at, w)
    merged = np.divide(total, mass, out=np.full_like(total, np.nan), where=mass > 0)
    return unique, merged, None if weights is None else mass


def savitzky_golay(days, values, grid_days, weights, window_days: int, polyorder: int) -> np.ndarray:
    """Savitzky-Golay filter of the linearly interpolated daily series; with weights, a weighted local polynomial."""
    from scipy.signal import savgol_filter  # here: the other smoothers start half a second earlier without it

    if window_days % 2 == 0 or window_days <= polyorder or polyorder < 0:
        raise ContractError(
            f"window_days is {window_days}, polyorder {polyorder}; expected an odd window above the order"
        )
    if weights is not None:
        return _local_polynomial(days, values, grid_days, weights, window_days / 2, polyorder)
    first, last = min(days[0], np.min(grid_days)), max(days[-1], np.max(grid_days))
    if last - first + 1 < window_days:
        raise ContractError(
            f"the series spans {last - first + 1} days; savitzky_golay needs at least window_days = {window_days}; "
            "shorten the window"
        )
    axis = np.arange(first, last + 1)
    operator = savgol_filter(interpolation_matrix(days, axis), window_days, polyorder, axis=0, mode="interp")
    return operator[np.asarray(grid_days) - first] @ fill_gaps_linear(days, values)


def _local_polynomial(days, values, grid_days, weights, half: float, order: int) -> np.ndarray:
    """Weighted polynomial around each date; linear interpolation where a window has too few observations."""
    seen = np.isfinite(values) & (weights > 0)
    w, wy = np.where(seen, weights, 0.0), np.where(seen, weights * np.where(seen, values, 0.0), 0.0)
    mean = w.sum(0) / np.maximum(seen.sum(0), 1)
    w, wy = w / np.where(mean > 0, mean, 1.0), wy / np.where(mean > 0, mean, 1.0)
    offset = (np.asarray(days)[None, :] - np.asarray(grid_days)[:, None]) / half
    near = (np.abs(offset) <= 1).astype(float)
    moments = [(near * offset**k) @ w for k in range(2 * order + 1)]
    rights = [(near * offset**k) @ wy for k in range(order + 1)]
    normal = np.stack([np.stack([moments[i + j] for j in range(order + 1)], -1) for i in range(order + 1)], -2)
    normal += 1e-9 * np.eye(order + 1)
    out = np.linalg.solve(normal, np.stack(rights, -1)[..., None])[..., 0, 0]
    poor = near @ seen.astype(float) <= order + 1
    bridged = interpolation_matrix(days, np.asarray(grid_days)) @ fill_gaps_linear(days, values)
    return np.where(poor | np.isnan(bridged), bridged, out)


def smoothing_spline(days, values, grid_days, weights, lam: float) -> np.ndarray:
    """Natural cubic smoothing spline (scipy), constant beyond the observations; series with equal dates at once."""
    from scipy.interpolate import make_smoothing_spline

    out = np.full((len(grid_days), values.shape[1]), np.nan)
    seen = np.isfinite(values) if weights is None else np.isfinite(values) & (weights > 0)
    x, grid = days.astype(float), np.asarray(grid_days, float)
    if weights is None:
        patterns, group = np.unique(seen, axis=1, return_inverse=True)
        groups = [(patterns[:, g], np.flatnonzero(group.ravel() == g)) for g in range(patterns.shape[1])]
    else:
        groups = [(seen[:, n], np.array([n])) for n in range(values.shape[1])]
    for mask, columns in groups:
        if mask.sum() < 5:
            if mask.any():
                out[:, columns] = values[mask][:, columns].mean(0)
            continue
        w = None if weights is None else weights[mask, columns[0]]
        spline = make_smoothing_spline(x[mask], values[mask][:, columns], w=w, lam=lam)
        out[:, columns] = spline(np.clip(grid, x[mask][0], x[mask][-1]))
    return out


def hants(days, values, grid_days, weights, harmonics: int) -> np.ndarray:
    """Harmonic analysis with rejection of low observations (Roerink et al. 2000, Int. J. Remote Sensing 21, 1911)."""
    if not 1 <= harmonics <= 12:
        raise ContractError(f"harmonics is {harmonics}; expected 1 to 12 per year")
    seen = np.isfinite(values)
    w = seen.astype(float) if weights is None else np.where(seen, weights, 0.0)
    w = w / np.maximum(w.max(0), 1e-30)
    y, basis = np.where(seen, values, 0.0), _harmonic_basis(days, days[0], harmonics)
    damping = 1e-3 * np.diag([0.0, *[1.0] * (2 * harmonics)])
    for round_number in range(HANTS_ROUNDS):
        normal = np.einsum("ti,tn,tj->nij", basis, w, basis, optimize=True) + damping
        normal[:, 0, 0] += 1e-12
        parameters = np.linalg.solve(normal, np.einsum("ti,tn->ni", basis, w * y, optimize=True)[..., None])[..., 0]
        low = (basis @ parameters.T - y > HANTS_TOLERANCE) & (w > 0)
        low &= (w > 0).sum(0) > 2 * harmonics + 5
        if round_number == HANTS_ROUNDS - 1 or not low.any():
            break
        w = np.where(low, 0.0, w)
    out = _harmonic_basis(np.asarray(grid_days), days[0], harmonics) @ parameters.T
    out[:, ~seen.any(0)] = np.nan
    return out


def _harmonic_basis(days, origin, harmonics: int) -> np.ndarray:
    """Constant, cosines and sines of the harmonics of a year, (T, 1 + 2 * harmonics)."""
    phase = 2 * np.pi * (np.asarray(days, float) - origin)[:, None] / YEAR_DAYS * np.arange(1, harmonics + 1)
    return np.concatenate([np.ones((len(phase), 1)), np.cos(phase), np.sin(phase)], axis=1)
