"""Where training scenes come from: a patch store, or a simulator named by a Hydra ``_target_``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.data.samples import Scene
from fusion.data.store import PatchStore
from fusion.training.settings import TrainSettings

# seeds of the three splits of simulated scenes lie so far apart that no run reaches the next one's
SPLIT_SEEDS = {"train": 0, "validation": 1_000_000_000, "calibration": 1_400_000_000}


@dataclass(frozen=True)
class SimulatedSource:
    """Endless simulated scenes; the split moves the seeds."""

    spec: dict[str, Any]
    split: str

    def __call__(self, seed: int) -> Iterable[Scene]:
        from hydra.utils import instantiate

        return instantiate(self.spec, seed=seed + SPLIT_SEEDS[self.split], _convert_="all")


@dataclass(frozen=True)
class StoreSource:
    """Patches of one split, shuffled; the training split goes round for ever."""

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
