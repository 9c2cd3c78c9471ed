"""Fields in the Mekong delta, half of them rice: patches of 11 x 11 px of every image of 2022.

Traps of the file: from 2022-01-25 digital numbers of Sentinel-2 carry an offset of 1000; 0 is no data; radar is gamma0,
linear, of two passes a day apart in their levels; a flooded paddy has an NDVI below -0.2.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.real_sets.series import RealPatch, clear_dates, daily_mean
from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.features.observations import Observations, to_db

NAME = "patches_vietnam_2022"
OFFSET_FROM, OFFSET = np.datetime64("2022-01-25"), 1000
CLEAR_CLASSES = (4, 5, 6, 7)  # vegetation, bare soil, water, unclassified
NOT_NDVI = -0.6  # below: an artefact, no water


def read(data: Path) -> Iterator[RealPatch]:
    """The patches in the order of the file; those within 1 km of one another form a group."""
    with xr.open_dataset(data / NAME / "patches.nc") as file:
        opened = file.load()
    s2_dates, s1_times = opened.t2.values, opened.t1.values
    evening = opened.t1.dt.hour.values > 12
    for patch in range(opened.sizes["patch"]):
        one = opened.isel(patch=patch)
        ndvi = ndvi_of(one.S2_red.values, one.S2_nir.values, one.SCL.values, s2_dates)
        s2_days, ndvi = clear_dates(*daily_mean(s2_dates, ndvi))
        radar = np.stack([leveled(to_db(one[name].values, "linear"), evening) for name in ("S1_vv", "S1_vh")])
        s1_days, (vv, vh) = _daily_radar(s1_times, radar)
        none = np.zeros((0, *ndvi.shape[1:]), np.float32)
        obs = Observations(s2_days, ndvi, s1_days, vv, vh, np.zeros(0, np.int64), none, float(one.lat))
        yield RealPatch(f"{patch:04d}", str(int(one.group)), obs)


def ndvi_of(red: np.ndarray, nir: np.ndarray, classes: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """NDVI (n, y, x) of digital numbers, NaN where not clear; open water is clipped to the lower limit."""
    offset = np.where(dates >= OFFSET_FROM, OFFSET, 0)[:, None, None]
    seen = (red > 0) & (nir > 0) & np.isin(classes, CLEAR_CLASSES)
    red, nir = red.astype(np.float64) - offset, nir.astype(np.float64) - offset
    ndvi = (nir - red) / np.maximum(nir + red, 1)
    return np.where(seen & (ndvi > NOT_NDVI), np.clip(ndvi, NDVI_MIN, NDVI_MAX), np.nan).astype(np.float32)


def leveled(images: np.ndarray, evening: np.ndarray) -> np.ndarray:
    """Images (n, y, x) in dB of both passes, each moved to the mean of the two."""
    passes = [part for part in (evening, ~evening) if part.any()]
    levels = [np.nanmean(images[part]) for part in passes]
    out = images.copy()
    for part, level in zip(passes, levels, strict=True):
        out[part] += np.mean(levels) - level
    return out


def _daily_radar(times: np.ndarray, radar: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    seen = np.isfinite(radar).any(axis=(0, 2, 3))
    daily = [daily_mean(times[seen], images[seen]) for images in radar]
    return daily[0][0], [images for _, images in daily]
