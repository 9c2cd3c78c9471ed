"""Example series and maps of a trained model on a validation scene, for MLflow and the output folder."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.contract import NDVI_MAX, NDVI_MIN, STEP_DAYS
from fusion.data.scene import Scene
from fusion.evaluation.baselines import Linear
from fusion.evaluation.metrics import HALF_WIDTHS
from fusion.evaluation.plots import new_figure, save
from fusion.evaluation.predictor import ModelPredictor, Predictor, Target, s2_obs
from fusion.evaluation.scenes import cube_from_observations
from fusion.evaluation.withholding import withhold_s2
from fusion.features.truth import nearest_truth_day, truth_on_days
from fusion.inference.session import open_session

log = logging.getLogger(__name__)

WINDOW_DAYS = 60  # length of the gap withheld in the example
SIDE_PX = 64  # side of the part shown, from the middle of the scene
FEW_OBS = 5  # dates with an observation that a scene needs to be drawn
MODEL, LINEAR, TRUTH, SHOWN, WITHHELD = "#0b6e4f", "#d1495b", "0.15", "0.35", "#30638e"


@dataclass(frozen=True)
class Example:
    """A scene with a withheld window, and two predictions of it; images are (n, y, x) on ``days``, NaN = unknown.

    ``shown`` and ``withheld`` are the observations as (days, ndvi (n, y, x)); ``reference`` is the clean truth of every
    day, or without truth the withheld observation of ``days[row]``; ``row`` is the date of the maps, inside the window.
    """

    days: np.ndarray
    ndvi: np.ndarray
    sigma: np.ndarray
    linear: np.ndarray
    reference: np.ndarray
    has_truth: bool
    shown: tuple[np.ndarray, np.ndarray]
    withheld: tuple[np.ndarray, np.ndarray]
    window: tuple[int, int]
    row: int


def write_examples(model_folder: Path, scenes: Iterable[Scene], out: Path, *, threads: int = 1) -> list[Path]:
    """Draw ``example_series.png`` and ``example_maps.png`` into ``out``, for the first scene that has enough
    observations.

    The exported model is run as for users. Returns the files; an empty list where no scene has enough observations.
    """
    predictor = ModelPredictor(open_session(model_folder, threads))
    for scene in scenes:
        example = make_example(scene, predictor)
        if example is not None:
            drawn = {"example_series": draw_series(example), "example_maps": draw_maps(example)}
            return [save(figure, out, name) for name, figure in drawn.items()]
    log.warning("no scene has %d dates with observations, so no example figures are drawn", FEW_OBS)
    return []


def make_example(scene: Scene, predictor: Predictor) -> Example | None:
    """Withhold the window with most clear observations in the middle of a scene and predict it; None with too few."""
    cube = cube_from_observations(scene.observations)
    rows, columns = (_middle(cube.sizes[axis]) for axis in ("y", "x"))
    cube = cube.isel(y=rows, x=columns)
    obs_days, obs = s2_obs(cube)
    if len(obs_days) < FEW_OBS:
        return None
    first, last = fullest_window(obs_days, np.isfinite(obs).sum(axis=(1, 2)))
    inside = (obs_days >= first) & (obs_days <= last)
    shown, withheld = (obs_days[~inside], obs[~inside]), (obs_days[inside], obs[inside])
    day = map_day(*withheld)
    if scene.truth_days is not None:  # the maps need a date with truth
        known = scene.truth_days[(scene.truth_days >= obs_days[0]) & (scene.truth_days <= obs_days[-1])]
        day = nearest_truth_day(known, day) if len(known) else day
    days = np.arange(obs_days[0] + (day - obs_days[0]) % STEP_DAYS, obs_days[-1] + 1, STEP_DAYS)
    row = int(np.searchsorted(days, day))
    target: Target = "observation"
    reference = np.full((len(days), *obs.shape[1:]), np.nan, np.float32)
    if scene.truth is not None and scene.truth_days is not None:
        target = "ndvi"
        reference = truth_on_days(scene.truth_days, scene.truth[:, rows, columns], days)
    else:
        reference[row] = withheld[1][np.searchsorted(withheld[0], day)]
    left, dates = withhold_s2(cube, first, last), days.astype("datetime64[D]")
    ndvi, sigma = predictor.predict(left, dates, target=target)
    linear, _ = Linear().predict(left, dates)
    spread = sigma if sigma is not None else np.full_like(ndvi, np.nan)
    window = (first, last)
    return Example(days, ndvi, spread, linear, reference, target == "ndvi", shown, withheld, window, row)


def fullest_window(days: np.ndarray, clear: np.ndarray) -> tuple[int, int]:
    """First and last day of the window with most clear pixels that keeps the first and the last visible."""
    starts = days[1:]
    fits = starts + WINDOW_DAYS <= days[-1]
    if not fits.any():
        return int(days[1]), int(days[-2])
    inside = (days >= starts[:, None]) & (days < starts[:, None] + WINDOW_DAYS)  # (starts, observations)
    start = int(starts[np.where(fits, inside @ clear, -1).argmax()])
    return start, start + WINDOW_DAYS - 1


def map_day(days: np.ndarray, obs: np.ndarray) -> int:
    """Day of the withheld observation to draw as a map: clear, and near the middle of the window."""
    middle = (days[0] + days[-1]) / 2
    nearness = 1 - np.abs(days - middle) / (days[-1] - days[0] + 1)
    return int(days[(np.isfinite(obs).mean(axis=(1, 2)) * nearness).argmax()])


def draw_series(example: Example) -> Any:
    """Time series of four pixels: truth, observations, linear interpolation, model and 90 % band."""
    figure, axes = new_figure(rows=4, width=7.0, height=7.6)
    height, width = example.ndvi.shape[1:]
    dates = example.days.astype("datetime64[D]")
    places = [(height * i // 4, width * j // 4) for i in (1, 3) for j in (1, 3)]
    for axis, (y, x) in zip(axes, places, strict=True):
        first, last = (np.datetime64(day, "D") for day in example.window)
        axis.axvspan(first, last, color="0.93", lw=0, label="withheld window")
        ndvi, half = example.ndvi[:, y, x], HALF_WIDTHS[90] * example.sigma[:, y, x]
        axis.fill_between(dates, ndvi - half, ndvi + half, color=MODEL, alpha=0.18, lw=0, label="90 % band")
        if example.has_truth:
            axis.plot(dates, example.reference[:, y, x], color=TRUTH, lw=1.1, label="truth")
        axis.plot(dates, example.linear[:, y, x], color=LINEAR, lw=1.0, ls="--", label="linear")
        axis.plot(dates, ndvi, color=MODEL, lw=1.5, label="model")
        for (days, obs), mark, colour, name in (
            (example.shown, "o", SHOWN, "observation"),
            (example.withheld, "x", WITHHELD, "withheld observation"),
        ):
            axis.plot(days.astype("datetime64[D]"), obs[:, y, x], mark, ms=3.5, color=colour, label=name)
        axis.set(ylabel="NDVI", ylim=(-0.1, 1.05))
        axis.set_title(f"pixel y {y}, x {x}", fontsize=8, loc="left")
    axes[0].legend(frameon=False, fontsize=7, ncol=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    figure.align_ylabels()
    return figure


def draw_maps(example: Example) -> Any:
    """Maps of a date inside the withheld window: reference, linear, model, the model's error and its sigma."""
    row = example.row
    reference, ndvi = example.reference[row], example.ndvi[row]
    known = reference[np.isfinite(reference)]
    low, high = np.percentile(known, (1, 99)) if known.size else (NDVI_MIN, NDVI_MAX)
    shared: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "YlGn"}
    panels: Sequence[tuple[str, np.ndarray, dict[str, Any]]] = (
        ("truth" if example.has_truth else "withheld observation", reference, shared),
        ("linear", example.linear[row], shared),
        ("model", ndvi, shared),
        ("model - reference", ndvi - reference, {"vmin": -0.3, "vmax": 0.3, "cmap": "RdBu"}),
        ("sigma", example.sigma[row], {"vmin": 0, "cmap": "magma_r"}),
    )
    figure, axes = new_figure(columns=len(panels), width=11.0, height=2.6)
    for axis, (title, image, scale) in zip(axes, panels, strict=True):
        drawn = axis.imshow(image, interpolation="nearest", **scale)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    gap = int(np.abs(example.shown[0] - example.days[row]).min())
    date = example.days[row].astype("datetime64[D]")
    figure.suptitle(f"{date}, {gap} days from the nearest visible date", fontsize=9)
    return figure


def _middle(size: int) -> slice:
    start = max(size - SIDE_PX, 0) // 2
    return slice(start, min(start + SIDE_PX, size))
