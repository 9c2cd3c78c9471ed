"""Sources of training scenes: patch stores, and a simulator given by a Hydra ``_target_``, each with its share."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.data.mixture import SceneSource, Source
from fusion.data.patch import Patch
from fusion.data.provenance import code_hash
from fusion.data.scene import Scene
from fusion.data.store import PatchStore
from fusion.training.settings import TrainSettings

# seed offsets of the splits of simulated scenes, so far apart that no run reaches those of the next split
SPLIT_SEEDS = {"train": 0, "validation": 1_000_000_000, "calibration": 1_400_000_000}
KEPT_BYTES = 64 * 2**20  # of NDVI, of each store, kept in memory
SCENES = "scenes"  # name of the simulator among the sources


@dataclass(frozen=True)
class SimulatedSource:
    """Endless simulated scenes; each split has its own range of seeds."""

    spec: dict[str, Any]
    split: str

    def __call__(self, seed: int) -> Iterable[Scene]:
        from hydra.utils import instantiate

        return instantiate(self.spec, seed=seed + SPLIT_SEEDS[self.split], _convert_="all")


@dataclass(frozen=True)
class StoreSource:
    """Patches of one split, shuffled and repeated endlessly; splits other than "train" take those for calibration."""

    store: Path
    split: str

    def __call__(self, seed: int) -> Iterator[Scene]:
        patches = PatchStore.open(self.store)
        split = "train" if self.split == "train" else "calibration"
        index = patches.indices(split)
        if not index:
            raise ValueError(f"{self.store} has no patch in split {split!r}; cut more patches or blocks")
        return self._walk(patches, np.array(index), np.random.default_rng(seed))

    def _walk(self, patches: PatchStore, index: np.ndarray, rng: np.random.Generator) -> Iterator[Scene]:
        kept: dict[int, Patch] = {}  # opening a patch takes longer than its features where it is a single pixel
        space = KEPT_BYTES
        while True:
            for i in map(int, rng.permutation(index)):
                patch = kept.get(i) or patches[i]
                if i not in kept and (size := 4 * math.prod(patches.facts[i]["shape"])) <= space:
                    kept[i], space = patch, space - size
                yield patch

    def widest(self) -> int:
        """Side of the widest patch, pixels."""
        return max((min(f["shape"][1:]) for f in PatchStore.open(self.store).facts), default=0)


def source_names(settings: TrainSettings) -> list[str]:
    """Names of the sources in the order of ``shares``; stores of one name are told apart by their folders."""
    again = Counter(path.stem for path in settings.stores)
    stores = [p.stem if again[p.stem] == 1 else f"{p.parent.name}/{p.stem}" for p in settings.stores]
    return [SCENES] * (settings.scenes is not None) + stores


def scene_sources(settings: TrainSettings, split: str) -> tuple[Source, ...]:
    """The sources of a split ("train", "validation", "calibration") with their shares."""
    found: list[tuple[SceneSource, bool]] = []
    if settings.scenes is not None:
        found.append((SimulatedSource(settings.scenes, split), True))
    for path in settings.stores:
        store = StoreSource(path, split)
        found.append((store, store.widest() >= settings.samples.crop_px))
    named = zip(source_names(settings), settings.all_shares, found, strict=True)
    return tuple(Source(name, share, scenes, wide) for name, share, (scenes, wide) in named)


def data_manifest(settings: TrainSettings) -> dict[str, Any]:
    """Description of the training data, with which a run can be repeated.

    Each source has its name, share and hash. A patch store has its manifest, too; a simulator its settings, the first
    seed of every split and a hash of the source files of its package. ``sha256`` is the hash of this description,
    which contains no paths.
    """
    sources: list[dict[str, Any]] = []
    if settings.scenes is not None:
        seeds = {split: settings.seed + offset for split, offset in SPLIT_SEEDS.items()}
        module = str(settings.scenes["_target_"]).rpartition(".")[0]
        facts: dict[str, Any] = {
            "kind": "simulated",
            "scenes": settings.scenes,
            "seeds": seeds,
            "code_sha256": code_hash(module),
        }
        sources.append({**facts, "sha256": _hash(facts)})
    for path in settings.stores:
        store = PatchStore.open(path)
        sources.append({"kind": "store", "sha256": store.content_hash(), "manifest": store.manifest or None})
    total = sum(settings.all_shares)
    named = zip(sources, source_names(settings), settings.all_shares, strict=True)
    sources = [{"name": name, "share": round(share / total, 6), **facts} for facts, name, share in named]
    return {"sources": sources, "sha256": _hash(sources)}


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
