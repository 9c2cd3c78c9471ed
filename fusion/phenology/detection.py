"""Detect the seasons of a smooth curve: peaks and troughs that exceed a threshold, any number per series.

A turning point counts once the curve has moved away from it by more than the threshold ``delta`` of that pixel;
smaller variations are noise. One pass forward in time, independent of calendar years.
"""

import numpy as np

from fusion.phenology.compiled import compiled_kernel

FLAT_SHARE = 0.1  # share of the amplitude; windows include neighbouring samples this close to the trough
BLUR_DAYS = 8.2  # widening of a logistic edge by the detection curve, added to its time constant in quadrature


def detect_seasons(
    curve: np.ndarray, delta: np.ndarray, slots: int, *, use_numba: bool | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the peaks, with the troughs before and after them.

    Parameters
    ----------
    curve : ndarray, (N, G)
        One series per row, without NaN.
    delta : ndarray, (N,)
        Smallest rise or fall that counts.
    slots : int
        Largest number of seasons kept per series.

    Returns
    -------
    left, peak, right : int ndarray, (N, slots)
        Sample numbers; -1 = no season. ``left``/``right`` are -1 where the series begins or ends inside the season.
    count : int ndarray, (N,)
        Number of seasons found, including those beyond ``slots``.
    """
    shape = (len(curve), slots)
    left, peak, right = (np.full(shape, -1, np.int32) for _ in range(3))
    count = np.zeros(len(curve), np.int32)
    kernel = compiled_kernel(_detect_kernel, use_numba=use_numba)
    (kernel or _detect_numpy)(curve, delta, left, peak, right, count)
    return left, peak, right, count


def _detect_kernel(curve, delta, left, peak, right, count):
    """Loop version for numba."""
    slots = left.shape[1]
    for n in range(curve.shape[0]):
        high = low = curve[n, 0]
        high_at, low_at, trough, heading, found, swing = 0, 0, -1, 0, 0, delta[n]
        for i in range(1, curve.shape[1]):
            v = curve[n, i]
            if heading >= 0 and v > high:
                high, high_at = v, i
            if heading <= 0 and v < low:
                low, low_at = v, i
            if heading >= 0 and high - v > swing:
                if found < slots:
                    left[n, found], peak[n, found] = trough, high_at
                found += 1
                heading, low, low_at = -1, v, i
            elif heading <= 0 and v - low > swing:
                if heading < 0 and found <= slots:
                    right[n, found - 1] = low_at
                trough, heading, high, high_at = low_at, 1, v, i
        if heading == 1:
            if found < slots:
                left[n, found], peak[n, found] = trough, high_at
            found += 1
        elif heading == -1 and found <= slots:
            right[n, found - 1] = low_at
        count[n] = found


def _detect_numpy(curve, delta, left, peak, right, count):
    """Numpy version: the same pass for all series at once."""
    slots = left.shape[1]
    high, low = curve[:, 0].copy(), curve[:, 0].copy()
    high_at, low_at = np.zeros(len(curve), np.int32), np.zeros(len(curve), np.int32)
    trough, heading = np.full(len(curve), -1, np.int32), np.zeros(len(curve), np.int32)

    def open_season(at):
        fits = at[count[at] < slots]
        left[fits, count[fits]], peak[fits, count[fits]] = trough[fits], high_at[fits]
        count[at] += 1

    def close_season(at):
        fits = at[count[at] <= slots]
        right[fits, count[fits] - 1] = low_at[fits]

    for i in range(1, curve.shape[1]):
        v = curve[:, i]
        higher, lower = (heading >= 0) & (v > high), (heading <= 0) & (v < low)
        high[higher], high_at[higher] = v[higher], i
        low[lower], low_at[lower] = v[lower], i
        falls = (heading >= 0) & (high - v > delta)
        rises = np.flatnonzero((heading <= 0) & (v - low > delta) & ~falls)
        falls = np.flatnonzero(falls)
        open_season(falls)
        close_season(rises[heading[rises] < 0])
        trough[rises], heading[rises], high[rises], high_at[rises] = low_at[rises], 1, v[rises], i
        heading[falls], low[falls], low_at[falls] = -1, v[falls], i
    open_season(np.flatnonzero(heading == 1))
    close_season(np.flatnonzero(heading == -1))


def first_guess(
    curve: np.ndarray, pixel: np.ndarray, left: np.ndarray, peak: np.ndarray, right: np.ndarray, step: float,
    *, use_numba: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Window of every season, and start values of its double-logistic parameters.

    Parameters
    ----------
    curve : ndarray, (N, G)
        One series per row.
    pixel, left, peak, right : int ndarray, (M,)
        The seasons; ``left``/``right`` are -1 at the edge of the series.
    step : float
        Days between samples.

    Returns
    -------
    window : int ndarray, (M, 2)
        First and last sample, both inclusive: trough to trough, plus the flat part beyond.
    theta : ndarray, (M, 7)
        Parameters in days since the window's first sample.
    """
    window, theta = np.empty((len(pixel), 2), np.int32), np.empty((len(pixel), 7))
    kernel = compiled_kernel(_guess_kernel, use_numba=use_numba)
    (kernel or _guess_numpy)(curve, pixel, left, peak, right, float(step), window, theta)
    return window, theta


def _guess_kernel(curve, pixel, left, peak, right, step, window, theta):
    """Loop version for numba."""
    last = curve.shape[1] - 1
    for m in range(len(pixel)):
        c, top = curve[pixel[m]], peak[m]
        crest, flat = float(c[top]), 1
        for side in range(2):
            way = -1 if side == 0 else 1
            edge = 0 if side == 0 else last
            trough = left[m] if side == 0 else right[m]
            if trough < 0:
                trough = top
                i = top
                while i != edge:
                    i += way
                    if c[i] < c[trough]:
                        trough = i
            height = c[top] - c[trough]
            i, ground, level = trough, float(c[trough]), 1
            while i != edge and c[i + way] <= c[trough] + FLAT_SHARE * height:
                i += way
                ground += c[i]
                level += 1
            window[m, side] = i
            i = trough
            while i != top and c[i - way] <= c[trough] + FLAT_SHARE * height:
                i -= way
                ground += c[i]
                level += 1
            j = top
            while j != trough and c[j + way] >= c[top] - FLAT_SHARE * height:
                j += way
                crest += c[j]
                flat += 1
            half = 0.5 * (c[trough] + c[top])
            j = top
            while j != trough and c[j] >= half:
                j += way
            fall = max(c[j - way] - c[j], 1e-6) if j != top else 1e-6
            share = min(max((c[j - way] - half) / fall, 0.0), 1.0) if j != top else 0.5
            theta[m, 3 + 2 * side] = step * (j - way + way * share)
            k = 0.25 * height * step / fall
            k = np.sqrt(max(k * k - BLUR_DAYS**2, 0.0))
            theta[m, 4 + 2 * side] = np.log(min(max(k, 4.0), 25.0))
            theta[m, 2 * side] = ground / level
        theta[m, 1] = crest / flat - theta[m, 0]
        theta[m, 2] -= theta[m, 0]
        theta[m, 3] -= step * window[m, 0]
        theta[m, 5] -= step * window[m, 0]


def _guess_numpy(curve, pixel, left, peak, right, step, window, theta):
    """Numpy version: the same for all seasons at once."""
    c, rows = curve[pixel], np.arange(len(pixel))
    last, index = curve.shape[1] - 1, np.arange(curve.shape[1])
    top = c[rows, peak]
    crest, flat = top.astype(float), np.ones(len(pixel))
    for side, way, trough in ((0, -1, left), (1, 1, right)):
        beside = way * (index - peak[:, None]) >= 0
        far = _first_true(np.where(beside, c, np.inf) == np.where(beside, c, np.inf).min(1)[:, None], way)
        trough = np.where(trough < 0, far, trough)
        bottom = c[rows, trough]
        height = top - bottom
        high = c > (bottom + FLAT_SHARE * height)[:, None]
        beyond = high & (way * (index - trough[:, None]) > 0)
        window[:, side] = np.where(beyond.any(1), _first_true(beyond, way) - way, last if side else 0)
        inner = _first_true(high & (way * (index - trough[:, None]) < 0), -way) + way
        level = (way * (index - inner[:, None]) >= 0) & (way * (index - window[:, side : side + 1]) <= 0)
        theta[:, 2 * side] = np.where(level, c, 0.0).sum(1) / level.sum(1)
        below = beside & (c < (top - FLAT_SHARE * height)[:, None])
        ridge = beside & (index != peak[:, None]) & (way * (index - _first_true(below, way)[:, None]) < 0)
        crest, flat = crest + np.where(ridge, c, 0.0).sum(1), flat + ridge.sum(1)
        half = 0.5 * (bottom + top)
        under = beside & (c < half[:, None]) & (index != peak[:, None])
        j = np.where(under.any(1), _first_true(under, way), trough)
        before = np.clip(j - way, 0, last)
        moved = j != peak
        fall = np.where(moved, np.maximum(c[rows, before] - c[rows, j], 1e-6), 1e-6)
        share = np.where(moved, np.clip((c[rows, before] - half) / fall, 0.0, 1.0), 0.5)
        theta[:, 3 + 2 * side] = step * (j - way + way * share)
        k = np.sqrt(np.maximum((0.25 * height * step / fall) ** 2 - BLUR_DAYS**2, 0.0))
        theta[:, 4 + 2 * side] = np.log(np.clip(k, 4.0, 25.0))
    theta[:, 1] = crest / flat - theta[:, 0]
    theta[:, 2] -= theta[:, 0]
    theta[:, [3, 5]] -= step * window[:, :1]


def _first_true(mask: np.ndarray, way: int) -> np.ndarray:
    """Index of the first True of every row, from the left (``way`` 1) or from the right (-1)."""
    return mask.argmax(1) if way > 0 else mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
