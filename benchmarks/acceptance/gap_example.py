"""One date in the middle of a 60-day gap, filled by several methods, for a figure."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from fusion.evaluation.predictor import Predictor, s2_obs
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.withholding import withhold_s2

GAP_DAYS = 60
SLACK_DAYS = 10  # the observations on either side of the gap are at most this much further away
CLEAR_SHARE = 0.5  # of a date's pixels that count as an observation of the scene
EXAMPLES = 3  # scenes shown


@dataclass(frozen=True)
class GapExample:
    """A cube with a gap and the date in its middle: ``frames`` maps "truth" and each predictor to an image (y, x).

    ``gap_days`` is the distance between the last observation before and the first observation after the date.
    """

    scene: str
    date: np.datetime64
    gap_days: int
    cube: xr.DataArray
    frames: dict[str, np.ndarray]

    def add(self, predictor: Predictor) -> None:
        """Predict the middle of the gap."""
        self.frames[predictor.name] = predictor.predict(self.cube, np.array([self.date]), target="ndvi").ndvi[0]


def middle_of_gap(scene: TruthScene) -> tuple[int, int] | None:
    """Day around which 60 days can be withheld between two observations, with most texture in the truth; gap length.

    None where clouds leave no such day.
    """
    days, observations = s2_obs(scene.cube)
    seen = days[np.isfinite(observations).mean(axis=(1, 2)) >= CLEAR_SHARE]
    half, best = GAP_DAYS // 2, None
    for row, day in enumerate(scene.truth_days):
        before, after = seen[seen < day - half], seen[seen > day + half]
        if before.size == 0 or after.size == 0:
            continue
        if max(day - before[-1], after[0] - day) > half + SLACK_DAYS:
            continue
        texture = float(scene.truth[row].std())
        if best is None or texture > best[0]:
            best = texture, int(day), int(after[0] - before[-1])
    return None if best is None else best[1:]


def gap_example(scene: TruthScene) -> GapExample | None:
    """A scene with a withheld gap of 60 days; None where the scene allows none."""
    found = middle_of_gap(scene)
    if found is None:
        return None
    day, gap = found
    cube = withhold_s2(scene.cube, day - GAP_DAYS // 2, day + GAP_DAYS // 2)
    return GapExample(scene.key, np.datetime64(day, "D"), gap, cube, {"truth": scene.truth_at(np.array([day]))[0]})
