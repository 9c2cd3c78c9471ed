"""Daily NDVI of each parcel from its crops or land cover and the weather of the region.

Growth and senescence are logistic (Zhang et al. 2003, doi:10.1016/S0034-4257(02)00135-9; Beck et al. 2006,
doi:10.1016/j.rse.2005.10.021); the crop calendars are in :mod:`data_prep.simulator.crops`.

Each parcel has two versions of its curve, an early strong and a late weak one with the same management dates.
Within-field variation is a blend of both, so that harvest is synchronous while growth varies within the field.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator.compiled import njit
from data_prep.simulator.crops import COVER, Grower
from data_prep.simulator.fields import draw, smooth_series
from data_prep.simulator.geometry import Landscape
from data_prep.simulator.growth import DIP_COLUMNS, GRASS, GROWTH_COLUMNS
from data_prep.simulator.settings import PhenologySettings
from data_prep.simulator.weather import Weather

CLEARING_SCALE_D = 5.0  # days; a growth component that ends faster is harvested or ploughed
CUT_SCALE_D = 2.5  # days; a dip that falls faster is cut or grazed


@dataclass(frozen=True)
class Vegetation:
    """Daily curves of P parcels over n days."""

    ndvi: np.ndarray  # float32 (2, P, n): early strong and late weak version
    cover: np.ndarray  # int8 (P,), index into COVERS
    plant: np.ndarray  # int8 (P, n): plant type for the radar model
    cleared: np.ndarray  # float32 (P, n): share of the canopy removed by harvest, cutting or ploughing on a day
    tilled: np.ndarray  # float32 (P, n): roughness after tillage, 1 at ploughing, decaying
    soil: np.ndarray  # float32 (P,): NDVI of the bare ground


def make_vegetation(
    settings: PhenologySettings, land: Landscape, weather: Weather, rng: np.random.Generator
) -> Vegetation:
    """Draw the land cover of every parcel and compute its daily NDVI."""
    grower = Grower(settings, weather, rng)
    parcels, n, day0 = len(land.kind), len(weather.days), weather.season[0]
    cover = np.array([grower.plant(p, int(land.kind[p])) for p in range(parcels)], np.int8)
    soil = np.array(grower.soil)
    growth = np.array(grower.growth, np.float64).reshape(-1, GROWTH_COLUMNS)
    dips = np.array(grower.dips, np.float64).reshape(-1, DIP_COLUMNS)
    strength = rng.uniform(*settings.field_variation, parcels)
    timing = rng.uniform(*settings.field_timing_d, parcels)
    green = np.zeros((2, parcels, n))
    plant, cleared = np.full((parcels, n), GRASS, np.int8), np.zeros((parcels, n), np.float32)
    for version, sign in enumerate((1, -1)):
        _grow(growth, dips, day0, -sign * timing, 1 + sign * strength, green[version], plant, cleared)
    green *= _cold_spells(settings, weather, rng)
    green += _winter_weeds(settings, green, cover, weather, rng)
    ndvi = green + soil[:, None]
    _random_curves(ndvi, cover, rng)
    wander = draw(rng, settings.wander) * smooth_series(rng, parcels, n, rng.uniform(6, 25))
    still = np.isin(cover, (COVER["built"], COVER["water"]))
    ndvi += np.where(still[:, None], 0.2, 1.0) * wander
    tilled = _tilled(grower.tillage, parcels, n, day0)
    ndvi = np.clip(ndvi, -0.2, 0.97).astype(np.float32)
    return Vegetation(ndvi, cover, plant, cleared, tilled, soil.astype(np.float32))


def _cold_spells(settings: PhenologySettings, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Share of green NDVI left after frost, (n,), common to the region: a slow dip in some winters."""
    out = np.ones(len(weather.season))
    for year in range(-1, int(weather.season[-1] // 365.25) + 2):
        centre, width = 365.25 * year + rng.normal(35, 20), rng.uniform(12, 40)
        share = draw(rng, settings.cold_spell) * (rng.random() < 0.6)
        out *= 1 - share * np.exp(-(((weather.season - centre) / width) ** 2))
    return out


def _winter_weeds(
    settings: PhenologySettings, green: np.ndarray, cover: np.ndarray, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """NDVI of weeds, moss and wet stubble on otherwise bare ground in winter, (2, P, n)."""
    gain = draw(rng, settings.winter_green) * rng.uniform(0.3, 1.3, (len(cover), 1))
    gain[np.isin(cover, (COVER["built"], COVER["water"]))] *= 0.2
    return np.clip(1 - green / 0.5, 0, 1) * gain * np.clip(0.3 + 0.9 * weather.winter, 0, 1)


def _random_curves(ndvi: np.ndarray, cover: np.ndarray, rng: np.random.Generator) -> None:
    """Fill the parcels of class ``smooth`` with logistic-transformed random curves, in place."""
    for row in np.flatnonzero(cover == COVER["smooth"]):
        curve = smooth_series(rng, 2, ndvi.shape[2], float(np.exp(rng.uniform(np.log(12), np.log(70)))))
        level, swing = rng.normal(0.2, 0.6), rng.uniform(0.4, 1.6)
        for version, share in enumerate((0.0, 0.25)):
            mixed = level + swing * (np.sqrt(1 - share**2) * curve[0] + share * curve[1])
            ndvi[version, row] = 0.1 + 0.8 / (1 + np.exp(-mixed))


def _tilled(events: list[tuple[int, float, float]], parcels: int, n: int, day0: float) -> np.ndarray:
    """Roughness after tillage, 1 on the day of the event, with exponential decay, float32 (P, n)."""
    out = np.zeros((parcels, n), np.float32)
    for parcel, day, fade in events:
        first = max(0, int(np.ceil(day - day0)))
        if first < n:
            age = day0 + np.arange(first, n) - day
            out[parcel, first:] = np.maximum(out[parcel, first:], np.exp(-age / fade))
    return out


@njit(cache=False)
def _logistic(x):
    if x > 30.0:
        return 1.0
    if x < -30.0:
        return 0.0
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=False)
def _grow(growth, dips, day0, shift, strength, green, plant, cleared):
    """Green NDVI of all parcels, in place: largest growth component of a day, reduced by the dips."""
    n = green.shape[1]
    for k in range(growth.shape[0]):
        p, kind = int(growth[k, 0]), int(growth[k, 1])
        amp, half, scale = growth[k, 2] * strength[p], growth[k, 3] + shift[p], growth[k, 4]
        centre, fall_scale, share = growth[k, 5] + shift[p], growth[k, 6], growth[k, 7]
        end, end_scale, first = growth[k, 8], growth[k, 9], growth[k, 10]
        if end_scale < CLEARING_SCALE_D and day0 <= end < day0 + n:
            cleared[p, int(end - day0)] = 1.0
        lo = int(max(0.0, np.ceil(first - day0)))
        hi = int(min(float(n), np.ceil(end - day0 + 6 * end_scale) + 1))
        for i in range(lo, hi):
            day = day0 + i
            value = amp * _logistic((day - half) / scale) * (1 - share * _logistic((day - centre) / fall_scale))
            value *= _logistic((end - day) / end_scale)
            if value > green[p, i]:
                green[p, i] = value
                if value > 0.03:
                    plant[p, i] = kind
    for k in range(dips.shape[0]):
        p = int(dips[k, 0])
        start, share, scale, back, back_scale = dips[k, 1], dips[k, 2], dips[k, 3], dips[k, 4], dips[k, 5]
        if scale < CUT_SCALE_D and day0 <= start < day0 + n:
            cleared[p, int(start - day0)] = max(cleared[p, int(start - day0)], share)
        lo = int(max(0.0, np.floor(start - day0 - 6 * scale)))
        hi = int(min(float(n), np.ceil(back - day0 + 8 * back_scale) + 1))
        for i in range(lo, hi):
            day = day0 + i
            green[p, i] *= 1 - share * _logistic((day - start) / scale) * _logistic((back - day) / back_scale)
