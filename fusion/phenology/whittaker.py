"""Whittaker smoother: penalised least squares on a regular axis, batched over pixels, NaN = missing.

Minimises ``sum w (y - z)^2 + lam * sum (difference of given order of z)^2`` (Eilers 2003, Analytical Chemistry 75,
3631; upper envelope by asymmetric weights: Atzberger and Eilers 2011, Int. J. Digital Earth 4, 365).
"""

from functools import lru_cache
from math import comb

import numpy as np

from fusion.phenology.compiled import compiled_kernel

DAILY_LAMBDA = 2500.0  # on the daily axis: half power at a period of 44 d for daily observations
ENVELOPE_WEIGHT = 0.1 / 0.9  # weight of observations below the curve relative to those above (asymmetry 0.9)
BLOCK = 4096  # pixels per block, limits the memory on a daily axis
LANES = 128  # pixels per pass of the compiled kernel, contiguous in memory for vectorisation


def whittaker(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    lam: float,
    days: np.ndarray | None = None,
    grid_days: np.ndarray | None = None,
    order: int = 2,
    envelope_iterations: int = 0,
    use_numba: bool | None = None,
) -> np.ndarray:
    """Smooth every series along axis 0.

    Parameters
    ----------
    values : ndarray, (T, ...)
        NaN or infinite = missing.
    weights : ndarray, (T,) or the shape of ``values``, optional
        Relative weight of each observation, >= 0; NaN counts as 0. ``1 / sigma**2`` for known errors.
    lam : float
        Smoothness, > 0. With ``days`` it refers to the daily axis, independent of the dates.
    days, grid_days : int ndarray, (T,) and (G,), optional
        Dates of the observations in whole days, in any order, duplicates allowed (their weighted mean is used), and
        dates of the result (default ``days``). Beyond the observations the curve is a straight line (``order=2``).
        Without ``days`` the observations are equidistant and the axis is the index.
    order : {1, 2, 3}
        Order of the penalised differences.
    envelope_iterations : int
        Iterations that reduce the weight of observations below the curve to 1/9, for an upper envelope.
    use_numba : bool, optional
        None uses numba if it is installed; results agree to rounding.

    Returns
    -------
    ndarray, float64, (G, ...)
        NaN where a series has no observations; their weighted mean where it has fewer than ``order``.

    Raises
    ------
    ValueError
        Wrong shapes, ``lam``, ``order`` or ``weights``.
    """
    values = np.asarray(values)
    _check(values, weights, lam, days, grid_days, order)
    y = values.reshape(len(values), -1)
    w = None if weights is None else np.asarray(weights, float).reshape(len(y), -1)
    if days is None and envelope_iterations == 0:
        return _solve(y, w, lam, order, use_numba).reshape(values.shape)
    at, length, wanted = _axis(len(y), days, grid_days)
    out = np.empty((len(wanted), y.shape[1]))
    for first in range(0, y.shape[1], BLOCK):
        part = slice(first, first + BLOCK)
        obs, weight = _place(y[:, part], w if w is None or w.shape[1] == 1 else w[:, part], at, length)
        z = _solve(obs, weight, lam, order, use_numba)
        for _ in range(envelope_iterations):
            upper = np.where(obs < z, ENVELOPE_WEIGHT * weight, weight)
            z = _solve(obs, upper, lam, order, use_numba)
        out[:, part] = z[wanted]
    return out.reshape(-1, *values.shape[1:])


def robust_weights(values: np.ndarray, curve: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Weights times Tukey's biweight (4 standard deviations) of the residuals over their median size per series."""
    residual = np.abs(values - curve)
    seen = np.isfinite(residual)
    middle = np.minimum(seen.sum(axis=0) // 2, len(residual) - 1)
    ordered = np.sort(np.where(seen, residual, np.inf), axis=0)
    scale = np.maximum(1.4826 * np.take_along_axis(ordered, middle[None], axis=0)[0], 0.005)
    share = np.square(np.maximum(1 - np.square(residual / (4 * scale)), 0.0))
    return np.where(seen, share if weights is None else share * weights, 0.0)


def _check(values, weights, lam, days, grid_days, order) -> None:
    """Refuse inconsistent arguments."""
    if values.ndim == 0 or values.shape[0] == 0:
        raise ValueError(f"values have shape {values.shape}; expected time as axis 0 with at least one observation")
    if not (np.isfinite(lam) and lam > 0):
        raise ValueError(f"lam is {lam}; expected a positive number")
    if order not in (1, 2, 3):
        raise ValueError(f"order is {order}; expected 1, 2 or 3")
    if weights is not None:
        shape = np.shape(weights)
        if shape not in ((len(values),), values.shape):
            raise ValueError(f"weights have shape {shape}; expected {(len(values),)} or {values.shape}")
        if (np.asarray(weights) < 0).any():
            raise ValueError("weights hold negative numbers; expected >= 0, for example 1 / sigma**2")
    if days is not None and np.shape(days) != (len(values),):
        raise ValueError(f"days have shape {np.shape(days)}; expected {(len(values),)}, one date per observation")
    if days is None and grid_days is not None:
        raise ValueError("grid_days is given without days; pass the dates of the observations too")


def _axis(length: int, days, grid_days) -> tuple[np.ndarray, int, np.ndarray]:
    """Positions of the observations, length of the daily axis, and positions of the result on it."""
    days = np.arange(length) if days is None else np.asarray(days)
    grid = days if grid_days is None else np.asarray(grid_days)
    first, last = min(days.min(), grid.min()), max(days.max(), grid.max())
    return (days - first).astype(np.int64), int(last - first) + 1, (grid - first).astype(np.int64)


def _place(y: np.ndarray, w: np.ndarray | None, at: np.ndarray, length: int) -> tuple:
    """Observations (0 where missing) and weights (0 where missing) on the axis; duplicates are averaged."""
    obs, weight = _seen(y, w)
    total, mass = np.zeros((length, y.shape[1])), np.zeros((length, y.shape[1]))
    if len(np.unique(at)) == len(at):
        total[at], mass[at] = obs, weight
        return total, mass
    np.add.at(total, at, obs * weight)
    np.add.at(mass, at, weight)
    return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0), mass


def _seen(y: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Observations and weights of the same shape, 0 where missing."""
    seen = np.isfinite(y)
    weight = seen.astype(float) if w is None else np.where(seen & np.isfinite(w), w, 0.0)
    return np.where(seen, y, 0.0).astype(float, copy=False), weight


@lru_cache(maxsize=16)
def difference_penalty(length: int, order: int) -> np.ndarray:
    """Diagonals of D'D: row k holds the entries (i, i + k), zero-padded at the end; shape (order + 1, length)."""
    bands = np.zeros((order + 1, length))
    row = [(-1) ** (order - j) * comb(order, j) for j in range(order + 1)]
    for start in range(length - order):
        for j in range(order + 1):
            for k in range(order + 1 - j):
                bands[k, start + j] += row[j] * row[j + k]
    return bands


def _solve(y: np.ndarray, w: np.ndarray | None, lam: float, order: int, use_numba: bool | None) -> np.ndarray:
    """Solve (W + lam D'D) z = W y for every column; y is (T, N), w (T, N), (T, 1) or None; NaN = missing."""
    bands = lam * difference_penalty(len(y), order)
    kernel = compiled_kernel(_solve_kernel, use_numba=use_numba) if order == 2 else None
    z, count = np.empty(y.shape), np.empty(y.shape[1], np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kernel is not None:
            shared = np.ones((len(y), 1)) if w is None else w
            kernel(np.ascontiguousarray(y), np.ascontiguousarray(shared), bands, z, count)
        for first in range(0, y.shape[1] if kernel is None else 0, BLOCK):
            part = slice(first, first + BLOCK)
            obs, weight = _seen(y[:, part], w if w is None or w.shape[1] == 1 else w[:, part])
            z[:, part], count[part] = _solve_numpy(obs, weight, bands), np.count_nonzero(weight, axis=0)
        poor = np.flatnonzero((count < order) | (len(y) <= order))
        if len(poor):
            values, weight = _seen(y[:, poor], w if w is None or w.shape[1] == 1 else w[:, poor])
            z[:, poor] = (weight * values).sum(0) / weight.sum(0)
    return z


def _solve_numpy(y: np.ndarray, w: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Banded LDL' factorisation along time, all pixels at once; any order."""
    order, length = len(bands) - 1, len(y)
    d, z = np.empty(y.shape), np.empty(y.shape)
    low = np.zeros((order + 1, *y.shape))  # low[k, i] = L[i + k, i]
    for i in range(length):
        back = min(order, i)
        d[i] = w[i] + bands[0, i]
        z[i] = w[i] * y[i]
        for j in range(1, back + 1):
            d[i] -= low[j, i - j] ** 2 * d[i - j]
            z[i] -= low[j, i - j] * z[i - j]
        for k in range(1, order + 1):
            entry = np.full(y.shape[1], bands[k, i])
            for j in range(1, min(order - k, i) + 1):
                entry -= low[j, i - j] * d[i - j] * low[j + k, i - j]
            low[k, i] = entry / d[i]
    z /= d
    for i in range(length - 2, -1, -1):
        for k in range(1, min(order, length - 1 - i) + 1):
            z[i] -= low[k, i] * z[i + k]
    return z


def _solve_kernel(y, w, bands, z, count):
    """Order 2, for numba: recursion over time, inner loops over neighbouring pixels.

    A row of ``state`` holds, for all lanes: weight (then the first subdiagonal of L), weighted observation (then the
    second), the right side (then the curve), and the first subdiagonal times its pivot. One buffer of fixed width
    lets the compiler vectorise the loops.
    """
    lanes, shared = LANES, w.shape[1] == 1
    length, pixels = y.shape
    state = np.zeros((length + 4, 4 * lanes))
    for first in range(0, pixels, lanes):
        n = min(lanes, pixels - first)
        tally = count[first : first + n]
        tally[:] = 0
        for i in range(length):
            b0, b1, b2 = bands[0, i], bands[1, i], bands[2, i]
            second = bands[2, i - 2] if i > 1 else 0.0  # L[i, i - 2] times the pivot of i - 2
            here, back, far = state[i + 2], state[i + 1], state[i]
            obs = y[i, first : first + n]
            for p in range(n):
                weight = w[i, 0] if shared else w[i, first + p]
                valid = obs[p] - obs[p] == 0 and weight > 0  # finite, and weight no NaN
                here[p] = weight if valid else 0.0
                here[lanes + p] = weight * obs[p] if valid else 0.0
                tally[p] += 1 if valid else 0
            for p in range(lanes):
                pair = back[3 * lanes + p]
                inverse = 1.0 / (here[p] + b0 - back[p] * pair - far[lanes + p] * second)
                product = b1 - pair * back[lanes + p]
                right = (here[lanes + p] - pair * back[2 * lanes + p] - second * far[2 * lanes + p]) * inverse
                here[p] = product * inverse
                here[lanes + p] = b2 * inverse
                here[2 * lanes + p] = right
                here[3 * lanes + p] = product
        for i in range(length - 1, -1, -1):
            here, after, far = state[i + 2], state[i + 3], state[i + 4]
            out = z[i, first : first + n]
            for p in range(n):
                value = here[2 * lanes + p] - here[p] * after[2 * lanes + p] - here[lanes + p] * far[2 * lanes + p]
                here[2 * lanes + p] = value
                out[p] = value
