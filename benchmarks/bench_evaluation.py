"""Run time of the baselines, and the best Whittaker lambda on simulated scenes reserved for tuning.

Run: python benchmarks/bench_evaluation.py [--scenes 24] [--out results.json]. Prints two tables.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.simulator.stream import SimulatedScenes
from fusion.evaluation.baselines import EfastLike, Linear, SavitzkyGolay, Whittaker
from fusion.evaluation.holdout import GAP_BINS, Holdout, score_scene, withhold_scene
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.scenes import truth_scenes
from fusion.evaluation.summaries import Bootstrap, pooled

TUNING_SEED = 1_700_000_000  # not used in training, calibration or evaluation
LAMBDAS = (1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5)


def tune(scenes: int) -> pd.DataFrame:
    """MAE of each lambda by bin, and over all unseen pixels."""
    rows = []
    source = SimulatedScenes({"height": 32, "width": 32}, seed=TUNING_SEED)
    for index, scene in enumerate(truth_scenes(source, scenes)):
        withheld = withhold_scene(scene, Holdout(), index)
        for predictor in (Linear(), *(Whittaker(lam) for lam in LAMBDAS)):
            sums, _, _ = score_scene(withheld, predictor, Holdout(frames=0))
            rows.append(sums[sums.unit == "pixel"])
    table = pooled(pd.concat(rows), ["predictor", "bin"], unit="scene", bootstrap=Bootstrap(draws=10))
    everything = pooled(pd.concat(rows), ["predictor"], unit="scene", bootstrap=Bootstrap(draws=10))
    wide = table.pivot(index="predictor", columns="bin", values="mae").reindex(columns=list(GAP_BINS))
    return wide.assign(all=everything.set_index("predictor").mae).loc[everything.predictor]


def time_baselines() -> pd.DataFrame:
    """Seconds for one 64 x 64 x 480 d scene every five days, and for leave-gap-out at ten dates and four gaps."""
    (scene,) = truth_scenes(SimulatedScenes({"height": 64, "width": 64}, seed=TUNING_SEED), 1)
    dates = np.arange(scene.truth_days[0], scene.truth_days[-1] + 1, 5).astype("datetime64[D]")
    rows = []
    for predictor in (Linear(), Whittaker(1e3), SavitzkyGolay(), EfastLike()):
        predictor.predict(scene.cube, dates[:2])  # compiles what is compiled
        start = time.perf_counter()
        predictor.predict(scene.cube, dates)
        dense = time.perf_counter() - start
        start = time.perf_counter()
        leave_gap_out(scene.cube, [predictor], LeaveGapOut(max_dates=10, min_clear=0.5))
        rows.append({"predictor": predictor.name, "dense s": dense, "leave-gap-out s": time.perf_counter() - start})
    return pd.DataFrame(rows).set_index("predictor")


def markdown(table: pd.DataFrame, digits: int) -> str:
    """A table with its index as the first column."""
    head = ["", *map(str, table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in zip(table.index, table.to_numpy(), strict=True):
        lines.append(f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the tables where requested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--out", type=Path, help="JSON file for the tables")
    settings = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    tuning, seconds = tune(settings.scenes), time_baselines()
    print(f"{machine}\n\nWhittaker: MAE (NDVI) against simulated truth by days to the nearest observation,")
    print(f"{settings.scenes} scenes of 32 x 32 px\n\n{markdown(tuning, 4)}\n")
    print(f"Seconds per method, 64 x 64 px, 480 days\n\n{markdown(seconds, 2)}")
    if settings.out is not None:
        tables = {"whittaker_mae": tuning.round(5).to_dict("index"), "seconds": seconds.round(3).to_dict("index")}
        settings.out.write_text(json.dumps({"scenes": settings.scenes, **machine, **tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
