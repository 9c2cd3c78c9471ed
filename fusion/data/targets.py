"""Targets of training on the dates of a sample: clean truth, or withheld observations."""

import numpy as np

from fusion.contract import STEP_DAYS
from fusion.data.scene import Scene
from fusion.features.observations import Observations
from fusion.features.truth import nearest_truth_day, truth_on_days


def target_on_grid(
    scene: Scene, obs: Observations, visible: Observations, grid_days: np.ndarray, *, use_obs: bool
) -> np.ndarray:
    """The training target of a sample, float32 (T, H, W), NaN where unknown.

    The clean truth of the same date where the scene has it. With ``use_obs``, or without truth, the observations of
    ``obs`` that ``visible`` lacks replace it: real archives hold no better target, and the network learns the level of
    a typical observation. They count on the grid date within a day, without truth within two, so that none is lost.
    """
    if scene.truth is not None and scene.truth_days is not None:
        target = truth_on_days(scene.truth_days, scene.truth, grid_days)
    else:
        target = np.full((len(grid_days), *obs.shape), np.nan, np.float32)
        use_obs = True
    if use_obs:
        withheld = withheld_on_grid(obs, visible, grid_days, reach_days(scene))
        target = np.where(np.isfinite(withheld), withheld, target)
    return target


def reach_days(scene: Scene) -> int:
    """Largest distance of a withheld observation from its grid date, days: more without truth, so that none is lost."""
    return 1 if scene.truth is not None else 2


def withheld_on_grid(
    obs: Observations, visible: Observations, grid_days: np.ndarray, within_days: int = 1
) -> np.ndarray:
    """The observations that ``visible`` lacks, each on the grid date near it, float32 (T, H, W), else NaN."""
    out = np.full((len(grid_days), *obs.shape), np.nan, np.float32)
    withheld = np.isfinite(obs.s2_ndvi)
    withheld[np.searchsorted(obs.s2_days, visible.s2_days)] &= ~np.isfinite(visible.s2_ndvi)
    for row, day in enumerate(obs.s2_days):
        step = int(np.argmin(np.abs(grid_days - day)))
        if abs(int(grid_days[step]) - int(day)) <= within_days:
            out[step] = np.where(withheld[row], obs.s2_ndvi[row], out[step])
    return out


def meet(start: int, truth_days: np.ndarray | None, observed: int | None = None) -> int:
    """The first day of a grid, moved back by less than STEP_DAYS so that its dates fall on days with a target.

    Parameters
    ----------
    start : int
        Requested first day. It stays where truth is daily and no ``observed`` is given.
    truth_days : int64 (n,), optional
        Days with truth, which may have gaps.
    observed : int, optional
        A day with an observation that becomes a grid date. Truth within a day of it is taken instead, since an
        observation counts on the grid date within a day of its own.
    """
    if truth_days is None:
        day = start if observed is None else observed
    elif observed is None:
        early = max(0, int(truth_days[0]) - start)
        inside = start + early + (-early) % STEP_DAYS  # the first grid date on or after the first day with truth
        day = int(truth_days[np.searchsorted(truth_days, inside, side="right") - 1])
    else:
        near = nearest_truth_day(truth_days, observed)
        day = near if abs(near - observed) <= 1 else observed
    return start - (start - day) % STEP_DAYS
