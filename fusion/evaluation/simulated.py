"""Everything that is scored on scenes with known truth, in one pass over the scenes."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from fusion.contract import ContractError
from fusion.evaluation.coarse_consistency import coarse_errors
from fusion.evaluation.gallery import Gallery
from fusion.evaluation.holdout import GAP_BINS, Holdout, score_scene, scored_frames, withhold_scene
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.metrics import Distribution
from fusion.evaluation.near_real_time import NearRealTime, score_lags
from fusion.evaluation.phenology import PhenologyRules, score_seasons, season_table
from fusion.evaluation.predictor import MODEL, Predictor, Without
from fusion.evaluation.radar_level import RadarLevel, radar_level_table, score_radar_level
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
from fusion.evaluation.suspects import SuspectRules, score_suspects, suspect_table

log = logging.getLogger(__name__)

MIDDLE_PX = 48  # side of the part of a scene that the costly parts of the protocol use

Rows = dict[str, list[pd.DataFrame]]


@dataclass(frozen=True)
class TruthProtocol:
    """The rules of every part of the protocol on scenes with truth."""

    holdout: Holdout
    near_real_time: NearRealTime
    phenology: PhenologyRules
    radar_level: RadarLevel
    suspects: SuspectRules
    observations: LeaveGapOut
    observation_scenes: int
    distribution: Distribution = "gaussian"


def score_scenes(
    scenes: Iterable[TruthScene],
    predictors: Sequence[Predictor],
    protocol: TruthProtocol,
    *,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, pd.DataFrame], Gallery]:
    """Rows of every part of the protocol, and what the figures need.

    The tables are ``holdout``, ``images``, ``coarse``, ``lags``, ``seasons`` (phenology), ``observations``
    (leave-gap-out against the scenes' own noisy observations, which says how hard they are beside real ones),
    ``radar_level`` and ``suspects``. Unscored parts are absent. All but the first three need a prediction for every
    date and gap, so they take the middle of a scene, and no ablations; the last two take the model only.
    """
    rows: Rows = defaultdict(list)
    gallery = Gallery()
    for index, scene in enumerate(scenes):
        withheld = withhold_scene(scene, protocol.holdout, index)
        for predictor in predictors:
            step(f"{scene.key}: {predictor.name}")
            sums, images, prediction = score_scene(
                withheld, predictor, protocol.holdout, distribution=protocol.distribution
            )
            rows["holdout"].append(sums)
            rows["images"].append(images)
            rows["coarse"].append(coarse_errors(scene, withheld, prediction.ndvi, predictor.name))
            gallery.add(scene, withheld, predictor.name, prediction, scored_frames(withheld, protocol.holdout.frames))
        gallery.add_gap(scene, predictors)
        whole = [p for p in predictors if not isinstance(p, Without)]
        score_middle(rows, scene.centre(MIDDLE_PX), whole, protocol, index)
    filled = {name: [table for table in found if len(table)] for name, found in rows.items()}
    return {name: pd.concat(found, ignore_index=True) for name, found in filled.items() if found}, gallery


def score_middle(
    rows: Rows, middle: TruthScene, predictors: Sequence[Predictor], protocol: TruthProtocol, index: int
) -> None:
    """Add the rows of the costly parts of the protocol, each for as many scenes as its rules say."""
    distribution = protocol.distribution
    for predictor in predictors:
        if index < protocol.near_real_time.scenes:
            found = score_lags(middle, predictor, protocol.near_real_time, distribution=distribution)
            rows["lags"].append(found)
        if index < protocol.phenology.scenes:
            rows["seasons"].append(score_seasons(middle, predictor, protocol.phenology))
    if index < protocol.phenology.scenes:
        rows["seasons"].append(score_seasons(middle, None, protocol.phenology))
    for model in [p for p in predictors if p.name == MODEL]:
        if index < protocol.radar_level.scenes:
            withheld = withhold_scene(middle, protocol.holdout, index)
            rows["radar_level"].append(score_radar_level(withheld, model, protocol.radar_level))
        if index < protocol.suspects.scenes:
            rows["suspects"].append(score_suspects(middle, model, protocol.suspects))
    if index < protocol.observation_scenes:
        try:
            found = leave_gap_out(
                middle.cube, predictors, protocol.observations, site=middle.key, distribution=distribution
            )
            rows["observations"].append(found)
        except ContractError as error:
            log.info("%s is not scored against its observations: %s", middle.key, error)


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
    if "radar_level" in rows:
        tables["radar_level"] = radar_level_table(rows["radar_level"])
    if "suspects" in rows:
        tables["suspect_observations"] = suspect_table(rows["suspects"])
    if "observations" in rows:
        tables["against_observations"] = over_dates(
            rows["observations"], ["predictor", "gap_days"], bootstrap=bootstrap
        )
    return {name: found for name, found in tables.items() if len(found)}


def in_bin_order(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its bins in order of distance; everything else keeps its order."""
    return table.iloc[table.bin.map(GAP_BINS.index).argsort(kind="stable")].reset_index(drop=True)
