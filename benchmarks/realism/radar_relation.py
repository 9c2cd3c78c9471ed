"""How much changes of radar say about changes of NDVI: real sets and simulated scenes, measured the same way.

``python -m benchmarks.realism.radar_relation STORES --out FILE``: pairs of clear observations 12 to 45 days apart; VV
and VH-VV are smoothed with a kernel of 8 days, as lone pixels and as means of 3 x 3. STORES is made by
``python -m benchmarks.real_sets``. Simulated scenes are taken as they are, by cover, and as training disturbs them.
A second table has the same pixels by the number of looks (lone pixels to means of a patch), by repeat (6 and 12 days),
and with the levels of the passes as they come and removed; of simulated scenes by windows as large as a real patch.
"""

import argparse
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.leaderboard.sets import LEAST_CLEAR, SETS
from data_prep.simulator.crops import COVERS
from data_prep.simulator.scene import SimulatedScene, simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.data.store import PatchStore
from fusion.data.withholding import WithholdingSettings, foreign_radar, noisy_radar
from fusion.features.kernels import TimeSmoother, box_mean
from fusion.features.observations import Observations
from fusion.progress import tracked
from fusion.whole_file import write_json

PAIR_DAYS = (12, 45)
KERNEL_DAYS = 8.0
PIXELS = 4  # drawn per patch or scene
PLACES = 150  # patches of a set
SEED = 4_000_000
WINDOW = 8  # pixels of a side of a patch of simulated scenes
WHOLE = 16  # radius of a mean that holds all of a patch
COVER_GROUPS = {  # of patches by the cover of most of their pixels
    "simulated, grassland": ("grass_mown", "grass_grazed"),
    "simulated, cereals": ("winter_cereal", "spring_cereal"),
    "simulated, broad-leaved crops": ("rapeseed", "maize", "root_crop", "legume", "double_crop"),
    "simulated, trees and buildings": ("orchard", "deciduous", "evergreen", "built"),
}


def mean_around(images: np.ndarray, radius: int) -> np.ndarray:
    """Mean of the finite pixels around each pixel, (n, H, W); NaN where there is none."""
    mean, share = box_mean(images, radius)
    return np.where(share > 0, mean, np.float32(np.nan))


def changes(obs: Observations, row: int, column: int, radius: int) -> np.ndarray:
    """Changes of NDVI, VV and VH-VV between neighbouring clear observations of one pixel, (pairs, 3)."""
    images = (obs.vv_db, obs.vh_db - obs.vv_db)
    if radius:
        images = tuple(mean_around(band, radius) for band in images)
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


def passes(obs: Observations) -> np.ndarray:
    """Pass of each acquisition, (n,): a relative orbit is repeated every 6 days by two satellites, 12 by one."""
    return obs.s1_days % 6


def repeat_days(obs: Observations) -> float:
    """Median days from one acquisition of a pass to its next; far above 12 for composites, which have no pass."""
    steps = [np.diff(obs.s1_days[passes(obs) == one]) for one in np.unique(passes(obs))]
    return float(np.median(np.concatenate(steps))) if steps and max(map(len, steps)) else np.inf


def patch_mean(obs: Observations) -> Observations:
    """The place as one pixel: means of radar, and of NDVI where enough of it is clear."""
    clear = np.isfinite(obs.s2_ndvi).mean((1, 2), keepdims=True) >= LEAST_CLEAR
    ndvi = np.where(clear, mean_around(obs.s2_ndvi, WHOLE), np.float32(np.nan))
    radar = {name: mean_around(getattr(obs, name), WHOLE) for name in ("vv_db", "vh_db")}
    return replace(obs, s2_ndvi=ndvi, **radar).window(slice(0, 1), slice(0, 1))


def every_second(obs: Observations) -> Observations:
    """Every second acquisition of each pass."""
    number = np.zeros(len(obs.s1_days), int)
    for one in np.unique(passes(obs)):
        number[passes(obs) == one] = np.arange((passes(obs) == one).sum())
    keep = number % 2 == 0
    return replace(obs, s1_days=obs.s1_days[keep], vv_db=obs.vv_db[keep], vh_db=obs.vh_db[keep])


def levelled(obs: Observations) -> Observations:
    """Each pixel of each pass without its own median over time."""
    vv, vh = obs.vv_db.copy(), obs.vh_db.copy()
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a pixel that a pass does not see
        for one in np.unique(passes(obs)):
            for band in (vv, vh):
                band[passes(obs) == one] -= np.nanmedian(band[passes(obs) == one], axis=0)
    return replace(obs, vv_db=vv, vh_db=vh)


def same(obs: Observations) -> Observations:
    """As it is."""
    return obs


class Variant(NamedTuple):
    """A row of the second table: its places, what is done to them, and the radius of the mean of radar."""

    applies: Callable[[Observations], bool]
    change: Callable[[Observations], Observations] = same
    radius: int = 0


def _patch(obs: Observations) -> bool:
    return min(obs.shape) > 2


def _six_days(obs: Observations) -> bool:
    return repeat_days(obs) == 6


def _several_passes(obs: Observations) -> bool:
    return repeat_days(obs) <= 12 and len(np.unique(passes(obs))) > 1


VARIANTS = {
    "lone pixel": Variant(_patch),
    "radar of 3 x 3": Variant(_patch, radius=1),
    "radar of the patch": Variant(_patch, radius=WHOLE),
    "radar and NDVI of the patch": Variant(_patch, patch_mean),
    "every 6 days": Variant(_six_days),
    "every 12 days": Variant(_six_days, every_second),
    "passes as they come": Variant(_several_passes),
    "passes levelled": Variant(_several_passes, levelled),
}


def by_variant(places: list[Observations]) -> dict[str, dict[str, float]]:
    """The relation in every variant that some places have, on the same pixels."""
    table = {}
    for name, variant in VARIANTS.items():
        chosen = [variant.change(obs) for obs in places if variant.applies(obs)]
        found = of_places(chosen, variant.radius, np.random.default_rng(0)) if chosen else None
        if found:
            table[name] = {"places": len(chosen), **found}
    return table


def simulated_patches(made: list[SimulatedScene]) -> dict[str, list[Observations]]:
    """Windows of the scenes that have radar: all of them, and those of :data:`COVER_GROUPS`."""
    groups: dict[str, list[Observations]] = {"simulated": [], **{name: [] for name in COVER_GROUPS}}
    for scene in made:
        if not len(scene.observations.s1_days):
            continue
        for top, left in np.ndindex(*(size // WINDOW for size in scene.cover.shape)):
            window = tuple(slice(i * WINDOW, (i + 1) * WINDOW) for i in (top, left))
            cover = COVERS[int(np.bincount(scene.cover[window].ravel()).argmax())]
            for name, covers in {"simulated": COVERS, **COVER_GROUPS}.items():
                if cover in covers:
                    groups[name].append(scene.observations.window(*window))
    return groups


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, metavar="STORES")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=30)
    arguments = parser.parse_args()
    rng, table, variants = np.random.default_rng(0), {}, {}
    for wanted in SETS:
        store = PatchStore.open(arguments.stores / f"{wanted.name}.zarr")
        places = [store[i].observations for i in store.indices("train")[:PLACES]]
        if not len(places[0].s1_days):
            continue
        table[wanted.name] = of_places(places, 0, rng)
        if min(places[0].shape) > 2:
            table[f"{wanted.name}, 3 x 3"] = of_places(places, 1, rng)
        variants[wanted.name] = by_variant(places)
    settings = SceneSettings(height=32, width=32, n_days=520)
    seeds = range(SEED, SEED + arguments.scenes)
    made = [simulate_observations(settings, seed) for seed in tracked(seeds, "scenes", len(seeds))]
    scenes = [scene.observations for scene in made]
    for radius, name in ((0, "simulated"), (1, "simulated, 3 x 3")):
        table[name] = of_places(scenes, radius, rng)
    for k, cover in enumerate(COVERS):
        table[f"simulated, {cover}"] = of_cover(made, k, rng)
    table["simulated, as disturbed in training"] = of_places(disturbed(scenes, rng), 0, rng)
    variants |= {name: by_variant(places) for name, places in simulated_patches(made).items()}
    variants = {name: found for name, found in variants.items() if found}
    command = "python -m benchmarks.realism.radar_relation STORES"
    write_json(arguments.out, {"command": command, "relation": table, "variants": variants})
    print(pd.DataFrame({k: v for k, v in table.items() if v}).T.to_string())
    print(pd.concat({name: pd.DataFrame(found).T for name, found in variants.items()}).to_string())


if __name__ == "__main__":
    main()
