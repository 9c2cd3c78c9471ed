"""Sentinel-1 VV and VH: a water-cloud model with crop-dependent structure, soil moisture, tillage, frost and speckle.

Water-cloud model: Attema and Ulaby 1978 (doi:10.1029/RS013i002p00357) in the form of sigma0 = A V (1 - exp(-2 B V)) +
soil exp(-2 B V) with V the structure of the canopy, 0..1. Signs by crop follow Veloso et al. 2017
(doi:10.1016/j.rse.2017.07.015) and Vreugdenhil et al. 2018 (doi:10.3390/rs10091396): vertical cereal stems attenuate
VV, rapeseed and maize raise VH by volume scattering, VH/VV rises with vegetation. Speckle is gamma distributed with the
equivalent number of looks (ESA Sentinel-1 Product Definition: 4.4 for GRD IW before averaging); frozen ground drops by
at least 2 dB (Baghdadi et al. 2018, doi:10.3390/rs10081182).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from data_prep.simulator.crops import COVER
from data_prep.simulator.fields import draw, smooth_fields
from data_prep.simulator.geometry import Landscape
from data_prep.simulator.phenology import Vegetation
from data_prep.simulator.settings import RadarSettings
from data_prep.simulator.weather import Weather

# by kind of plant: canopy level A (dB, at full cover) and attenuation B of VV and VH
#             cereal  rape  broadleaf maize  grass  tree
_A_VV = np.array([-13.0, -8.5, -8.9, -8.4, -11.0, -9.0])
_A_VH = np.array([-18.8, -13.6, -15.4, -15.0, -17.4, -15.4])
_B_VV = np.array([1.9, 1.1, 1.1, 0.9, 1.1, 1.8])
_B_VH = np.array([1.1, 1.5, 1.4, 1.1, 1.0, 1.8])
_RELEASE = (0.015, 0.02, 0.04, 0.01, 0.12, 0.05)  # daily release of standing structure during senescence


@dataclass(frozen=True)
class RadarLooks:
    """Sentinel-1 on its dates, dB."""

    index: np.ndarray  # int64 (n,), day index
    vv_db: np.ndarray  # float32 (n, H, W)
    vh_db: np.ndarray
    orbit: np.ndarray  # int8 (n,)


def structure(vegetation: Vegetation) -> np.ndarray:
    """Canopy structure 0..1.15 of each parcel and day, float64 (P, n): lags NDVI, outlasts it, ends with the harvest.

    Stems stay after leaves have yellowed, so the state falls slowly while NDVI senesces, and drops to what is green
    when the field is cleared.
    """
    green = np.clip((vegetation.ndvi.mean(axis=0) - vegetation.soil[:, None]) / 0.65, 0, 1.15)
    return _follow(green.astype(np.float64), vegetation.plant, vegetation.cleared, np.array(_RELEASE))


@njit(cache=False)
def _follow(green, plant, cleared, release):
    out = np.empty_like(green)
    for p in range(green.shape[0]):
        lagged, state = green[p, 0], green[p, 0]
        for i in range(green.shape[1]):
            lagged += 0.09 * (green[p, i] - lagged)
            state = max(lagged, state + release[plant[p, i]] * (lagged - state))
            if cleared[p, i] > 0:
                last = green[p, min(i + 3, green.shape[1] - 1)]
                lagged = min(lagged, cleared[p, i] * last + (1 - cleared[p, i]) * lagged)
                state = min(state, cleared[p, i] * last + (1 - cleared[p, i]) * state)
            out[p, i] = state
    return out


def look_days(settings: RadarSettings, n_days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Day indices and orbit number of the passes, sorted by day, one pass a day."""
    orbits = int(rng.integers(settings.orbits[0], settings.orbits[1] + 1))
    revisit = int(rng.choice(settings.revisit_d))
    first = rng.permutation(revisit)[:orbits]
    days = np.concatenate([np.arange(f, n_days, revisit) for f in first])
    orbit = np.repeat(np.arange(orbits), [len(range(f, n_days, revisit)) for f in first])
    keep = rng.random(len(days)) > 0.02
    order = np.argsort(days[keep], kind="stable")
    return days[keep][order], orbit[keep][order].astype(np.int8)


def look(
    settings: RadarSettings, land: Landscape, vegetation: Vegetation, weather: Weather, rng: np.random.Generator
) -> RadarLooks:
    """VV and VH of every pass in dB."""
    index, orbit = look_days(settings, len(weather.days), rng)
    vv, vh = _parcel_backscatter(settings, vegetation, weather, index, orbit, rng)
    m = land.margin
    inner = (slice(m, land.parcel.shape[0] - m), slice(m, land.parcel.shape[1] - m))
    parcel, variation = land.parcel[inner], land.variation[inner]
    half = rng.random() < 0.6  # 20 m products, as many archives keep them
    images = [_spread(band, parcel, half) for band in (vv, vh)]
    texture = draw(rng, settings.texture_db)
    static = texture * smooth_fields(rng, 2, *images[0].shape[1:], 1.2 if half else 2.4)
    common = 0.4 * variation[:: 2 if half else 1, :: 2 if half else 1]
    enl = float(np.exp(draw(rng, tuple(np.log(settings.enl)))))
    vh_looks = rng.uniform(0.4, 1.0)  # VH lies near the noise floor, which adds to its scatter
    out = []
    for band, image in enumerate(images):
        image = image + static[band] + texture * common
        image += speckle_db(rng, image.shape, enl if band == 0 else enl * vh_looks, passes=1 if half else 2)
        if half:
            image = image.repeat(2, axis=1).repeat(2, axis=2)[:, : parcel.shape[0], : parcel.shape[1]]
        out.append(np.clip(image, -45, 15).astype(np.float32))
    return RadarLooks(index, out[0], out[1], orbit)


def speckle_db(rng: np.random.Generator, shape: tuple[int, ...], enl: float, *, passes: int) -> np.ndarray:
    """Multiplicative gamma speckle of unit mean and ``enl`` looks, in dB.

    Gamma quantiles by Wilson and Hilferty 1931 (error of the dB standard deviation below 2 % from 3 looks on).
    Each pass lets neighbours share speckle, as where the pixel spacing is finer than the resolution; the variance stays.
    """
    z = rng.standard_normal(shape, dtype=np.float32)
    z = _shared(z, passes)
    cube = 1 - 1 / (9 * enl) + z * np.float32(1 / (3 * np.sqrt(enl)))
    return np.float32(30) * np.log10(np.maximum(cube, np.float32(0.05)))


def _shared(z: np.ndarray, passes: int, share: float = 0.33) -> np.ndarray:
    """White noise (n, H, W) smoothed ``passes`` times by (share, 1, share) along both axes, kept at unit variance."""
    kernel = np.ones(1)
    for _ in range(passes):
        wide = np.pad(z, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        rows = wide[:, 1:-1] + np.float32(share) * (wide[:, :-2] + wide[:, 2:])
        z = rows[:, :, 1:-1] + np.float32(share) * (rows[:, :, :-2] + rows[:, :, 2:])
        kernel = np.convolve(kernel, (share, 1.0, share))
    return z * np.float32(1 / (kernel**2).sum())


def _spread(band: np.ndarray, parcel: np.ndarray, half: bool) -> np.ndarray:
    """Parcel values (P, n) to images; at 20 m the four pixels of a cell are averaged."""
    if not half:
        return np.ascontiguousarray(band.T)[:, parcel]
    padded = np.pad(parcel, ((0, parcel.shape[0] % 2), (0, parcel.shape[1] % 2)), mode="edge")
    table = np.ascontiguousarray(band.T)
    corners = [table[:, padded[i::2, j::2]] for i in (0, 1) for j in (0, 1)]
    return (corners[0] + corners[1] + corners[2] + corners[3]) * np.float32(0.25)


def _parcel_backscatter(
    settings: RadarSettings,
    vegetation: Vegetation,
    weather: Weather,
    index: np.ndarray,
    orbit: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """VV and VH of each parcel and pass, dB, float32 (P, n)."""
    parcels = len(vegetation.cover)
    canopy = structure(vegetation)[:, index] ** rng.uniform(1.3, 2.0)  # leaf area grows faster than NDVI
    plant = vegetation.plant[:, index]
    strength = rng.uniform(0.6, 1.7, (parcels, 1))
    level = rng.normal(0, settings.field_db, (parcels, 1))
    response = draw(rng, settings.moisture_db)
    moisture = weather.moisture[index]
    wetness = response * (moisture - 0.5) + rng.normal(0, 0.25, len(index))
    frozen = np.where(weather.frost[index], -rng.uniform(1.5, 4.5), 0.0)
    tilled = vegetation.tilled[:, index]
    rough = tilled * rng.uniform(0, 4.5, (parcels, 1)) + 0.5 * rng.standard_normal((parcels, 1))
    soil_vv = -9.3 + wetness + frozen + rough + level
    soil_vh = -19.5 + wetness + frozen + 0.6 * rough + 0.7 * level
    plant_db = rng.normal(0, 0.9, (2, 6))
    per_orbit = rng.normal(0, draw(rng, settings.orbit_db), (2, int(orbit.max(initial=0)) + 1))
    wet = weather.wet_canopy[index] * rng.uniform(0.2, 1.2)
    base = draw(rng, settings.level_db)
    dates = rng.normal(0, rng.uniform(0.1, 0.4), (2, len(index)))
    solid = np.isin(vegetation.cover, (COVER["built"],))[:, None]
    water = (vegetation.cover == COVER["water"])[:, None]
    out = []
    for b, (a_db, b_att, soil) in enumerate(((_A_VV, _B_VV, soil_vv), (_A_VH, _B_VH, soil_vh))):
        through = np.exp(-2 * b_att[plant] * strength * canopy)
        leaf = 10 ** (0.1 * (a_db[plant] + plant_db[b][plant] + 0.5 * level + 0.25 * wetness + 0.4 * frozen))
        power = leaf * canopy * (1 - through) * 1.1 + 10 ** (0.1 * soil) * through
        db = 10 * np.log10(np.maximum(power, 1e-5)) + wet * canopy
        db = np.where(solid, (-4.5, -12.0)[b] + 2.2 * level + 0.1 * wetness, db)
        db = np.where(water, (-19.0, -26.5)[b] + 2.0 * rng.standard_normal(len(index)) + level, db)
        out.append(
            (db + base + per_orbit[b][orbit] + dates[b] + 0.15 * rng.standard_normal(db.shape)).astype(np.float32)
        )
    return out[0], out[1]
