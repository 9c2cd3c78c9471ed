"""Fit the seasons of a block of pixels: regular axis, detection curve, robust double-logistic fit."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fusion.phenology.detection import detect_seasons, first_guess
from fusion.phenology.double_logistic import double_logistic, fit_double_logistic
from fusion.phenology.settings import SeasonSettings
from fusion.phenology.whittaker import difference_penalty, robust_weights, whittaker

FUSED_LAMBDA = 20.0  # smoothness of the detection curve on a 5-day axis: half power at a period of 66 d
OBS_LAMBDA = 30.0  # the same for single observations (noise, gaps): 74 d
ROBUST_PASSES = 2  # reweighting passes for single observations, against undetected clouds
MIN_OBS = 5  # per series
ERROR_DAYS = 14.0  # correlation time of the errors of a fused series (rho = 0.7 at 5 d)
TUKEY = 4.0  # standard deviations beyond which an observation has weight 0 (biweight)
ROBUST_ROUNDS = 4  # reweighted fits
SCALE_OBS = 4.0  # weight of the assumed error of an observation, as a number of residuals
FOLLOWS = (0.04, 0.12)  # a fit is accepted while the scatter is below 0.04 NDVI + 12 % of the rise
PRODUCT_ROWS = 256
MISFIT = 3.0  # weighted squared residual per sample above which a fused series is fitted robustly too


@dataclass(frozen=True)
class RegularAxis:
    """Regular axis ``first + step * k`` that contains all dates, and the position of every date on it."""

    first: int
    step: int
    length: int
    position: np.ndarray

    @property
    def days(self) -> np.ndarray:
        """Days since 1970-01-01, (length,)."""
        return self.first + self.step * np.arange(self.length)


@dataclass(frozen=True)
class FittedSeasons:
    """One row per season; times in the parameters count from the first sample of its window."""

    pixel: np.ndarray  # (M,)
    window: np.ndarray  # (M, 2) samples, inclusive
    open_edge: np.ndarray  # (M, 2) bool, the series begins or ends without a trough on this side
    theta: np.ndarray  # (M, 7), parameters of double_logistic.py
    chol: np.ndarray  # (M, 7, 7), lower Cholesky factor of the inverse covariance
    error: np.ndarray  # (M,) standard deviation of one observation, NDVI
    follows: np.ndarray  # (M,) bool, the curve follows the observations (see FOLLOWS)


def regular_axis(days: np.ndarray) -> RegularAxis:
    """The coarsest regular axis that contains all (sorted) dates."""
    gaps = np.diff(days)
    step = int(np.gcd.reduce(gaps[gaps > 0])) if (gaps > 0).any() else 1
    position = (days - days[0]) // step
    return RegularAxis(int(days[0]), step, int(position[-1]) + 1, position.astype(np.int64))


def place_obs(axis: RegularAxis, values: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (N, length) on the axis, NaN = missing, and their sigma; observations of one day are averaged."""
    if axis.length == values.shape[1] and (np.diff(axis.position) == 1).all():
        return np.ascontiguousarray(values), None if sigma is None else np.ascontiguousarray(sigma)
    seen = np.isfinite(values)
    parts = [np.where(seen, values, 0.0), seen] + ([] if sigma is None else [np.where(seen, sigma, 0.0)])
    sums = [np.zeros((axis.length, len(values))) for _ in parts]
    for total, part in zip(sums, parts, strict=True):
        np.add.at(total, axis.position, part.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [np.ascontiguousarray((total / sums[1]).T) for total in (sums[0], sums[-1])]
    return means[0], None if sigma is None else means[1]


def detection_curve(axis: RegularAxis, obs: np.ndarray, fused: bool, use_numba: bool | None) -> np.ndarray:
    """Smooth, gap-free curve (N, length); constant before a pixel's first and after its last observation."""
    per_step = len(np.unique(axis.position)) / axis.length
    lam = (FUSED_LAMBDA if fused else OBS_LAMBDA) * (5.0 / axis.step) ** 4 * per_step
    if fused and axis.length > 2:
        whole = np.isfinite(obs).all(1)
        if whole.all():
            return _product(obs, _smoother_matrix(axis.length, lam))
        if whole.any():  # each series in the same way, whatever others the block holds
            curve = np.empty(obs.shape, np.float32)
            for part in (whole, ~whole):
                curve[part] = detection_curve(axis, obs[part], fused, use_numba)
            return curve
    values, weights = obs.T, None
    for _ in range(0 if fused else ROBUST_PASSES):
        weights = robust_weights(values, whittaker(values, weights, lam=lam, use_numba=use_numba), None)
    curve = whittaker(values, weights, lam=lam, use_numba=use_numba).T.copy()
    seen = np.isfinite(obs)
    index, rows = np.arange(axis.length), np.arange(len(obs))
    first, last = seen.argmax(1), axis.length - 1 - seen[:, ::-1].argmax(1)
    curve = np.where(index < first[:, None], curve[rows, first][:, None], curve)
    curve = np.where(index > last[:, None], curve[rows, last][:, None], curve)
    return curve.astype(np.float32) if fused else curve  # as of a gap-free series


def _product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``rows @ matrix`` in float32, by blocks of one size: at the edge of a product BLAS may round differently."""
    filled = np.zeros((-(-len(rows) // PRODUCT_ROWS), PRODUCT_ROWS, rows.shape[1]), np.float32)
    flat = filled.reshape(-1, rows.shape[1])
    flat[: len(rows)] = rows
    return (filled @ matrix.astype(np.float32)).reshape(flat.shape)[: len(rows)]


@lru_cache(maxsize=8)
def _smoother_matrix(length: int, lam: float) -> np.ndarray:
    """Whittaker smoothing of a gap-free series as a symmetric matrix (length, length)."""
    bands = lam * difference_penalty(length, 2)
    matrix = np.diag(1.0 + bands[0])
    for k in (1, 2):
        matrix += np.diag(bands[k, : length - k], k) + np.diag(bands[k, : length - k], -k)
    return np.linalg.inv(matrix)


def find_seasons(curve: np.ndarray, slots: int, settings: SeasonSettings) -> tuple:
    """Find the seasons of detection curves (N, length).

    Returns
    -------
    rows : (pixel, left, peak, right), each int (M,); see :func:`fusion.phenology.detection.detect_seasons`.
    swing, top : range and maximum of every curve, (N,).
    cut : two bool (N,): a peak on the first or last samples was dropped.
    """
    valid = np.isfinite(curve[:, 0])
    safe = curve if valid.all() else np.where(valid[:, None], curve, 0.0)
    top = safe.max(1)
    swing = top - safe.min(1)
    delta = np.maximum(settings.min_amplitude, settings.min_swing * swing)
    left, peak, right, _ = detect_seasons(safe, delta, slots, use_numba=settings.use_numba)
    pixel, slot = np.nonzero(peak >= 0)
    left, peak, right = left[pixel, slot], peak[pixel, slot], right[pixel, slot]
    early, late = peak <= 1, peak >= curve.shape[1] - 2
    cut = np.zeros(len(curve), bool), np.zeros(len(curve), bool)
    cut[0][pixel[early]], cut[1][pixel[late]] = True, True
    inside = np.flatnonzero(~early & ~late)
    rows = pixel[inside], left[inside], peak[inside], right[inside]
    return rows, (swing, np.where(valid, top, np.nan)), cut


def fit_seasons(
    axis: RegularAxis,
    obs: np.ndarray,
    sigma: np.ndarray | None,
    curve: np.ndarray,
    rows: tuple,
    settings: SeasonSettings,
) -> FittedSeasons:
    """Fit a double logistic to every season found on the detection curve ``curve`` (N, length)."""
    pixel, left, peak, right = rows
    step, use_numba = float(axis.step), settings.use_numba
    window, start = first_guess(curve, pixel, left, peak, right, step, use_numba=use_numba)
    error_days = settings.error_days
    if error_days is None:
        error_days = ERROR_DAYS if sigma is not None else 0.0
    rho = float(np.exp(-axis.step / error_days)) if error_days > 0 else 0.0
    if sigma is not None:
        theta, chol, chi2, typical = fit_double_logistic(
            obs, sigma, pixel, window, start, step=step, rho=rho, use_numba=use_numba
        )
        scale = np.ones(len(pixel))
        poor = np.flatnonzero(chi2 > MISFIT)
    else:
        theta, chol, scale = start.copy(), np.empty((len(pixel), 7, 7)), np.ones(len(pixel))
        typical, poor = np.full(len(pixel), settings.obs_sigma), np.arange(len(pixel))
    if len(poor):
        z, spread = _window_values(obs, sigma, pixel[poor], window[poor], settings)
        floor = 0.1 if sigma is None else 1.0
        fitted = _robust_fit(z, spread, window[poor], start[poor], rho, floor, step, use_numba)
        theta[poor], chol[poor], scale[poor] = fitted
    error = scale * typical
    follows = error <= FOLLOWS[0] + FOLLOWS[1] * np.abs(theta[:, 1]) + (typical if sigma is not None else 0)
    edge = np.stack([(window[:, 0] == 0) | (left < 0), (window[:, 1] == axis.length - 1) | (right < 0)], axis=1)
    return FittedSeasons(pixel, window, edge, theta, chol, error, follows)


def _window_values(obs, sigma, pixel, window, settings) -> tuple[np.ndarray, np.ndarray]:
    """Observations (0 where missing) and sigma (infinite where missing or outside) per window, (M, L)."""
    length = int((window[:, 1] - window[:, 0]).max(initial=0)) + 1
    at = np.minimum(window[:, :1] + np.arange(length), obs.shape[1] - 1)
    z = obs[pixel[:, None], at].astype(float)
    spread = np.full(z.shape, settings.obs_sigma) if sigma is None else sigma[pixel[:, None], at].astype(float)
    seen = np.isfinite(z) & np.isfinite(spread) & (spread > 0)
    seen &= np.arange(length) <= (window[:, 1] - window[:, 0])[:, None]
    return np.where(seen, z, 0.0), np.where(seen, spread, np.inf)


def _robust_fit(z, spread, window, theta, rho, floor, step: float, use_numba: bool | None) -> tuple:
    """Iteratively reweighted fit (Tukey's biweight, scale per season); also returns that scale of the errors."""
    t = step * np.arange(z.shape[1])
    seen = np.isfinite(spread)
    count, rows = seen.sum(1), np.arange(len(z))
    window = np.stack([0 * rows, window[:, 1] - window[:, 0]], axis=1)
    scale = np.full(len(z), 2.0)
    for round_number in range(ROBUST_ROUNDS):
        u = np.abs(z - fitted_curve(t, theta)) / spread
        if round_number:
            scale = _robust_scale(u, seen, count, floor)
        robust = np.maximum(1 - np.square(u / (TUKEY * scale[:, None])), 0.0)
        with np.errstate(divide="ignore"):
            weighted = spread * scale[:, None] / robust
        theta, chol, *_ = fit_double_logistic(z, weighted, rows, window, theta, step=step, rho=rho, use_numba=use_numba)
    return theta, chol, scale


def _robust_scale(u: np.ndarray, seen: np.ndarray, count: np.ndarray, floor: float) -> np.ndarray:
    """Robust standard deviation of weighted residuals, from their median size, shrunk towards 1 if there are few."""
    ordered = np.sort(np.where(seen, u, np.inf), axis=1)
    middle = np.take_along_axis(ordered, np.maximum(count // 2, 0)[:, None], axis=1)[:, 0]
    middle = np.where(np.isfinite(middle), middle, 1.0)
    variance = np.square(1.4826 * middle) * count / np.maximum(count - 5.0, 1.0)
    return np.maximum(np.sqrt((count * variance + SCALE_OBS) / (count + SCALE_OBS)), floor)


def fitted_curve(t: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Double-logistic curves of ``theta`` (M, 7) at times ``t``, (M, len(t))."""
    return double_logistic(t[:, None], theta).T
