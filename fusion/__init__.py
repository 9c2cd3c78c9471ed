"""ndvi-fusion: dense NDVI with uncertainty, and season dates, from cloudy Sentinel-2, Sentinel-1 and coarse NDVI."""

import os
from importlib import import_module
from typing import Any

# onnxruntime and MLflow report their use to their makers unless told before their import; what a user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_PUBLIC = {
    "fuse": "fusion.api",
    "suspect_observations": "fusion.inference.suspect",
    "smooth": "fusion.phenology.smoothing",
    "seasons": "fusion.phenology.seasons",
    "season_dates": "fusion.phenology.season_table",
    "season_table": "fusion.phenology.season_table",
}
__all__ = ["fuse", "season_dates", "season_table", "seasons", "smooth", "suspect_observations"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fusion' has no attribute {name!r}; public are {__all__}")
