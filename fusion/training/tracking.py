"""The MLflow run of a training: settings, data, tags and curves. :mod:`fusion.training.recording` adds the model."""

import json
import logging
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from fusion.evaluation.tracking import open_experiment, parameters, run_tags
from fusion.inference.locate import default_tracking_uri
from fusion.training.module import FusionModule
from fusion.training.settings import TrainSettings
from fusion.training.sources import data_manifest
from fusion.whole_file import whole_file

log = logging.getLogger(__name__)
RUN_FILE = "mlflow_run_id.txt"  # in the output folder
DESCRIPTION_TAG = "mlflow.note.content"  # what the MLflow UI shows as the description of a run
DIGEST_LENGTH = 36  # characters; MLflow refuses a longer digest of a dataset


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
    known = _known_run(run_file, uri) if settings.resume else None
    logger = MLFlowLogger(
        experiment_name=settings.tracking.experiment,
        run_name=settings.out.name,
        tracking_uri=uri,
        run_id=known,
        tags={**run_tags("train"), **settings.tracking.tags},
    )
    if logger.run_id is not None:  # only the first of several devices has a run
        with whole_file(run_file) as partial:
            partial.write_text(logger.run_id)
        _record_settings(logger, parameters(settings.model_dump(mode="json")))
        if known is None:
            _record_data(logger, settings)
    return logger


def give_up(settings: TrainSettings, logger: MLFlowLogger, *, began: bool) -> None:
    """Mark the run of a training that an error ended as failed; one that ``began`` no step is not gone on with."""
    if logger.run_id is None:
        return
    logger.experiment.set_terminated(logger.run_id, "FAILED")
    if not began:
        (settings.out / RUN_FILE).unlink(missing_ok=True)


@rank_zero_only
def _record_data(logger: MLFlowLogger, settings: TrainSettings) -> None:
    """Log every source as a dataset of the run, with its share, and say in the description what is trained on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs, told = [], []
    stores = iter(settings.stores)
    for source in data_manifest(settings)["sources"]:
        simulated = source["kind"] == "simulated"
        where = settings.scenes if simulated else {"uri": str(next(stores).resolve())}
        profile = {"kind": source["kind"], "share": source["share"]}
        dataset = Dataset(
            source["name"], source["sha256"][:DIGEST_LENGTH], "code" if simulated else "local", json.dumps(where),
            profile=json.dumps(profile),
        )  # fmt: skip
        tags = [InputTag("mlflow.data.context", "training"), InputTag("share", str(source["share"]))]
        inputs.append(DatasetInput(dataset, tags))
        told.append(f"{source['name']} ({source['kind']}, share {source['share']:g})")
    run_id = logger.run_id
    logger.experiment.log_inputs(run_id, inputs)
    text = f"Training of the NDVI fusion network on {', '.join(told)}; at most {settings.optimiser.max_steps} steps."
    logger.experiment.set_tag(run_id, DESCRIPTION_TAG, text)


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
