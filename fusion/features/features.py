"""Feature channels of the network for every pixel and date, shared by training, inference and the UDF.

All channels except the NDVI level and the time of year are relative: radar to its level at the observations and over
the season (an offset in dB cancels), coarse NDVI and observations to the linear interpolation. Missing information
is 0 and is marked by a support channel.
Scene context enters as box means of radius ``CONTEXT_RADIUS_PX``, not as a mean over the whole window, so that tiles
with enough overlap agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fusion.contract import NDVI_CENTRE, NDVI_UNIT
from fusion.features.kernels import TimeSmoother, box_means
from fusion.features.neighbours import (
    FAR_DAYS,
    blend_linearly,
    days_at,
    find_neighbours,
    gather_rows,
    later_weight,
    strictly_before_and_after,
    with_none,
)
from fusion.features.observations import Observations
from fusion.features.radar import CONTEXT_RADIUS_PX, RELATIVE_NAMES, SHARE_NAMES, RadarChannels
from fusion.features.tiling import grown, inside, row_strips, strip

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
    memory: np.ndarray | None = None,
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
    memory : float32 (n,), optional
        Memory for ``stack``, which is valid until it is used again; new memory where it is missing or too small. For
        many windows, reuse saves the time in which the system clears new memory.

    Returns
    -------
    FeatureStack
        Channels in the order of ``FEATURE_NAMES``; 0 for pixels without any observation.
    """
    window = grown((rows, columns), obs.shape, 0)
    obs, window = _near(obs, window)
    parts = _Parts(obs, window, grid_days)
    season = time_of_year(grid_days - season_shift_days, obs.latitude)
    height, width = (part.stop - part.start for part in window)
    count = len(grid_days)
    needed = len(FEATURE_NAMES) * count * height * width
    memory = np.empty(needed, np.float32) if memory is None or memory.size < needed else memory[:needed]
    stack = memory.reshape(len(FEATURE_NAMES), count, height * width)
    linear, gap_days = np.empty((2, count, height * width), np.float32)
    for strip_rows in row_strips(height, width):
        pixels = slice(strip_rows.start * width, strip_rows.stop * width)
        linear[:, pixels], gap_days[:, pixels] = _fill(stack[:, :, pixels], parts, strip_rows, season)
    shape = (count, height, width)
    return FeatureStack(stack.reshape(-1, *shape), linear.reshape(shape), gap_days.reshape(shape))


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


def _near(obs: Observations, window: tuple[slice, slice]) -> tuple[Observations, tuple[slice, slice]]:
    """The part of the area that the window's features depend on, and the window in it."""
    reach = grown(window, obs.shape, CONTEXT_RADIUS_PX)
    return obs.window(*reach), inside(window, reach)


class _Parts:
    """What the strips of a window share: box means (n, H, W) of its observations, and kernels between the dates."""

    def __init__(self, obs: Observations, window: tuple[slice, slice], grid_days: np.ndarray) -> None:
        self.s2_days, self.grid_days = obs.s2_days, grid_days
        self.coarse_days = obs.coarse_days + COARSE_LABEL_SHIFT_DAYS
        oddity = np.empty_like(obs.s2_ndvi)
        for rows in row_strips(*obs.shape):
            ndvi = strip(obs.s2_ndvi, rows)
            seen = np.isfinite(ndvi)
            found = obs_oddity(np.where(seen, ndvi, np.float32(0)), seen, obs.s2_days)
            oddity[:, rows] = found.reshape(oddity[:, rows].shape)
        around, self.clear = box_means([oddity, obs.s2_ndvi], np.isfinite(obs.s2_ndvi), CONTEXT_RADIUS_PX, window)
        self.date_oddity, self.context = around
        self.ndvi, self.oddity, self.coarse = (field[:, *window] for field in (obs.s2_ndvi, oddity, obs.coarse_ndvi))
        self.radar = RadarChannels(obs, *window, grid_days)
        self.s2_smoother = TimeSmoother(self.s2_days, grid_days)
        self.coarse_smoother = TimeSmoother(self.coarse_days, grid_days)
        self.coarse_at_obs = TimeSmoother(self.coarse_days, self.s2_days)


def _fill(
    out: np.ndarray, parts: _Parts, rows: slice, season: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Write the channels of some rows of the window into ``out`` (C, T, P); linear NDVI and gap, (T, P)."""
    ndvi = strip(parts.ndvi, rows)
    valid = np.isfinite(ndvi)
    filled = np.where(valid, ndvi, np.float32(0))
    near = find_neighbours(valid, parts.s2_days, parts.grid_days)
    sides = near.pick_before, near.pick_after
    padded = with_none(filled, 0)
    later = later_weight(near.gap_before, near.gap_after)
    at_obs = near.pick_before(padded), near.pick_after(padded)
    base = blend_linearly(*at_obs, later)

    def channels() -> Iterator[np.ndarray]:
        yield (base - np.float32(NDVI_CENTRE)) / NDVI_UNIT
        yield from _optical_channels(parts, filled, valid, near, at_obs, base)
        for field in (parts.oddity, parts.date_oddity, parts.clear):
            values = with_none(strip(field, rows), 0)
            values = values if field is parts.clear else values / NDVI_UNIT
            yield from (pick(values) for pick in sides)
        share = strip(parts.clear, rows)
        around, support = parts.s2_smoother(strip(parts.context, rows) * share, share, S2_SIGMAS_DAYS[1])
        around_known = support > 1e-3
        yield _difference(around, base, around_known)
        relative = parts.radar.relative(rows, near)
        yield from relative
        level, since, support = _coarse_level(parts, rows, near)
        known = support > 1e-2
        yield from since
        yield _difference(level, base, known)
        yield _difference(level, around, known & around_known)
        yield np.log1p(support)
        yield from (wave[:, None] for wave in season)
        yield from parts.radar.shares(rows, later, relative)

    for place, channel in zip(out, channels(), strict=True):
        place[:] = channel
    never = ~valid.any(axis=0)
    if never.any():
        out[:, :, never] = 0
        base[:, never] = np.nan
    return base, near.nearest


def _difference(values: np.ndarray, base: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Difference of finite NDVI in network units, 0 where not ``known``."""
    change = values - base
    change *= known
    change /= np.float32(NDVI_UNIT)
    return change


def _optical_channels(parts, filled, valid, near, at_obs, base) -> Iterator[np.ndarray]:
    for found, gap in zip(at_obs, (near.gap_before, near.gap_after), strict=True):
        yield _difference(found, base, gap < FAR_DAYS)
    for index in (near.before2, near.after2):
        yield _difference(gather_rows(filled, index, 0), base, index < len(filled))
    for scale in (5.0, 20.0, 80.0):
        yield from (np.exp(-near.gap_before / np.float32(scale)), np.exp(-near.gap_after / np.float32(scale)))
    grid = parts.grid_days.astype(np.float32)[:, None]
    for index in (near.before2, near.after2):
        yield np.exp(-np.abs(grid - days_at(parts.s2_days, index, 1e9)) / np.float32(30.0))
    weight = valid.astype(np.float32)
    supports = []
    for sigma in S2_SIGMAS_DAYS:
        mean, support = parts.s2_smoother(filled, weight, sigma)
        yield _difference(mean, base, support > 1e-3)
        supports.append(support)
    yield from map(np.log1p, supports)


def obs_oddity(filled: np.ndarray, valid: np.ndarray, obs_days: np.ndarray) -> np.ndarray:
    """Oddity: residual of each observation (n, P) from the line between the neighbouring ones, NDVI.

    It is damped where the neighbours are far in time, and 0 where one is missing. Residual cloud and haze lower NDVI on
    single dates, so a strongly negative oddity marks a suspect observation.
    """
    n = len(filled)
    if n == 0:
        return filled
    earlier, later = (index[:n] for index in strictly_before_and_after(valid))
    days = obs_days.astype(np.float32)[:, None]
    gap_before = days - days_at(obs_days, earlier, -1e6)
    gap_after = days_at(obs_days, later, 1e6) - days
    both = valid & (earlier < n) & (later < n)
    line = gather_rows(filled, earlier, 0) * gap_after + gather_rows(filled, later, 0) * gap_before
    line /= np.maximum(gap_before + gap_after, np.float32(1))
    trust = np.exp(-np.minimum(gap_before, gap_after) / np.float32(15)) * np.exp(
        -np.maximum(gap_before, gap_after) / np.float32(60)
    )
    return (filled - line) * trust * both


def _coarse_level(parts, rows, near) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Smoothed coarse NDVI (T, P), its change since the neighbouring observations, network units, and its support."""
    none = np.zeros_like(near.gap_before)
    if len(parts.coarse_days) == 0:
        return none, [none, none], none
    flat = strip(parts.coarse, rows)
    valid = np.isfinite(flat)
    weight = valid.astype(np.float32)
    filled = np.where(valid, flat, np.float32(0))
    level, support = parts.coarse_smoother(filled, weight, COARSE_DAYS)
    level_at, support_at = parts.coarse_at_obs(filled, weight, COARSE_DAYS)
    level_at = with_none(np.where(support_at > 1e-2, level_at, np.float32(np.nan)), np.nan)
    changes = [level - pick(level_at) for pick in (near.pick_before, near.pick_after)]
    seen = support > 1e-2
    since = [np.where(seen & np.isfinite(change), change, np.float32(0)) / NDVI_UNIT for change in changes]
    return level, since, support
