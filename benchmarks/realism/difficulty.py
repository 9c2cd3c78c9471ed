"""Difficulty of a series: linear interpolation scored by leave-gap-out against observations, not truth.

``python -m benchmarks.realism.difficulty [--scenes 80] [--out FILE]`` compares simulated scenes with real ones.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings

GAPS_D = (2, 10, 20, 30)
REAL_LINEAR_MAE = (0.0704, 0.0977, 0.1149, 0.1370)  # belgium_2019, published with the data set of the protocol
CLEAR_SHARE = 0.8  # scored dates have at least this share of clear pixels
EDGE_D = 45  # and lie at least this far from the first and last observation


def linear_difficulty(
    days: np.ndarray, ndvi: np.ndarray, gaps_d: tuple[int, ...] = GAPS_D, *, clear_share: float = CLEAR_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """MAE of per-pixel linear interpolation on each scored date, with observations within +-gap withheld.

    Parameters
    ----------
    days : numpy.ndarray
        Sorted days, (n,).
    ndvi : numpy.ndarray
        Masked observations, (n, H, W), NaN = no observation.

    Returns
    -------
    scored : numpy.ndarray
        Days that were scored, (m,).
    error : numpy.ndarray
        (m, number of gaps); NaN where no pixel of a date has an observation left.
    """
    n = len(days)
    flat = ndvi.reshape(n, -1)
    seen = np.isfinite(flat)
    order = np.arange(n)[:, None]
    before = np.maximum.accumulate(np.where(seen, order, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, order, n)[::-1], axis=0)[::-1]
    scored = np.flatnonzero(
        (seen.mean(axis=1) >= clear_share) & (days >= days[0] + EDGE_D) & (days <= days[-1] - EDGE_D)
    )
    error = np.full((len(scored), len(gaps_d)), np.nan)
    columns = np.arange(flat.shape[1])
    for row, k in enumerate(scored):
        for column, gap in enumerate(gaps_d):
            lo = int(np.searchsorted(days, days[k] - gap)) - 1
            hi = int(np.searchsorted(days, days[k] + gap, side="right"))
            left = before[lo] if lo >= 0 else np.full(len(columns), -1)
            right = after[hi] if hi < n else np.full(len(columns), n)
            use = seen[k] & ((left >= 0) | (right < n))
            left, right = np.where(left < 0, right, left), np.where(right >= n, left, right)
            left, right = np.clip(left, 0, n - 1), np.clip(right, 0, n - 1)
            a, b = flat[left, columns], flat[right, columns]
            span = np.maximum(days[right] - days[left], 1)
            share = np.clip((days[k] - days[left]) / span, 0, 1)
            error[row, column] = np.mean(np.abs(a + share * (b - a) - flat[k])[use]) if use.any() else np.nan
    return days[scored], error


def scene_difficulty(scene: SceneSettings, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation on ``count`` simulated scenes: errors of all scored dates (dates, gaps), dates per scene.

    Its mean over dates is to be compared with :data:`REAL_LINEAR_MAE`.
    """
    errors = []
    for k in range(count):
        obs = simulate_observations(scene, seed + k).observations
        if len(obs.s2_days):
            errors.append(linear_difficulty(obs.s2_days, obs.s2_ndvi)[1])
    return np.concatenate(errors), np.array([len(e) for e in errors])


def beside_real(scenes: int) -> dict:
    """Errors on simulated scenes and on real observations, and their ratio."""
    errors, dates = scene_difficulty(SceneSettings(), seed=1_000, count=scenes)
    mine = np.nanmean(errors, axis=0)
    return {
        "scenes": scenes,
        "scored_dates": int(dates.sum()),
        "withheld_d": list(GAPS_D),
        "linear_mae": mine.round(4).tolist(),
        "real": list(REAL_LINEAR_MAE),
        "ratio": (mine / REAL_LINEAR_MAE).round(3).tolist(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    row = beside_real(options.scenes)
    print(json.dumps(row))
    if options.out is not None:
        command = f"python -m benchmarks.realism.difficulty --scenes {options.scenes}"
        kept = {"command": command, "cores": os.cpu_count(), "rows": [row]}
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
