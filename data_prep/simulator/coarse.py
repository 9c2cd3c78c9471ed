"""PROBA-V S10 at 300 m: point-spread function, cloud, bidirectional noise, and 10-day maximum-value composites.

Noise levels, set before any training: two processing versions of the same PROBA-V observations differ in NDVI by a root
mean square below 0.02; cloud detection is correct in 89.0 % of the cases, with few undetected clouds (Toté et al. 2018,
doi:10.3390/rs10091375). The simulator therefore uses a noise of 0.01-0.03 per daily observation (angles, atmosphere), a
spectral band difference of a few hundredths per scene, and residual cloud in 1-6 % of the composites.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator.fields import draw
from data_prep.simulator.geometry import Landscape
from data_prep.simulator.settings import CoarseSettings
from data_prep.simulator.truth import clipped_variation
from data_prep.simulator.weather import Weather
from fusion.contract import COARSE_MAX_DN, COARSE_OFFSET, COARSE_PIXEL_M, COARSE_SCALE
from fusion.features.coarse_operator import coarse_psf_weights, dekad_starts, maximum_value_composite


@dataclass(frozen=True)
class CoarseObservations:
    """Composites on the native grid; positions in metres from the outer upper left corner of the scene."""

    days: np.ndarray  # int64 (n,), first day of each dekad
    ndvi: np.ndarray  # float32 (n, h, w), NaN = missing
    rows_m: np.ndarray  # (h,), pixel centres, increasing downwards
    columns_m: np.ndarray  # (w,), pixel centres
    clean: np.ndarray  # float32 (n_days, h, w): truth convolved with the point-spread function, no noise
    resample: str  # "nearest" or "bilinear"


def observe(
    settings: CoarseSettings,
    land: Landscape,
    curves: np.ndarray,
    weather: Weather,
    threshold: np.ndarray,
    resolution_m: float,
    rng: np.random.Generator,
) -> CoarseObservations:
    """Composites of all coarse pixels that intersect the scene.

    ``curves``: daily NDVI of the parcels, (2, P, n_days), see :class:`data_prep.simulator.phenology.Vegetation`;
    ``threshold``: result of :func:`data_prep.simulator.optics.cloud_threshold`, (n_days,).
    """
    m = land.margin
    height, width = land.parcel.shape[0] - 2 * m, land.parcel.shape[1] - 2 * m
    rows_m, columns_m = (_centres(rng, size * resolution_m) for size in (height, width))
    clean = _through_psf(land, curves, rows_m, columns_m, resolution_m, draw(rng, settings.psf_sigma_m))
    days = weather.days
    n = len(days)
    h, w = clean.shape[1:]
    daily = draw(rng, settings.gain) * clean + draw(rng, settings.bias)
    noise = draw(rng, settings.noise)
    daily = daily + noise * (0.7 * rng.standard_normal((n, 1, 1)) + 0.7 * rng.standard_normal((n, h, w)))
    veil = 0.9 * weather.cloud[:, None, None] + 0.45 * rng.standard_normal((n, h, w)) - threshold[:, None, None]
    overpass = rng.random(n) < 0.95
    usable = (veil < rng.uniform(-0.3, 0.2)) & overpass[:, None, None]
    thin = np.clip(veil + 0.6, 0, 1) * rng.uniform(0.0, 0.5)
    daily = np.where(usable, daily * (1 - thin), np.nan)
    starts = dekad_starts(days[0], days[-1])
    ndvi = maximum_value_composite(days, daily, starts)
    residual = rng.random(ndvi.shape) < draw(rng, settings.residual_cloud)
    ndvi = np.where(residual, ndvi * rng.uniform(0.3, 0.95, ndvi.shape), ndvi)
    ndvi[rng.random(ndvi.shape) < draw(rng, settings.missing)] = np.nan
    number = np.round((ndvi - COARSE_OFFSET) / COARSE_SCALE)
    ndvi = np.clip(number * COARSE_SCALE + COARSE_OFFSET, COARSE_OFFSET, COARSE_MAX_DN * COARSE_SCALE + COARSE_OFFSET)
    resample = settings.resample if settings.resample != "random" else ("nearest", "bilinear")[rng.integers(2)]
    return CoarseObservations(starts, ndvi.astype(np.float32), rows_m, columns_m, clean.astype(np.float32), resample)


def resampled(obs: CoarseObservations, height: int, width: int, resolution_m: float) -> np.ndarray:
    """Composites resampled to the 10 m grid, float32 (n, H, W); NaN where half of the weight or more is missing."""
    matrices = [
        _resampling((np.arange(size) + 0.5) * resolution_m, centres, obs.resample)
        for size, centres in ((height, obs.rows_m), (width, obs.columns_m))
    ]
    valid = np.isfinite(obs.ndvi)
    value = matrices[0] @ np.where(valid, obs.ndvi, 0).astype(np.float32) @ matrices[1].T
    if valid.all():
        return value
    share = matrices[0] @ valid.astype(np.float32) @ matrices[1].T
    return np.where(share > 0.5, value / np.maximum(share, 1e-6), np.float32(np.nan)).astype(np.float32)


def _resampling(positions: np.ndarray, centres: np.ndarray, method: str) -> np.ndarray:
    """Matrix (fine, coarse) of nearest-neighbour or bilinear weights."""
    place = np.clip((positions - centres[0]) / COARSE_PIXEL_M, 0, len(centres) - 1)
    if method == "nearest":
        return np.eye(len(centres), dtype=np.float32)[np.rint(place).astype(int)]
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(len(centres)))).astype(np.float32)


def _centres(rng: np.random.Generator, length_m: float) -> np.ndarray:
    """Coarse pixel centres along one axis, metres; the pixels cover [0, length_m] from a random offset."""
    first = -rng.uniform(0, COARSE_PIXEL_M)
    count = int(np.ceil((length_m - first) / COARSE_PIXEL_M))
    return first + COARSE_PIXEL_M * (np.arange(count) + 0.5)


def _through_psf(
    land: Landscape, curves: np.ndarray, rows_m: np.ndarray, columns_m: np.ndarray, resolution_m: float, sigma_m: float
) -> np.ndarray:
    """Clean daily NDVI of each coarse pixel, (n_days, h, w), by the weight of each parcel in it.

    NDVI is linear in the parcel curves, so the point-spread function is applied once to the parcels, not to every day.
    """
    rows, columns = ((np.arange(size) + 0.5 - land.margin) * resolution_m for size in land.parcel.shape)
    row_weights, column_weights, _ = coarse_psf_weights(rows, columns, rows_m, columns_m, sigma_m=sigma_m)
    weights = np.einsum("ar,bc->abrc", row_weights, column_weights).reshape(-1, land.parcel.size)
    labels, parcels = land.parcel.ravel(), curves.shape[1]
    variation = clipped_variation(land).ravel()
    share = np.stack([np.bincount(labels, weight, parcels) for weight in weights])
    tilt = np.stack([np.bincount(labels, weight * variation, parcels) for weight in weights])
    series = share @ (0.5 * (curves[0] + curves[1])) + tilt @ (0.5 * (curves[0] - curves[1]))
    return series.T.reshape(-1, len(rows_m), len(columns_m))
