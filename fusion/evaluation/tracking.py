"""An evaluation in MLflow: its settings, its main figures as metrics, all files as artifacts."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from fusion.evaluation.report import Evaluation, slug
from fusion.evaluation.rules import Rules

log = logging.getLogger(__name__)

LOGGED_METRICS = ("mae", "rmse", "bias", "coverage_90", "crps")
PARAMETER_LENGTH = 490  # MLflow refuses longer values


class Tracking(Rules):
    """Where a run is recorded."""

    uri: str | None = Field(None, description="MLflow tracking URI; null: the environment's, and none means no record")
    experiment: str = Field("evaluation", description="MLflow experiment")
    run_name: str | None = Field(None, description="name of the run; null: the output folder's name")

    @property
    def target(self) -> str | None:
        """The URI to use, or None for no record."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def record(evaluation: Evaluation, settings: Mapping[str, Any], tracking: Tracking, out: Path) -> str | None:
    """Write the run to MLflow when a tracking URI is configured; returns the run's id."""
    uri = tracking.target
    if uri is None:
        return None
    import mlflow

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        folder = None
        if uri.startswith("sqlite:///"):
            folder = (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts").resolve().as_uri()
        identity = client.create_experiment(tracking.experiment, artifact_location=folder)
    else:
        identity = experiment.experiment_id
    run = client.create_run(identity, run_name=tracking.run_name or out.name)
    for key, value in flatten(settings).items():
        client.log_param(run.info.run_id, key, str(value)[:PARAMETER_LENGTH])
    for key, value in metric_values(evaluation).items():
        client.log_metric(run.info.run_id, key, value)
    client.log_artifacts(run.info.run_id, str(out))
    client.set_terminated(run.info.run_id)
    log.info("MLflow run %s in %s", run.info.run_id, uri)
    return run.info.run_id


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
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
