"""The training stream as a Lightning data module: batches of crops and lone pixels from a mixture of sources."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fusion.data.mixture import Drawn, Mixture, Source
from fusion.data.settings import SampleSettings


class Group(NamedTuple):
    """Samples of one size: features (B, C, T, H, W), target and gap_days (B, T, H, W), number of the source (B,)."""

    features: Tensor
    target: Tensor
    gap_days: Tensor
    source: Tensor


class Batch(NamedTuple):
    """The two groups of a step; None where there is none."""

    crops: Group | None
    points: Group | None


class BatchStream(IterableDataset):
    """Endless batches; every worker and every resumed run has its own seed."""

    def __init__(
        self, sources: Sequence[Source], settings: SampleSettings, *, crops: int, points: int, seed: int
    ) -> None:
        super().__init__()
        self.sources, self.settings, self.crops, self.points, self.seed = sources, settings, crops, points, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        seed = self.seed + 1_000_003 * (0 if worker is None else worker.id)
        for crops, points in Mixture(self.sources, self.settings, crops=self.crops, points=self.points, seed=seed):
            yield Batch(collate_channels_last(crops), collate_channels_last(points))


def collate_channels_last(drawn: list[Drawn]) -> Group | None:
    """Stack samples; features stay channels-last in memory, the fastest layout for the 2-D convolutions."""
    if not drawn:
        return None
    samples = [d.sample for d in drawn]
    last = np.stack([np.moveaxis(s.features, 0, -1) for s in samples])
    return Group(
        torch.from_numpy(last).permute(0, 4, 1, 2, 3),
        torch.from_numpy(np.stack([s.target for s in samples])),
        torch.from_numpy(np.stack([s.gap_days for s in samples])),
        torch.tensor([d.source for d in drawn]),
    )


class SceneDataModule(pl.LightningDataModule):
    """Endless training batches and a fixed set of validation batches.

    Parameters
    ----------
    train_sources, validation_sources : sequence of Source
        The mixture and its held part. They must not share scenes.
    batch_size, points : int
        Crops and lone pixels of a batch.
    validation_batches : int
        Batches drawn once and kept in memory.
    seed : int
        Seed of the training stream; a resumed run uses another one, to draw new scenes.
    validation_seed : int
        Seed of the validation set; a resumed run keeps it, so that its curve is based on the same batches.
    """

    def __init__(
        self,
        train_sources: Sequence[Source],
        validation_sources: Sequence[Source],
        samples: SampleSettings,
        *,
        batch_size: int,
        points: int,
        validation_batches: int,
        workers: int,
        seed: int,
        validation_seed: int,
    ) -> None:
        super().__init__()
        self.train_sources, self.validation_sources, self.samples = train_sources, validation_sources, samples
        self.batch_size, self.points, self.validation_batches = batch_size, points, validation_batches
        self.workers, self.seed, self.validation_seed = workers, seed, validation_seed
        self._validation: list[Batch] | None = None

    def train_dataloader(self) -> DataLoader:
        rank = self.trainer.global_rank if self.trainer is not None else 0  # each device draws its own samples
        seed = self.seed + 15_485_863 * rank
        return DataLoader(
            BatchStream(self.train_sources, self.samples, crops=self.batch_size, points=self.points, seed=seed),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            persistent_workers=False,
        )

    def val_dataloader(self) -> DataLoader:
        if self._validation is None:
            undisturbed = {"foreign_radar_share": 0.0, "radar_noise_share": 0.0}
            settings = self.samples.model_copy(
                update={
                    "observation_target_share": 0.0,
                    "visits": 1,
                    "crops_in_memory": max(self.batch_size * self.validation_batches // 4, 16),
                    "points_in_memory": 1,
                    "point_uses": 1,
                    "withholding": self.samples.withholding.model_copy(update=undisturbed),
                }
            )
            stream = BatchStream(
                self.validation_sources, settings, crops=self.batch_size, points=self.points, seed=self.validation_seed
            )
            self._validation = list(islice(stream, self.validation_batches))
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]
