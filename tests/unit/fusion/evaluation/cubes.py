"""Tiny cubes whose answers can be derived by hand."""

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import COARSE_NDVI, S2NDVI
from fusion.evaluation.predictor import Prediction, Target
from fusion.evaluation.scenes import TruthScene

DAY0 = int(np.datetime64("2020-01-01", "D").astype(int))


def cube_of(
    series: dict[str, np.ndarray], start: str = "2020-01-01", step_days: int = 5, size: int = 2
) -> xr.DataArray:
    """A merged cube with each band's series (t,) or (t, y, x) spread over ``size`` x ``size`` pixels."""
    stacks = []
    for values in series.values():
        values = np.asarray(values, np.float32)
        stacks.append(np.broadcast_to(values[:, None, None], (len(values), size, size)) if values.ndim == 1 else values)
    data = np.stack(stacks, axis=1).astype(np.float32)
    dates = pd.date_range(start, periods=len(data), freq=f"{step_days}D")
    coords = {
        "t": dates,
        "bands": list(series),
        "y": 5_000_000.0 - 10 * np.arange(data.shape[2]),
        "x": 500_000.0 + 10 * np.arange(data.shape[3]),
    }
    return xr.DataArray(data, dims=("t", "bands", "y", "x"), coords=coords, attrs={"s1_units": "dB"})


class Recorder:
    """A predictor that answers a constant and keeps every cube it was shown."""

    def __init__(self, value: float = 0.5, sigma: float | None = None, name: str = "recorder") -> None:
        self.value, self.sigma, self.name = value, sigma, name
        self.seen: list[tuple[xr.DataArray, np.ndarray, str]] = []

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        self.seen.append((cube.copy(deep=True), np.asarray(dates), target))
        shape = (len(dates), cube.sizes["y"], cube.sizes["x"])
        sigma = None if self.sigma is None else np.full(shape, self.sigma)
        return Prediction(np.full(shape, self.value), sigma)


def scene_of(truth: np.ndarray, obs_every: int = 5, parcel: np.ndarray | None = None, key: str = "s") -> TruthScene:
    """A scene whose observations equal its truth, every ``obs_every`` days."""
    days = DAY0 + np.arange(len(truth))
    at = np.arange(0, len(truth), obs_every)
    cube = cube_of({S2NDVI: truth[at], COARSE_NDVI: truth[at]}, step_days=obs_every)
    return TruthScene(key, cube, days, truth.astype(np.float32), parcel)


def ramp(days: int = 400, size: int = 4) -> np.ndarray:
    return np.broadcast_to((0.2 + 0.0015 * np.arange(days))[:, None, None], (days, size, size)).astype(np.float32)


def texture(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (size, size))
