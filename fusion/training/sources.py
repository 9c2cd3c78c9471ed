"""Sources of training scenes: a patch store, or a simulator given by a Hydra ``_target_``."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.data.provenance import code_hash
from fusion.data.samples import Scene
from fusion.data.store import PatchStore
from fusion.training.settings import TrainSettings

# seed offsets of the splits of simulated scenes, so far apart that no run reaches those of the next split
SPLIT_SEEDS = {"train": 0, "validation": 1_000_000_000, "calibration": 1_400_000_000}


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
    """Patches of one split, shuffled; the training split is repeated endlessly."""

    store: Path
    split: str

    def __call__(self, seed: int) -> Iterable[Scene]:
        patches = PatchStore.open(self.store)
        split = "train" if self.split == "train" else "calibration"
        index = patches.indices(split)
        if not index:
            raise ValueError(f"{self.store} has no patch in split {split!r}; cut more patches or blocks")
        return self._walk(patches, np.array(index), np.random.default_rng(seed))

    def _walk(self, patches: PatchStore, index: np.ndarray, rng: np.random.Generator) -> Iterator[Scene]:
        while True:
            for i in rng.permutation(index):
                yield patches[int(i)]
            if self.split != "train":
                return


def scene_source(settings: TrainSettings, split: str) -> SimulatedSource | StoreSource:
    """The source of a split ("train", "validation", "calibration")."""
    if settings.store is not None:
        return StoreSource(settings.store, split)
    assert settings.scenes is not None  # the settings refuse having neither
    return SimulatedSource(settings.scenes, split)


def data_manifest(settings: TrainSettings) -> dict[str, Any]:
    """Description of the training data, with which a run can be repeated.

    For a patch store, its manifest; for a simulator, its settings, the first seed of every split and a hash of the
    source files of its package. ``sha256`` is the hash of this description, which contains no paths.
    """
    facts: dict[str, Any]
    if settings.store is not None:
        file = settings.store / "manifest.json"
        facts = {"kind": "store", "manifest": json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None}
    else:
        assert settings.scenes is not None  # the settings refuse having neither
        seeds = {split: settings.seed + offset for split, offset in SPLIT_SEEDS.items()}
        module = str(settings.scenes["_target_"]).rpartition(".")[0]
        facts = {"kind": "simulated", "scenes": settings.scenes, "seeds": seeds, "code_sha256": code_hash(module)}
    facts["sha256"] = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    return facts
