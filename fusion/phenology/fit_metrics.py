"""Season parameters of double-logistic curves in closed form, with standard deviations of the dates.

Dates are roots of the fitted curve (Newton), sums over days are integrals, and the covariance of the fit is propagated
to the dates by the implicit function theorem.
"""

import numpy as np

from fusion.phenology.compiled import compiled_kernel
from fusion.phenology.curve_fit import FittedSeasons
from fusion.phenology.edges import admit_unseen_minima, cut_flags, seen_minima
from fusion.phenology.settings import SeasonSettings

UP_LOGIT, PEAK_LOGIT = 2.197, 1.386  # logit of 90 % and 80 %: borders of green-up, peak and green-down
NEWTON_STEPS = 8  # maximum
NEAR_DAYS = 0.02  # after so small a Newton step the error is about its square over 2 k: 2e-5 d for k = 10 d
ANALYTIC_LAYERS = (
    "SOSD", "EOSD", "MAXD", "SOSV", "EOSV", "MINV", "MAXV", "AMPL", "LENGTH", "LSLOPE", "RSLOPE", "SPROD", "TPROD",
    "UP", "TOP", "DOWN", "OFF", "LEFT_LOW", "RIGHT_LOW", "LEFT_REST", "RIGHT_REST",
    "SOSD_SIGMA", "EOSD_SIGMA", "MAXD_SIGMA",
)  # fmt: skip


def analytic_metrics(fit: FittedSeasons, step: float, settings: SeasonSettings) -> dict[str, np.ndarray]:
    """The parameters of ``relative_amplitude`` and ``absolute``, dates in days since the window's first sample.

    Also returns ``UP``, ``TOP``, ``DOWN``, ``OFF``, the borders of green-up, peak and green-down, ``FLAG``,
    and ``SWING``, the amplitude of what was seen (AMPL may be unknown at the edge of a series).
    """
    end = step * (fit.window[:, 1] - fit.window[:, 0]).astype(float)
    layers = _closed_forms(fit.theta, fit.chol, end, np.full(len(end), 0.5), settings)
    lows = layers.pop("LEFT_LOW"), layers.pop("RIGHT_LOW")
    rest = layers.pop("LEFT_REST"), layers.pop("RIGHT_REST")
    minima = seen_minima(lows, layers["MAXV"], rest, fit.open_edge)
    swing = layers["AMPL"].copy()
    again = np.flatnonzero(minima.weight != 0.5)
    if len(again):
        other = _closed_forms(fit.theta[again], fit.chol[again], end[again], minima.weight[again], settings)
        for name in layers:
            layers[name][again] = other[name]
    layers["SWING"] = swing
    begin = np.zeros(len(end))
    layers["FLAG"] = cut_flags(layers, rest, fit.open_edge, minima.high, begin, end)
    admit_unseen_minima(layers, minima, fit.open_edge, (begin, end), settings)
    return layers


def _closed_forms(theta, chol, end, weight, settings: SeasonSettings) -> dict[str, np.ndarray]:
    """``ANALYTIC_LAYERS`` of every season; ``weight`` is that of the left minimum in MINV, (M,)."""
    start, end_share = float(settings.start), float(settings.end)
    relative = float(settings.method == "relative_amplitude")
    scalars = ("_choose", _choose_one), ("_is_small", _is_small_one)
    helpers = (*scalars, _sigmoid, _parts, _maximum, _root, _area, _season)
    kernel = compiled_kernel(_analytic_kernel, helpers=helpers, use_numba=settings.use_numba)
    out = np.empty((len(ANALYTIC_LAYERS), len(end)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if kernel is not None:
            kernel(theta, chol, end, weight, start, end_share, relative, out)
        else:
            base, rise, shift, t1, l1, t2, l2 = theta.T
            values, gradients = _season(base, rise, shift, t1, l1, t2, l2, end, weight, start, end_share, relative)
            for i, value in enumerate((*values, *_date_sigmas(chol, [np.stack(g, axis=1) for g in gradients]))):
                out[i] = value
    return dict(zip(ANALYTIC_LAYERS, out, strict=True))


def _analytic_kernel(theta, chol, end, weight, start_share, end_share, relative, out):
    """Loop over the seasons, for numba; fills ``out`` (len(ANALYTIC_LAYERS), M)."""
    g = np.empty((3, 7))  # gradients, then solutions of L x = gradient
    for m in range(len(theta)):
        p, lower, o = theta[m], chol[m], out[:, m]
        values, (g1, g2, g3) = _season(
            p[0], p[1], p[2], p[3], p[4], p[5], p[6], end[m], weight[m], start_share, end_share, relative
        )  # fmt: skip
        # one by one: numba compiles a loop over a tuple to a chain of branches
        (
            o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8], o[9],
            o[10], o[11], o[12], o[13], o[14], o[15], o[16], o[17], o[18], o[19], o[20],
        ) = values  # fmt: skip
        g[0, 0], g[0, 1], g[0, 2], g[0, 3], g[0, 4], g[0, 5], g[0, 6] = g1
        g[1, 0], g[1, 1], g[1, 2], g[1, 3], g[1, 4], g[1, 5], g[1, 6] = g2
        g[2, 0], g[2, 1], g[2, 2], g[2, 3], g[2, 4], g[2, 5], g[2, 6] = g3
        s1 = s2 = s3 = 0.0
        for j in range(7):
            v1, v2, v3, inverse = g[0, j], g[1, j], g[2, j], 1.0 / lower[j, j]
            for k in range(j):
                v1, v2, v3 = v1 - lower[j, k] * g[0, k], v2 - lower[j, k] * g[1, k], v3 - lower[j, k] * g[2, k]
            v1, v2, v3 = v1 * inverse, v2 * inverse, v3 * inverse
            g[0, j], g[1, j], g[2, j] = v1, v2, v3
            s1, s2, s3 = s1 + v1 * v1, s2 + v2 * v2, s3 + v3 * v3
        o[21], o[22], o[23] = np.sqrt(s1), np.sqrt(s2), np.sqrt(s3)


def _season(base, rise, shift, t1, l1, t2, l2, end, weight, start_share, end_share, relative):
    """Parameters of a season and the gradients of its three dates; arguments are numbers or arrays."""
    k1, k2, fall, begin = np.exp(l1), np.exp(l2), rise - shift, 0.0 * end
    other = 1.0 - weight
    maxd = _maximum(rise, fall, t1, k1, t2, k2, begin, end)
    top = _parts(maxd, rise, fall, t1, k1, t2, k2)
    first, last = _parts(begin, rise, fall, t1, k1, t2, k2), _parts(end, rise, fall, t1, k1, t2, k2)
    maxv, minv = base + top[0], base + (weight * first[0] + other * last[0])
    ampl = maxv - minv
    sosv = relative * (minv + start_share * ampl) + (1 - relative) * start_share
    eosv = relative * (minv + end_share * ampl) + (1 - relative) * end_share
    share1 = np.minimum(np.maximum((sosv - base) / rise, 1e-4), 1 - 1e-4)
    share2 = np.minimum(np.maximum((eosv - base - shift) / fall, 1e-4), 1 - 1e-4)
    guess1, guess2 = t1 + k1 * np.log(share1 / (1 - share1)), t2 - k2 * np.log(share2 / (1 - share2))
    sosd = _root(guess1, sosv - base, begin, maxd, first[0], top[0], rise, fall, t1, k1, t2, k2)
    eosd = _root(guess2, eosv - base, maxd, end, top[0], last[0], rise, fall, t1, k1, t2, k2)
    rising, falling = _parts(sosd, rise, fall, t1, k1, t2, k2), _parts(eosd, rise, fall, t1, k1, t2, k2)
    tprod = base * (eosd - sosd) + rise * _area(sosd, eosd, t1, k1) - fall * _area(sosd, eosd, t2, k2)
    values = (
        sosd, eosd, maxd, sosv, eosv, minv, maxv, ampl, eosd - sosd, rising[1], -falling[1],
        tprod - minv * (eosd - sosd), tprod,
        t1 - UP_LOGIT * k1, np.minimum(t1 + PEAK_LOGIT * k1, maxd - 5),
        np.maximum(t2 - PEAK_LOGIT * k2, maxd + 5), t2 + UP_LOGIT * k2,
        base + first[0], base + last[0], first[0] / rise, (last[0] - shift) / fall,
    )  # fmt: skip
    # level = (1 - share) * minimum + share * maximum, so d date = -(d curve - d level) / slope
    f1, f2, m1, m2 = (
        relative * start_share,
        relative * end_share,
        relative * (1 - start_share),
        relative * (1 - end_share),
    )
    d1, d2, d3 = -1 / rising[1], -1 / falling[1], -1 / top[2]
    r, d, u, b, e = rising[3], falling[3], top[3], first[3], last[3]
    c = 1.0 - relative  # the base cancels in relative levels
    by_sos = (
        d1 * c,
        d1 * (r[0] - f1 * u[0] - m1 * (weight * b[0] + other * e[0])),
        d1 * (r[1] - f1 * u[1] - m1 * (weight * b[1] + other * e[1])),
        d1 * (r[2] - f1 * u[2] - m1 * (weight * b[2] + other * e[2])),
        d1 * (r[3] - f1 * u[3] - m1 * (weight * b[3] + other * e[3])),
        d1 * (r[4] - f1 * u[4] - m1 * (weight * b[4] + other * e[4])),
        d1 * (r[5] - f1 * u[5] - m1 * (weight * b[5] + other * e[5])),
    )
    by_eos = (
        d2 * c,
        d2 * (d[0] - f2 * u[0] - m2 * (weight * b[0] + other * e[0])),
        d2 * (d[1] - f2 * u[1] - m2 * (weight * b[1] + other * e[1])),
        d2 * (d[2] - f2 * u[2] - m2 * (weight * b[2] + other * e[2])),
        d2 * (d[3] - f2 * u[3] - m2 * (weight * b[3] + other * e[3])),
        d2 * (d[4] - f2 * u[4] - m2 * (weight * b[4] + other * e[4])),
        d2 * (d[5] - f2 * u[5] - m2 * (weight * b[5] + other * e[5])),
    )
    s = top[4]
    by_max = (0.0 * d3, d3 * s[0], d3 * s[1], d3 * s[2], d3 * s[3], d3 * s[4], d3 * s[5])
    return values, (by_sos, by_eos, by_max)


def _sigmoid(x):
    """Logistic function of a number or an array, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(x, -300.0), 300.0)))


def _parts(t, rise, fall, t1, k1, t2, k2):
    """Curve above base, slope, second derivative, and the gradients of curve and slope by all parameters but base."""
    x1, x2 = (t - t1) / k1, (t - t2) / k2
    s1, s2 = _sigmoid(x1), _sigmoid(x2)
    p1, p2 = s1 * (1 - s1) / k1, s2 * (1 - s2) / k2
    g1, g2 = rise * p1, fall * p2
    c1, c2 = g1 * (1 - 2 * s1), g2 * (1 - 2 * s2)
    value = (s1 - s2, s2, -g1, -g1 * (t - t1), g2, g2 * (t - t2))
    slope = (p1 - p2, p2, -c1 / k1, -g1 - c1 * x1, c2 / k2, g2 + c2 * x2)
    return rise * s1 - fall * s2, g1 - g2, c1 / k1 - c2 / k2, value, slope


def _maximum(rise, fall, t1, k1, t2, k2, begin, end):
    """Time of the maximum, where green-up and senescence balance: Newton on the logarithm of their ratio."""
    level = np.log(np.maximum(rise / k1, 1e-9) / np.maximum(fall / k2, 1e-9))
    t = (t1 / k1 + t2 / k2 + level) / (1 / k1 + 1 / k2)
    for _ in range(NEWTON_STEPS):
        t = np.minimum(np.maximum(t, begin), end)
        s1, s2 = _sigmoid((t - t1) / k1), _sigmoid((t - t2) / k2)
        f = level + np.log(np.maximum(s1 * (1 - s1), 1e-200) / np.maximum(s2 * (1 - s2), 1e-200))
        step = f / np.minimum((1 - 2 * s1) / k1 - (1 - 2 * s2) / k2, -1e-9)
        t = t - step
        if _is_small(step):
            break
    return np.minimum(np.maximum(t, begin), end)


def _root(guess, level, low, high, at_low, at_high, rise, fall, t1, k1, t2, k2):
    """Time in [low, high] at which the curve above base equals ``level``; it is ``at_low`` and ``at_high`` at the ends.

    Newton in a shrinking bracket; NaN without a sign change.
    """
    at_low, at_high = at_low - level, at_high - level
    t = np.minimum(np.maximum(guess, low), high)
    found = at_low * at_high <= 0
    for _ in range(NEWTON_STEPS):
        s1, s2 = _sigmoid((t - t1) / k1), _sigmoid((t - t2) / k2)
        f = rise * s1 - fall * s2 - level
        same = f * at_low > 0
        low, high = _choose(same, t, low), _choose(same, high, t)
        step = t - f / (rise * s1 * (1 - s1) / k1 - fall * s2 * (1 - s2) / k2)
        step = _choose((step >= low) & (step <= high), step, 0.5 * (low + high))
        change, t = step - t, step
        if _is_small(_choose(found, change, 0.0 * level)):
            break
    return _choose(found, t, np.nan)


def _is_small(change):
    """Whether Newton steps are small enough to stop; numba uses the scalar version."""
    return bool((np.abs(change) < NEAR_DAYS).all())


def _is_small_one(change):
    """Scalar version of :func:`_is_small`."""
    return np.abs(change) < NEAR_DAYS


def _choose(condition, yes, no):
    """Element-wise choice; numba uses the scalar version."""
    return np.where(condition, yes, no)


def _choose_one(condition, yes, no):
    """Scalar version of :func:`_choose`."""
    return yes if condition else no


def _area(first, last, middle, k):
    """Integral of a logistic between two times, days."""
    x1, x2 = (first - middle) / k, (last - middle) / k
    s1, s2 = _sigmoid(np.abs(x1)), _sigmoid(np.abs(x2))
    return k * (np.maximum(x2, 0.0) - np.maximum(x1, 0.0) + np.log(s1 / s2))


def _date_sigmas(chol: np.ndarray, gradients: list[np.ndarray]) -> list[np.ndarray]:
    """Standard deviation of each date: length of ``L^-1 gradient`` (forward substitution, all seasons at once)."""
    lower = np.ascontiguousarray(chol.transpose(1, 2, 0))
    g = np.stack([gradient.T for gradient in gradients], axis=1)
    solved = np.empty_like(g)
    variance = np.zeros(g.shape[1:])
    for j in range(len(g)):
        value = g[j]
        for k in range(j):
            value = value - lower[j, k] * solved[k]
        solved[j] = value / lower[j, j]
        variance += solved[j] ** 2
    return list(np.sqrt(variance))
