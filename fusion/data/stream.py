"""The training stream as a Lightning data module: batches of crops from any source of scenes."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fusion.data.samples import Sample, SampleSettings, Scene, mix_samples

SceneSource = Callable[[int], Iterable[Scene]]
"""Given a seed, an endless or finite iterable of scenes."""

Batch = tuple[Tensor, Tensor, Tensor]
"""features (B, C, T, H, W), target (B, T, H, W), gap_days (B, T, H, W)."""


class CropStream(IterableDataset):
    """Endless crops; every worker and every resumed run has its own seed."""

    def __init__(self, source: SceneSource, settings: SampleSettings, seed: int) -> None:
        super().__init__()
        self.source, self.settings, self.seed = source, settings, seed

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        seed = self.seed + 1_000_003 * (0 if worker is None else worker.id)
        return mix_samples(self.source(seed), self.settings, seed)


def collate_channels_last(samples: list[Sample]) -> Batch:
    """Stack crops; features stay channels-last in memory, the fastest layout for the 2-D convolutions."""
    last = np.stack([np.moveaxis(s.features, 0, -1) for s in samples])
    features = torch.from_numpy(last).permute(0, 4, 1, 2, 3)
    return (
        features,
        torch.from_numpy(np.stack([s.target for s in samples])),
        torch.from_numpy(np.stack([s.gap_days for s in samples])),
    )


class SceneDataModule(pl.LightningDataModule):
    """Endless training batches and a fixed set of validation batches.

    Parameters
    ----------
    train_source, validation_source : callable
        Seed -> iterable of scenes. They must not share scenes.
    validation_batches : int
        Batches drawn once and kept in memory.
    seed : int
        Seed of the training stream; a resumed run uses another one, to draw new scenes.
    validation_seed : int
        Seed of the validation set; a resumed run keeps it, so that its curve is based on the same batches.
    """

    def __init__(
        self,
        train_source: SceneSource,
        validation_source: SceneSource,
        samples: SampleSettings,
        *,
        batch_size: int,
        validation_batches: int,
        workers: int,
        seed: int,
        validation_seed: int,
    ) -> None:
        super().__init__()
        self.train_source, self.validation_source, self.samples = train_source, validation_source, samples
        self.batch_size, self.validation_batches = batch_size, validation_batches
        self.workers, self.seed, self.validation_seed = workers, seed, validation_seed
        self._validation: list[Batch] | None = None

    def train_dataloader(self) -> DataLoader:
        rank = self.trainer.global_rank if self.trainer is not None else 0  # each device draws its own crops
        return DataLoader(
            CropStream(self.train_source, self.samples, self.seed + 15_485_863 * rank),
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=collate_channels_last,
            prefetch_factor=4 if self.workers else None,
            persistent_workers=False,
        )

    def val_dataloader(self) -> DataLoader:
        if self._validation is None:
            settings = self.samples.model_copy(
                update={
                    "observation_target_share": 0.0,
                    "visits": 1,
                    "crops_in_memory": max(self.batch_size * self.validation_batches, 32),
                }
            )
            stream = mix_samples(self.validation_source(self.validation_seed), settings, self.validation_seed)
            samples = [s for s, _ in zip(stream, range(self.batch_size * self.validation_batches), strict=False)]
            if not samples:
                raise ValueError("the validation source returned no scene; check the split of the store")
            self._validation = [
                collate_channels_last(samples[i : i + self.batch_size]) for i in range(0, len(samples), self.batch_size)
            ]
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]
