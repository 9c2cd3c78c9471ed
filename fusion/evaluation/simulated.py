"""Everything that is scored on scenes with known truth, in one pass over the scenes."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from fusion.contract import ContractError
from fusion.evaluation.coarse_consistency import coarse_errors
from fusion.evaluation.gallery import Gallery
from fusion.evaluation.holdout import GAP_BINS, Holdout, hide_scene, score_scene
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.metrics import Distribution
from fusion.evaluation.near_real_time import NearRealTime, score_lags
from fusion.evaluation.phenology import PhenologyRules, score_seasons, season_table
from fusion.evaluation.predictor import Predictor, Without
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.summaries import (
    Bootstrap,
    coarse_table,
    image_table,
    in_season_order,
    lag_curve,
    over_dates,
    pooled,
)

log = logging.getLogger(__name__)

MIDDLE_PX = 48  # side of the part of a scene that the costly parts of the protocol use

Rows = dict[str, list[pd.DataFrame]]


def score_scenes(
    scenes: Iterable[TruthScene],
    predictors: Sequence[Predictor],
    *,
    holdout: Holdout,
    near_real_time: NearRealTime,
    phenology: PhenologyRules,
    looks: LeaveGapOut,
    looks_scenes: int,
    distribution: Distribution,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, pd.DataFrame], Gallery]:
    """Rows of every part of the protocol, and what the figures need.

    The tables are ``holdout``, ``images``, ``coarse``, ``lags``, ``seasons`` (phenology) and ``looks`` (leave-gap-out
    against the scenes' own noisy looks, which says how hard they are beside real ones). Unscored parts are absent. The
    last three need a prediction for every date and gap, so they take the middle of a scene, and no ablations.
    """
    rows: Rows = defaultdict(list)
    gallery = Gallery()
    for index, scene in enumerate(scenes):
        hidden = hide_scene(scene, holdout, index)
        for predictor in predictors:
            step(f"{scene.key}: {predictor.name}")
            sums, images, prediction = score_scene(hidden, predictor, holdout, distribution=distribution)
            rows["holdout"].append(sums)
            rows["images"].append(images)
            rows["coarse"].append(coarse_errors(scene, hidden, prediction.ndvi, predictor.name))
            gallery.add(scene, hidden, predictor.name, prediction)
        middle, whole = scene.centre(MIDDLE_PX), [p for p in predictors if not isinstance(p, Without)]
        for predictor in whole:
            if index < near_real_time.scenes:
                rows["lags"].append(score_lags(middle, predictor, near_real_time, distribution=distribution))
            if index < phenology.scenes:
                rows["seasons"].append(score_seasons(middle, predictor, phenology))
        if index < phenology.scenes:
            rows["seasons"].append(score_seasons(middle, None, phenology))
        if index < looks_scenes:
            try:
                found = leave_gap_out(middle.cube, whole, looks, site=scene.key, distribution=distribution)
                rows["looks"].append(found)
            except ContractError as error:
                log.info("%s is not scored against its looks: %s", scene.key, error)
    filled = {name: [table for table in found if len(table)] for name, found in rows.items()}
    return {name: pd.concat(found, ignore_index=True) for name, found in filled.items() if found}, gallery


def simulated_tables(rows: dict[str, pd.DataFrame], bootstrap: Bootstrap) -> dict[str, pd.DataFrame]:
    """The tables of the report."""
    pixels = rows["holdout"][rows["holdout"].unit == "pixel"]
    fields = rows["holdout"][rows["holdout"].unit == "field"]

    def table(of: pd.DataFrame, *by: str) -> pd.DataFrame:
        return pooled(of, ["predictor", *by], unit="scene", bootstrap=bootstrap)

    tables = {
        "overall": table(pixels),
        "by_bin": in_bin_order(table(pixels, "bin")),
        "by_season": in_season_order(table(pixels, "season")),
        "by_bin_and_season": in_bin_order(table(pixels, "season", "bin")),
        "missing_frames": table(pixels[pixels.frame_missing]) if pixels.frame_missing.any() else pd.DataFrame(),
        "fields_by_bin": in_bin_order(table(fields, "bin")) if len(fields) else pd.DataFrame(),
    }
    if "images" in rows:
        tables["images"] = image_table(rows["images"])
    if "coarse" in rows:
        tables["coarse_consistency"] = coarse_table(rows["coarse"])
    if "lags" in rows:
        tables["lags"] = lag_curve(rows["lags"], bootstrap=bootstrap)
    if "seasons" in rows:
        tables["season_dates"] = season_table(rows["seasons"])
    if "looks" in rows:
        tables["against_looks"] = over_dates(rows["looks"], ["predictor", "gap_days"], bootstrap=bootstrap)
    return {name: found for name, found in tables.items() if len(found)}


def in_bin_order(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its bins in order of distance; everything else keeps its order."""
    return table.iloc[table.bin.map(GAP_BINS.index).argsort(kind="stable")].reset_index(drop=True)
