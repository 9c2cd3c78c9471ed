"""Record an evaluation in MLflow: settings as parameters, main scores as metrics, all files as artifacts."""

import getpass
import logging
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from fusion.evaluation.report import Evaluation, slug
from fusion.evaluation.settings import Tracking
from fusion.extras import needs
from fusion.inference.locate import TrackingError, check_tracking, default_tracking_uri

log = logging.getLogger(__name__)

LOGGED_METRICS = ("mae", "rmse", "bias", "coverage_90", "crps")
VERSION_TAG = "ndvi_fusion.version"
PARAMETER_LENGTH = 490  # characters; MLflow refuses longer values


def open_experiment(uri: str, name: str) -> str:
    """Id of an experiment; creates the experiment, and an sqlite store, where they are missing.

    Artifacts are stored beside an sqlite store. A lock prevents two runs from creating its tables at the same time,
    which fails.

    Raises
    ------
    TrackingError
        The store cannot be written, or its server does not answer.
    """
    mlflow = needs("mlflow", "tracking.enabled=true")
    from mlflow.exceptions import MlflowException

    check_tracking(uri)
    files: str | None = None
    turn: AbstractContextManager[Any] = nullcontext()
    try:
        if uri.startswith("sqlite:///"):
            file = Path(uri.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True)
            files = (file.parent / "mlartifacts").resolve().as_uri()
            turn = FileLock(file.parent / ".mlflow.lock")
        with turn:
            if files is not None:
                _check_database(file)
            client = mlflow.MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(name)
            if known is None:
                return client.create_experiment(name, artifact_location=files)
            refuse_moved(known.artifact_location, name, uri)
            return known.experiment_id
    except (OSError, sqlite3.Error, MlflowException) as error:
        raise TrackingError(
            f"the MLflow store {uri} cannot be written ({error}); name another with tracking.uri, such as "
            "tracking.uri=sqlite:///FOLDER/mlflow.db, or set tracking.enabled=false"
        ) from error


def refuse_moved(files: str, name: str, uri: str) -> None:
    """Refuse to write to an experiment whose files lie where its store lay before it was moved.

    Raises
    ------
    TrackingError
    """
    old = Path(files.removeprefix("file://"))
    here = Path(uri.removeprefix("sqlite:///")).resolve().parent / old.name
    if uri.startswith("sqlite:///") and files.startswith("file://") and not old.exists() and here.exists():
        raise TrackingError(
            f"the MLflow store {uri} was moved: its experiment {name!r} keeps its files in {old}; its models are still "
            "found, but new runs need an experiment of another name: tracking.experiment=NAME"
        )


def run_tags(command: str) -> dict[str, str]:
    """MLflow tags of a run: command, user, version of the package, and the commit where it runs from a checkout."""
    tags = {"mlflow.source.name": f"ndvi-fusion {command}", "mlflow.source.type": "LOCAL"}
    with suppress(PackageNotFoundError):
        tags[VERSION_TAG] = version("ndvi-fusion")
    with suppress(OSError, KeyError):  # a user without a name
        tags["mlflow.user"] = getpass.getuser()
    commit, changed, _ = (checkout_commit() or "").partition("-")
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changed)).lower()}
    return tags


def checkout_commit() -> str | None:
    """Commit of the checkout that this module lies in, with ``-dirty`` where files differ; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _check_database(file: Path) -> None:
    """Fail at once where the database cannot be written or is none: MLflow itself would try for minutes."""
    with closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.rollback()


def record(evaluation: Evaluation, settings: Mapping[str, Any], tracking: Tracking, out: Path) -> str | None:
    """Write the run to MLflow; returns the id of the run, or None if tracking is disabled."""
    if not tracking.active:
        return None
    mlflow = needs("mlflow", "tracking")
    uri = tracking.uri or default_tracking_uri()
    experiment = open_experiment(uri, tracking.experiment)
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.create_run(experiment, run_name=tracking.run_name or out.name, tags=run_tags("evaluate"))
    for key, value in parameters(settings).items():
        client.log_param(run.info.run_id, key, value)
    for key, score in metric_values(evaluation).items():
        client.log_metric(run.info.run_id, key, score)
    client.log_artifacts(run.info.run_id, str(out))
    client.set_terminated(run.info.run_id)
    log.info("MLflow run %s in %s", run.info.run_id, uri)
    return run.info.run_id


def parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow parameters: dotted keys, values truncated to the length that MLflow accepts."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= parameters(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)[:PARAMETER_LENGTH]
    return flat


def metric_values(evaluation: Evaluation) -> dict[str, float]:
    """The main table as MLflow metrics named ``predictor/gap/metric``; NaN is left out."""
    main, group = evaluation.main
    table = evaluation.tables.get(main, pd.DataFrame())
    labels = {"<": "under_", ">": "over_"}
    found = {}
    for _, row in table.iterrows():
        gap = "".join(labels.get(sign, sign) for sign in str(row[group]))
        for metric in LOGGED_METRICS:
            if np.isfinite(row[metric]):
                found[f"{slug(row.predictor)}/{gap}/{metric}"] = float(row[metric])
    return found
