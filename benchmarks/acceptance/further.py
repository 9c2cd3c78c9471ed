"""Scores beyond the evaluation protocol, from the same predictions on scenes with truth."""

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benchmarks.acceptance import figures
from benchmarks.acceptance.coarse_consistency import coarse_errors, coarse_table
from benchmarks.acceptance.gap_example import EXAMPLES, GapExample, gap_example
from benchmarks.acceptance.radar_level import radar_level_table, score_radar_level
from benchmarks.acceptance.spectrum import MeanSpectra, image_table, spectrum_rows
from benchmarks.acceptance.suspects import score_suspects, suspect_table
from fusion.contract import ContractError
from fusion.evaluation.holdout import Holdout, withhold_scene
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.plots import save
from fusion.evaluation.predictor import MODEL, Predictor, Without
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.simulated import MIDDLE_PX, Rows, Scored, joined
from fusion.evaluation.summaries import Bootstrap, over_dates

log = logging.getLogger(__name__)


@dataclass
class FurtherScores:
    """Called by :func:`fusion.evaluation.simulated.score_scenes` for every prediction; collects rows of further scores.

    ``coarse`` and ``spectrum`` are scored on every scene. The others need further predictions, so they use the middle
    of a limited number of scenes: ``radar_level`` and ``suspects`` with the model only, ``observations``
    (leave-gap-out against the scenes' own noisy observations, to compare their difficulty with real ones) without
    ablations.
    """

    holdout: Holdout
    leave_gap_out: LeaveGapOut
    radar_scenes: int
    suspect_scenes: int
    observation_scenes: int
    rows: Rows = field(default_factory=lambda: defaultdict(list))
    spectra: MeanSpectra = field(default_factory=MeanSpectra)
    gaps: list[GapExample] = field(default_factory=list)
    _seen: str = ""

    def __call__(self, scored: Scored) -> None:
        """Add the scores of one prediction."""
        scene, withheld, name, ndvi = scored.scene, scored.withheld, scored.predictor.name, scored.prediction.ndvi
        self.rows["coarse"].append(coarse_errors(scene, withheld, ndvi, name))
        self.rows["spectrum"].append(spectrum_rows(withheld, name, ndvi, self.holdout.frames))
        self.spectra.add(withheld, name, ndvi, self.holdout.frames)
        self._add_gap(scene, scored.predictor)
        middle = scene.centre(MIDDLE_PX)
        if name == MODEL and scored.index < self.radar_scenes:
            blind = withhold_scene(middle, self.holdout, scored.index)
            self.rows["radar_level"].append(score_radar_level(blind, scored.predictor))
        if name == MODEL and scored.index < self.suspect_scenes:
            self.rows["suspects"].append(score_suspects(middle, scored.predictor))
        if scored.index < self.observation_scenes and not isinstance(scored.predictor, Without):
            self._add_observations(middle, scored.predictor)

    def _add_gap(self, scene: TruthScene, predictor: Predictor) -> None:
        """Fill the middle of a 60-day gap of the first scenes that allow one."""
        if self._seen != scene.key:
            self._seen = scene.key
            found = gap_example(scene) if len(self.gaps) < EXAMPLES else None
            self.gaps += [found] if found is not None else []
        if self.gaps and self.gaps[-1].scene == scene.key and predictor.name in figures.SIDE_BY_SIDE:
            self.gaps[-1].add(predictor)

    def _add_observations(self, middle: TruthScene, predictor: Predictor) -> None:
        try:
            found = leave_gap_out(middle.cube, [predictor], self.leave_gap_out, site=middle.key)
            self.rows["observations"].append(found)
        except ContractError as error:
            log.info("%s is not scored against its observations: %s", middle.key, error)

    def add_tables(self, tables: dict[str, pd.DataFrame], bootstrap: Bootstrap) -> None:
        """Add the further tables, and the spectra to the table of images."""
        rows = joined(self.rows)
        if "spectrum" in rows and "images" in tables:
            tables["images"] = image_table(tables["images"], rows["spectrum"])
        if "coarse" in rows:
            tables["coarse_consistency"] = coarse_table(rows["coarse"])
        if "radar_level" in rows:
            tables["radar_level"] = radar_level_table(rows["radar_level"])
        if "suspects" in rows:
            tables["suspect_observations"] = suspect_table(rows["suspects"])
        if "observations" in rows:
            by = ["predictor", "gap_days"]
            tables["against_observations"] = over_dates(rows["observations"], by, bootstrap=bootstrap)

    def draw(self, folder: Path, names: list[str], figure_format: str) -> None:
        """The figures ``gap_60_days`` and ``gradient_spectrum``, where there are data."""
        if self.gaps:
            save(figures.plot_gaps(self.gaps), folder, "gap_60_days", figure_format)
        if self.spectra.sums:
            save(figures.plot_spectra(self.spectra.sums, names), folder, "gradient_spectrum", figure_format)
