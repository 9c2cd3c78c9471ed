"""Hold-out on simulated scenes: clouds plus withheld windows, scored by distance to observations."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import STEP_DAYS
from fusion.evaluation.images import gradient_error, ssim
from fusion.evaluation.leave_gap_out import SEASONS, season_of
from fusion.evaluation.metrics import tally_groups
from fusion.evaluation.predictor import Prediction, Predictor, s2_obs
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.settings import Holdout
from fusion.evaluation.withholding import withhold_s2
from fusion.features.neighbours import gap_to_nearest

GAP_EDGES_DAYS = (15, 30, 60, 100)
GAP_BINS = ("<15", "15-30", "30-60", "60-100", ">100")


@dataclass(frozen=True)
class WithheldScene:
    """A scene after withholding: the cube given to predictors, the dates to predict and the reference on them.

    ``gap_days`` float32 (n, y, x): days to the nearest visible observation of the pixel; ``frame_missing`` bool (n,):
    no pixel of the scene has an observation within half a step; ``in_window`` bool (n,): the date lies in a withheld
    window.
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
    """Index into :data:`GAP_BINS`; -1 where the pixel has an observation on that day."""
    return np.where(gap_days <= 0, -1, np.digitize(gap_days, GAP_EDGES_DAYS))


def withheld_windows(scene: TruthScene, rules: Holdout, index: int) -> list[tuple[int, int]]:
    """First and last day of each window of the scene; they depend only on the seed and the scene's index."""
    random = np.random.default_rng([rules.seed, index])
    first, last = int(scene.truth_days[0]), int(scene.truth_days[-1])
    windows = []
    for _ in range(rules.windows):
        length = min(int(random.choice(list(rules.lengths_days))), last - first)
        start = int(random.integers(first, last - length + 1))
        windows.append((start, start + length - 1))
    return windows


def withhold_scene(scene: TruthScene, rules: Holdout, index: int) -> WithheldScene:
    """Withhold the observations in the windows of a scene. Composites and radar are kept, as under clouds."""
    cube = scene.cube
    days = np.arange(scene.truth_days[0], scene.truth_days[-1] + 1, STEP_DAYS)
    in_window = np.zeros(len(days), bool)
    for first, last in withheld_windows(scene, rules, index):
        cube = withhold_s2(cube, first, last)
        in_window |= (days >= first) & (days <= last)
    obs_days, observations = s2_obs(cube)
    gap = gap_to_nearest(obs_days, observations, days)
    frame_missing = gap.reshape(len(days), -1).min(axis=1) > STEP_DAYS // 2
    return WithheldScene(scene.key, cube, days, scene.truth_at(days), gap, frame_missing, in_window, scene.parcel)


def score_scene(
    withheld: WithheldScene, predictor: Predictor, rules: Holdout
) -> tuple[pd.DataFrame, pd.DataFrame, Prediction]:
    """Score one predictor on one scene.

    Returns
    -------
    sums : pandas.DataFrame
        One row per (unit, bin, season, frame_missing) that occurs; ``unit`` is ``pixel`` or ``field``.
    images : pandas.DataFrame
        One row per scored image: ``date``, ``gap_days`` (median), ``ssim``, ``gradient_error``.
    prediction : Prediction
        Prediction at ``withheld.days``.
    """
    prediction = predictor.predict(withheld.cube, withheld.days.astype("datetime64[D]"), target="ndvi")
    rows = pixel_rows(withheld, prediction)
    if withheld.parcel is not None:
        rows += field_rows(withheld, prediction)
    marks = {"scene": withheld.key, "predictor": predictor.name}
    sums = pd.DataFrame(rows).assign(**marks)
    images = pd.DataFrame(image_rows(withheld, prediction.ndvi, rules)).assign(**marks)
    return sums, images, prediction


def pixel_rows(withheld: WithheldScene, prediction: Prediction) -> list[dict]:
    """Sums over pixels, grouped by bin, season and missing frame."""
    season = np.searchsorted(np.sort(SEASONS), season_of(withheld.days))
    code = group_code(gap_bin(withheld.gap_days), season[:, None, None], withheld.frame_missing[:, None, None])
    sums = tally_groups(prediction.ndvi, withheld.reference, prediction.sigma, code, 40)
    return rows_of(sums, "pixel")


def field_rows(withheld: WithheldScene, prediction: Prediction) -> list[dict]:
    """Sums over field means: the mean of the unobserved pixels of a field on a date is one value, without sigma."""
    unseen = (withheld.gap_days > 0) & np.isfinite(prediction.ndvi) & np.isfinite(withheld.reference)
    labels, parcel = np.unique(np.asarray(withheld.parcel), return_inverse=True)
    parcel = parcel.reshape(withheld.parcel.shape)  # type: ignore[union-attr]
    code = np.arange(len(withheld.days))[:, None, None] * labels.size + parcel
    size = len(withheld.days) * labels.size

    def mean(values: np.ndarray) -> np.ndarray:
        count = np.bincount(code[unseen], minlength=size)
        total = np.bincount(code[unseen], weights=values[unseen].astype(np.float64), minlength=size)
        return np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(-1, labels.size)

    season = np.searchsorted(np.sort(SEASONS), season_of(withheld.days))
    gap = np.nan_to_num(mean(withheld.gap_days), nan=0.0)
    group = group_code(gap_bin(gap), season[:, None], withheld.frame_missing[:, None])
    return rows_of(tally_groups(mean(prediction.ndvi), mean(withheld.reference), None, group, 40), "field")


def group_code(bins: np.ndarray, season: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Integer code of bin, season and missing frame; -1 where the pixel is not scored."""
    return np.where(bins < 0, -1, (bins * len(SEASONS) + season) * 2 + missing)


def rows_of(sums: dict[str, np.ndarray], unit: str) -> list[dict]:
    """A row for every non-empty group of :func:`group_code`."""
    rows = []
    for code in np.flatnonzero(sums["n"]):
        bins, season = divmod(int(code) // 2, len(SEASONS))
        label = {"unit": unit, "bin": GAP_BINS[bins], "season": str(np.sort(SEASONS)[season])}
        rows.append(
            {**label, "frame_missing": bool(code % 2)} | {name: float(values[code]) for name, values in sums.items()}
        )
    return rows


def scored_frames(withheld: WithheldScene, frames: int) -> np.ndarray:
    """Indices of ``withheld.days`` with image metrics: missing frames in withheld windows, evenly spread."""
    rows = np.flatnonzero(withheld.frame_missing & withheld.in_window)
    if rows.size <= frames:
        return rows
    return rows[np.linspace(0, rows.size - 1, frames).round().astype(int)]


def image_rows(withheld: WithheldScene, ndvi: np.ndarray, rules: Holdout) -> list[dict]:
    """Image metrics of the scored frames."""
    return [
        {
            "date": str(withheld.days[row].astype("datetime64[D]")),
            "gap_days": float(np.median(withheld.gap_days[row])),
            "ssim": ssim(ndvi[row], withheld.reference[row]),
            "gradient_error": gradient_error(ndvi[row], withheld.reference[row]),
        }
        for row in scored_frames(withheld, rules.frames)
    ]
