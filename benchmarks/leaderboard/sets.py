"""The held quarter of every real set as merged cubes, and the dates that are scored."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import RADAR_BANDS, S2NDVI
from fusion.data.store import PatchStore
from fusion.evaluation.scenes import cube_from_observations
from fusion.features.observations import Observations

LEAST_CLEAR = 0.6  # of the pixels of a patch that are ever observed


@dataclass(frozen=True)
class RealSet:
    """A store of ``benchmarks.real_sets`` and what of it is scored: months, places, dates per place."""

    name: str
    months: tuple[int, int] = (1, 12)
    places: int = 48
    dates: int = 6


SETS = (
    RealSet("grassland_slovakia", months=(4, 10)),  # outside, unmasked snow counts as clear
    RealSet("points_france_2023"),
    RealSet("points_flanders_2021"),
    RealSet("patches_vietnam_2022", places=40, dates=4),
    RealSet("no_red_flanders", dates=12),
    RealSet("no_red_tanzania", dates=12),
    RealSet("fields_bavaria_2018"),
    RealSet("fields_central_asia_2016"),
)


def held_cubes(store: Path, wanted: RealSet) -> Iterator[tuple[str, xr.DataArray]]:
    """Name and merged cube of the first held places in the order of their hashes."""
    patches = PatchStore.open(store)
    held = [i for split in ("calibration", "test") for i in patches.indices(split)]
    held.sort(key=lambda i: hashlib.sha256(patches.keys[i].encode()).hexdigest())
    for i in held[: wanted.places]:
        yield patches.keys[i], cube_of(patches[i].observations)


def cube_of(obs: Observations) -> xr.DataArray:
    """The merged cube (t, bands, y, x) of observations by S2 and, where there is any, S1."""
    return cube_from_observations(obs).sel(bands=[S2NDVI, *(RADAR_BANDS if len(obs.s1_days) else ())])


def scored_dates(cube: xr.DataArray, wanted: RealSet) -> tuple[str, ...]:
    """Evenly spread clear dates in the scored months, two observations away from both ends."""
    seen = cube.sel(bands=S2NDVI).notnull()
    share = seen.sum(("y", "x")) / max(int(seen.any("t").sum()), 1)
    clear = cube.t[(share >= LEAST_CLEAR).values][2:-2]
    inside = clear[clear.dt.month.isin(range(wanted.months[0], wanted.months[1] + 1))]
    picks = np.unique(np.linspace(0, len(inside) - 1, wanted.dates).astype(int)) if len(inside) else []
    return tuple(str(day)[:10] for day in inside.values[picks]) if len(picks) else ()
