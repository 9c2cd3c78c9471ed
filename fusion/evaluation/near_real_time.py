"""Near real time: accuracy of a date predicted from the data available ``lag`` days after it."""

import numpy as np
import pandas as pd

from fusion.evaluation.metrics import tally
from fusion.evaluation.predictor import Predictor, s2_obs
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.settings import NearRealTime
from fusion.evaluation.withholding import cut_after
from fusion.features.neighbours import gap_to_nearest


def issue_days(scene: TruthScene, rules: NearRealTime) -> np.ndarray:
    """Days to predict: evenly spread, with at least the longest lag after them and 90 days before them."""
    first = int(scene.truth_days[0]) + 90
    last = int(scene.truth_days[-1]) - max(rules.lags_days)
    if last < first:
        return np.zeros(0, np.int64)
    return np.linspace(first, last, rules.dates + 2)[1:-1].round().astype(np.int64)


def score_lags(scene: TruthScene, predictor: Predictor, rules: NearRealTime) -> pd.DataFrame:
    """One row per date and lag, and one with ``lag_days`` NaN for the hindcast, which uses all data."""
    rows = []
    obs_days, observations = s2_obs(scene.cube)
    for day in issue_days(scene, rules):
        unseen = gap_to_nearest(obs_days, observations, np.array([day]))[0] > 0
        reference = np.where(unseen, scene.truth_at(np.array([day]))[0], np.nan)
        for lag in (*rules.lags_days, None):
            known = scene.cube if lag is None else cut_after(scene.cube, int(day) + lag)
            if known.sizes["t"] == 0:
                continue
            ndvi, sigma = predictor.predict(known, np.array([day]).astype("datetime64[D]"), target="ndvi")
            sums = tally(ndvi[0], reference, None if sigma is None else sigma[0])
            label = {"scene": scene.key, "predictor": predictor.name, "day": int(day)}
            rows.append(label | {"lag_days": np.nan if lag is None else lag} | sums)
    return pd.DataFrame(rows)
