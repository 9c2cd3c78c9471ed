"""Precision and recall of the suspect flag for unmasked observations that are far too low."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import DIMS, NDVI, NDVI_SIGMA, STEP_DAYS
from fusion.evaluation.metrics import divide
from fusion.evaluation.predictor import Predictor, s2_obs, to_days
from fusion.evaluation.scenes import TruthScene
from fusion.inference.suspect import THRESHOLD, suspect_observations

HARM_NDVI = (
    0.1  # an observation this far below the clean NDVI is harmful, whatever the cause (cloud, shadow, snow, haze)
)


THRESHOLDS = (1.5, 2.0, THRESHOLD, 3.0, 4.0)  # standard deviations


def score_suspects(scene: TruthScene, predictor: Predictor, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """Counts of flagged, touched (by cloud, shadow or snow) and harmful observations, one row per threshold.

    Whole scenes are flagged as by a user, nothing withheld, and compared with the truth. No row where the touched
    observations are unknown or the predictor gives no sigma.
    """
    days, observations = s2_obs(scene.cube)
    if scene.suspect is None or days.size < 2:
        return pd.DataFrame()
    grid = np.arange(days[0], days[-1] + STEP_DAYS, STEP_DAYS)
    ndvi, sigma = predictor.predict(scene.cube, grid.astype("datetime64[D]"), target="observation")
    if sigma is None:
        return pd.DataFrame()
    axes = {axis: scene.cube[axis] for axis in ("y", "x")}
    coords = {"t": grid.astype("datetime64[D]").astype("datetime64[ns]"), "bands": [NDVI, NDVI_SIGMA], **axes}
    fused = xr.DataArray(np.stack([ndvi, sigma], axis=1), dims=DIMS, coords=coords, attrs={"sigma_of": "observation"})
    rows_of_observations = np.isin(to_days(scene.cube.t.values), days)
    touched, seen = scene.suspect[rows_of_observations], np.isfinite(observations)
    harmful = scene.truth_at(days) - observations > HARM_NDVI
    rows = []
    for threshold in thresholds:
        flagged = suspect_observations(scene.cube, fused, threshold=threshold).values[rows_of_observations]
        rows.append(
            {
                "threshold": float(threshold),
                "observations": int(seen.sum()),
                "touched": int((touched & seen).sum()),
                "harmful": int((harmful & seen).sum()),
                "flagged": int((flagged & seen).sum()),
                "flagged_touched": int((flagged & touched & seen).sum()),
                "flagged_harmful": int((flagged & harmful & seen).sum()),
            }
        )
    return pd.DataFrame(rows).assign(scene=scene.key, predictor=predictor.name)


def suspect_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall in percent: of observations touched by cloud, shadow or snow, and of those far too low."""
    out = []
    for (predictor, threshold), group in rows.groupby(["predictor", "threshold"], sort=False):
        sums = group.drop(columns=["predictor", "threshold", "scene"]).sum()
        out.append(
            {
                "predictor": predictor,
                "threshold": threshold,
                "observations": int(sums.observations),
                "touched_percent": 100 * divide(sums.touched, sums.observations),
                "harmful_percent": 100 * divide(sums.harmful, sums.observations),
                "flagged_percent": 100 * divide(sums.flagged, sums.observations),
                "precision": 100 * divide(sums.flagged_touched, sums.flagged),
                "recall": 100 * divide(sums.flagged_touched, sums.touched),
                "precision_harmful": 100 * divide(sums.flagged_harmful, sums.flagged),
                "recall_harmful": 100 * divide(sums.flagged_harmful, sums.harmful),
            }
        )
    return pd.DataFrame(out)
