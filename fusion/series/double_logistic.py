"""Double-logistic season curve, fitted to many seasons at once by penalised Gauss-Newton.

Curve (Beck et al. 2006, Remote Sensing of Environment 100, 321, with a base of its own on each side):
``y(t) = base + rise * S((t - t1) / k1) - (rise - shift) * S((t - t2) / k2)``, S the logistic function. Parameters are
held as columns ``base, rise, shift, t1, log k1, t2, log k2``; times in days since the first sample of the season.
"""

import numpy as np

from fusion.series.compiled import compiled_kernel

DL_COLUMNS = 7
DL_LOG_K_MIN, DL_LOG_K_MAX = float(np.log(1.5)), float(np.log(45.0))  # days; from mowing to evergreen forest
DL_LOG_K_MEAN, DL_LOG_K_SD = float(np.log(11.0)), 0.6  # weak prior: a transition (10 to 90 %) takes about 48 d
DL_SHIFT_SD = 0.1  # NDVI, prior of the difference between both bases
DL_LEVEL_SD, DL_TIME_SD = 0.5, 60.0  # NDVI and days around the start values; only bind where looks are lacking
DL_STEP = (0.2, 0.3, 0.15, 15.0, 0.5, 15.0, 0.5)  # largest change of a parameter in one iteration
DL_ITERATIONS = 6  # at most; a season is done once a step gains less than DL_GAIN
DL_GAIN = 0.1  # of the weighted sum of squares: the step is below 0.3 standard deviations, the next one negligible
DL_BLOCK = 2048  # seasons at once in the numpy path


def double_logistic(t: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The curve at times ``t`` (..., broadcast against one season a column); ``theta`` is (M, 7)."""
    base, rise, shift, t1, l1, t2, l2 = theta.T
    s1, s2 = dl_logistic((t - t1) * np.exp(-l1)), dl_logistic((t - t2) * np.exp(-l2))
    return base + rise * s1 - (rise - shift) * s2


def dl_logistic(x: np.ndarray) -> np.ndarray:
    """Logistic function without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -300.0, 300.0)))


def fit_double_logistic(
    looks: np.ndarray,
    sigma: np.ndarray,
    pixel: np.ndarray,
    window: np.ndarray,
    start: np.ndarray,
    *,
    step: float,
    rho: float = 0.0,
    iterations: int = DL_ITERATIONS,
    use_numba: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit every season.

    Parameters
    ----------
    looks, sigma : ndarray, (N, T)
        Values on a regular axis and their standard deviation; a look without finite value and positive, finite sigma
        is missing.
    pixel : int ndarray, (M,)
        Row of each season.
    window : int ndarray, (M, 2)
        First and last sample of each season, both inclusive.
    start : ndarray, (M, 7)
        First guess, also the centre of the weak priors of levels and times.
    step : float
        Days between samples.
    rho : float
        Correlation of the errors of neighbouring samples (AR(1)); 0 for independent looks.

    Returns
    -------
    theta (M, 7), chol (M, 7, 7), chi2 (M,)
        Parameters, lower Cholesky factor of the inverse covariance, weighted squared residual per look.
    """
    theta = np.array(start, float)
    chol, chi2 = np.empty((len(theta), DL_COLUMNS, DL_COLUMNS)), np.empty(len(theta))
    kernel = compiled_kernel(dl_fit_kernel, helpers=(dl_sums, dl_solve), use_numba=use_numba)
    if kernel is not None:
        kernel(
            looks, sigma, pixel, window, theta, float(step), float(rho), int(iterations),
            dl_precision(), dl_limits(), chol, chi2,
        )  # fmt: skip
        return theta, chol, chi2
    length = int((window[:, 1] - window[:, 0]).max(initial=0)) + 1
    for first in range(0, len(theta), DL_BLOCK):
        part = slice(first, first + DL_BLOCK)
        at = np.minimum(window[part, :1] + np.arange(length), looks.shape[1] - 1)
        z, spread = looks[pixel[part, None], at], sigma[pixel[part, None], at]
        seen = np.isfinite(z) & np.isfinite(spread) & (spread > 0)
        seen &= np.arange(length) <= (window[part, 1] - window[part, 0])[:, None]
        weights = np.divide(1.0, spread, out=np.zeros(z.shape), where=seen)
        z = np.where(seen, z, 0.0).astype(float)
        fitted = dl_fit_numpy(z, weights, theta[part], step, rho, iterations)
        theta[part], chol[part], chi2[part] = fitted
    return theta, chol, chi2


def dl_precision() -> np.ndarray:
    """Prior precision of each parameter."""
    sd = [DL_LEVEL_SD, DL_LEVEL_SD, DL_SHIFT_SD, DL_TIME_SD, DL_LOG_K_SD, DL_TIME_SD, DL_LOG_K_SD]
    return 1.0 / np.square(sd)


def dl_limits() -> np.ndarray:
    """Largest step of each parameter, then prior mean and bounds of log k."""
    return np.array([*DL_STEP, DL_LOG_K_MEAN, DL_LOG_K_MIN, DL_LOG_K_MAX])


def dl_whitening(weights: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Factors of a sample and of its predecessor that turn AR(1) errors into independent ones."""
    before = np.zeros_like(weights)
    before[:, 1:] = weights[:, :-1]
    paired = (before > 0) & (weights > 0)
    scale = np.where(paired, 1 / np.sqrt(1 - rho * rho), 1.0)
    return weights * scale, np.where(paired, rho * before, 0.0) * scale


def dl_fit_numpy(looks, weights, theta, step, rho, iterations):
    """The numpy path of :func:`fit_double_logistic`."""
    t = step * np.arange(looks.shape[1])
    alpha, beta = dl_whitening(weights, rho)
    count = np.maximum((weights > 0).sum(1), 1)
    precision, mean = dl_precision(), theta.copy()
    mean[:, 2] = 0.0
    mean[:, [4, 6]] = DL_LOG_K_MEAN
    result, active = theta.copy(), np.arange(len(theta))
    chol, chi2 = np.empty((len(theta), DL_COLUMNS, DL_COLUMNS)), np.empty(len(theta))
    for _ in range(iterations):
        theta = result[active]
        rise, fall = theta[:, 1], theta[:, 1] - theta[:, 2]
        i1, i2 = np.exp(-theta[:, 4]), np.exp(-theta[:, 6])
        x1, x2 = (t - theta[:, 3:4]) * i1[:, None], (t - theta[:, 5:6]) * i2[:, None]
        s1, s2 = dl_logistic(x1), dl_logistic(x2)
        p1, p2 = rise[:, None] * s1 * (1 - s1), fall[:, None] * s2 * (1 - s2)
        rows = [np.ones_like(s1), s1 - s2, s2, -p1 * i1[:, None], -p1 * x1, p2 * i2[:, None], p2 * x2]
        rows.append(looks - theta[:, :1] - rise[:, None] * s1 + fall[:, None] * s2)
        jacobian = np.stack(rows, axis=1)
        white = jacobian * alpha[:, None]
        white[:, :, 1:] -= beta[:, None, 1:] * jacobian[:, :, :-1]
        normal = white @ white.transpose(0, 2, 1)
        hessian = normal[:, :7, :7] + np.diag(precision)
        right = normal[:, :7, 7] + precision * (mean - theta)
        move = np.linalg.solve(hessian, right[:, :, None])[:, :, 0]
        moved = theta + np.clip(move, -np.array(DL_STEP), DL_STEP)
        moved[:, [4, 6]] = np.clip(moved[:, [4, 6]], DL_LOG_K_MIN, DL_LOG_K_MAX)
        chol[active] = np.linalg.cholesky(hessian)
        chi2[active] = normal[:, 7, 7] / count[active]
        result[active] = moved
        going = (right * move).sum(1) >= DL_GAIN
        active = active[going]
        if len(active) == 0:
            break
        looks, alpha, beta, mean = looks[going], alpha[going], beta[going], mean[going]
    return result, chol, chi2


def dl_fit_kernel(looks, sigma, pixel, window, theta, step, rho, iterations, precision, limits, chol, chi2):
    """One season after the other; the sums over time are reductions, which the compiler turns into vector code."""
    size = looks.shape[1] + 1
    s1, s2, x1, x2 = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    alpha, beta, z = np.zeros(size), np.zeros(size), np.zeros(size)
    mean, right = np.empty(7), np.empty(7)
    whiten = 1.0 / np.sqrt(1.0 - rho * rho)
    for m in range(len(pixel)):
        row, first = pixel[m], window[m, 0]
        length = window[m, 1] - first + 1
        seen, before = 0, 0.0
        for i in range(length):
            value, spread = looks[row, first + i], sigma[row, first + i]
            valid = np.isfinite(value) and np.isfinite(spread) and spread > 0
            here = 1.0 / spread if valid else 0.0
            paired = valid and before > 0
            alpha[i + 1] = here * whiten if paired else here
            beta[i + 1] = rho * before * whiten if paired else 0.0
            z[i + 1] = value if valid else 0.0
            seen += valid
            before = here
        for j in range(7):
            mean[j] = theta[m, j]
        mean[2], mean[4], mean[6] = 0.0, limits[7], limits[7]
        for _ in range(iterations):
            rise, fall = theta[m, 1], theta[m, 1] - theta[m, 2]
            i1, i2 = np.exp(-theta[m, 4]), np.exp(-theta[m, 6])
            e1 = np.exp(min(max(theta[m, 3] * i1, -300.0), 300.0))
            e2 = np.exp(min(max(theta[m, 5] * i2, -300.0), 300.0))
            r1, r2 = np.exp(-step * i1), np.exp(-step * i2)
            for i in range(1, length + 1):
                s1[i], s2[i] = e1, e2
                e1 *= r1
                e2 *= r2
            for i in range(1, length + 1):
                s1[i] = 1.0 / (1.0 + s1[i])
                s2[i] = 1.0 / (1.0 + s2[i])
                x1[i] = (step * (i - 1) - theta[m, 3]) * i1
                x2[i] = (step * (i - 1) - theta[m, 5]) * i2
            sums = dl_sums(length, alpha, beta, z, s1, s2, x1, x2, theta[m, 0], rise, fall)
            gain = dl_solve(sums, rise, fall, i1, i2, precision, mean, theta[m], chol[m], right)
            for j in range(7):
                theta[m, j] += min(max(right[j], -limits[j]), limits[j])
            theta[m, 4] = min(max(theta[m, 4], limits[8]), limits[9])
            theta[m, 6] = min(max(theta[m, 6], limits[8]), limits[9])
            chi2[m] = sums[35] / max(seen, 1)
            if gain < DL_GAIN:
                break


def dl_sums(length, alpha, beta, z, s1, s2, x1, x2, base, rise, fall):
    """Normal equations of the whitened curve: all products of the seven columns and the residual (unrolled)."""
    a00 = a01 = a02 = a03 = a04 = a05 = a06 = a07 = 0.0
    a11 = a12 = a13 = a14 = a15 = a16 = a17 = 0.0
    a22 = a23 = a24 = a25 = a26 = a27 = a33 = a34 = a35 = a36 = a37 = 0.0
    a44 = a45 = a46 = a47 = a55 = a56 = a57 = a66 = a67 = a77 = 0.0
    for i in range(1, length + 1):
        a, b = alpha[i], beta[i]
        j0 = a - b
        s, q, sb, qb = s1[i], s2[i], s1[i - 1], s2[i - 1]
        j1 = a * (s - q) - b * (sb - qb)
        j2 = a * q - b * qb
        p, pb = s * (1.0 - s), sb * (1.0 - sb)
        j3 = a * p - b * pb
        j4 = a * p * x1[i] - b * pb * x1[i - 1]
        p, pb = q * (1.0 - q), qb * (1.0 - qb)
        j5 = a * p - b * pb
        j6 = a * p * x2[i] - b * pb * x2[i - 1]
        j7 = a * (z[i] - base - rise * s + fall * q) - b * (z[i - 1] - base - rise * sb + fall * qb)
        a00 += j0 * j0
        a01 += j0 * j1
        a02 += j0 * j2
        a03 += j0 * j3
        a04 += j0 * j4
        a05 += j0 * j5
        a06 += j0 * j6
        a07 += j0 * j7
        a11 += j1 * j1
        a12 += j1 * j2
        a13 += j1 * j3
        a14 += j1 * j4
        a15 += j1 * j5
        a16 += j1 * j6
        a17 += j1 * j7
        a22 += j2 * j2
        a23 += j2 * j3
        a24 += j2 * j4
        a25 += j2 * j5
        a26 += j2 * j6
        a27 += j2 * j7
        a33 += j3 * j3
        a34 += j3 * j4
        a35 += j3 * j5
        a36 += j3 * j6
        a37 += j3 * j7
        a44 += j4 * j4
        a45 += j4 * j5
        a46 += j4 * j6
        a47 += j4 * j7
        a55 += j5 * j5
        a56 += j5 * j6
        a57 += j5 * j7
        a66 += j6 * j6
        a67 += j6 * j7
        a77 += j7 * j7
    return (
        a00, a01, a02, a03, a04, a05, a06, a07, a11, a12, a13, a14, a15, a16, a17, a22, a23, a24,
        a25, a26, a27, a33, a34, a35, a36, a37, a44, a45, a46, a47, a55, a56, a57, a66, a67, a77,
    )  # fmt: skip


def dl_solve(sums, rise, fall, i1, i2, precision, mean, theta, h, right):
    """Add the priors, factorise (``h`` becomes the lower Cholesky factor), solve (``right``); returns the gain."""
    gain = 0.0
    scale = (1.0, 1.0, 1.0, -rise * i1, -rise, fall * i2, fall)
    n = 0
    for j in range(7):
        for k in range(j, 7):
            h[k, j] = sums[n] * scale[j] * scale[k]
            n += 1
        right[j] = sums[n] * scale[j] + precision[j] * (mean[j] - theta[j])
        h[j, j] += precision[j]
        n += 1
    for j in range(7):
        for k in range(j):
            h[j, j] -= h[j, k] * h[j, k]
            right[j] -= h[j, k] * right[k]
            h[k, j] = 0.0
        h[j, j] = np.sqrt(h[j, j])
        inverse = 1.0 / h[j, j]
        right[j] *= inverse
        gain += right[j] * right[j]
        for i in range(j + 1, 7):
            for k in range(j):
                h[i, j] -= h[i, k] * h[j, k]
            h[i, j] *= inverse
    for j in range(6, -1, -1):
        for k in range(j + 1, 7):
            right[j] -= h[k, j] * right[k]
        right[j] /= h[j, j]
    return gain
