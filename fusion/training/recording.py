"""What a finished training adds to its MLflow run: two forms of the model, its registry entry, files and figures."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import MLFlowLogger

from fusion.evaluation.tracking import VERSION_TAG, run_tags
from fusion.features.features import FEATURE_NAMES
from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, sha256_of
from fusion.training.settings import TrainSettings
from fusion.training.sources import data_manifest
from fusion.training.tracking import tracking_uri

log = logging.getLogger(__name__)
RECORDED = "recorded_model"  # tag of a run: what was recorded
MODEL_DESCRIPTION = (
    "Dense NDVI with its standard deviation from Sentinel-2, Sentinel-1 and coarse NDVI. "
    "`mlflow.pyfunc.load_model(...).predict(cube)` takes a cube, Dataset or table as `fusion.fuse` does; the run also "
    "holds the plain ONNX network (`onnx`), which takes features, and model.onnx with its manifest (`files`)."
)
_KINDS = {str: "string", int: "long", float: "double"}


def is_recorded(logger: MLFlowLogger, model_folder: Path) -> bool:
    """Whether the run has this model already: finishing a finished training again adds no version to the registry."""
    assert logger.run_id is not None
    return logger.experiment.get_run(logger.run_id).data.tags.get(RECORDED) == _identity(model_folder)


def _identity(model_folder: Path) -> str:
    """Hash of what was trained, and how; the calibration may differ in its last digit."""
    manifest = _manifest(model_folder)
    manifest.pop("calibration")
    return sha256_of(json.dumps(manifest, sort_keys=True).encode())


def _manifest(model_folder: Path) -> dict[str, Any]:
    return json.loads((model_folder / MANIFEST_FILE).read_text(encoding="utf-8"))


def record_model(
    logger: MLFlowLogger,
    settings: TrainSettings,
    model_folder: Path,
    figures: list[Path],
    *,
    loader: str,
    parameters: dict[str, str | int | float],
) -> None:
    """Log the model as ONNX and as a pyfunc that takes cubes, register the latter, attach files and figures.

    Parameters
    ----------
    loader : str
        Name of the module from which MLflow loads the pyfunc.
    parameters : dict
        Parameters of its ``predict`` with their defaults.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(settings))
    with mlflow.start_run(run_id=logger.run_id):
        _log_onnx(model_folder)
        version = _log_pyfunc(model_folder, loader, parameters, settings.tracking.register_as)
        for file in sorted(model_folder.iterdir()):
            mlflow.log_artifact(str(file), "files")
        mlflow.log_dict(settings.model_dump(mode="json"), "config/settings.yaml")
        mlflow.log_dict(data_manifest(settings), "data/manifest.json")
        for figure in figures:
            mlflow.log_artifact(str(figure), "figures")
    if settings.tracking.register_as and version is not None:
        _describe_version(mlflow.MlflowClient(), settings, str(version), _manifest(model_folder)["training"])
    logger.experiment.set_tag(logger.run_id, RECORDED, _identity(model_folder))
    log.info("MLflow run %s in %s", logger.run_id, tracking_uri(settings))


def _log_onnx(model_folder: Path) -> None:
    """The network alone: features in, NDVI and raw scale out."""
    import mlflow
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    image = (-1, -1, -1, -1)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(FEATURE_NAMES), -1, -1, -1), "features")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), image, name) for name in ("ndvi", "scale")]),
    )
    mlflow.onnx.log_model(
        onnx.load(model_folder / MODEL_FILE),
        name="onnx",
        signature=signature,
        input_example={"features": np.zeros((1, len(FEATURE_NAMES), 3, 4, 4), np.float32)},
        pip_requirements=["onnx", "onnxruntime"],
        onnx_execution_providers=["CPUExecutionProvider"],
    )


def _log_pyfunc(
    model_folder: Path, loader: str, parameters: dict[str, str | int | float], register_as: str | None
) -> int | None:
    """The model for cubes; returns its version in the registry, None without one."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    dates = pd.date_range("2021-04-01", periods=12, freq="10D").strftime("%Y-%m-%d")
    ndvi = [0.21, 0.24, None, 0.38, 0.55, 0.71, 0.8, None, 0.83, 0.79, 0.66, 0.47]
    radar = {"VV": [-12.0, None] * 6, "VH": [-19.0, None] * 6}
    example = pd.DataFrame({"t": dates, "S2NDVI": ndvi, **radar})  # a single pixel
    schema = ParamSchema([ParamSpec(name, _KINDS[type(value)], value) for name, value in parameters.items()])
    info = mlflow.pyfunc.log_model(
        name="model",
        loader_module=loader,
        data_path=str(model_folder),
        signature=ModelSignature(params=schema),
        input_example=(example, {"s1_units": "dB"}),
        pip_requirements=["ndvi-fusion"],
        registered_model_name=register_as,
    )
    return info.registered_model_version


def _describe_version(client: Any, settings: TrainSettings, version: str, record: dict[str, Any]) -> None:
    """Describe the registered version, and give it the alias where the training was long enough."""
    tracking = settings.tracking
    name = str(tracking.register_as)
    shares = ", ".join(f"{source['name']} {source['share']:g}" for source in record["data"])
    client.update_model_version(name, version, f"{record['steps']} steps, {record['minutes']:g} min, on {shares}")
    package = run_tags("train").get(VERSION_TAG)
    for key, value in {"steps": record["steps"], VERSION_TAG: package}.items():
        client.set_model_version_tag(name, version, key, value)
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, description=MODEL_DESCRIPTION)
    if record["steps"] < tracking.min_steps:
        log.warning(
            "%s/%s was trained for %d steps; the alias %r needs %d (tracking.min_steps) and stays where it is",
            name, version, record["steps"], tracking.alias, tracking.min_steps,
        )  # fmt: skip
        return
    client.set_registered_model_alias(name, tracking.alias, version)
