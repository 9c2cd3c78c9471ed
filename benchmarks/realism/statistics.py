"""Statistics of observations that show whether simulated scenes resemble real ones: the same functions for both."""

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import wasserstein_distance

from benchmarks.realism.difficulty import GAPS_D, linear_difficulty
from fusion.features.observations import Observations

LAGS_D = ((1, 7), (8, 12), (13, 22), (23, 35), (36, 55), (56, 90))
LAGS_PX = (1, 2, 4, 8, 16, 32)
MONTH_D = (18, 42)  # dates this far apart show changes of about a month
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass
class SeriesStatistics:
    """Values pooled over scenes; :meth:`distances` compares two pools."""

    month_ndvi: dict[int, list] = field(default_factory=dict)
    lag_change: dict[str, list] = field(default_factory=dict)
    variogram: dict[str, list] = field(default_factory=dict)
    gaps_d: list = field(default_factory=list)
    clear_share: list = field(default_factory=list)
    level: dict[str, list] = field(default_factory=dict)
    correlation: dict[str, list] = field(default_factory=dict)
    noise: dict[str, list] = field(default_factory=dict)
    linear: list = field(default_factory=list)

    def add(self, obs: Observations, rng: np.random.Generator, pixels: int = 200) -> None:
        """Add the values of one scene; temporal statistics use ``pixels`` random pixels."""
        self._optical(obs, rng, pixels)
        if len(obs.s1_days):
            self._radar(obs)
            self._together(obs, rng, pixels)

    def _optical(self, obs: Observations, rng: np.random.Generator, pixels: int) -> None:
        days, ndvi = obs.s2_days, obs.s2_ndvi
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12 + 1
        flat = ndvi.reshape(len(days), -1)
        some = flat[:, rng.permutation(flat.shape[1])[:pixels]]
        for month in np.unique(months):
            values = some[months == month]
            self.month_ndvi.setdefault(int(month), []).append(values[np.isfinite(values)])
        for low, high in LAGS_D:
            for i, j in _apart(days, low, high):
                change = np.abs(some[j] - some[i])
                if np.isfinite(change).mean() > 0.5:
                    _append(self.lag_change, f"{low}-{high} d", np.nanmean(change))
        for image in ndvi[np.isfinite(flat).mean(axis=1) > 0.8]:
            self._texture(image)
        self.clear_share.append(np.isfinite(flat).sum() / flat.shape[1] / max(1, days[-1] - days[0]) * 5)
        for column in some.T[:40]:
            self.gaps_d.extend(np.diff(days[np.isfinite(column)]).tolist())
        self.linear.append(linear_difficulty(days, ndvi, GAPS_D)[1])

    def _texture(self, image: np.ndarray) -> None:
        for step in LAGS_PX:
            if step < image.shape[1]:
                _append(self.variogram, f"{step} px", np.nanmean(np.abs(image[:, step:] - image[:, :-step])))
        laplace = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:] - 4 * image[1:-1, 1:-1]
        _append(self.noise, "S2 4-neighbour residual", 1.4826 * np.nanmedian(np.abs(laplace)) / np.sqrt(20))

    def _radar(self, obs: Observations) -> None:
        for name, stack in (("VV", obs.vv_db), ("VH", obs.vh_db), ("VH-VV", obs.vh_db - obs.vv_db)):
            self.level.setdefault(name, []).append(stack[:: max(1, len(stack) // 20), ::5, ::5].ravel())
            mean = np.nanmean(stack, axis=(1, 2))
            _append(self.noise, f"{name} scene mean over dates", float(np.nanstd(mean)))
            _append(self.noise, f"{name} field to field", float(np.nanstd(np.nanmean(stack, axis=0))))
            if name == "VH-VV":
                continue
            change = np.diff(stack[:, ::2, ::2], axis=0)
            change = change - np.nanmedian(change, axis=(1, 2), keepdims=True)
            _append(self.noise, f"{name} acquisition to acquisition", 1.4826 * np.nanmedian(np.abs(change)))
            for step in (1, 2):
                a, b = change[:, :, :-step], change[:, :, step:]
                _append(self.noise, f"{name} change correlation at {20 * step} m", np.nansum(a * b) / np.nansum(a * a))

    def _together(self, obs: Observations, rng: np.random.Generator, pixels: int) -> None:
        """Correlation of NDVI with smoothed radar over space (each clear date) and over time (each pixel), and that of
        their changes within about a month between fields, the radar signal that the network uses.
        """
        flat = obs.s2_ndvi.reshape(len(obs.s2_days), -1)
        clear = np.flatnonzero(np.isfinite(flat).mean(axis=1) > 0.6)
        if len(clear) < 4:
            return
        near = [np.argsort(np.abs(obs.s1_days - obs.s2_days[k]))[:3] for k in clear]
        vv, vh = (np.stack([band[n].mean(axis=0).ravel() for n in near]) for band in (obs.vv_db, obs.vh_db))
        ndvi = flat[clear]
        columns = rng.permutation(flat.shape[1])[:pixels]
        month = _apart(obs.s2_days[clear], *MONTH_D)
        for name, band in (("VV", vv), ("VH", vh), ("VH-VV", vh - vv)):
            for a, b in zip(ndvi, band, strict=True):
                _append(self.correlation, f"{name} over space", _correlation(a, b))
            for a, b in zip(ndvi[:, columns].T, band[:, columns].T, strict=True):
                _append(self.correlation, f"{name} over time", _correlation(a, b))
            for i, j in month:
                changes = _correlation(ndvi[j] - ndvi[i], band[j] - band[i])
                _append(self.correlation, f"{name}, change in a month", changes)

    def distances(self, other: "SeriesStatistics") -> list[dict]:
        """One row per statistic: this value, the other's, and their distance (Wasserstein for distributions)."""
        rows = []
        for month in sorted(set(self.month_ndvi) & set(other.month_ndvi)):
            rows.append(_distribution(f"NDVI in month {month}", self.month_ndvi[month], other.month_ndvi[month]))
        rows.append(_distribution("days between clear observations", [self.gaps_d], [other.gaps_d]))
        for name in sorted(set(self.level) & set(other.level)):
            rows.append(_distribution(f"{name} level, dB", self.level[name], other.level[name]))
        for title, mine, yours in (
            ("mean |NDVI change| at", self.lag_change, other.lag_change),
            ("mean |NDVI difference| at", self.variogram, other.variogram),
            ("correlation NDVI with", self.correlation, other.correlation),
            ("noise:", self.noise, other.noise),
        ):
            for name in [key for key in mine if key in yours]:
                rows.append(_scalars(f"{title} {name}", mine[name], yours[name]))
        rows.append(_scalars("clear observations per 5 days", self.clear_share, other.clear_share))
        return rows


def _apart(days: np.ndarray, low: int, high: int) -> np.ndarray:
    """Pairs of dates, int64 (n, 2), of which the second comes ``low`` to ``high`` days after the first."""
    lag = days[None, :] - days[:, None]
    return np.argwhere((lag >= low) & (lag <= high))


def _append(pool: dict[str, list], key: str, value: float) -> None:
    if np.isfinite(value):
        pool.setdefault(key, []).append(float(value))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    use = np.isfinite(a) & np.isfinite(b)
    if use.sum() < 4 or a[use].std() < 1e-4 or b[use].std() < 1e-4:
        return float("nan")
    return float(np.corrcoef(a[use], b[use])[0, 1])


def _distribution(name: str, mine: list, yours: list) -> dict:
    a, b = (np.concatenate([np.ravel(part) for part in parts]) for parts in (mine, yours))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    return {
        "statistic": name,
        "simulated": [round(float(q), 3) for q in np.quantile(a, QUANTILES)],
        "real": [round(float(q), 3) for q in np.quantile(b, QUANTILES)],
        "distance": round(float(wasserstein_distance(a, b)), 4),
    }


def _scalars(name: str, mine: list, yours: list) -> dict:
    a, b = float(np.mean(mine)), float(np.mean(yours))
    return {
        "statistic": name,
        "simulated": round(a, 4),
        "real": round(b, 4),
        "distance": round(abs(a - b), 4),
        "scene_range": [round(float(q), 4) for q in np.quantile(mine, (0.1, 0.9))],
    }
