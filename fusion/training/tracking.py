"""Record of a training run in MLflow: settings, curves, figures, the ONNX model and its registry entry."""

import json
import logging
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from fusion.evaluation.tracking import open_experiment, parameters
from fusion.inference.locate import default_tracking_uri
from fusion.inference.manifest import MANIFEST_FILE, sha256_of
from fusion.training.module import FusionModule
from fusion.training.settings import TrainSettings
from fusion.training.sources import data_manifest
from fusion.whole_file import whole_file

log = logging.getLogger(__name__)
RUN_FILE = "mlflow_run_id.txt"  # in the output folder
RECORDED = "recorded_model"  # tag of a run: what was recorded


def tracking_uri(settings: TrainSettings) -> str:
    """The tracking URI of a run: the one given, else the package's default."""
    return settings.tracking.uri or default_tracking_uri()


def open_logger(settings: TrainSettings) -> MLFlowLogger | None:
    """A Lightning logger on the MLflow store of the run, or None when tracking is off.

    A resumed run continues its MLflow run. The parameters logged at its start stay as they are; settings changed since
    then are recorded as tags ``resumed_with.<setting>``.
    """
    if not settings.tracking.enabled:
        return None
    run_file = settings.out / RUN_FILE
    uri = tracking_uri(settings)
    open_experiment(uri, settings.tracking.experiment)
    logger = MLFlowLogger(
        experiment_name=settings.tracking.experiment,
        run_name=settings.out.name,
        tracking_uri=uri,
        run_id=_known_run(run_file, uri) if settings.resume else None,
    )
    if logger.run_id is not None:  # only the first of several devices has a run
        with whole_file(run_file) as partial:
            partial.write_text(logger.run_id)
        _record_settings(logger, parameters(settings.model_dump(mode="json")))
    return logger


def _known_run(run_file: Path, uri: str) -> str | None:
    """Id of the MLflow run of the earlier training in this folder; None where the store has no such run."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not run_file.is_file():
        return None
    run_id = run_file.read_text().strip()
    try:
        if MlflowClient(tracking_uri=uri).get_run(run_id).info.lifecycle_stage == "active":
            return run_id
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    log.warning("%s has no run %s, in which this training was recorded; a new run is opened", uri, run_id)
    return None


@rank_zero_only  # all devices find the run's file, but only the first may write
def _record_settings(logger: MLFlowLogger, settings: dict[str, str]) -> None:
    """Log new settings as parameters, and those whose logged value differs as tags."""
    run_id = logger.run_id
    assert run_id is not None
    known = logger.experiment.get_run(run_id).data.params
    logger.log_hyperparams({name: value for name, value in settings.items() if name not in known})
    for name, value in settings.items():
        if name in known and known[name] != value[: len(known[name])]:
            logger.experiment.set_tag(run_id, f"resumed_with.{name}", value)


def is_recorded(logger: MLFlowLogger, model_folder: Path) -> bool:
    """Whether the run has this model already: finishing a finished training again adds no version to the registry."""
    assert logger.run_id is not None
    return logger.experiment.get_run(logger.run_id).data.tags.get(RECORDED) == _identity(model_folder)


def _identity(model_folder: Path) -> str:
    """Hash of what was trained, and how; the calibration may differ in its last digit."""
    manifest = json.loads((model_folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest.pop("calibration")
    return sha256_of(json.dumps(manifest, sort_keys=True).encode())


def record_model(logger: MLFlowLogger, settings: TrainSettings, model_folder: Path, figures: list[Path]) -> None:
    """Log the exported model with its signature, register it under its alias, and attach files and figures."""
    import mlflow
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from fusion.features.features import FEATURE_NAMES

    mlflow.set_tracking_uri(tracking_uri(settings))
    image = (-1, -1, -1, -1)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(FEATURE_NAMES), -1, -1, -1), "features")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), image, name) for name in ("ndvi", "scale")]),
    )
    with mlflow.start_run(run_id=logger.run_id):
        info = mlflow.onnx.log_model(
            onnx.load(model_folder / "model.onnx"),
            name="model",
            signature=signature,
            registered_model_name=settings.tracking.register_as,
        )
        for file in sorted(model_folder.iterdir()):
            mlflow.log_artifact(str(file), "files")
        mlflow.log_dict(settings.model_dump(mode="json"), "config/settings.yaml")
        mlflow.log_dict(data_manifest(settings), "data/manifest.json")
        for figure in figures:
            mlflow.log_artifact(str(figure), "figures")
    if settings.tracking.register_as and info.registered_model_version is not None:
        mlflow.MlflowClient().set_registered_model_alias(
            settings.tracking.register_as, settings.tracking.alias, str(info.registered_model_version)
        )
    logger.experiment.set_tag(logger.run_id, RECORDED, _identity(model_folder))
    log.info("MLflow run %s in %s", logger.run_id, tracking_uri(settings))


class CurveFile(pl.Callback):
    """Writes the validation curve as CSV beside the checkpoint, also without MLflow."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the values of this validation."""
        assert isinstance(pl_module, FusionModule)
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        row = {"step": pl_module.generator_steps, "minutes": round(pl_module.seconds / 60, 2), **values}
        new = not self.file.exists()
        with self.file.open("a") as out:
            if new:
                out.write(",".join(row) + "\n")
            out.write(",".join(f"{v:.6g}" for v in row.values()) + "\n")
