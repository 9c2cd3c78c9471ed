"""How much changes of radar say about changes of NDVI: real sets and simulated scenes, measured the same way.

``python -m benchmarks.realism.radar_relation STORES --out FILE``: pairs of clear observations 12 to 45 days apart; VV
and VH-VV are smoothed with a kernel of 8 days, as lone pixels and as means of 3 x 3. STORES is made by
``python -m benchmarks.real_sets``. Simulated scenes are taken as they are, by cover, and as training disturbs them.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.leaderboard.sets import SETS
from data_prep.simulator.crops import COVERS
from data_prep.simulator.scene import SimulatedScene, simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.data.store import PatchStore
from fusion.data.withholding import WithholdingSettings, foreign_radar, noisy_radar
from fusion.features.kernels import TimeSmoother, box_mean
from fusion.features.observations import Observations
from fusion.whole_file import write_json

PAIR_DAYS = (12, 45)
KERNEL_DAYS = 8.0
PIXELS = 4  # drawn per patch or scene
PLACES = 150  # patches of a set
SEED = 4_000_000


def changes(obs: Observations, row: int, column: int, radius: int) -> np.ndarray:
    """Changes of NDVI, VV and VH-VV between neighbouring clear observations of one pixel, (pairs, 3)."""
    images = (obs.vv_db, obs.vh_db - obs.vv_db)
    if radius:
        images = tuple(box_mean(band, radius)[0] for band in images)
    ndvi = obs.s2_ndvi[:, row, column]
    seen = np.flatnonzero(np.isfinite(ndvi))
    levels, smoother = [], TimeSmoother(obs.s1_days, obs.s2_days[seen])
    for band in images:
        series = band[:, row, column][:, None]
        weight = np.isfinite(series).astype(np.float32)
        level, support = smoother(np.nan_to_num(series), weight, KERNEL_DAYS)
        levels.append(np.where(support > 0.3, level, np.nan)[:, 0])
    table = np.stack([ndvi[seen], *levels], 1)
    first, second = np.triu_indices(len(seen), 1)
    apart = obs.s2_days[seen][second] - obs.s2_days[seen][first]
    near = (apart >= PAIR_DAYS[0]) & (apart <= PAIR_DAYS[1])
    pairs = table[second[near]] - table[first[near]]
    return pairs[np.isfinite(pairs).all(1)]


def relation(pairs: np.ndarray) -> dict[str, float]:
    """Spread of the changes, their correlations, and the share of NDVI's that both bands explain."""
    ndvi, radar = pairs[:, 0], pairs[:, 1:]
    design = np.column_stack([radar, np.ones(len(radar))])
    left = ndvi - design @ np.linalg.lstsq(design, ndvi, rcond=None)[0]
    spread, correlation = pairs.std(0), np.corrcoef(pairs.T)[0]
    return {
        "pairs": len(pairs),
        "std_ndvi": round(float(spread[0]), 3),
        "std_vv_db": round(float(spread[1]), 2),
        "std_ratio_db": round(float(spread[2]), 2),
        "r_vv": round(float(correlation[1]), 2),
        "r_ratio": round(float(correlation[2]), 2),
        "r2": round(float(1 - left.var() / ndvi.var()), 3),
    }


def of_places(places: Iterable[Observations], radius: int, rng: np.random.Generator) -> dict[str, float] | None:
    """The relation over random pixels of many places."""
    found = []
    for obs in places:
        height, width = obs.shape
        for _ in range(PIXELS if height * width > 1 else 1):
            found.append(changes(obs, int(rng.integers(height)), int(rng.integers(width)), radius))
    pairs = np.concatenate(found)
    return relation(pairs) if len(pairs) > 50 else None


def of_cover(made: list[SimulatedScene], cover: int, rng: np.random.Generator) -> dict[str, float] | None:
    """The relation over random lone pixels of one cover."""
    found = [np.zeros((0, 3))]
    for scene in made:
        rows, columns = np.nonzero(scene.cover == cover)
        for i in rng.choice(len(rows), min(PIXELS, len(rows)), replace=False):
            found.append(changes(scene.observations, int(rows[i]), int(columns[i]), 0))
    pairs = np.concatenate(found)
    return relation(pairs) if len(pairs) > 50 else None


def disturbed(scenes: list[Observations], rng: np.random.Generator) -> list[Observations]:
    """Every scene with noise, and a third of them with the radar of another."""
    settings = WithholdingSettings()
    out = [foreign_radar(s, scenes[k - 1]) if rng.random() < 1 / 3 else s for k, s in enumerate(scenes)]
    return [noisy_radar(s, settings, rng) for s in out]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, metavar="STORES")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=40)
    arguments = parser.parse_args()
    rng, table = np.random.default_rng(0), {}
    for wanted in SETS:
        store = PatchStore.open(arguments.stores / f"{wanted.name}.zarr")
        places = [store[i].observations for i in store.indices("train")[:PLACES]]
        if not len(places[0].s1_days):
            continue
        table[wanted.name] = of_places(places, 0, rng)
        if min(places[0].shape) > 2:
            table[f"{wanted.name}, 3 x 3"] = of_places(places, 1, rng)
    settings = SceneSettings(height=32, width=32, n_days=520)
    made = [
        simulate_observations(settings, SEED + k) for k in tqdm(range(arguments.scenes), desc="scenes", mininterval=10)
    ]
    scenes = [scene.observations for scene in made]
    for radius, name in ((0, "simulated"), (1, "simulated, 3 x 3")):
        table[name] = of_places(scenes, radius, rng)
    for k, cover in enumerate(COVERS):
        table[f"simulated, {cover}"] = of_cover(made, k, rng)
    table["simulated, as disturbed in training"] = of_places(disturbed(scenes, rng), 0, rng)
    write_json(arguments.out, {"command": "python -m benchmarks.realism.radar_relation STORES", "relation": table})
    print(pd.DataFrame({k: v for k, v in table.items() if v}).T.to_string())


if __name__ == "__main__":
    main()
