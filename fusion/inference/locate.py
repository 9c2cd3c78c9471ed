"""Locate a model by file, folder, MLflow run or registry name. Not part of the UDF bundle."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from fusion.extras import needs

SHIPPED = Path(__file__).resolve().parent.parent / "pretrained"
DEFAULT_TRACKING_URI = "sqlite:///outputs/mlflow.db"
SERVER_SECONDS = 4


class ModelNotFoundError(FileNotFoundError):
    """No model is found under the reference given."""


class TrackingError(ValueError):
    """The MLflow store cannot be used; the message names it, and the setting that chooses another."""


def default_tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, else an sqlite file in ``outputs/`` of the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def check_tracking(uri: str) -> None:
    """Refuse a tracking server that does not answer at once: MLflow itself would try for minutes.

    Raises
    ------
    TrackingError
        Nobody answers at the address.
    """
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=SERVER_SECONDS).close()
    except urllib.error.HTTPError:
        return  # a server, whatever it answers
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TrackingError(
            f"the MLflow server {uri} does not answer ({error}); start it, or name another store with "
            "tracking.uri or MLFLOW_TRACKING_URI"
        ) from error


def locate_model(reference: str | os.PathLike | None = None, tracking_uri: str | None = None) -> Path:
    """Path of the model folder, archive or ONNX file that a reference names.

    Parameters
    ----------
    reference : path or str, optional
        None: the model shipped with the package. A folder with ``model.onnx`` and ``manifest.json``, the
        ``model.onnx`` itself or a ``.zip`` of both; ``run:RUN_ID``; or ``NAME@ALIAS`` / ``NAME/VERSION`` of the MLflow
        model registry (``NAME`` alone means ``NAME@newest``).

    Raises
    ------
    ModelNotFoundError
        The message names the reference and where it was searched.
    """
    if reference is None:
        return SHIPPED
    path = Path(reference)
    if path.exists():
        return path
    text = str(reference)
    is_path = text.endswith((".onnx", ".zip")) or text.startswith((".", "~")) or path.is_absolute()
    if is_path:
        raise ModelNotFoundError(
            f"there is no model {text}; give a folder with model.onnx and manifest.json, a .zip of both, run:ID or a "
            "registered name"
        )
    return _from_mlflow(text, tracking_uri or default_tracking_uri())


def _from_mlflow(text: str, uri: str) -> Path:
    database = uri.removeprefix("sqlite:///")
    if uri.startswith("sqlite:///") and not Path(database).exists():
        raise ModelNotFoundError(
            f"{text!r} is not a file, and there is no MLflow store {database} to search for a run or model; set "
            "MLFLOW_TRACKING_URI or give a file"
        )
    check_tracking(uri)
    mlflow = needs("mlflow", f"model {text!r}, which is no file,")
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    run_id: str
    try:
        if text.startswith("run:"):
            run_id = text.removeprefix("run:")
        elif "/" in text:
            name, version = text.rsplit("/", 1)
            run_id = client.get_model_version(name, version).run_id
        else:
            name, _, alias = text.partition("@")
            run_id = client.get_model_version_by_alias(name, alias or "newest").run_id
        moved = Path(database).resolve().parent / "mlartifacts" / run_id / "artifacts" / "files"
        client.get_run(run_id)
        if uri.startswith("sqlite:///") and moved.is_dir():  # beside the store, wherever that lies today
            return moved
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="files", tracking_uri=uri))
    except MlflowException as error:
        raise ModelNotFoundError(f"{text!r} is not in the MLflow store {uri}: {error.message}") from error
