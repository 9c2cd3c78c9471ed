"""``ndvi-fusion train``: train, calibrate, export and record a generator."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from data_prep.farm import WorkersLostError
from fusion import pyfunc
from fusion.data.mixture import held_scenes
from fusion.data.stream import SceneDataModule
from fusion.evaluation.tracking import open_experiment
from fusion.inference.locate import SHIPPED
from fusion.training.calibrate import calibrate
from fusion.training.checkpoint import TrainedGenerator, WeightsError, load_weights, save_weights
from fusion.training.export import export_generator
from fusion.training.figures import write_examples
from fusion.training.module import FusionModule
from fusion.training.recording import is_recorded, record_model
from fusion.training.settings import GeneratorSettings, TrainSettings
from fusion.training.sources import data_manifest, scene_sources
from fusion.training.tracking import CurveFile, give_up, open_logger, tracking_uri
from fusion.whole_file import only_run

__all__ = ["TrainSettings", "run"]

log = logging.getLogger(__name__)
LAST = "last.ckpt"
EXAMPLE_SCENES = 4  # of the validation split, tried in turn for the example figures


def run(settings: TrainSettings) -> Path:
    """Train; returns the folder with ``model.onnx`` and its manifest.

    The output folder gets ``last.ckpt`` (to resume), ``generator.pt`` (tensors and plain settings), ``curve.csv``,
    ``model/`` and ``figures/``. After an interruption the same command resumes from the last checkpoint.

    Raises
    ------
    WeightsError
        Another training is writing to the folder, or its checkpoint cannot be resumed.
    WorkersLostError
        A process that prepares samples was killed.
    """
    first = getattr(rank_zero_only, "rank", 0) == 0  # of several devices: the others are started by the first
    with only_run(settings.out, WeightsError) if first else nullcontext():
        return _train(settings)


def _train(settings: TrainSettings) -> Path:
    if settings.tracking.enabled:
        open_experiment(tracking_uri(settings), settings.tracking.experiment)  # refused before any work
    sources = {split: scene_sources(settings, split) for split in ("train", "validation", "calibration")}
    for source in chain.from_iterable(sources.values()):
        source.scenes(settings.seed)  # a store that cannot serve a split is refused before anything is written
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    last = settings.out / LAST
    module, resumed = _start(settings, last)
    data = SceneDataModule(
        sources["train"],
        sources["validation"],
        settings.samples,
        batch_size=settings.batch_size,
        points=settings.points_per_step,
        validation_batches=settings.validation_batches,
        workers=settings.workers,
        seed=settings.seed + 7919 * module.generator_steps,  # a resumed run sees new scenes
        validation_seed=settings.seed,
    )
    logger = open_logger(settings)
    try:
        return _fit_and_finish(settings, module, data, logger, last, resumed)
    except BaseException:
        if logger is not None:
            give_up(settings, logger, began=last.is_file())
        raise


def _start(settings: TrainSettings, last: Path) -> tuple[FusionModule, Path | None]:
    """The module with the weights that the run begins with, and the checkpoint that it resumes."""
    resumed = last if settings.resume and last.is_file() else None
    module = FusionModule(settings)
    if resumed is not None:
        _load_checkpoint(module, resumed)
    if settings.start_from is not None and resumed is None:
        module.generator.load_state_dict(mean_weights(settings.start_from, settings.generator))
        module.averaged_generator().load_state_dict(module.generator.state_dict())
    if settings.compile:
        module.generator.compile()
    return module, resumed


def _fit_and_finish(
    settings: TrainSettings,
    module: FusionModule,
    data: SceneDataModule,
    logger: MLFlowLogger | None,
    last: Path,
    resumed: Path | None,
) -> Path:
    """Train, calibrate, export and record; returns the model folder."""
    trainer = _trainer(settings, logger)
    if module.progress() < 1.0:
        with _lost_workers_named(settings, last):
            trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.save_checkpoint(last)  # the last step, too, when the run ends between two checkpoints
    if not trainer.is_global_zero:
        return settings.out / "model"  # only the first of several devices calibrates and exports
    trained = _finish(module, settings, trainer.world_size)
    folder = export_generator(trained, settings.out / "model")
    examples = max(scene_sources(settings, "validation"), key=lambda source: (source.wide, source.share))
    scenes = islice(examples.scenes(settings.seed), EXAMPLE_SCENES)
    figures = write_examples(folder, scenes, settings.out / "figures")
    if logger is not None and not is_recorded(logger, folder):
        record_model(logger, settings, folder, figures, loader=pyfunc.__name__, parameters=pyfunc.PARAMETERS)
    log.info("model: %s", folder)
    return folder


@contextmanager
def _lost_workers_named(settings: TrainSettings, last: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        told = str(error).strip().rstrip(".")
        if not (told.startswith("DataLoader worker (pid") and ("exited unexpectedly" in told or "killed by" in told)):
            raise
        goes_on = f"resumes from {last.name}" if last.is_file() and settings.resume else "begins anew"
        raise WorkersLostError(
            f"a process that prepares samples was killed ({told}), most likely for lack of memory; use fewer workers= "
            f"than {settings.workers} (0: in the training process) or smaller samples.crops_in_memory= than "
            f"{settings.samples.crops_in_memory}. The same command {goes_on}"
        ) from error


def mean_weights(files: Path | tuple[Path, ...], shape: GeneratorSettings) -> dict[str, torch.Tensor]:
    """Weights of one checkpoint ("shipped": the one of this package), or the mean of several tuned from the same one.

    Such a mean often has a lower error than each, in particular on data that differ from the training data (Wortsman et
    al. 2022, arXiv:2203.05482).

    Raises
    ------
    WeightsError
        A checkpoint has another architecture than the run, or cannot be used (see :func:`load_weights`).
    """
    states = []
    for file in (files,) if isinstance(files, Path) else files:
        start = load_weights(SHIPPED / "generator.pt" if str(file) == "shipped" else file)
        if start.settings != shape:
            raise WeightsError(
                f"{file} has the architecture {start.settings}, the run {shape}; both must agree: set "
                "generator.width, generator.dilations and generator.spatial_every to the checkpoint's"
            )
        states.append(start.generator.state_dict())
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def _load_checkpoint(module: FusionModule, checkpoint: Path) -> None:
    """Load weights and counters of a checkpoint; a finished run is then not trained further, only exported again."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        module.on_load_checkpoint(content)
    except Exception as error:  # torch raises many kinds for a bad file
        reason = (str(error).strip().splitlines() or ["it is cut off"])[0]
        raise WeightsError(
            f"{checkpoint} cannot be resumed with these settings ({reason}); give another out=FOLDER, or start a new "
            "training run with resume=false"
        ) from error


def _trainer(settings: TrainSettings, logger: MLFlowLogger | None) -> pl.Trainer:
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
        strategy="ddp_find_unused_parameters_true" if _several_devices(settings) else "auto",
        use_distributed_sampler=False,  # every rank draws its own crops, and validates on the same ones
        precision=settings.precision,
        max_steps=-1,  # the module stops itself: Lightning's counter counts both optimisers
        max_epochs=-1,
        val_check_interval=settings.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        logger=logger if logger is not None else False,
        callbacks=callbacks,
        enable_progress_bar=settings.progress,
        enable_model_summary=False,
        default_root_dir=settings.out,
    )


def _several_devices(settings: TrainSettings) -> bool:
    if settings.devices == "auto":
        return settings.accelerator != "cpu" and torch.cuda.device_count() > 1
    return settings.devices > 1


def _finish(module: FusionModule, settings: TrainSettings, devices: int) -> TrainedGenerator:
    """Calibrate the averaged weights on scenes of the calibration split and write them as plain tensors."""
    generator = module.averaged_generator().to("cpu").eval()
    point_weight = settings.loss.point_weight if settings.points_per_step else 0.0
    sources = scene_sources(settings, "calibration")
    scenes = held_scenes(sources, settings.samples, settings.seed, point_weight=point_weight)
    visits = settings.calibration_batches
    data = data_manifest(settings)
    calibration = calibrate(generator, scenes, settings.samples, visits=visits, seed=settings.seed)
    trained = TrainedGenerator(
        generator,
        settings.generator,
        {k: list(v) for k, v in vars(calibration).items()},
        {
            "steps": module.generator_steps,
            "minutes": round(module.seconds / 60, 2),
            "devices": devices,
            "data_sha256": data["sha256"],
            "data": [{k: source[k] for k in ("name", "share", "sha256")} for source in data["sources"]],
            "settings": settings.model_dump(mode="json", exclude={"out", "store", "start_from"}),
        },
    )
    save_weights(settings.out / "generator.pt", trained)
    return trained
