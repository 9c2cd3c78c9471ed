"""What a scientist would write in an afternoon for one area: a random forest on its own clear dates (scikit-learn).

No other place, no network and no feature of the package takes part. Every clear observation of the area is a target,
with the observations within some days of it hidden, as the scored date has them.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from sklearn.ensemble import RandomForestRegressor

from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.evaluation.predictor import Prediction, Target, to_days
from fusion.features.observations import Observations, observations_from_cube

TREES, LEAF, ROWS = 100, 3, 2000
GAPS_DAYS = (5, 10, 20, 30)
SMOOTH_DAYS = 25  # running mean of radar, beside its value on the day
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class OwnAreaForest:
    """Residual over linear interpolation by a forest that is fitted anew to the visible dates of each cube."""

    name: str = "random forest, own area"

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        obs = observations_from_cube(cube)
        rng = np.random.default_rng(0)
        series = [Series.of(obs, *pixel) for pixel in np.ndindex(obs.shape)]
        learned = [one.training_rows() for one in series]
        rows, residuals = (np.concatenate(part) for part in zip(*learned, strict=True))
        wanted = np.concatenate([one.rows(to_days(dates), 0) for one in series])
        residual = np.zeros(len(wanted))
        if len(rows):
            picks = rng.choice(len(rows), min(ROWS, len(rows)), replace=False)
            forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0, n_jobs=1)
            known = np.isfinite(wanted).all(axis=1)
            residual[known] = forest.fit(rows[picks], residuals[picks]).predict(wanted[known])
        ndvi = np.clip(wanted[:, 0] + residual, NDVI_MIN, NDVI_MAX).reshape(*obs.shape, len(dates))
        return Prediction(np.moveaxis(ndvi, -1, 0).astype(np.float32), None)


@dataclass(frozen=True)
class Series:
    """Clear days and NDVI (n,) of one pixel, and its daily radar (4, days): VV, VH-VV, and both smoothed, in dB."""

    days: np.ndarray
    ndvi: np.ndarray
    first: int
    radar: np.ndarray

    @classmethod
    def of(cls, obs: Observations, row: int, column: int) -> "Series":
        """The series of one pixel; radar between its dates is interpolated, and 0 where there is none."""
        ndvi, vv, vh = (a[:, row, column].astype(float) for a in (obs.s2_ndvi, obs.vv_db, obs.vh_db))
        clear, seen = np.isfinite(ndvi), np.isfinite(vv) & np.isfinite(vh)
        ends = np.concatenate([obs.s2_days, obs.s1_days])
        daily = np.arange(ends.min() - max(GAPS_DAYS), ends.max() + max(GAPS_DAYS) + 1)
        raw = [
            np.interp(daily, obs.s1_days[seen], v[seen]) if seen.any() else np.zeros(len(daily)) for v in (vv, vh - vv)
        ]
        padded = [np.pad(v, SMOOTH_DAYS // 2, mode="edge") for v in raw]
        smooth = [np.convolve(v, np.full(SMOOTH_DAYS, 1 / SMOOTH_DAYS), mode="valid") for v in padded]
        return cls(obs.s2_days[clear], ndvi[clear], int(daily[0]), np.stack([*raw, *smooth]))

    def rows(self, when: np.ndarray, gap_days: int) -> np.ndarray:
        """Inputs (len(when), 15), the first linear interpolation, with what lies within ``gap_days`` hidden."""
        if not len(self.days):
            return np.full((len(when), 15), np.nan)
        before = np.searchsorted(self.days, when - gap_days, "left") - 1
        after = np.searchsorted(self.days, when + gap_days, "right")
        none_before, none_after = before < 0, after >= len(self.days)
        before, after = np.where(none_before, after, before), np.where(none_after, before, after)
        lost = none_before & none_after
        before, after = (np.where(lost, 0, k) for k in (before, after))
        since, until = when - self.days[before], self.days[after] - when
        share = np.where(since + until > 0, since / np.maximum(since + until, 1), 0)
        linear = self.ndvi[before] + share * (self.ndvi[after] - self.ndvi[before])
        at, at_before, at_after = (
            self.radar[:, np.clip(day - self.first, 0, self.radar.shape[1] - 1)]
            for day in (when, self.days[before], self.days[after])
        )
        angle = 2 * np.pi * when / YEAR_DAYS
        change = [*(at - at_before)[2:], *(at - at_after)[2:]]
        columns = [
            linear,
            self.ndvi[before],
            self.ndvi[after],
            since,
            until,
            *at,
            *change,
            np.cos(angle),
            np.sin(angle),
        ]
        return np.where(lost[:, None], np.nan, np.stack(columns, axis=1))

    def training_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, 15) and NDVI minus linear interpolation (n,) of every clear date and gap that can be bridged."""
        inputs = np.concatenate([self.rows(self.days, gap) for gap in GAPS_DAYS])
        between = np.isfinite(inputs).all(axis=1) & (inputs[:, 3] > 0) & (inputs[:, 4] > 0)
        return inputs[between], (np.tile(self.ndvi, len(GAPS_DAYS)) - inputs[:, 0])[between]
