"""Radar channels: backscatter relative to its level at the observations, and how far it has explained NDVI there.

Backscatter follows greenness on some fields and not on others: over 12 to 45 days its changes explain less than 2 % of
those of NDVI on mown grassland and up to 35 % on arable land. The data at hand show which: at the visible observations,
short-term departures of NDVI are regressed on those of VV and of the cross ratio. The explained share and the resulting
estimate are channels of the network, so that it relies on radar as far as radar has explained NDVI at this place.
"""

from dataclasses import dataclass

import numpy as np

from fusion.contract import NDVI_UNIT
from fusion.features.kernels import TimeSmoother, box_mean
from fusion.features.neighbours import Neighbours, with_none
from fusion.features.observations import Observations
from fusion.features.tiling import grown, inside, row_strips, strip

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
    smoother = TimeSmoother(days, days)
    sums = np.empty((7, *ndvi.shape[1:]), np.float32)
    for rows in row_strips(*ndvi.shape[1:]):
        part = _sums_of_products(strip(ndvi, rows), strip(vv, rows), strip(cross_ratio, rows), smoother)
        sums[:, rows] = part.reshape(sums[:, rows].shape)
    count, uu, ua, ub, aa, bb, ab = box_mean(sums, SHARE_RADIUS_PX)[0]
    aa, bb = aa + np.float32(RIDGE_DB2), bb + np.float32(RIDGE_DB2)
    determinant = aa * bb - ab * ab
    vv_slope, ratio_slope = (ua * bb - ub * ab) / determinant, (ub * aa - ua * ab) / determinant
    unexplained = (uu - vv_slope * ua - ratio_slope * ub) * count / np.maximum(count - 2, np.float32(0.5))
    share = np.clip(1 - unexplained / np.maximum(uu, np.float32(1e-4)), -1, 1) * count / (count + PRIOR_COUNT)
    return share.astype(np.float32), vv_slope.astype(np.float32), ratio_slope.astype(np.float32)


def _sums_of_products(ndvi: np.ndarray, vv: np.ndarray, ratio: np.ndarray, smoother: TimeSmoother) -> np.ndarray:
    """Number of observations, and sums over them of the products of the departures u, a, b, float32 (7, P)."""
    seen = np.isfinite(ndvi)
    filled = np.where(seen, ndvi, np.float32(0))
    slow, _ = smoother(filled, seen.astype(np.float32), NDVI_LONG_DAYS)
    used = seen & np.isfinite(vv) & np.isfinite(ratio)
    u = (filled - slow) * used
    a, b = (np.where(used, values, np.float32(0)) for values in (vv, ratio))
    weight = used.astype(np.float32)
    pairs = ((weight, weight), (u, u), (u, a), (u, b), (a, a), (b, b), (a, b))
    return np.stack([np.einsum("np,np->p", x, y) for x, y in pairs])


@dataclass(frozen=True)
class _Band:
    """One band of radar on a window of H x W pixels: speckle removed, its surroundings, its level at the observations.

    ``filled`` and ``around`` are float32 (n, H, W), 0 where unknown, ``weight`` and ``around_weight`` 1 where known, or
    None where all is known; ``at_obs`` float32 (n of S2, H, W), dB, NaN where unknown.
    """

    filled: np.ndarray
    weight: np.ndarray | None
    around: np.ndarray
    around_weight: np.ndarray | None
    at_obs: np.ndarray


class RadarChannels:
    """Channels ``RELATIVE_NAMES`` and ``SHARE_NAMES`` of a window, computed for a few rows of pixels at a time.

    Parameters
    ----------
    obs : Observations
        Observations of the whole area.
    rows, columns : slice
        The window.
    grid_days : int64 (T,)
        Days since 1970-01-01.
    """

    def __init__(self, obs: Observations, rows: slice, columns: slice, grid_days: np.ndarray) -> None:
        self.absent = len(obs.s1_days) == 0
        if self.absent:
            return
        self._at_obs, self._at_grid = (TimeSmoother(obs.s1_days, days) for days in (obs.s2_days, grid_days))
        wide = grown((rows, columns), obs.shape, SHARE_RADIUS_PX)
        window = inside((rows, columns), wide)
        bands, departures = [], []
        for images in (obs.vv_db, obs.vh_db - obs.vv_db):  # VV and the cross ratio
            filled, weight = _known(*box_mean(images, SPECKLE_RADIUS_PX, wide))
            at_obs, departure = self._levels_at_obs(filled, weight, len(obs.s2_days))
            around, around_weight = _known(*box_mean(images, CONTEXT_RADIUS_PX, (rows, columns)))
            own = filled[:, *window], None if weight is None else weight[:, *window]
            bands.append(_Band(*own, around, around_weight, at_obs[:, *window]))
            departures.append(departure)
        self._bands = bands
        self._found = [x[window] for x in explained_share(obs.s2_ndvi[:, *wide], obs.s2_days, *departures)]

    def relative(self, rows: slice, near: Neighbours) -> list[np.ndarray]:
        """Channels ``RELATIVE_NAMES`` of some rows of the window, float32 (T, P) each, network units."""
        if self.absent:
            return [np.zeros_like(near.gap_before)] * len(RELATIVE_NAMES)
        vv, ratio = (self._of_band(band, rows, near) for band in self._bands)
        pairs = [channel for pair in zip(vv[:-1], ratio[:-1], strict=True) for channel in pair]
        return [pairs[i] for i in (0, 2, 1, 3)] + pairs[4:] + [vv[-1]]

    def shares(self, rows: slice, later: np.ndarray, relative: list[np.ndarray]) -> list[np.ndarray]:
        """Channels ``SHARE_NAMES`` of some rows of the window, of their channels ``relative``.

        ``later`` is from :func:`fusion.features.neighbours.later_weight`.
        """
        if self.absent:
            return [np.zeros_like(later)] * len(SHARE_NAMES)
        share, *slopes = (image[rows].reshape(1, -1) for image in self._found)
        estimate = np.zeros_like(later)
        for slope, before, after in zip(slopes, relative[0:4:2], relative[1:4:2], strict=True):
            estimate += slope * (before + later * (after - before))
        estimate = np.clip(estimate * (DB_UNIT / np.float32(NDVI_UNIT)), -5, 5)
        return [share, estimate, np.maximum(share, 0) * estimate]

    def _levels_at_obs(
        self, filled: np.ndarray, weight: np.ndarray | None, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Level at the observations of Sentinel-2, and its departure from the slow course, (count, H, W), NaN."""
        levels, departures = (np.empty((count, *filled.shape[1:]), np.float32) for _ in range(2))
        for rows in row_strips(*filled.shape[1:]):
            part = _strips(filled, weight, rows)
            level, support = self._at_obs(*part, LEVEL_DAYS)
            level = np.where(support > 1e-2, level, np.float32(np.nan))
            shape = levels[:, rows].shape
            levels[:, rows] = level.reshape(shape)
            departures[:, rows] = (level - self._at_obs(*part, LONG_DAYS)[0]).reshape(shape)
        return levels, departures

    def _of_band(self, band: _Band, rows: slice, near: Neighbours) -> list[np.ndarray]:
        """Since before, since after, season, now, context, in units of ``DB_UNIT``, and the support."""
        own = _strips(band.filled, band.weight, rows)
        around = _strips(band.around, band.around_weight, rows)
        level, support = self._at_grid(*own, LEVEL_DAYS)
        long, _ = self._at_grid(*own, LONG_DAYS)
        short, short_support = self._at_grid(*own, SHORT_DAYS)
        context = self._at_grid(*around, LEVEL_DAYS)[0] - self._at_grid(*around, LONG_DAYS)[0]
        at_obs = with_none(strip(band.at_obs, rows), np.nan)
        known = support > 1e-2
        changes = [level - pick(at_obs) for pick in (near.pick_before, near.pick_after)]
        channels = [np.where(known & np.isfinite(change), change, np.float32(0)) for change in changes]
        channels += [(level - long) * known, (short - long) * (short_support > 1e-2), context * known]
        return [channel / DB_UNIT for channel in channels] + [np.log1p(support)]


def _known(mean: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Values, 0 where unknown, and 1 where known; None where all are."""
    known = share > 0
    return mean, None if known.all() else known.astype(np.float32)


def _strips(values: np.ndarray, weight: np.ndarray | None, rows: slice) -> tuple[np.ndarray, np.ndarray | None]:
    return strip(values, rows), None if weight is None else strip(weight, rows)
