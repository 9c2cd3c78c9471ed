"""Scoring of scenes with known truth, in one pass over the scenes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from fusion.evaluation.gallery import Gallery
from fusion.evaluation.holdout import GAP_BINS, Holdout, WithheldScene, score_scene, withhold_scene
from fusion.evaluation.near_real_time import NearRealTime, score_lags
from fusion.evaluation.phenology import PhenologyRules, score_seasons, season_table
from fusion.evaluation.predictor import Prediction, Predictor, Without
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.summaries import Bootstrap, image_table, in_season_order, lag_curve, pooled

MIDDLE_PX = 48  # side of the central part of a scene, used for the expensive parts of the protocol

Rows = dict[str, list[pd.DataFrame]]


@dataclass(frozen=True)
class TruthProtocol:
    """Rules of all parts of the protocol on scenes with truth."""

    holdout: Holdout
    near_real_time: NearRealTime
    phenology: PhenologyRules


@dataclass(frozen=True)
class Scored:
    """One scored prediction: index of the scene, the scene before and after withholding, predictor and prediction."""

    index: int
    scene: TruthScene
    withheld: WithheldScene
    predictor: Predictor
    prediction: Prediction


def score_scenes(
    scenes: Iterable[TruthScene],
    predictors: Sequence[Predictor],
    protocol: TruthProtocol,
    *,
    watch: Callable[[Scored], None] = lambda _: None,
) -> tuple[dict[str, pd.DataFrame], Gallery]:
    """Score all parts of the protocol; returns tables of rows by name, and the data for figures.

    The tables are ``holdout``, ``images``, ``lags`` and ``seasons`` (phenology); parts without scores are absent. The
    last two need a prediction for every date and gap, so they use the centre of a scene and no ablations. ``watch`` is
    called after each hold-out prediction.
    """
    rows: Rows = defaultdict(list)
    gallery = Gallery()
    for index, scene in enumerate(scenes):
        withheld = withhold_scene(scene, protocol.holdout, index)
        for predictor in predictors:
            sums, images, prediction = score_scene(withheld, predictor, protocol.holdout)
            rows["holdout"].append(sums)
            rows["images"].append(images)
            gallery.add(scene, withheld, predictor.name, prediction)
            watch(Scored(index, scene, withheld, predictor, prediction))
        whole = [p for p in predictors if not isinstance(p, Without)]
        score_middle(rows, scene.centre(MIDDLE_PX), whole, protocol, index)
    return joined(rows), gallery


def score_middle(
    rows: Rows, middle: TruthScene, predictors: Sequence[Predictor], protocol: TruthProtocol, index: int
) -> None:
    """Add the rows of the expensive parts of the protocol, each for the number of scenes in its rules."""
    if index < protocol.near_real_time.scenes:
        rows["lags"] += [score_lags(middle, predictor, protocol.near_real_time) for predictor in predictors]
    if index < protocol.phenology.scenes:
        rows["seasons"] += [score_seasons(middle, predictor, protocol.phenology) for predictor in (*predictors, None)]


def joined(rows: Rows) -> dict[str, pd.DataFrame]:
    """Concatenate the tables of each name; names without rows are left out."""
    filled = {name: [table for table in found if len(table)] for name, found in rows.items()}
    return {name: pd.concat(found, ignore_index=True) for name, found in filled.items() if found}


def simulated_tables(rows: dict[str, pd.DataFrame], bootstrap: Bootstrap) -> dict[str, pd.DataFrame]:
    """Tables of the report, by name; empty ones are left out."""
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
    if "lags" in rows:
        tables["lags"] = lag_curve(rows["lags"], bootstrap=bootstrap)
    if "seasons" in rows:
        tables["season_dates"] = season_table(rows["seasons"])
    return {name: found for name, found in tables.items() if len(found)}


def in_bin_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table by bin (distance to observations), stable."""
    return table.iloc[table.bin.map(GAP_BINS.index).argsort(kind="stable")].reset_index(drop=True)
