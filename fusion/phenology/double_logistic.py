"""Double-logistic season curves, fitted to many seasons at once by penalised Gauss-Newton iterations.

Curve (Beck et al. 2006, Remote Sensing of Environment 100, 321, with a separate base on each side):
``y(t) = base + rise * S((t - t1) / k1) - (rise - shift) * S((t - t2) / k2)``, S the logistic function. Parameters are
stored as columns ``base, rise, shift, t1, log k1, t2, log k2``; times in days since the first sample of the season.
"""

import numpy as np

from fusion.phenology.compiled import compiled_kernel
from fusion.phenology.double_logistic_kernel import (
    MIN_GAIN,
    fit_kernel,
    load_window,
    logistics,
    normal_equations,
    solve_lanes,
    update_season,
)

COLUMNS = 7
LOG_K_MIN, LOG_K_MAX = float(np.log(1.5)), float(np.log(45.0))  # k in days: from mowing to evergreen forest
LOG_K_MEAN, LOG_K_SD = float(np.log(11.0)), 0.6  # weak prior of k: a transition (10 to 90 %) takes about 48 d
SHIFT_SD = 0.1  # NDVI, prior of the difference between both bases
LEVEL_SD, TIME_SD = 0.5, 60.0  # priors around the start values, NDVI and days; matter only without observations
MAX_STEP = (0.2, 0.3, 0.15, 15.0, 0.5, 15.0, 0.5)  # largest change of a parameter in one iteration
ITERATIONS = 6  # at most; a season stops once a step gains less than MIN_GAIN
BLOCK = 2048  # seasons at once in the numpy path


def double_logistic(t: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The curve at times ``t``, which broadcast against one season per column; ``theta`` is (M, 7)."""
    base, rise, shift, t1, l1, t2, l2 = theta.T
    s1, s2 = _logistic((t - t1) * np.exp(-l1)), _logistic((t - t2) * np.exp(-l2))
    return base + rise * s1 - (rise - shift) * s2


def _logistic(x: np.ndarray) -> np.ndarray:
    """Logistic function without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -300.0, 300.0)))


def fit_double_logistic(
    obs: np.ndarray,
    sigma: np.ndarray,
    pixel: np.ndarray,
    window: np.ndarray,
    start: np.ndarray,
    *,
    step: float,
    rho: float = 0.0,
    iterations: int = ITERATIONS,
    use_numba: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit a double logistic to every season.

    Parameters
    ----------
    obs, sigma : ndarray, (N, T)
        Values on a regular axis and their standard deviation, NDVI; values that are not finite, or whose sigma is not
        positive and finite, are missing.
    pixel : int ndarray, (M,)
        Row of each season.
    window : int ndarray, (M, 2)
        First and last sample of each season, both inclusive.
    start : ndarray, (M, 7)
        Start values, also the centre of the weak priors of levels and times.
    step : float
        Days between samples.
    rho : float
        Correlation of the errors of neighbouring samples (AR(1)); 0 for independent observations.
    iterations : int
        Maximum number of iterations.
    use_numba : bool, optional
        None uses numba if it is installed.

    Returns
    -------
    theta (M, 7), chol (M, 7, 7), chi2 (M,), typical (M,)
        Parameters, lower Cholesky factor of the inverse covariance, weighted squared residual per observation, mean
        sigma.
    """
    theta = np.array(start, float)
    chol = np.empty((len(theta), COLUMNS, COLUMNS))
    chi2, typical = np.empty(len(theta)), np.empty(len(theta))
    kernel = compiled_kernel(
        fit_kernel, helpers=(load_window, logistics, normal_equations, solve_lanes, update_season), use_numba=use_numba
    )
    if kernel is not None:
        kernel(
            obs, sigma, pixel, window, theta, float(step), float(rho), int(iterations),
            _prior_precision(), _limits(), chol, chi2, typical,
        )  # fmt: skip
        return theta, chol, chi2, typical
    length = int((window[:, 1] - window[:, 0]).max(initial=0)) + 1
    for first in range(0, len(theta), BLOCK):
        part = slice(first, first + BLOCK)
        at = np.minimum(window[part, :1] + np.arange(length), obs.shape[1] - 1)
        z, spread = obs[pixel[part, None], at], sigma[pixel[part, None], at]
        seen = np.isfinite(z) & np.isfinite(spread) & (spread > 0)
        seen &= np.arange(length) <= (window[part, 1] - window[part, 0])[:, None]
        weights = np.divide(1.0, spread, out=np.zeros(z.shape), where=seen)
        typical[part] = np.where(seen, spread, 0.0).sum(1) / np.maximum(seen.sum(1), 1)
        z = np.where(seen, z, 0.0).astype(float)
        fitted = _fit_numpy(z, weights, theta[part], step, rho, iterations)
        theta[part], chol[part], chi2[part] = fitted
    return theta, chol, chi2, typical


def _prior_precision() -> np.ndarray:
    """Prior precision (inverse variance) of each parameter, (7,)."""
    sd = [LEVEL_SD, LEVEL_SD, SHIFT_SD, TIME_SD, LOG_K_SD, TIME_SD, LOG_K_SD]
    return 1.0 / np.square(sd)


def _limits() -> np.ndarray:
    """Largest step of each parameter, then prior mean, minimum and maximum of log k, (10,)."""
    return np.array([*MAX_STEP, LOG_K_MEAN, LOG_K_MIN, LOG_K_MAX])


def _whitening(weights: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Factors of a sample and its predecessor that whiten AR(1) errors, both shaped like ``weights``."""
    before = np.zeros_like(weights)
    before[:, 1:] = weights[:, :-1]
    paired = (before > 0) & (weights > 0)
    scale = np.where(paired, 1 / np.sqrt(1 - rho * rho), 1.0)
    return weights * scale, np.where(paired, rho * before, 0.0) * scale


def _fit_numpy(obs, weights, theta, step, rho, iterations):
    """The numpy path of :func:`fit_double_logistic`."""
    t = step * np.arange(obs.shape[1])
    alpha, beta = _whitening(weights, rho)
    count = np.maximum((weights > 0).sum(1), 1)
    precision, mean = _prior_precision(), theta.copy()
    mean[:, 2] = 0.0
    mean[:, [4, 6]] = LOG_K_MEAN
    result, active = theta.copy(), np.arange(len(theta))
    chol, chi2 = np.empty((len(theta), COLUMNS, COLUMNS)), np.empty(len(theta))
    for _ in range(iterations):
        theta = result[active]
        rise, fall = theta[:, 1], theta[:, 1] - theta[:, 2]
        i1, i2 = np.exp(-theta[:, 4]), np.exp(-theta[:, 6])
        x1, x2 = (t - theta[:, 3:4]) * i1[:, None], (t - theta[:, 5:6]) * i2[:, None]
        s1, s2 = _logistic(x1), _logistic(x2)
        p1, p2 = rise[:, None] * s1 * (1 - s1), fall[:, None] * s2 * (1 - s2)
        rows = [np.ones_like(s1), s1 - s2, s2, -p1 * i1[:, None], -p1 * x1, p2 * i2[:, None], p2 * x2]
        rows.append(obs - theta[:, :1] - rise[:, None] * s1 + fall[:, None] * s2)
        jacobian = np.stack(rows, axis=1)
        white = jacobian * alpha[:, None]
        white[:, :, 1:] -= beta[:, None, 1:] * jacobian[:, :, :-1]
        normal = white @ white.transpose(0, 2, 1)
        hessian = normal[:, :7, :7] + np.diag(precision)
        right = normal[:, :7, 7] + precision * (mean - theta)
        move = np.linalg.solve(hessian, right[:, :, None])[:, :, 0]
        moved = theta + np.clip(move, -np.array(MAX_STEP), MAX_STEP)
        moved[:, [4, 6]] = np.clip(moved[:, [4, 6]], LOG_K_MIN, LOG_K_MAX)
        chol[active] = np.linalg.cholesky(hessian)
        chi2[active] = normal[:, 7, 7] / count[active]
        result[active] = moved
        going = (right * move).sum(1) >= MIN_GAIN
        active = active[going]
        if len(active) == 0:
            break
        obs, alpha, beta, mean = obs[going], alpha[going], beta[going], mean[going]
    return result, chol, chi2
