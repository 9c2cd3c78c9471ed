"""Record an evaluation in MLflow: settings as parameters, main scores as metrics, all files as artifacts."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from pydantic import Field

from fusion.evaluation.report import Evaluation, slug
from fusion.evaluation.rules import Rules
from fusion.inference.locate import default_tracking_uri

log = logging.getLogger(__name__)

LOGGED_METRICS = ("mae", "rmse", "bias", "coverage_90", "crps")
PARAMETER_LENGTH = 490  # characters; MLflow refuses longer values


class Tracking(Rules):
    """Settings of MLflow tracking."""

    enabled: bool = Field(True, description="record the run with MLflow")
    uri: str | None = Field(
        None, description="MLflow tracking URI; MLFLOW_TRACKING_URI or outputs/mlflow.db when empty"
    )
    experiment: str = Field("evaluation", description="MLflow experiment")
    run_name: str | None = Field(None, description="name of the run; the name of the output folder when empty")


def open_experiment(uri: str, name: str) -> str:
    """Id of an experiment; creates the experiment, and an sqlite store, where they are missing.

    Artifacts are stored beside an sqlite store. A lock prevents two runs from creating its tables at the same time,
    which fails.
    """
    import mlflow

    files: str | None = None
    turn: AbstractContextManager[Any] = nullcontext()
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).parent
        folder.mkdir(parents=True, exist_ok=True)
        files, turn = (folder / "mlartifacts").resolve().as_uri(), FileLock(folder / ".mlflow.lock")
    with turn:
        client = mlflow.MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(name)
        return client.create_experiment(name, artifact_location=files) if known is None else known.experiment_id


def record(evaluation: Evaluation, settings: Mapping[str, Any], tracking: Tracking, out: Path) -> str | None:
    """Write the run to MLflow; returns the id of the run, or None if tracking is disabled."""
    if not tracking.enabled:
        return None
    import mlflow

    uri = tracking.uri or default_tracking_uri()
    experiment = open_experiment(uri, tracking.experiment)
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.create_run(experiment, run_name=tracking.run_name or out.name)
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
