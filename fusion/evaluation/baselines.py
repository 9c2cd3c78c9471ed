"""Baselines without training, with the interface :class:`fusion.evaluation.predictor.Predictor`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.ndimage import distance_transform_edt
from scipy.signal import savgol_filter

from fusion.contract import COARSE_NDVI, COARSE_PIXEL_M, NDVI_MAX, NDVI_MIN
from fusion.evaluation.predictor import Prediction, Predictor, Target, s2_obs, to_days
from fusion.features.coarse_operator import FINE_PIXEL_M
from fusion.features.neighbours import interpolate_linear
from fusion.phenology.whittaker import whittaker

CLOUD_REACH = 15  # coarse pixels over which the weight of an observation rises with distance to a cloud
LEAST_SCORE = 0.01  # lowest weight, beside a cloud


def nothing(cube: xr.DataArray, dates: np.ndarray) -> np.ndarray:
    """NaN of shape (dates, y, x), the prediction of a cube without observations."""
    return np.full((len(dates), cube.sizes["y"], cube.sizes["x"]), np.nan, np.float32)


@dataclass(frozen=True)
class Linear:
    """Linear interpolation in time per pixel; the nearest observation beyond the ends."""

    name: str = "linear"

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        days, observations = s2_obs(cube)
        if days.size == 0:
            return Prediction(nothing(cube, dates), None)
        return Prediction(interpolate_linear(days, observations, to_days(dates)), None)


@dataclass(frozen=True)
class Whittaker:
    """Second-difference Whittaker smoother on a daily grid, per pixel (Eilers 2003, doi:10.1021/ac034173t).

    Beyond the observations the curve is a straight line, so it is clipped to the NDVI range of the contract.
    """

    lam: float = 1e4
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"whittaker {self.lam:.0e}".replace("e+0", "e"))

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        days, observations = s2_obs(cube)
        if days.size == 0:
            return Prediction(nothing(cube, dates), None)
        curve = whittaker(observations, lam=self.lam, days=days, grid_days=to_days(dates))
        return Prediction(np.clip(curve, NDVI_MIN, NDVI_MAX).astype(np.float32), None)


@dataclass(frozen=True)
class SavitzkyGolay:
    """Savitzky-Golay filter on the linearly interpolated daily series (doi:10.1016/j.rse.2004.03.014).

    Defaults of window and order are those of the original use case.
    """

    window_days: int = 91
    order: int = 3
    name: str = "savitzky-golay"

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        days, observations = s2_obs(cube)
        wanted = to_days(dates)
        if days.size == 0:
            return Prediction(nothing(cube, dates), None)
        half = self.window_days // 2 + 1
        first, last = wanted.min() - half, wanted.max() + half
        daily = interpolate_linear(days, observations, np.arange(first, last + 1))
        empty = np.isnan(daily)  # pixels without any observation; the filter accepts no NaN
        smooth = savgol_filter(np.where(empty, 0, daily), self.window_days, self.order, axis=0, mode="interp")
        smooth = np.where(empty, np.nan, smooth)[wanted - first]
        return Prediction(np.clip(smooth, NDVI_MIN, NDVI_MAX).astype(np.float32), None)


@dataclass(frozen=True)
class EfastLike:
    """Weighted mean of observations, each moved to the requested date by the change of the coarse series.

    ``ndvi(t) = sum w_i (obs_i + coarse(t) - coarse(t_i)) / sum w_i``, with Gaussian weights in time times a score that
    rises with the distance to the nearest masked pixel of the observation, after EFAST (Senty et al. 2024,
    doi:10.3390/rs16111833). The coarse series is smoothed in time with a Gaussian kernel. A pixel without coarse
    values gets the weighted mean of its observations. Unlike EFAST, pixels beside a cloud keep a small weight, so that
    every pixel with an observation has a prediction; clouds beyond the border of the cube are unknown.
    """

    scale_days: float = 20.0
    coarse_scale_days: float = 10.0
    name: str = "efast-like"

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        days, observations = s2_obs(cube)
        wanted = to_days(dates)
        if days.size == 0:
            return Prediction(nothing(cube, dates), None)
        at_obs, at_dates = (self._coarse(cube, when) for when in (days, wanted))
        scores = cloud_scores(np.isfinite(observations))
        out = nothing(cube, dates)
        for row, day in enumerate(wanted):
            change = np.nan_to_num(at_dates[row][None] - at_obs, nan=0.0)
            weight = kernel_weights(days, day, np.isfinite(observations), self.scale_days, scores)
            total = (weight * np.nan_to_num(observations + change)).sum(axis=0)
            out[row] = np.where(weight.any(axis=0), np.clip(total, NDVI_MIN, NDVI_MAX), np.nan)
        return Prediction(out, None)

    def _coarse(self, cube: xr.DataArray, wanted: np.ndarray) -> np.ndarray:
        """Smoothed coarse NDVI at ``wanted`` days, float32 (n, y, x), NaN where the pixel has none."""
        if COARSE_NDVI not in cube.bands.values:
            return np.full((len(wanted), cube.sizes["y"], cube.sizes["x"]), np.nan, np.float32)
        stack = np.asarray(cube.sel(bands=COARSE_NDVI).transpose("t", "y", "x").values, np.float32)
        days = to_days(cube.t.values)
        seen = np.isfinite(stack)
        rows = seen.any(axis=(1, 2))
        stack, days, seen = stack[rows], days[rows], seen[rows]
        out = np.full((len(wanted), *stack.shape[1:]), np.nan, np.float32)
        for row, day in enumerate(wanted):
            weight = kernel_weights(days, day, seen, self.coarse_scale_days)
            out[row] = np.where(weight.any(axis=0), (weight * np.nan_to_num(stack)).sum(axis=0), np.nan)
        return out


def cloud_scores(seen: np.ndarray) -> np.ndarray:
    """Weight of each observation by its distance to the nearest masked pixel of its date, (n, y, x).

    As in EFAST, it rises from 0 at one coarse pixel (300 m) to 1 at 16, but is at least :data:`LEAST_SCORE`. It is 1 on
    dates without masked pixels.
    """
    scores = np.ones(seen.shape, np.float32)
    for row, frame in enumerate(seen):
        if not frame.all():
            distance_m = FINE_PIXEL_M * distance_transform_edt(frame)
            scores[row] = np.clip((distance_m / COARSE_PIXEL_M - 1) / CLOUD_REACH, LEAST_SCORE, 1)
    return scores


def kernel_weights(
    days: np.ndarray, day: int, seen: np.ndarray, scale_days: float, scores: np.ndarray | None = None
) -> np.ndarray:
    """Gaussian weights in time of the observations, (n, y, x); their sum is 1, or 0 for pixels without observations.

    Weights are multiplied by ``scores`` before normalisation. Exponents are relative to the nearest observation, so
    that they do not underflow when all observations are far away.
    """
    exponent = -0.5 * ((days - day) / scale_days) ** 2
    exponent = np.where(seen, exponent[:, None, None], -np.inf)
    top = exponent.max(axis=0, initial=-np.inf)
    weight = np.exp(exponent - np.where(np.isfinite(top), top, 0.0))
    if scores is not None:
        weight = weight * scores
    total = weight.sum(axis=0)
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def make_baselines(names: list[str], whittaker_lambdas: list[float]) -> list[Predictor]:
    """Make predictors by name: ``linear``, ``whittaker`` (one per lambda), ``savitzky_golay``, ``efast_like``.

    Raises
    ------
    ValueError
        Unknown name."""
    makers: dict[str, Callable[[], list[Predictor]]] = {
        "linear": lambda: [Linear()],
        "whittaker": lambda: [Whittaker(lam) for lam in whittaker_lambdas],
        "savitzky_golay": lambda: [SavitzkyGolay()],
        "efast_like": lambda: [EfastLike()],
    }
    unknown = [name for name in names if name not in makers]
    if unknown:
        raise ValueError(f"baselines are {names}; expected some of {sorted(makers)}")
    return [predictor for name in names for predictor in makers[name]()]
