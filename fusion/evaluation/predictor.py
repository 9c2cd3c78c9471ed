"""Common interface of all scored methods: a merged cube and dates in, NDVI and optionally sigma out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from fusion.contract import COARSE_NDVI, NDVI, NDVI_SIGMA, RADAR_BANDS, S2NDVI, STEP_DAYS, TimeGrid
from fusion.evaluation.settings import MODEL, Target
from fusion.inference.fuse import fuse_cube
from fusion.inference.locate import locate_model
from fusion.inference.session import ModelSession, load_session
from fusion.place import latitude_of

LINEAR = "linear"
OTHER_SENSORS = (*RADAR_BANDS, COARSE_NDVI)


class Prediction(NamedTuple):
    """NDVI and its standard deviation (None if the method has none), each float of shape (n, y, x)."""

    ndvi: np.ndarray
    sigma: np.ndarray | None


@runtime_checkable
class Predictor(Protocol):
    """A method that predicts NDVI from a cube alone."""

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        ...

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI at ``dates``, datetime64 (n,), from a cube ``(t, bands, y, x)``; NaN where impossible."""
        ...


def to_days(dates: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01, int64."""
    return np.asarray(dates).astype("datetime64[D]").astype(np.int64)


def s2_obs(cube: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Days (n,) and NDVI (n, y, x) of every date of the cube that has at least one S2 observation."""
    stack = np.asarray(cube.sel(bands=S2NDVI).transpose("t", "y", "x").values, np.float32)
    seen = np.isfinite(stack).any(axis=(1, 2))
    return to_days(cube.t.values)[seen], stack[seen]


@dataclass(frozen=True)
class ModelPredictor:
    """The fusion network, through :func:`fusion.inference.fuse.fuse_cube` as in :func:`fusion.fuse`.

    Dates are grouped by their phase within the time step, so that every group lies on one regular grid.
    """

    session: ModelSession
    name: str = MODEL
    step_days: int = STEP_DAYS

    @classmethod
    def load(cls, reference: str | None, *, name: str = MODEL, threads: int = 1) -> "ModelPredictor":
        """Load the shipped model (None), a file, an MLflow run or a registered name."""
        return cls(load_session(locate_model(reference), threads=threads), name)

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI and sigma, with one pass of the network per phase of the dates."""
        days, latitude = to_days(dates), latitude_of(cube)
        shape = (len(days), cube.sizes["y"], cube.sizes["x"])
        ndvi, sigma = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        for phase in np.unique(days % self.step_days):
            group = np.flatnonzero(days % self.step_days == phase)
            first, last = (np.datetime64(int(day), "D") for day in (days[group].min(), days[group].max()))
            grid = TimeGrid(first, last, self.step_days)
            fused = fuse_cube(cube, self.session, grid, latitude=latitude, sigma=target)
            fused = fused.transpose("t", "bands", "y", "x")
            rows = np.searchsorted(grid.days, days[group])
            ndvi[group] = fused.sel(bands=NDVI).values[rows]
            sigma[group] = fused.sel(bands=NDVI_SIGMA).values[rows]
        return Prediction(ndvi, sigma)


@dataclass(frozen=True)
class Without:
    """An ablation: a predictor applied to a cube without some bands."""

    inner: Predictor
    bands: tuple[str, ...]
    name: str

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict from the cube without :attr:`bands`."""
        keep = [band for band in cube.bands.values if str(band) not in self.bands]
        return self.inner.predict(cube.sel(bands=keep), dates, target=target)


def ablations(inner: Predictor, names: Sequence[str]) -> list[Without]:
    """Ablations without radar (``s1``), without the coarse series (``coarse``), or with S2 only (``s2_only``)."""
    bands = {"s1": RADAR_BANDS, "coarse": (COARSE_NDVI,), "s2_only": OTHER_SENSORS}
    unknown = [name for name in names if name not in bands]
    if unknown:
        raise ValueError(f"ablations are {list(names)}; expected some of {sorted(bands)}")
    label = {"s1": "minus S1", "coarse": "minus coarse", "s2_only": "S2 only"}
    return [Without(inner, bands[name], f"{inner.name}, {label[name]}") for name in names]
