"""Assign patches to train, calibration and test without leakage: spatial blocks, whole sites, held-out years.

Blocks are cells of latitude and longitude, so overlapping cubes of different UTM zones or tiles fall into the same
blocks. A patch whose extent, buffered by a margin, touches blocks of different splits is assigned to none. Therefore
no two patches of different splits overlap or lie within the margin of one another, whatever their dates.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from data_prep.settings import SplitSettings
from fusion.place import METRES_PER_DEGREE


@dataclass(frozen=True)
class Ground:
    """Extent of a patch in WGS 84 degrees, and the calendar years of its dates."""

    west: float
    south: float
    east: float
    north: float
    years: tuple[int, ...] = ()


def split_of_name(name: str, settings: SplitSettings) -> str:
    """Pseudo-random split that depends on name and seed only, so equal on every run and machine."""
    number = int.from_bytes(hashlib.sha256(f"{settings.seed}:{name}".encode()).digest()[:8], "big") / 2**64
    if number < settings.train:
        return "train"
    return "calibration" if number < settings.train + settings.calibration else "test"


def held_quarter(name: str) -> bool:
    """Whether a group of points or fields belongs to the quarter that is never trained on; depends on its name only."""
    return hashlib.sha256(name.encode()).digest()[-1] % 4 == 0


def split_of_group(set_name: str, group: str, settings: SplitSettings) -> str:
    """Split of a group of points or fields: three quarters train, the held quarter calibrates and validates.

    Points have no blocks; ``settings.sites`` may name the split of ``SET:GROUP``.
    """
    chosen = settings.sites.get(f"{set_name}:{group}")
    return chosen or ("calibration" if held_quarter(set_name + group) else "train")


def blocks_of(ground: Ground, settings: SplitSettings) -> list[tuple[int, int]]:
    """Blocks (row, column) touched by the extent of a patch, buffered by the margin."""
    up = settings.margin_m / METRES_PER_DEGREE
    widest = max(abs(ground.south - up), abs(ground.north + up))
    aside = up / max(0.01, math.cos(math.radians(min(widest, 89.0))))
    size = settings.block_deg
    rows = range(math.floor((ground.south - up) / size), math.floor((ground.north + up) / size) + 1)
    columns = range(math.floor((ground.west - aside) / size), math.floor((ground.east + aside) / size) + 1)
    return [(row, column) for row in rows for column in columns]


def split_of_ground(ground: Ground, site: str, settings: SplitSettings) -> str | None:
    """Split of a patch, or None if it must not be used.

    A patch with dates in a held-out year is used only if its block or site belongs to the test split.
    """
    if site in settings.sites:
        found = {settings.sites[site]}
    else:
        found = {split_of_name(f"block {row} {column}", settings) for row, column in blocks_of(ground, settings)}
    if len(found) > 1:
        return None
    split = found.pop()
    if split != "test" and set(ground.years) & set(settings.holdout_years):
        return None
    return split


def leaks(patches: Iterable[tuple[str, str, Ground]], cell_deg: float = 0.05) -> list[tuple[str, str]]:
    """Pairs of keys from different splits whose extents overlap, for (key, split, ground); empty if there are none."""
    cells: dict[tuple[int, int], list[tuple[str, str, Ground]]] = {}
    found = set()
    for key, split, ground in patches:
        for row in range(math.floor(ground.south / cell_deg), math.floor(ground.north / cell_deg) + 1):
            for column in range(math.floor(ground.west / cell_deg), math.floor(ground.east / cell_deg) + 1):
                for other, its_split, its in cells.setdefault((row, column), []):
                    apart = (
                        its.east <= ground.west or ground.east <= its.west or its.north <= ground.south
                        or ground.north <= its.south
                    )  # fmt: skip
                    if its_split != split and not apart:
                        found.add((min(key, other), max(key, other)))
                cells[row, column].append((key, split, ground))
    return sorted(found)
