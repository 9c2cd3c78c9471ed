"""Radar channels: backscatter relative to its level at the observations, and how far it has explained NDVI there.

Backscatter follows greenness on some fields and not on others: over 12 to 45 days its changes explain less than 2 % of
those of NDVI on mown grassland and up to 35 % on arable land. The data at hand show which: at the visible observations,
short-term departures of NDVI are regressed on those of VV and of the cross ratio. The explained share and the resulting
estimate are channels of the network, so that it relies on radar as far as radar has explained NDVI at this place.
"""

from dataclasses import dataclass

import numpy as np

from fusion.contract import NDVI_UNIT
from fusion.features.kernels import box_mean, smooth_in_time
from fusion.features.neighbours import Neighbours, gather_rows, later_weight
from fusion.features.observations import Observations

CONTEXT_RADIUS_PX = 12  # box means of scene context: 250 m on the 10 m grid, about one coarse pixel
SPECKLE_RADIUS_PX = 1  # radar is averaged over 3 x 3 pixels before smoothing in time
SHARE_RADIUS_PX = 4  # the regression is pooled over 9 x 9 pixels: about one field
SHORT_DAYS, LEVEL_DAYS, LONG_DAYS = 3.0, 8.0, 60.0  # standard deviations of the smoothing kernels
NDVI_LONG_DAYS = 45.0
DB_UNIT = np.float32(2.0)  # one network unit of backscatter difference
RIDGE_DB2 = 2.0  # added to the sums of squares: little radar variation gives small slopes
PRIOR_COUNT = 4.0  # number of observations at which the share is halved

RELATIVE_NAMES = (
    "vv_since_before",
    "vv_since_after",
    "cr_since_before",
    "cr_since_after",
    "vv_season",
    "cr_season",
    "vv_now",
    "cr_now",
    "vv_context",
    "cr_context",
    "s1_support",
)
SHARE_NAMES = ("radar_share", "radar_estimate", "radar_explained")
RADAR_NAMES = (*RELATIVE_NAMES, *SHARE_NAMES)
"""Channels that are 0 without radar."""


def radar_channels(
    obs: Observations, rows: slice, columns: slice, near: Neighbours, grid_days: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Channels ``RELATIVE_NAMES`` and ``SHARE_NAMES`` of a window, float32 (T, P) each, network units.

    Parameters
    ----------
    obs : Observations
        Observations of the whole area.
    rows, columns : slice
        The window of P pixels.
    near : Neighbours
        The observations around every grid date, of the window.
    grid_days : int64 (T,)
        Days since 1970-01-01.
    """
    shape = near.before.shape
    if len(obs.s1_days) == 0:
        none = np.zeros(shape, np.float32)
        return [none] * len(RELATIVE_NAMES), [none] * len(SHARE_NAMES)
    wide = _grown((rows, columns), obs.shape, SHARE_RADIUS_PX)
    inside = tuple(
        slice(part.indices(size)[0] - whole.start, part.indices(size)[1] - whole.start)
        for part, whole, size in zip((rows, columns), wide, obs.shape, strict=True)
    )
    bands = [
        _channels_of_band(images, obs, (rows, columns), wide, inside, near, grid_days)
        for images in (obs.vv_db, obs.vh_db - obs.vv_db)  # VV and the cross ratio
    ]
    relative = [channel for group in zip(*(band.relative for band in bands), strict=True) for channel in group]
    relative = [relative[i] for i in (0, 2, 1, 3)] + relative[4:] + [bands[0].support]  # since: both sides of a band
    found = explained_share(obs.s2_ndvi[:, *wide], obs.s2_days, *(band.departure for band in bands))
    share, *slopes = (image[inside].reshape(1, -1) for image in found)
    later = later_weight(near.gap_before, near.gap_after)
    changes = [before + later * (after - before) for before, after in (relative[:2], relative[2:4])]
    estimate = sum(slope * change for slope, change in zip(slopes, changes, strict=True)) * (DB_UNIT / NDVI_UNIT)
    estimate = np.clip(estimate, -5, 5)
    return relative, [np.broadcast_to(share, shape), estimate, np.maximum(share, 0) * estimate]


def explained_share(
    ndvi: np.ndarray, days: np.ndarray, vv: np.ndarray, cross_ratio: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regress departures of NDVI from its slow course on those of radar, per pixel with its surroundings.

    Parameters
    ----------
    ndvi : float32 (n, H, W)
        Observations, NaN = missing.
    days : int64 (n,)
        Their dates.
    vv, cross_ratio : float32 (n, H, W)
        Backscatter minus its slow course on these dates, dB; NaN = unknown.

    Returns
    -------
    share : float32 (H, W)
        Explained share of the variance, corrected for the two coefficients and shrunk where observations are few;
        negative where radar explains less than chance would, 0 where nothing is known.
    vv_slope, cross_ratio_slope : float32 (H, W)
        NDVI per dB.
    """
    shape = ndvi.shape[1:]
    flat = ndvi.reshape(len(ndvi), -1)
    seen = np.isfinite(flat)
    filled = np.where(seen, flat, np.float32(0))
    slow, _ = smooth_in_time(filled, seen.astype(np.float32), days, days, NDVI_LONG_DAYS)
    a, b = vv.reshape(flat.shape), cross_ratio.reshape(flat.shape)
    used = seen & np.isfinite(a) & np.isfinite(b)
    u, a, b = (np.where(used, values, np.float32(0)) for values in (filled - slow, a, b))
    weight = used.astype(np.float32)
    pairs = ((weight, weight), (u, u), (u, a), (u, b), (a, a), (b, b), (a, b))
    sums = np.stack([np.einsum("np,np->p", x, y) for x, y in pairs]).reshape(-1, *shape)
    count, uu, ua, ub, aa, bb, ab = box_mean(sums, SHARE_RADIUS_PX)[0]
    aa, bb = aa + np.float32(RIDGE_DB2), bb + np.float32(RIDGE_DB2)
    determinant = aa * bb - ab * ab
    vv_slope, ratio_slope = (ua * bb - ub * ab) / determinant, (ub * aa - ua * ab) / determinant
    unexplained = (uu - vv_slope * ua - ratio_slope * ub) * count / np.maximum(count - 2, np.float32(0.5))
    share = np.clip(1 - unexplained / np.maximum(uu, np.float32(1e-4)), -1, 1) * count / (count + PRIOR_COUNT)
    return share.astype(np.float32), vv_slope.astype(np.float32), ratio_slope.astype(np.float32)


@dataclass(frozen=True)
class _Band:
    """``relative``: since before, since after, season, now, context (T, P); ``departure`` (n, H, W), dB, NaN."""

    relative: list[np.ndarray]
    support: np.ndarray
    departure: np.ndarray


def _channels_of_band(images, obs, window, wide, inside, near, grid_days) -> _Band:
    speckled, share = box_mean(images, SPECKLE_RADIUS_PX)
    filled, weight = _window_rows(speckled, share, window)
    level, support = smooth_in_time(filled, weight, obs.s1_days, grid_days, LEVEL_DAYS)
    long, _ = smooth_in_time(filled, weight, obs.s1_days, grid_days, LONG_DAYS)
    short, short_support = smooth_in_time(filled, weight, obs.s1_days, grid_days, SHORT_DAYS)
    around, around_weight = _window_rows(*box_mean(images, CONTEXT_RADIUS_PX), window)
    around_level, _ = smooth_in_time(around, around_weight, obs.s1_days, grid_days, LEVEL_DAYS)
    around_long, _ = smooth_in_time(around, around_weight, obs.s1_days, grid_days, LONG_DAYS)

    filled, weight = _window_rows(speckled, share, wide)
    at_obs, at_obs_support = smooth_in_time(filled, weight, obs.s1_days, obs.s2_days, LEVEL_DAYS)
    long_at_obs, _ = smooth_in_time(filled, weight, obs.s1_days, obs.s2_days, LONG_DAYS)
    size = (len(obs.s2_days), *(part.stop - part.start for part in wide))
    at_obs, long_at_obs = at_obs.reshape(size), long_at_obs.reshape(size)
    at_obs_known = (at_obs_support > 1e-2).reshape(size)

    known = support > 1e-2
    of_window = np.where(at_obs_known, at_obs, np.float32(np.nan))[:, *inside].reshape(size[0], -1)
    since = [level - gather_rows(of_window, index, np.nan) for index in (near.before, near.after)]
    relative = [np.where(known & np.isfinite(change), change, np.float32(0)) for change in since]
    relative.append(np.where(known, level - long, np.float32(0)))
    relative.append(np.where(short_support > 1e-2, short - long, np.float32(0)))
    relative.append(np.where(known, around_level - around_long, np.float32(0)))
    departure = np.where(at_obs_known, at_obs - long_at_obs, np.float32(np.nan))
    return _Band([channel / DB_UNIT for channel in relative], np.log1p(support), departure)


def _window_rows(images: np.ndarray, share: np.ndarray, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Values of a window, 0 where unknown, and 1 where known; float32 (n, P) both."""
    weight = (share[:, *window] > 0).astype(np.float32).reshape(len(images), -1)
    return images[:, *window].reshape(len(images), -1) * weight, weight


def _grown(window: tuple[slice, slice], shape: tuple[int, int], by: int) -> tuple[slice, slice]:
    """The window with ``by`` pixels more on each side, cut at the border."""
    rows, columns = (
        slice(max(part.indices(size)[0] - by, 0), min(part.indices(size)[1] + by, size))
        for part, size in zip(window, shape, strict=True)
    )
    return rows, columns
