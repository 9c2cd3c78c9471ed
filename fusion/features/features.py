"""Feature channels of the network for every pixel and date, shared by training, inference and the UDF.

All channels except the NDVI level and the time of year are relative: radar to its level at the observations and over
the season (an offset in dB cancels), coarse NDVI and observations to the linear interpolation. Missing information
is 0 and is marked by a support channel.
Scene context enters as box means of radius ``CONTEXT_RADIUS_PX``, not as a mean over the whole window, so that tiles
with enough overlap agree.
"""

from dataclasses import dataclass

import numpy as np

from fusion.contract import NDVI_CENTRE, NDVI_UNIT
from fusion.features.kernels import box_mean, smooth_in_time
from fusion.features.neighbours import (
    blend_linearly,
    find_neighbours,
    gather_rows,
    strictly_before_and_after,
)
from fusion.features.observations import Observations
from fusion.features.radar import CONTEXT_RADIUS_PX, RELATIVE_NAMES, SHARE_NAMES, radar_channels

FEATURE_VERSION = 3  # 2: time of year relative to the season at the latitude; 3: explained share of radar
S2_SIGMAS_DAYS = (6.0, 16.0, 45.0)
COARSE_DAYS = 8.0
COARSE_LABEL_SHIFT_DAYS = 5  # composites are labelled by their first day; this moves the label to the middle
TEMPERATE_DEG = 45.0  # closer to the equator, dry summers and irrigation give neighbouring fields opposite calendars
MIDWINTER_DAY = -10.0  # the December solstice of 1969, days since 1970-01-01
YEAR_DAYS = 365.2425
SEASON_LATITUDE_DEG = 50.0  # latitude of zero lag
SPRING_LAG_D, AUTUMN_LAG_D = 2.4, -0.84  # delay of spring and autumn per degree poleward, days
MID_SPRING_D = 120.0  # days from midwinter to 20 April; mid-autumn is half a year later

FEATURE_NAMES = (
    "linear",
    "before",
    "after",
    "before2",
    "after2",
    "near_before",
    "near_after",
    "mid_before",
    "mid_after",
    "far_before",
    "far_after",
    "near_before2",
    "near_after2",
    "s2_mean_6d",
    "s2_mean_16d",
    "s2_mean_45d",
    "s2_support_6d",
    "s2_support_16d",
    "s2_support_45d",
    "oddity_before",
    "oddity_after",
    "date_oddity_before",
    "date_oddity_after",
    "clear_before",
    "clear_after",
    "context_ndvi",
    *RELATIVE_NAMES,
    "coarse_since_before",
    "coarse_since_after",
    "coarse_level",
    "coarse_context",
    "coarse_support",
    "season_cos",
    "season_sin",
    *SHARE_NAMES,
)


@dataclass(frozen=True)
class FeatureStack:
    """Network input, and what is needed to interpret the network's output.

    ``stack`` float32 (C, T, H, W), network units; ``linear`` float32 (T, H, W), NDVI interpolated linearly, NaN for a
    pixel without any observation; ``gap_days`` float32 (T, H, W), days to the nearest observation.
    """

    stack: np.ndarray
    linear: np.ndarray
    gap_days: np.ndarray


def compute_features(
    obs: Observations,
    grid_days: np.ndarray,
    rows: slice = slice(None),
    columns: slice = slice(None),
    *,
    season_shift_days: float = 0.0,
) -> FeatureStack:
    """Compute the features of a window of the area at every grid date.

    Parameters
    ----------
    obs : Observations
        Observations of the whole area; spatial context is taken from it.
    grid_days : int64 (T,)
        Requested dates, days since 1970-01-01, sorted.
    rows, columns : slice
        The window to compute; the whole area by default.
    season_shift_days : float
        Shifts the time of year; training varies it, since calendars differ between regions.

    Returns
    -------
    FeatureStack
        Channels in the order of ``FEATURE_NAMES``; 0 for pixels without any observation.
    """
    inner = obs.window(rows, columns)
    height, width = inner.shape
    flat = inner.s2_ndvi.reshape(len(obs.s2_days), height * width)
    valid = np.isfinite(flat)
    near = find_neighbours(valid, obs.s2_days, grid_days)
    filled = np.where(valid, flat, np.float32(0))
    linear = blend_linearly(
        gather_rows(filled, near.before, 0), gather_rows(filled, near.after, 0), near.gap_before, near.gap_after
    )
    base = np.nan_to_num(linear)
    seen_before, seen_after = near.before < len(flat), near.after < len(flat)

    def at_obs(rows_of_observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return gather_rows(rows_of_observations, near.before, 0), gather_rows(rows_of_observations, near.after, 0)

    channels: list[np.ndarray] = [(base - np.float32(NDVI_CENTRE)) / NDVI_UNIT]
    channels += _optical_channels(filled, valid, near, base, obs.s2_days, grid_days)
    channels += _obs_quality_channels(obs, rows, columns, filled, valid, at_obs)
    around, around_known = _context_ndvi(obs, rows, columns, grid_days)
    channels.append(np.where(around_known, around - base, np.float32(0)) / NDVI_UNIT)
    relative, shares = radar_channels(obs, rows, columns, near, grid_days)
    channels += relative
    level, since, coarse_known, support = _coarse_level(obs, inner, grid_days, at_obs, seen_before, seen_after)
    channels += since
    channels.append(np.where(coarse_known, level - base, np.float32(0)) / NDVI_UNIT)
    channels.append(np.where(coarse_known & around_known, level - around, np.float32(0)) / NDVI_UNIT)
    channels.append(support)
    for channel in time_of_year(grid_days - season_shift_days, obs.latitude):
        channels.append(np.broadcast_to(channel[:, None], base.shape))
    channels += shares
    stack = np.stack([c.reshape(len(grid_days), height, width) for c in channels]).astype(np.float32, copy=False)
    stack[:, ~np.isfinite(linear).reshape(stack.shape[1:])] = 0
    shape = (len(grid_days), height, width)
    return FeatureStack(stack, linear.reshape(shape), near.nearest.reshape(shape))


def time_of_year(days: np.ndarray, latitude: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the time of year, float32 (T,), counted from midwinter of the hemisphere.

    The reference is the season at 50 degrees latitude: further poleward, spring is later and autumn earlier (Hopkins
    1918, Monthly Weather Review Supplement 9: four days per degree; today's values are lower). Both are 0 where the
    latitude is unknown or below ``TEMPERATE_DEG``, where season and date are only loosely related.
    """
    if latitude is None or abs(latitude) < TEMPERATE_DEG:
        return np.zeros(len(days), np.float32), np.zeros(len(days), np.float32)
    midwinter = MIDWINTER_DAY if latitude > 0 else MIDWINTER_DAY + YEAR_DAYS / 2
    since = np.asarray(days, np.float64) - midwinter
    poleward = abs(latitude) - SEASON_LATITUDE_DEG
    spring = np.cos(2 * np.pi * (since - MID_SPRING_D) / YEAR_DAYS)  # 1 in mid-spring, -1 in mid-autumn
    lag = poleward * ((SPRING_LAG_D + AUTUMN_LAG_D) / 2 + (SPRING_LAG_D - AUTUMN_LAG_D) / 2 * spring)
    angle = 2 * np.pi * (since - lag) / YEAR_DAYS
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _optical_channels(filled, valid, near, base, obs_days, grid_days) -> list[np.ndarray]:
    n = len(filled)
    out = []
    for index in (near.before, near.after, near.before2, near.after2):
        out.append(np.where(index < n, gather_rows(filled, index, 0) - base, np.float32(0)) / NDVI_UNIT)
    for scale in (5.0, 20.0, 80.0):
        out += [np.exp(-near.gap_before / np.float32(scale)), np.exp(-near.gap_after / np.float32(scale))]
    days = np.broadcast_to(obs_days.astype(np.float32)[:, None], filled.shape)
    grid = grid_days.astype(np.float32)[:, None]
    for index in (near.before2, near.after2):
        distance = np.abs(grid - gather_rows(days, index, 1e9))
        out.append(np.exp(-distance / np.float32(30.0)))
    weight = valid.astype(np.float32)
    supports = []
    for sigma in S2_SIGMAS_DAYS:
        mean, support = smooth_in_time(filled, weight, obs_days, grid_days, sigma)
        out.append(np.where(support > 1e-3, mean - base, np.float32(0)) / NDVI_UNIT)
        supports.append(np.log1p(support))
    return out + supports


def obs_oddity(filled: np.ndarray, valid: np.ndarray, obs_days: np.ndarray) -> np.ndarray:
    """Oddity: residual of each observation (n, P) from the line between the neighbouring ones, NDVI.

    It is damped where the neighbours are far in time, and 0 where one is missing. Residual cloud and haze lower NDVI on
    single dates, so a strongly negative oddity marks a suspect observation.
    """
    n = len(filled)
    if n == 0:
        return filled
    earlier, later = strictly_before_and_after(valid)
    days = np.broadcast_to(obs_days.astype(np.float32)[:, None], filled.shape)
    gap_before = days - gather_rows(days, earlier, -1e6)
    gap_after = gather_rows(days, later, 1e6) - days
    both = valid & (earlier < n) & (later < n)
    line = gather_rows(filled, earlier, 0) * gap_after + gather_rows(filled, later, 0) * gap_before
    line /= np.maximum(gap_before + gap_after, np.float32(1))
    trust = np.exp(-np.minimum(gap_before, gap_after) / np.float32(15)) * np.exp(
        -np.maximum(gap_before, gap_after) / np.float32(60)
    )
    return np.where(both, (filled - line) * trust, np.float32(0)).astype(np.float32)


def _window_rows(images: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    part = images[:, rows, columns]
    return part.reshape(len(images), part.shape[1] * part.shape[2])


def _obs_quality_channels(obs, rows, columns, filled, valid, at_obs) -> list[np.ndarray]:
    ndvi = obs.s2_ndvi.reshape(len(obs.s2_days), obs.shape[0] * obs.shape[1])
    seen = np.isfinite(ndvi)
    oddity = obs_oddity(np.where(seen, ndvi, np.float32(0)), seen, obs.s2_days).reshape(obs.s2_ndvi.shape)
    local = np.where(np.isfinite(obs.s2_ndvi), oddity, np.float32(np.nan))
    date_oddity, clear = box_mean(local, CONTEXT_RADIUS_PX)
    out = []
    for field in (oddity / NDVI_UNIT, date_oddity / NDVI_UNIT, clear):
        out += at_obs(np.ascontiguousarray(_window_rows(field, rows, columns)))
    return out


def _context_ndvi(obs, rows, columns, grid_days) -> tuple[np.ndarray, np.ndarray]:
    """Local mean of the observations at every grid date, (T, P), and where it is known, bool (T, P)."""
    mean, share = box_mean(obs.s2_ndvi, CONTEXT_RADIUS_PX)
    mean, share = _window_rows(mean, rows, columns), _window_rows(share, rows, columns)
    smooth, support = smooth_in_time(mean * share, share, obs.s2_days, grid_days, S2_SIGMAS_DAYS[1])
    return smooth, support > 1e-3


def _coarse_level(obs, inner, grid_days, at_obs, seen_before, seen_after):
    """Smoothed coarse NDVI (T, P), its change since the neighbouring observations, where known, and its support."""
    shape = seen_before.shape
    none = np.zeros(shape, np.float32)
    if len(obs.coarse_days) == 0:
        return none, [none, none], np.zeros(shape, bool), none
    coarse_days = obs.coarse_days + COARSE_LABEL_SHIFT_DAYS
    flat = inner.coarse_ndvi.reshape((len(obs.coarse_days), shape[1]))
    valid = np.isfinite(flat).astype(np.float32)
    filled = np.where(valid > 0, flat, np.float32(0))
    level, support = smooth_in_time(filled, valid, coarse_days, grid_days, COARSE_DAYS)
    level_at, support_at = smooth_in_time(filled, valid, coarse_days, obs.s2_days, COARSE_DAYS)
    known = support > 1e-2
    before, after = at_obs(level_at)
    known_before, known_after = at_obs((support_at > 1e-2).astype(np.float32))
    since = [
        np.where(known & seen_before & (known_before > 0), level - before, np.float32(0)) / NDVI_UNIT,
        np.where(known & seen_after & (known_after > 0), level - after, np.float32(0)) / NDVI_UNIT,
    ]
    return level, since, known, np.log1p(support)
