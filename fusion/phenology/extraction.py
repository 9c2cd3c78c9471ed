"""Season parameters as numpy arrays: detection, fit, dates and counts, one slot per year and season."""

from dataclasses import fields, replace

import numpy as np

from fusion.phenology.curve_fit import (
    MIN_OBS,
    ROBUST_PASSES,
    FittedSeasons,
    RegularAxis,
    detection_curve,
    find_seasons,
    fit_seasons,
    fitted_curve,
    place_obs,
    regular_axis,
)
from fusion.phenology.curve_metrics import check_curve_method, curve_metrics
from fusion.phenology.fit_metrics import analytic_metrics
from fusion.phenology.reference import fill_gaps_linear, interpolation_matrix
from fusion.phenology.settings import FLAGS, VARIABLES, SeasonSettings
from fusion.phenology.whittaker import robust_weights, whittaker

BLOCK_SAMPLES = 292_000  # pixels times dates per block: 4000 pixels for a year of 5-day steps
WATER_MAX = 0.1  # NDVI; a series that stays below is flagged as water
CURVE_LAMBDA = 2500.0  # smoothness of Whittaker curves, on the daily axis with one observation per day
LAYERS = (*VARIABLES, "COUNT", "MAIN")


def extract_seasons(
    values: np.ndarray,
    sigma: np.ndarray | None,
    days: np.ndarray,
    periods: np.ndarray,
    settings: SeasonSettings,
    obs: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Compute all season layers of many series.

    Parameters
    ----------
    values, sigma : ndarray, (N, T)
        NDVI and its standard deviation, NaN = missing.
    days : int ndarray, (T,)
        Sorted days since 1970-01-01.
    periods : int ndarray, (Y, 3)
        Per output year: first and last day for the maximum of a season, and the day from which dates count.
    settings : SeasonSettings
        Method, thresholds and number of slots.
    obs : (days (K,), seen (N, K)), optional
        Original observations for counts and gaps: bool, or how many of each day; default: the finite values.

    Returns
    -------
    ndarray, float32, (len(LAYERS), Y, max_seasons, N)
        NaN, or 0 in counts and flags, where there is no season.
    """
    out = np.full((len(LAYERS), len(periods), settings.max_seasons, len(values)), np.nan, np.float32)
    axis = regular_axis(days)
    block = max(BLOCK_SAMPLES // axis.length, 32)
    for first in range(0, len(values), block):
        part = slice(first, first + block)
        spread = None if sigma is None else sigma[part]
        seen = (days, np.isfinite(values[part])) if obs is None else (obs[0], obs[1][part])
        _extract_block(axis, values[part], spread, periods, settings, seen, out[..., part])
    return out


def _extract_block(axis, values, sigma, periods, settings, obs, out) -> None:
    """Compute the layers of one block of pixels into ``out``."""
    placed, spread = place_obs(axis, values, sigma)
    seen = np.isfinite(placed)
    enough = np.full(len(placed), axis.length >= MIN_OBS)
    if not (seen.all() and enough.all()):
        enough = seen.sum(1) >= MIN_OBS
        placed = np.where(enough[:, None], placed, np.nan)
    curve = detection_curve(axis, placed, sigma is not None, settings.use_numba)
    slots = 4 + 3 * (1 + axis.length * axis.step // 366)
    rows, (swing, top), cut = find_seasons(curve, slots, settings)
    layer = {name: out[i] for i, name in enumerate(LAYERS)}
    base_flag = _pixel_flags(enough, top, swing, cut, settings)
    for name in ("FLAG", "QFLAG", "COUNT", "MAIN", "OBS_UP", "OBS_PEAK", "OBS_DOWN"):
        layer[name][:] = 0
    layer["FLAG"][:, 0] = base_flag
    if len(rows[0]) == 0:
        return
    fit = fit_seasons(axis, placed, spread, curve, rows, settings)
    metrics = _metrics(axis, placed, spread, fit, settings)
    origin = axis.first + axis.step * fit.window[:, 0]
    count_observations(metrics, fit.pixel, origin, obs)
    small = ~(metrics["SWING"] >= settings.min_amplitude)
    _scatter(layer, metrics, fit.pixel, origin, axis.first + axis.step * rows[2], periods, small)


def _pixel_flags(enough, top, swing, cut, settings) -> np.ndarray:
    """Flag of a pixel's first slot where it has no season."""
    flag = np.where(enough, FLAGS["no_season"], FLAGS["no_data"])
    with np.errstate(invalid="ignore"):
        flag = flag | np.where(enough & (top < WATER_MAX), FLAGS["water"], 0)
    swings = enough & (swing >= settings.min_amplitude)
    flag = flag | np.where(swings & cut[0], FLAGS["start_cut"], 0)
    return flag | np.where(swings & cut[1], FLAGS["end_cut"], 0)


def _metrics(axis: RegularAxis, placed, spread, fit: FittedSeasons, settings: SeasonSettings) -> dict:
    """Parameters of all seasons from the fitted curve, or from a smoother if chosen or if the fit is poor."""
    fitted = settings.curve == "double_logistic"
    if fitted and settings.method in ("relative_amplitude", "absolute"):
        metrics = analytic_metrics(fit, float(axis.step), settings)
    else:
        check_curve_method(settings.method)
        metrics = daily_metrics(axis, placed, spread, fit, settings)
    poor = np.flatnonzero(~fit.follows) if fitted else np.arange(0)
    if len(poor):
        other = daily_metrics(axis, placed, spread, _picked(fit, poor), replace(settings, curve="whittaker"))
        other["FLAG"] |= FLAGS["curve_fallback"]
        for name in metrics:
            metrics[name][poor] = other[name]
    return metrics


def _picked(fit: FittedSeasons, rows: np.ndarray) -> FittedSeasons:
    """The seasons at ``rows``."""
    return FittedSeasons(*(getattr(fit, field.name)[rows] for field in fields(fit)))


def daily_metrics(axis: RegularAxis, placed, spread, fit: FittedSeasons, settings: SeasonSettings) -> dict:
    """Parameters of all seasons from daily curves, see :func:`fusion.phenology.curve_metrics.curve_metrics`."""
    length = axis.step * (fit.window[:, 1] - fit.window[:, 0])
    day = np.arange(int(length.max(initial=0)) + 1)
    if settings.curve == "double_logistic":
        curve = fitted_curve(day.astype(float), fit.theta)
        level_sigma = 0.35 * fit.error
    else:
        pixels, row = np.unique(fit.pixel, return_inverse=True)
        grid = np.arange(axis.days[0], axis.days[-1] + 1)
        obs = placed[pixels].T
        if settings.curve == "whittaker":
            weights = None if spread is None else _relative_weights(obs, spread[pixels].T)
            daily = _daily_whittaker(axis, obs, weights, grid, settings.use_numba)
        else:
            daily = interpolation_matrix(axis.days, grid) @ fill_gaps_linear(axis.days, obs)
        at = np.minimum(axis.step * fit.window[:, :1] + day, len(grid) - 1)
        curve = daily.T[row.ravel()[:, None], at]
        level_sigma = 0.5 * fit.error
    curve = np.where(day <= length[:, None], curve, np.nan)
    return curve_metrics(curve, fit.open_edge, level_sigma, settings)


def _relative_weights(obs: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Weights of observations (T, N), of mean 1 in each series, so that no series depends on others."""
    usable = np.isfinite(obs) & (sigma > 0) & np.isfinite(sigma)
    weights = np.divide(1.0, np.square(sigma, dtype=float), out=np.zeros(obs.shape), where=usable)
    return weights * (usable.sum(0) / np.maximum(weights.sum(0), 1e-30))


def _daily_whittaker(axis: RegularAxis, obs, weights, grid, use_numba) -> np.ndarray:
    """Daily Whittaker curve (D, N) of observations (T, N); robust where their errors are unknown."""
    options = {"lam": CURVE_LAMBDA * axis.length / len(grid), "days": axis.days, "use_numba": use_numba}
    if weights is None:
        for _ in range(ROBUST_PASSES):
            weights = robust_weights(obs, whittaker(obs, weights, **options), None)
    return whittaker(obs, weights, grid_days=grid, **options)


def count_observations(metrics: dict, pixel: np.ndarray, origin: np.ndarray, obs: tuple) -> None:
    """Add to ``metrics``: observations in green-up, peak and green-down, the longest gap between them, QFLAG."""
    obs_days, seen = obs
    borders = [origin + metrics[name] for name in ("UP", "TOP", "DOWN", "OFF")]
    at = [_obs_before(obs_days, b) for b in borders]
    steps = np.diff(obs_days)
    regular = (seen == 1).all(1)[pixel] & (steps == steps[:1]).all()
    if regular.all():
        counts = [at[k + 1] - at[k] for k in range(3)]
        gap = np.full(len(pixel), float(steps.max(initial=0)))
    else:
        total = np.zeros((len(seen), len(obs_days) + 1), np.int32)
        np.cumsum(seen, axis=1, out=total[:, 1:])
        passed = [total[pixel, a] for a in at]
        counts = [passed[k + 1] - passed[k] for k in range(3)]
        inside = (seen[pixel] > 0) & (obs_days >= borders[0][:, None]) & (obs_days <= borders[3][:, None])
        last = np.maximum.accumulate(np.where(inside, obs_days, borders[0][:, None]), axis=1)
        waits = np.where(inside[:, 1:], obs_days[1:] - last[:, :-1], 0.0)
        gap = np.maximum(waits.max(1, initial=0.0), borders[3] - last[:, -1])
        gap = np.maximum(gap, np.where(inside[:, 0], obs_days[0] - borders[0], 0.0))
        gap = np.where(regular, float(steps.max(initial=0)), gap)
    metrics["OBS_UP"], metrics["OBS_PEAK"], metrics["OBS_DOWN"] = counts
    metrics["LONGEST_GAP"] = gap
    up, top, down = (c > 2 for c in counts)
    any_obs = np.minimum(np.minimum(counts[0], counts[1]), counts[2]) > 0
    score = np.where(any_obs, 3, np.where(sum(counts) > 0, 2, 1))
    for value, mask in ((4, up), (5, down), (6, top), (7, up & top), (8, up & down), (9, top & down)):
        score = np.where(mask, value, score)
    metrics["QFLAG"] = np.where(up & top & down, 10, score)
    metrics["FLAG"] = metrics["FLAG"] | np.where(metrics["QFLAG"] < 7, FLAGS["few_observations"], 0)


def _obs_before(obs_days: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Number of observation days before each border; computed directly where they are equidistant."""
    steps = np.diff(obs_days)
    if len(steps) == 0 or (steps != steps[0]).any() or steps[0] == 0:
        return np.searchsorted(obs_days, border)
    place = np.ceil((border - obs_days[0]) / float(steps[0]))
    return np.clip(np.where(np.isnan(place), len(obs_days), place), 0, len(obs_days)).astype(np.int64)


def _scatter(layer, metrics, pixel, origin, peak_day, periods, small) -> None:
    """Write every season into a slot of its year, in order of time; only the largest if there are too many.

    ``MAIN`` is the slot, counted from 1, of the season with the largest amplitude.
    """
    slots = layer["SOSD"].shape[1]
    peak = np.where(np.isfinite(metrics["MAXD"]), origin + metrics["MAXD"], peak_day)
    for name in ("SOSD", "EOSD", "MAXD"):
        metrics[name] = metrics[name] + origin
    for year, (first, last, zero) in enumerate(periods):
        row = np.flatnonzero((peak >= first) & (peak < last + 1) & ~small)
        if len(row) == 0:
            continue
        where = pixel[row]
        if (np.diff(where) > 0).all():
            slot = None
            layer["COUNT"][year][:, where] = layer["MAIN"][year][:, where] = 1
        else:
            count = np.bincount(where, minlength=layer["COUNT"].shape[-1])
            layer["COUNT"][year] = count
            row = row[np.lexsort((-metrics["SWING"][row], where))]
            row = row[_rank(pixel[row]) < slots]
            row = row[np.lexsort((peak[row], pixel[row]))]
            where, slot = pixel[row], _rank(pixel[row])
            order = np.lexsort((-metrics["SWING"][row], where))
            largest = order[_rank(where[order]) == 0]
            layer["MAIN"][year][:, where[largest]] = slot[largest] + 1
            more = count[where] > slots
            metrics["FLAG"][row] |= np.where(more, FLAGS["more_seasons"], 0)
        whole = slot is None and len(where) == layer["COUNT"].shape[-1] == len(pixel)
        for name in VARIABLES:
            value = metrics[name] if whole else metrics[name][row]
            value = value - zero if name in ("SOSD", "EOSD", "MAXD") else value
            if whole:
                layer[name][year, 0] = value
            elif slot is None:
                layer[name][year, 0][where] = value
            else:
                layer[name][year, slot, where] = value


def _rank(group: np.ndarray) -> np.ndarray:
    """Position of every row within its group; rows of a group are adjacent."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))
