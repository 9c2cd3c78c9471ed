"""Correlation of the errors of the pixels of a field, on simulated scenes with known truth.

    python benchmarks/field_correlation.py [--scenes 40] [--out FILE]

Errors are fused NDVI minus truth in units of NDVI_SIGMA (sigma="ndvi", shipped model), in parcels of at least 20 pixels
after one pixel at their border is left out. For n pixels of variance v and correlation c, the variance of their mean is
v (c + (1 - c) / n), which is solved for c over all parcels and dates of a class.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import minimum_filter

from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.contract import TimeGrid
from fusion.features.tiling import cut_tiles
from fusion.inference.fuse import fill_tile, plan_passes
from fusion.inference.locate import SHIPPED
from fusion.inference.session import load_session

MIN_PIXELS = 20
GAPS = (0, 10, 30, 60, 10_000)  # days to the nearest observation


def field_dates(seed: int, session, side: int) -> list[tuple[float, int, float, float, float]]:
    """(gap in days, pixels, mean of z, mean of z^2, mean of sigma) of every parcel and date of a scene."""
    scene = simulate_observations(SceneSettings(height=side, width=side, n_days=400), seed)
    days = scene.truth_days[30:-30:10]
    grid = TimeGrid(days[0].astype("datetime64[D]"), days[-1].astype("datetime64[D]"), 10)
    fused = np.full((len(grid.days), 2, side, side), np.nan, np.float32)
    obs = scene.observations
    plan = plan_passes(np.union1d(obs.s2_days, obs.s1_days), grid, session)
    for part in cut_tiles((side, side), side, session.manifest.network_radius_px, session.manifest.overlap_px):
        fill_tile(fused, obs, part, plan, session, "ndvi")
    truth = scene.truth[np.searchsorted(scene.truth_days, grid.days)]
    z = (fused[:, 0] - truth) / fused[:, 1]
    inner = minimum_filter(scene.parcel, 3) == -minimum_filter(-scene.parcel, 3)
    found = []
    for parcel in np.unique(scene.parcel):
        mask = inner & (scene.parcel == parcel)
        if mask.sum() < MIN_PIXELS:
            continue
        seen = obs.s2_days[np.isfinite(obs.s2_ndvi[:, mask]).mean(axis=1) > 0.5]
        if not len(seen):
            continue
        for k, day in enumerate(grid.days):
            errors = z[k][mask]
            gap = float(np.abs(seen - day).min())
            found.append((gap, int(mask.sum()), errors.mean(), (errors**2).mean(), fused[k, 1][mask].mean()))
    return found


def correlation(rows: np.ndarray) -> float:
    """c of all parcels and dates; columns as of :func:`field_dates`."""
    share = rows[:, 1] ** -1.0
    return float(((rows[:, 2] ** 2 - rows[:, 3] * share).sum()) / (rows[:, 3] * (1 - share)).sum())


def covered(rows: np.ndarray, c: float) -> float:
    """Share of field means whose error lies within the 90 % interval of the model with correlation ``c``."""
    return float((np.abs(rows[:, 2]) <= 1.645 * np.sqrt(c + (1 - c) / rows[:, 1])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    session = load_session(SHIPPED, threads=1)
    rows = np.array([row for seed in range(arguments.scenes) for row in field_dates(900_000 + seed, session, 64)])
    result = {"scenes": arguments.scenes, "field_dates": len(rows), "classes": []}
    for low, high in (*pairwise(GAPS), (GAPS[0], GAPS[-1])):
        some = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
        entry = {
            "gap_days": [low, high], "field_dates": len(some), "correlation": round(correlation(some), 3),
            "mean_z_squared": round(float(some[:, 3].mean()), 2),
            "covered_90": {str(c): round(covered(some, c), 3) for c in (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)},
        }  # fmt: skip
        result["classes"].append(entry)
        print(json.dumps(entry))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
