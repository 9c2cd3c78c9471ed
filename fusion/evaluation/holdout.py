"""Hold-out against simulated truth: the clouds of a scene plus hidden windows, scored by distance to a look."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from fusion.contract import STEP_DAYS
from fusion.evaluation.hiding import hide_s2
from fusion.evaluation.images import gradient_error, gradient_spectrum_bias, gradient_spectrum_error, ssim
from fusion.evaluation.leave_gap_out import SEASONS, season_of
from fusion.evaluation.metrics import Distribution, tally_groups
from fusion.evaluation.predictor import Prediction, Predictor, s2_looks
from fusion.evaluation.rules import Rules
from fusion.evaluation.scenes import TruthScene
from fusion.features.neighbours import nearest_look_gap

GAP_EDGES_DAYS = (15, 30, 60, 100)
GAP_BINS = ("<15", "15-30", "30-60", "60-100", ">100")


class Holdout(Rules):
    """Every scene loses all S2 looks inside some windows; truth is scored where a pixel has no look that day."""

    lengths_days: tuple[int, ...] = Field((20, 40, 60, 90, 120, 180, 240), min_length=1, description="to draw from")
    windows: int = Field(2, ge=0, description="hidden windows a scene")
    step_days: int = Field(STEP_DAYS, ge=1, description="distance of the scored dates")
    frames: int = Field(6, ge=0, description="images a scene that are compared as images, inside the hidden windows")
    seed: int = Field(0, description="where the windows lie")


@dataclass(frozen=True)
class HiddenScene:
    """A scene after hiding: the cube that predictors see, the dates to fill and the reference there.

    ``gap_days`` float32 (n, y, x): distance to the pixel's nearest visible look; ``frame_missing`` bool (n,): no pixel
    of the scene has a look within half a step; ``in_window`` bool (n,): the date lies in a hidden window.
    """

    key: str
    cube: xr.DataArray
    days: np.ndarray
    reference: np.ndarray
    gap_days: np.ndarray
    frame_missing: np.ndarray
    in_window: np.ndarray
    parcel: np.ndarray | None


def gap_bin(gap_days: np.ndarray) -> np.ndarray:
    """Index into :data:`GAP_BINS`; -1 where the pixel is seen on that very day."""
    return np.where(gap_days <= 0, -1, np.digitize(gap_days, GAP_EDGES_DAYS))


def hidden_windows(scene: TruthScene, rules: Holdout, index: int) -> list[tuple[int, int]]:
    """First and last day of each window of the scene; they depend on the rules' seed and the scene's index alone."""
    random = np.random.default_rng([rules.seed, index])
    first, last = int(scene.truth_days[0]), int(scene.truth_days[-1])
    windows = []
    for _ in range(rules.windows):
        length = min(int(random.choice(list(rules.lengths_days))), last - first)
        start = int(random.integers(first, last - length + 1))
        windows.append((start, start + length - 1))
    return windows


def hide_scene(scene: TruthScene, rules: Holdout, index: int) -> HiddenScene:
    """The scene without the looks of its windows. Coarse composites and radar stay, as under clouds."""
    cube = scene.cube
    days = np.arange(scene.truth_days[0], scene.truth_days[-1] + 1, rules.step_days)
    in_window = np.zeros(len(days), bool)
    for first, last in hidden_windows(scene, rules, index):
        cube = hide_s2(cube, first, last)
        in_window |= (days >= first) & (days <= last)
    look_days, looks = s2_looks(cube)
    gap = nearest_look_gap(look_days, looks, days)
    frame_missing = gap.reshape(len(days), -1).min(axis=1) > rules.step_days // 2
    return HiddenScene(scene.key, cube, days, scene.truth_at(days), gap, frame_missing, in_window, scene.parcel)


def score_scene(
    hidden: HiddenScene, predictor: Predictor, rules: Holdout, *, distribution: Distribution = "gaussian"
) -> tuple[pd.DataFrame, pd.DataFrame, Prediction]:
    """Score one predictor on one scene.

    Returns
    -------
    sums : pandas.DataFrame
        One row for each (unit, bin, season, frame_missing) that occurs; ``unit`` is ``pixel`` or ``field``.
    images : pandas.DataFrame
        One row for each scored frame: ``gap_days`` (median), ``ssim``, ``gradient_error``, ``spectrum_error``,
        ``spectrum_bias``.
    prediction : Prediction
        What was predicted at ``hidden.days``.
    """
    prediction = predictor.predict(hidden.cube, hidden.days.astype("datetime64[D]"), target="signal")
    rows = pixel_rows(hidden, prediction, distribution)
    if hidden.parcel is not None:
        rows += field_rows(hidden, prediction)
    marks = {"scene": hidden.key, "predictor": predictor.name}
    sums = pd.DataFrame(rows).assign(**marks)
    images = pd.DataFrame(image_rows(hidden, prediction.ndvi, rules)).assign(**marks)
    return sums, images, prediction


def pixel_rows(hidden: HiddenScene, prediction: Prediction, distribution: Distribution) -> list[dict]:
    """Sums over pixels, grouped by bin, season and missing frame."""
    season = np.searchsorted(np.sort(SEASONS), season_of(hidden.days))
    code = group_code(gap_bin(hidden.gap_days), season[:, None, None], hidden.frame_missing[:, None, None])
    sums = tally_groups(prediction.ndvi, hidden.reference, prediction.sigma, code, 40, distribution=distribution)
    return rows_of(sums, "pixel")


def field_rows(hidden: HiddenScene, prediction: Prediction) -> list[dict]:
    """Sums over field means: the mean of a field's unseen pixels at a date counts as one value, without sigma."""
    unseen = (hidden.gap_days > 0) & np.isfinite(prediction.ndvi) & np.isfinite(hidden.reference)
    labels, parcel = np.unique(np.asarray(hidden.parcel), return_inverse=True)
    parcel = parcel.reshape(hidden.parcel.shape)  # type: ignore[union-attr]
    code = np.arange(len(hidden.days))[:, None, None] * labels.size + parcel
    size = len(hidden.days) * labels.size

    def mean(values: np.ndarray) -> np.ndarray:
        count = np.bincount(code[unseen], minlength=size)
        total = np.bincount(code[unseen], weights=values[unseen].astype(np.float64), minlength=size)
        return np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(-1, labels.size)

    season = np.searchsorted(np.sort(SEASONS), season_of(hidden.days))
    gap = np.nan_to_num(mean(hidden.gap_days), nan=0.0)
    group = group_code(gap_bin(gap), season[:, None], hidden.frame_missing[:, None])
    return rows_of(tally_groups(mean(prediction.ndvi), mean(hidden.reference), None, group, 40), "field")


def group_code(bins: np.ndarray, season: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """One number for bin, season and missing frame; -1 where the pixel is not scored."""
    return np.where(bins < 0, -1, (bins * len(SEASONS) + season) * 2 + missing)


def rows_of(sums: dict[str, np.ndarray], unit: str) -> list[dict]:
    """A row for every group of :func:`group_code` that holds anything."""
    rows = []
    for code in np.flatnonzero(sums["n"]):
        bins, season = divmod(int(code) // 2, len(SEASONS))
        label = {"unit": unit, "bin": GAP_BINS[bins], "season": str(np.sort(SEASONS)[season])}
        rows.append(
            {**label, "frame_missing": bool(code % 2)} | {name: float(values[code]) for name, values in sums.items()}
        )
    return rows


def scored_frames(hidden: HiddenScene, frames: int) -> np.ndarray:
    """Rows of ``hidden.days`` whose images are compared: missing frames inside hidden windows, evenly spread."""
    rows = np.flatnonzero(hidden.frame_missing & hidden.in_window)
    if rows.size <= frames:
        return rows
    return rows[np.linspace(0, rows.size - 1, frames).round().astype(int)]


def image_rows(hidden: HiddenScene, ndvi: np.ndarray, rules: Holdout) -> list[dict]:
    """Image metrics of the scored frames."""
    return [
        {
            "date": str(hidden.days[row].astype("datetime64[D]")),
            "gap_days": float(np.median(hidden.gap_days[row])),
            "ssim": ssim(ndvi[row], hidden.reference[row]),
            "gradient_error": gradient_error(ndvi[row], hidden.reference[row]),
            "spectrum_error": gradient_spectrum_error(ndvi[row], hidden.reference[row]),
            "spectrum_bias": gradient_spectrum_bias(ndvi[row], hidden.reference[row]),
        }
        for row in scored_frames(hidden, rules.frames)
    ]
