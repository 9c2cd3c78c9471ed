"""ndvi-fusion: dense NDVI with uncertainty, and season dates, from cloudy Sentinel-2, Sentinel-1 and coarse NDVI."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "fuse": "fusion.api",
    "suspect_observations": "fusion.inference.suspect",
    "smooth": "fusion.phenology.smoothing",
    "seasons": "fusion.phenology.seasons",
}
__all__ = ["fuse", "seasons", "smooth", "suspect_observations"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fusion' has no attribute {name!r}; public are {__all__}")
