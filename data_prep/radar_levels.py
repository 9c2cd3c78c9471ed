"""Sentinel-1 by pass: ascending, descending and relative orbits at one level."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr

from data_prep.raw.decisions import once
from data_prep.raw.means import time_means

_LEVEL_SIDE_PX = 2048  # a larger area is thinned


def level_passes(
    bands: dict[str, xr.DataArray], orbits: np.ndarray, method: str, notes: list[str]
) -> dict[str, xr.DataArray]:
    """VV and VH (t, y, x) in dB with every pass of ``orbits`` (t,) at the level of the one with most images.

    ``method``: "scene" moves a pass by the median over the area of the difference of temporal means, "pixel" by that
    difference, "none" not at all.
    """
    names, counts = np.unique(orbits, return_counts=True)
    if method == "none" or len(names) < 2:
        return bands
    reference = names[np.argmax(counts)]
    groups = [np.flatnonzero(orbits == name) for name in names]
    means = cache(lambda thin: _pass_means(bands, groups, thin))  # one pass over the images, and none in a window
    base = int(np.argmax(counts))
    levelled = {}
    for band, values in bands.items():
        parts = []
        for k, (name, at) in enumerate(zip(names, groups, strict=True)):
            if method == "scene":
                find = partial(_middle, means, band, base, k)
                level = once(f"level of pass {name} in {band}", find)
                notes.append(f"Sentinel-1 {band}: pass {name} shifted by {level:+.2f} dB to the level of {reference}")
                shift: Any = np.float32(level)
            else:
                found = means(False)[band]
                shift = xr.DataArray(np.nan_to_num(found[base] - found[k], nan=0.0), dims=("y", "x"))
            parts.append((values.isel(t=at) + shift).astype(np.float32))
        levelled[band] = xr.concat(parts, "t").sortby("t")
    return levelled


def _pass_means(bands: dict[str, xr.DataArray], groups: list[np.ndarray], thin: bool) -> dict[str, list[np.ndarray]]:
    """Temporal mean of each pass, (y, x); with ``thin`` of at most about 2048 x 2048 pixels of a larger area."""
    if thin:
        every = slice(None, None, max(1, math.ceil(max(bands["VV"].shape[1:]) / _LEVEL_SIDE_PX)))
        bands = {name: values.isel(y=every, x=every) for name, values in bands.items()}
    return time_means(bands, groups)


def _middle(means: Callable[[bool], dict[str, list[np.ndarray]]], band: str, first: int, second: int) -> float:
    """Median over the area of the difference of two passes, 0 where they share no pixel."""
    found = means(True)[band]
    apart = found[first] - found[second]
    return float(np.nanmedian(apart)) if np.isfinite(apart).any() else 0.0
