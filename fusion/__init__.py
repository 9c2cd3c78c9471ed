"""ndvi-fusion: dense NDVI with uncertainty, and season dates, from cloudy Sentinel-2, Sentinel-1 and coarse NDVI."""

import os
from importlib import import_module
from typing import Any

# onnxruntime and MLflow report their use to their makers unless told before their import; what a user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_PUBLIC = {
    "fuse": "fusion.api",
    "field_series": "fusion.fields.series",
    "read_table": "fusion.fields.points",
    "season_dates": "fusion.phenology.season_table",
    "season_table": "fusion.phenology.season_table",
    "seasons": "fusion.api",
    "smooth": "fusion.api",
    "suspect_observations": "fusion.api",
    "view": "fusion.viewer.view",
}
__all__ = [
    "field_series",
    "fuse",
    "read_table",
    "season_dates",
    "season_table",
    "seasons",
    "smooth",
    "suspect_observations",
    "view",
]


def __getattr__(name: str) -> Any:
    """The public calls and ``__version__``, found when they are first used: ``import fusion`` loads no library."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("ndvi-fusion")
        except metadata.PackageNotFoundError:
            return "0+unknown"  # a checkout on the path that was never installed
    raise AttributeError(f"module 'fusion' has no attribute {name!r}; public are {__all__}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
