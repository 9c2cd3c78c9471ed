"""The Lightning module: generator, optional discriminator, averaged weights, one learning-rate schedule for both."""

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusion.contract import NDVI_CENTRE, NDVI_UNIT
from fusion.data.stream import Batch, Group
from fusion.features.features import FEATURE_NAMES
from fusion.features.radar import RADAR_NAMES
from fusion.model.discriminator import PatchDiscriminator
from fusion.model.generator import Generator
from fusion.model.losses import (
    excess_error,
    gap_weights,
    gradient_loss,
    hinge_discriminator,
    hinge_generator,
    l1_loss,
    laplace_nll,
    patch_weights,
    r1_penalty,
)
from fusion.training.checkpoint import build_generator
from fusion.training.settings import TrainSettings
from fusion.training.sources import source_names
from fusion.training.validation import ErrorSums

CONDITION_NAMES = (
    "vv_since_before",
    "cr_since_before",
    "coarse_since_before",
    "near_before",
    "near_after",
    "mid_before",
)
CONDITIONS = [FEATURE_NAMES.index(name) for name in CONDITION_NAMES]
RADAR = [FEATURE_NAMES.index(name) for name in RADAR_NAMES]
JUDGED_GAP_DAYS = 7.0  # days; nearer to an observation, prediction and truth hardly differ


def without_radar(features: Tensor) -> Tensor:
    """The features (B, C, ...) as they are without any radar: 0 in every channel made from it."""
    features = features.clone()
    features[:, RADAR] = 0
    return features


def sample_weights(target: Tensor, gap_days: Tensor) -> Tensor:
    """Weights of the pixel-dates (B, T, H, W), 0 without target.

    The weight of a sample grows with the root of its number of targets, so that those with few are not lost.
    """
    weights = gap_weights(gap_days) * torch.isfinite(target)
    return weights / weights.sum((1, 2, 3), keepdim=True).clamp(min=1e-3).sqrt()


def linear_ndvi(features: Tensor) -> Tensor:
    """Linear interpolation in NDVI, (B, ...), from channel 0 of the features (B, C, ...)."""
    return features[:, 0] * NDVI_UNIT + NDVI_CENTRE


class FusionModule(pl.LightningModule):
    """Trains the generator, with a discriminator where ``loss.adversarial`` is above 0.

    Optimisation is manual. ``generator_steps`` counts the generator's updates (Lightning's own counter counts every
    optimiser's). ``seconds`` is the training time so far, restored when a run is resumed.
    """

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = settings
        self.generator = build_generator(settings.generator)
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.averaged = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(settings.optimiser.average_decay)
        )
        self.adversarial = settings.loss.adversarial > 0
        if self.adversarial:
            self.discriminator = PatchDiscriminator(len(CONDITIONS))
        self.generator_steps = 0
        self.seconds = 0.0
        self._clock: float | None = None
        self._errors = ErrorSums(source_names(settings))

    def averaged_generator(self) -> Generator:
        """The generator with the averaged weights, which is exported."""
        inner = self.averaged.module
        assert isinstance(inner, Generator)
        return inner

    # -- optimisation ---------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        o = self.settings.optimiser
        generator = torch.optim.AdamW(
            self.generator.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay, betas=(0.9, 0.98)
        )
        if not self.adversarial:
            return generator
        discriminator = torch.optim.Adam(
            self.discriminator.parameters(), lr=o.learning_rate * o.discriminator_ratio, betas=(0.5, 0.9)
        )
        return [generator, discriminator]

    def progress(self) -> float:
        """Share of the run that is done, by steps or by minutes, whichever is further."""
        o = self.settings.optimiser
        done = self.generator_steps / o.max_steps
        if o.max_minutes is not None:
            done = max(done, self.seconds / (60 * o.max_minutes))
        return min(done, 1.0)

    def rate_factor(self) -> float:
        """Learning rate over its peak: linear warm-up, then half a cosine."""
        warm = min(1.0, (self.generator_steps + 1) / max(self.settings.optimiser.warmup_steps, 1))
        return warm * (0.5 * (1 + math.cos(math.pi * self.progress())) + 1e-3)

    def adversarial_weight(self) -> float:
        """Current weight of the adversarial loss: 0 in the warm-up, then a linear ramp."""
        loss = self.settings.loss
        done = self.generator_steps - loss.adversarial_warmup
        return loss.adversarial * min(max(done / loss.adversarial_ramp, 0.0), 1.0)

    def on_train_start(self) -> None:
        self._clock = time.monotonic()

    def training_step(self, batch: Batch, batch_index: int) -> None:
        optimisers = self.optimizers()
        optimisers = optimisers if isinstance(optimisers, list) else [optimisers]
        o = self.settings.optimiser
        for optimiser, ratio in zip(optimisers, (1.0, o.discriminator_ratio), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = o.learning_rate * ratio * self.rate_factor()
        losses: dict[str, Tensor] = {}
        part = 0.0 if batch.points is None else 1.0 if batch.crops is None else self.settings.loss.point_weight
        if batch.crops is not None:
            losses |= {k: (1 - part) * v for k, v in self._crop_losses(batch.crops, optimisers).items()}
        if batch.points is not None:
            losses |= {f"points_{k}": part * v for k, v in self._point_losses(batch.points).items()}
        total = torch.stack(list(losses.values())).sum()
        optimisers[0].zero_grad(set_to_none=True)
        self.manual_backward(total)
        self.clip_gradients(  # also accepts Lightning's wrapper, although its annotation omits it
            optimisers[0],  # type: ignore[arg-type]
            gradient_clip_val=o.clip,
            gradient_clip_algorithm="norm",
        )
        optimisers[0].step()
        self.generator_steps += 1
        self.averaged.update_parameters(self.generator)
        self._count_time()
        if self.generator_steps % 50 == 0:
            self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()})
            self.log("train/rate", o.learning_rate * self.rate_factor())
        self.log("loss", total.detach(), prog_bar=True, logger=False)
        if self.progress() >= 1.0:
            self.trainer.should_stop = True

    def _crop_losses(self, crops: Group, optimisers: list[Any]) -> dict[str, Tensor]:
        loss = self.settings.loss
        weights = sample_weights(crops.target, crops.gap_days)
        known, target = torch.isfinite(crops.target), torch.nan_to_num(crops.target)
        ndvi, scale = self.generator(crops.features)
        judged = known & (crops.gap_days > JUDGED_GAP_DAYS)
        if self.adversarial:
            self._discriminator_step(optimisers[1], crops.features, ndvi.detach(), target, known, judged)
        losses = self._error_losses(ndvi, scale, target, weights)
        if loss.gradient > 0:
            losses["gradient"] = loss.gradient * gradient_loss(ndvi, target, weights)
        weight = self.adversarial_weight() if self.adversarial else 0.0
        if weight > 0:
            fake = self._judge(torch.where(known, ndvi, target), crops.features)
            losses["adversarial"] = weight * hinge_generator(fake, patch_weights(judged, fake))
        return losses

    def _point_losses(self, points: Group) -> dict[str, Tensor]:
        """Losses of lone pixels with radar and without, in float32, since they are many dates and few pixels."""
        weights = sample_weights(points.target, points.gap_days)
        target, count = torch.nan_to_num(points.target), len(points.target)
        with torch.autocast(self.device.type, enabled=False):
            ndvi, scale = self.generator(torch.cat([points.features, without_radar(points.features)]))
        both = [
            self._error_losses(ndvi[rows], scale[rows], target, weights) for rows in (slice(count), slice(count, None))
        ]
        loss = self.settings.loss
        share = loss.no_radar_weight
        losses = {name: (1 - share) * both[0][name] + share * both[1][name] for name in both[0]}
        if loss.radar_harm > 0:
            harm = excess_error(ndvi[:count], ndvi[count:].detach(), target, weights)
            losses["radar_harm"] = loss.l1 * loss.radar_harm * harm
        return losses

    def _error_losses(self, ndvi: Tensor, scale: Tensor, target: Tensor, weights: Tensor) -> dict[str, Tensor]:
        loss = self.settings.loss
        return {
            "l1": loss.l1 * l1_loss(ndvi, target, weights),
            "nll": loss.nll * laplace_nll(ndvi, scale, target, weights),
        }

    def _judge(self, ndvi: Tensor, features: Tensor) -> Tensor:
        return self.discriminator(ndvi, linear_ndvi(features), features[:, CONDITIONS])

    def _discriminator_step(self, optimiser, features, fake, target, known, judged) -> None:
        # real and fake get the same mask: where there is no target, both hold the same values
        fake = torch.where(known, fake, target)
        penalised = self.settings.loss.r1 > 0 and self.generator_steps % self.settings.loss.r1_every == 0
        real = target.clone().requires_grad_(penalised)
        real_logits = self._judge(real, features)
        loss = hinge_discriminator(real_logits, self._judge(fake, features), patch_weights(judged, real_logits))
        if self.generator_steps % 50 == 0:
            self.log("train/discriminator", loss.detach())
        if penalised:
            loss = loss + 0.5 * self.settings.loss.r1 * self.settings.loss.r1_every * r1_penalty(real_logits, real)
        optimiser.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimiser.step()

    def _count_time(self) -> None:
        now = time.monotonic()
        if self._clock is not None:
            self.seconds += now - self._clock
        self._clock = now
        if self.trainer.world_size > 1:  # all devices stop at the same step
            self.seconds = self.trainer.strategy.broadcast(self.seconds)

    # -- validation -----------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._errors = ErrorSums(source_names(self.settings))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        for name, group in (("crops", batch.crops), ("points", batch.points)):
            if group is None:
                continue
            linear = linear_ndvi(group.features)
            self._errors.add(name, group, self.averaged(group.features), linear)
            if name == "points":
                self._errors.add("points_no_radar", group, self.averaged(without_radar(group.features)), linear)

    def on_validation_epoch_end(self) -> None:
        values = self._errors.values()
        for name, value in values.items():
            self.log(f"val/{name}", value, prog_bar=name in ("mae", "mae_over_linear"))
        self._clock = time.monotonic()

    # -- checkpoint -----------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {"generator_steps": self.generator_steps, "seconds": self.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.generator_steps = int(checkpoint["progress"]["generator_steps"])
        self.seconds = float(checkpoint["progress"]["seconds"])
