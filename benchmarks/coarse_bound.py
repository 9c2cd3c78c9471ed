"""Upper bound of the benefit of a coarse series: MAE beyond 60 days without the error of the 290 m mean.

Run: python benchmarks/coarse_bound.py [--scenes 10] [--model PATH] [--out results.json]. Scenes of 64 x 64 px.

A perfect coarse series would give the mean of the surroundings of a pixel on every date, and a network that used it
fully would have no error in that mean. The column "perfect coarse" is the remaining error of a network: no real
composite could make it smaller.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter

from data_prep.simulator.stream import SimulatedScenes
from fusion.evaluation.holdout import Holdout, withhold_scene
from fusion.evaluation.predictor import ModelPredictor, Predictor, ablations
from fusion.evaluation.scenes import truth_scenes
from fusion.progress import tracked

BOUND_SEED = 1_710_000_000  # not used in training, calibration, tuning or evaluation
SURROUNDINGS_PX = 29
FAR_DAYS = 60


def coarse_bound(scenes: int, model: str | None) -> pd.DataFrame:
    """MAE beyond 60 days of the model and its ablations: in total, and without the error of the 290 m mean."""
    full = ModelPredictor.load(model)
    predictors: list[Predictor] = [full, *ablations(full, ["s1", "coarse", "s2_only"])]
    sums = pd.DataFrame(0.0, index=[p.name for p in predictors], columns=["n", "error", "left", "mean"])
    source = SimulatedScenes({"height": 64, "width": 64}, seed=BOUND_SEED)
    for index, scene in enumerate(tracked(truth_scenes(source, scenes), "scenes", scenes)):
        withheld = withhold_scene(scene, Holdout(lengths_days=(150, 180, 210, 240)), index)
        far = np.isfinite(withheld.gap_days) & (withheld.gap_days >= FAR_DAYS)
        for predictor in predictors:
            ndvi, _ = predictor.predict(withheld.cube, withheld.days.astype("datetime64[D]"))
            error = np.where(far, ndvi - scene.truth_at(withheld.days), 0.0)
            mean = uniform_filter(error, (0, SURROUNDINGS_PX, SURROUNDINGS_PX))
            values = [far.sum(), *(np.abs(e[far]).sum() for e in (error, error - mean, mean))]
            sums.loc[predictor.name] += values
    return pd.DataFrame(
        {
            "MAE": sums.error / sums.n,
            "perfect coarse": sums.left / sums.n,
            "error of the 290 m mean": sums["mean"] / sums.n,
        }
    )


def main() -> None:
    """Measure, print, and write the table where requested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    table = coarse_bound(given.scenes, given.model)
    print(table.round(4).to_string())
    if given.out:
        given.out.write_text(json.dumps({"scenes": given.scenes, "rows": table.round(5).to_dict("index")}, indent=1))


if __name__ == "__main__":
    main()
