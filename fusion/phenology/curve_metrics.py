"""Season parameters of daily curves, by any method: slower than the closed forms of ``fit_metrics.py``.

Methods: White et al. 1997 (relative amplitude), first derivative and maximum curvature as in phenopix (Filippa et al.
2016), Zhang et al. 2003 (rate of change of curvature), Gu et al. 2009 (tangent of the steepest slope on the base line),
median slope as in phenolopy. All work on one row per season, NaN outside its window, and one column per day.
"""

import numpy as np

from fusion.contract import ContractError
from fusion.phenology.edges import admit_unseen_minima, cut_flags, seen_minima
from fusion.phenology.settings import SeasonSettings


def curve_metrics(
    curve: np.ndarray, open_edge: np.ndarray, level_sigma: np.ndarray, settings: SeasonSettings
) -> dict[str, np.ndarray]:
    """Parameters of every season, (M,) each; dates in days since the first column.

    Parameters
    ----------
    curve : ndarray, (M, D)
        Daily values, NaN before and after the season's window.
    open_edge : bool ndarray, (M, 2)
        The window begins or ends at the edge of the series.
    level_sigma : ndarray, (M,)
        Standard deviation of the curve's values, NDVI.
    settings : SeasonSettings
        Method and thresholds.
    """
    rows, day = np.arange(len(curve)), np.arange(curve.shape[1])
    inside = np.isfinite(curve)
    begin, end = inside.argmax(1), curve.shape[1] - 1 - inside[:, ::-1].argmax(1)
    peak = np.where(inside, curve, -np.inf).argmax(1)
    before, after = inside & (day <= peak[:, None]), inside & (day >= peak[:, None])
    left, right = np.where(before, curve, np.inf).min(1), np.where(after, curve, np.inf).min(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        maxd, maxv = _vertex(curve, peak)
        slopes = np.gradient(curve, axis=1) if curve.shape[1] > 2 else np.zeros_like(curve)
        swing = maxv - 0.5 * (left + right)
        edge_rest = _edge_rest(curve, slopes, begin, end, swing)
        minima = seen_minima((left, right), maxv, edge_rest, open_edge)
        left, right = np.where(minima.weight == 0, right, left), np.where(minima.weight == 1, left, right)
        minv = 0.5 * (left + right)
        ampl = maxv - minv
        sosd, eosd = RULES[settings.method](curve, slopes, peak, before, after, (left, right), ampl, settings)
        sosd, eosd = (np.where((d >= begin) & (d <= end), d, np.nan) for d in (sosd, eosd))
        sosv, eosv = _value_at(curve, sosd), _value_at(curve, eosd)
        lslope, rslope = _value_at(slopes, sosd), -_value_at(slopes, eosd)
        tprod = _integral(curve, sosd, eosd)
        spread = np.sqrt(1.5) * level_sigma
        bend = np.abs(_second_difference(curve)[rows, peak])
    out = {"SOSD": sosd, "EOSD": eosd, "MAXD": maxd, "SOSV": sosv, "EOSV": eosv, "MINV": minv, "MAXV": maxv}
    out |= {"SWING": swing, "AMPL": ampl, "LENGTH": eosd - sosd, "LSLOPE": lslope, "RSLOPE": rslope}
    out |= {"TPROD": tprod, "SPROD": tprod - minv * (eosd - sosd)}
    with np.errstate(invalid="ignore", divide="ignore"):
        out |= {"SOSD_SIGMA": spread / np.abs(lslope), "EOSD_SIGMA": spread / np.abs(rslope)}
        out["MAXD_SIGMA"] = np.minimum(level_sigma / np.maximum(bend, 1e-6) / 10.0, 60.0)
        sides = ((before, 0.1, left, -1), (before, 0.8, left, -1), (after, 0.8, right, 1), (after, 0.1, right, 1))
        borders = [_outward(curve, peak, where, share * ampl + low, way) for where, share, low, way in sides]
    for name, value, fallback in zip(("UP", "TOP", "DOWN", "OFF"), borders, (begin, maxd, maxd, end), strict=True):
        out[name] = np.where(np.isfinite(value), value, fallback)
    edges = begin.astype(float), end.astype(float)
    out["FLAG"] = cut_flags(out, edge_rest, open_edge, minima.high, *edges)
    admit_unseen_minima(out, minima, open_edge, edges, settings)
    return out


def _edge_rest(curve, slopes, begin, end, ampl) -> tuple[np.ndarray, np.ndarray]:
    """Share of the amplitude by which each flank would still fall within 30 days beyond the window."""
    rows = np.arange(len(curve))
    first = np.maximum(slopes[rows, np.minimum(begin + 1, end)], 0.0) * 30 / ampl
    last = np.maximum(-slopes[rows, np.maximum(end - 1, begin)], 0.0) * 30 / ampl
    return np.nan_to_num(first), np.nan_to_num(last)


def _vertex(curve: np.ndarray, peak: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sub-day position and height of an extremum, from the parabola through it and its neighbours."""
    rows, last = np.arange(len(curve)), curve.shape[1] - 1
    a, b, c = (curve[rows, np.clip(peak + k, 0, last)] for k in (-1, 0, 1))
    bend = a - 2 * b + c
    shift = np.where(np.abs(bend) > 1e-12, 0.5 * (a - c) / np.where(bend == 0, 1.0, bend), 0.0)
    shift = np.where(np.isfinite(shift), np.clip(shift, -0.5, 0.5), 0.0)
    return peak + shift, np.where(np.isfinite(bend), b - 0.25 * (a - c) * shift, b)


def _second_difference(curve: np.ndarray) -> np.ndarray:
    """Second difference per day squared; NaN at the ends."""
    out = np.full(curve.shape, np.nan)
    out[:, 1:-1] = curve[:, 2:] - 2 * curve[:, 1:-1] + curve[:, :-2]
    return out


def _value_at(curve: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Linear interpolation at one time per row; NaN for a NaN time."""
    left = np.clip(np.nan_to_num(np.floor(t)).astype(np.int64), 0, max(curve.shape[1] - 2, 0))
    rows, share = np.arange(len(curve)), t - left
    right = np.minimum(left + 1, curve.shape[1] - 1)
    return np.where(share == 0, curve[rows, left], curve[rows, left] * (1 - share) + curve[rows, right] * share)


def _integral(curve: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Integral of the piecewise-linear curve between two times, NDVI days."""
    filled = np.nan_to_num(curve)
    total = np.zeros(curve.shape)
    np.cumsum(0.5 * (filled[:, 1:] + filled[:, :-1]), axis=1, out=total[:, 1:])

    def until(t):
        whole = np.clip(np.nan_to_num(np.floor(t)).astype(np.int64), 0, curve.shape[1] - 1)
        rows, share = np.arange(len(curve)), t - whole
        nearer = np.where(share == 0, filled[rows, whole], _value_at(filled, t))
        return total[rows, whole] + 0.5 * (filled[rows, whole] + nearer) * share

    return until(last) - until(first)


def _outward(curve, peak, side_mask, level, way) -> np.ndarray:
    """First time outward from the peak at which the curve falls to ``level``; NaN if it never does."""
    day, rows, last = np.arange(curve.shape[1]), np.arange(len(curve)), curve.shape[1] - 1
    under = side_mask & (curve <= level[:, None]) & (day != peak[:, None])
    j = last - under[:, ::-1].argmax(1) if way < 0 else under.argmax(1)
    inner = np.clip(j - way, 0, last)
    rise = curve[rows, inner] - curve[rows, j]
    share = np.clip(np.where(rise > 0, (level - curve[rows, j]) / np.where(rise > 0, rise, 1.0), 0.0), 0.0, 1.0)
    return np.where(under.any(1), j - way * share, np.nan)


def _best(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Sub-day position of the largest score inside the mask; NaN where the mask is empty."""
    score = np.where(mask & np.isfinite(score), score, -np.inf)
    best = score.argmax(1)
    rows = np.arange(len(score))
    position, _ = _vertex(np.where(np.isfinite(score), score, np.nan), best)
    return np.where(np.isfinite(score[rows, best]), position, np.nan)


def by_level(curve, slopes, peak, before, after, lows, ampl, settings):
    """``relative_amplitude`` and ``absolute``."""
    minv = 0.5 * (lows[0] + lows[1])
    if settings.method == "absolute":
        levels = np.full(len(curve), settings.start), np.full(len(curve), settings.end)
    else:
        levels = minv + settings.start * ampl, minv + settings.end * ampl
    return _outward(curve, peak, before, levels[0], -1), _outward(curve, peak, after, levels[1], 1)


def by_first_derivative(curve, slopes, peak, before, after, lows, ampl, settings):
    """Dates of the steepest rise and the steepest fall."""
    return _best(slopes, before), _best(-slopes, after)


def by_max_curvature(curve, slopes, peak, before, after, lows, ampl, settings):
    """Dates of the largest curvature between trough and steepest rise, and between steepest fall and trough."""
    day = np.arange(curve.shape[1])
    up, down = by_first_derivative(curve, slopes, peak, before, after, lows, ampl, settings)
    bend = _second_difference(curve) / (1 + slopes**2) ** 1.5
    return _best(bend, before & (day <= up[:, None])), _best(bend, after & (day >= down[:, None]))


def by_zhang(curve, slopes, peak, before, after, lows, ampl, settings):
    """Extremes of the rate of change of curvature outside its maxima: greenup onset and dormancy onset."""
    day = np.arange(curve.shape[1])
    up, down = by_max_curvature(curve, slopes, peak, before, after, lows, ampl, settings)
    rate = np.gradient(_second_difference(curve) / (1 + slopes**2) ** 1.5, axis=1)
    return _best(rate, before & (day <= up[:, None])), _best(-rate, after & (day >= down[:, None]))


def by_gu(curve, slopes, peak, before, after, lows, ampl, settings):
    """Dates at which the tangents of the steepest slopes meet the base line on either side."""
    up, down = by_first_derivative(curve, slopes, peak, before, after, lows, ampl, settings)
    return (
        up - (_value_at(curve, up) - lows[0]) / _value_at(slopes, up),
        down - (_value_at(curve, down) - lows[1]) / _value_at(slopes, down),
    )


def by_median_slope(curve, slopes, peak, before, after, lows, ampl, settings):
    """First day of green-up and last of senescence at least as steep as the median of the flank (10 to 90 %)."""
    out = []
    for side, low, sign in ((before, lows[0], 1.0), (after, lows[1], -1.0)):
        share = (curve - low[:, None]) / ampl[:, None]
        flank = side & (sign * slopes > 0) & (share >= 0.1) & (share <= 0.9)
        steep = np.where(flank, sign * slopes, np.nan)
        middle = np.nanmedian(np.where(flank.any(1)[:, None], steep, 0.0), axis=1)
        enough = flank & (steep >= middle[:, None])
        at = enough.argmax(1) if sign > 0 else enough.shape[1] - 1 - enough[:, ::-1].argmax(1)
        out.append(np.where(enough.any(1), at.astype(float), np.nan))
    return tuple(out)


RULES = {
    "relative_amplitude": by_level,
    "absolute": by_level,
    "first_derivative": by_first_derivative,
    "max_curvature": by_max_curvature,
    "zhang": by_zhang,
    "gu": by_gu,
    "median_slope": by_median_slope,
}


def check_curve_method(method: str) -> None:
    """Refuse a method that has no rule for daily curves."""
    if method not in RULES:
        raise ContractError(f"method is {method!r}; expected one of {', '.join(RULES)} for a fitted curve")
