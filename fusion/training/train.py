"""``ndvi-fusion train``: learn, calibrate, export, record."""

import logging
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

from fusion.checkpoint import TrainedGenerator, load_weights, save_weights
from fusion.data.stream import SceneDataModule
from fusion.export import export_generator
from fusion.training.calibrate import calibrate
from fusion.training.module import FusionModule
from fusion.training.settings import TrainSettings
from fusion.training.sources import scene_source
from fusion.training.tracking import CurveFile, open_logger, record_model

__all__ = ["TrainSettings", "run"]

log = logging.getLogger(__name__)
LAST = "last.ckpt"


def run(settings: TrainSettings) -> Path:
    """Train; returns the folder with ``model.onnx`` and its manifest.

    The output folder gets ``last.ckpt`` (to resume), ``generator.pt`` (tensors and plain settings), ``curve.csv`` and
    ``model/``. Interrupted, the same command goes on where it stopped.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    last = settings.out / LAST
    resumed = last if settings.resume and last.is_file() else None
    done = _steps_done(resumed)
    module = FusionModule(settings)
    if settings.start_from is not None and resumed is None:
        module.generator.load_state_dict(load_weights(settings.start_from).generator.state_dict())
        module.averaged.module.load_state_dict(module.generator.state_dict())
    if settings.compile:
        module.generator.compile()
    data = SceneDataModule(
        scene_source(settings, "train"),
        scene_source(settings, "validation"),
        settings.samples,
        batch_size=settings.batch_size,
        validation_batches=settings.validation_batches,
        workers=settings.workers,
        seed=settings.seed + 7919 * done,  # a resumed run sees new scenes
    )
    logger = open_logger(settings)
    trainer = _trainer(settings, logger)
    if done < settings.optimiser.max_steps:
        trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
    trained = _finish(module, settings)
    folder = export_generator(trained, settings.out / "model")
    if logger:
        record_model(logger, settings, folder, [])
    log.info("model: %s", folder)
    return folder


def _steps_done(checkpoint: Path | None) -> int:
    if checkpoint is None:
        return 0
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return int(content["progress"]["generator_steps"])


def _trainer(settings: TrainSettings, logger: Any) -> pl.Trainer:
    callbacks: list[pl.Callback] = [
        ModelCheckpoint(
            settings.out,
            filename="step",
            every_n_train_steps=settings.checkpoint_every,
            save_top_k=0,
            save_last=True,
            enable_version_counter=False,
        ),
        CurveFile(settings.out / "curve.csv"),
    ]
    if settings.progress:
        callbacks.append(RichProgressBar(refresh_rate=5))
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        precision=settings.precision,
        max_steps=-1,  # the module stops itself: Lightning's counter counts both optimisers
        max_epochs=-1,
        val_check_interval=settings.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        logger=logger,
        callbacks=callbacks,
        enable_progress_bar=settings.progress,
        enable_model_summary=False,
        default_root_dir=settings.out,
    )


def _finish(module: FusionModule, settings: TrainSettings) -> TrainedGenerator:
    """Averaged weights, calibrated on scenes of their own split, written as plain tensors."""
    generator = module.averaged.module.to("cpu").eval()
    scenes = scene_source(settings, "calibration")(settings.seed)
    visits = settings.calibration_batches
    calibration = calibrate(generator, scenes, settings.samples, visits=visits, seed=settings.seed)
    trained = TrainedGenerator(
        generator,
        settings.generator,
        {k: list(v) for k, v in vars(calibration).items()},
        {
            "steps": module.generator_steps,
            "minutes": round(module.seconds / 60, 2),
            "settings": settings.model_dump(mode="json", exclude={"out", "store", "start_from"}),
        },
    )
    save_weights(settings.out / "generator.pt", trained)
    return trained
