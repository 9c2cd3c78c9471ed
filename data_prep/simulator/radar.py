"""Sentinel-1 VV and VH: water-cloud model with crop-dependent structure, soil moisture, tillage, frost and speckle.

Water-cloud model: Attema and Ulaby 1978 (doi:10.1029/RS013i002p00357) in the form sigma0 = A V (1 - exp(-2 B V)) +
soil exp(-2 B V), with V the canopy structure, 0..1. Signs by crop follow Veloso et al. 2017
(doi:10.1016/j.rse.2017.07.015) and Vreugdenhil et al. 2018 (doi:10.3390/rs10091396): vertical cereal stems attenuate
VV, rapeseed and maize raise VH by volume scattering, VH/VV rises with vegetation. Speckle is gamma distributed with the
equivalent number of looks (ESA Sentinel-1 Product Definition: 4.4 for GRD IW before averaging); backscatter of
frozen ground is at least 2 dB lower (Baghdadi et al. 2018, doi:10.3390/rs10081182).
"""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator.compiled import njit
from data_prep.simulator.crops import COVER
from data_prep.simulator.fields import draw, smooth_fields
from data_prep.simulator.geometry import Landscape
from data_prep.simulator.phenology import Vegetation
from data_prep.simulator.settings import RadarSettings
from data_prep.simulator.weather import Weather

# plant types, in the order of the constants of data_prep.simulator.growth
_PLANTS = ("cereal", "rape", "broadleaf", "maize", "grass", "tree")


@dataclass(frozen=True)
class _Polarisation:
    """Parameters of one polarisation; levels in dB, arrays by plant type (level and attenuation of a closed canopy)."""

    canopy_db: np.ndarray
    attenuation: np.ndarray
    leaf_level: float
    leaf_wetness: float
    soil_db: float  # at medium moisture and roughness
    soil_wetness: float
    soil_rough: float
    soil_level: float
    built_db: float
    water_db: float


_VV = _Polarisation(
    canopy_db=np.array([-13.0, -8.5, -8.9, -8.4, -11.0, -9.0]),
    attenuation=np.array([1.9, 1.1, 1.1, 0.9, 1.1, 1.8]),
    leaf_level=0.5,
    leaf_wetness=0.25,
    soil_db=-9.3,
    soil_wetness=1.0,
    soil_rough=1.0,
    soil_level=1.0,
    built_db=-4.5,
    water_db=-19.0,
)
_VH = _Polarisation(
    canopy_db=np.array([-18.8, -13.8, -15.6, -15.2, -17.4, -15.8]),
    attenuation=np.array([1.1, 1.5, 1.4, 1.1, 1.0, 1.8]),
    leaf_level=0.15,
    leaf_wetness=0.4,
    soil_db=-19.5,
    soil_wetness=1.2,
    soil_rough=0.6,
    soil_level=0.35,
    built_db=-13.5,
    water_db=-26.5,
)
# change of the level of a closed canopy during maturation, dB (rows VV, VH): stem elongation lowers cereals in both
# polarisations by 3-5 dB from tillering to heading, while NDVI is saturated (Veloso et al. 2017, Fig. 7)
_MATURE_DB = np.array([[-2.0, 0.0, 0.0, 0.3, -0.4, 0.0], [-3.0, 0.5, 0.0, 0.0, -0.4, 0.0]])
_MATURE_DAYS = 30.0  # time constant of maturation
_RELEASE = (0.015, 0.02, 0.04, 0.01, 0.12, 0.05)  # daily loss of standing structure during senescence, by plant type


@dataclass(frozen=True)
class RadarObservations:
    """Sentinel-1 acquisitions, dB."""

    index: np.ndarray  # int64 (n,), day index of each acquisition
    vv_db: np.ndarray  # float32 (n, H, W)
    vh_db: np.ndarray
    orbit: np.ndarray  # int8 (n,), number of the relative orbit, from 0


def structure(vegetation: Vegetation) -> np.ndarray:
    """Canopy structure of each parcel and day, 0..1.15, float64 (P, n); lags NDVI and ends with the harvest.

    Stems remain after leaves have yellowed, so structure decreases slowly during senescence, and drops to the green
    fraction when the field is cleared.
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


def maturity(canopy: np.ndarray) -> np.ndarray:
    """Maturity of the canopy, 0..1.15, float64 (P, n); follows ``canopy`` (P, n) slowly upwards, at once downwards."""
    return _mature(canopy)


@njit(cache=False)
def _mature(canopy):
    out = np.empty_like(canopy)
    for p in range(canopy.shape[0]):
        state = canopy[p, 0]
        for i in range(canopy.shape[1]):
            state = min(state + (canopy[p, i] - state) / _MATURE_DAYS, canopy[p, i])
            out[p, i] = state
    return out


def obs_days(settings: RadarSettings, n_days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Day index and orbit number of each acquisition, sorted by day, at most one per day."""
    orbits = int(rng.integers(settings.orbits[0], settings.orbits[1] + 1))
    revisit = int(rng.choice(settings.revisit_d))
    first = rng.permutation(revisit)[:orbits]
    days = np.concatenate([np.arange(f, n_days, revisit) for f in first])
    orbit = np.repeat(np.arange(orbits), [len(range(f, n_days, revisit)) for f in first])
    keep = rng.random(len(days)) > 0.02
    order = np.argsort(days[keep], kind="stable")
    return days[keep][order], orbit[keep][order].astype(np.int8)


def observe(
    settings: RadarSettings, land: Landscape, vegetation: Vegetation, weather: Weather, rng: np.random.Generator
) -> RadarObservations:
    """Simulate VV and VH of every acquisition, dB, margin removed."""
    index, orbit = obs_days(settings, len(weather.days), rng)
    vv, vh = _parcel_backscatter(settings, vegetation, weather, index, orbit, rng)
    m = land.margin
    inner = (slice(m, land.parcel.shape[0] - m), slice(m, land.parcel.shape[1] - m))
    parcel, variation = land.parcel[inner], land.variation[inner]
    half = rng.random() < 0.6  # 20 m products, as in many archives
    images = [_spread(band, parcel, half) for band in (vv, vh)]
    texture = draw(rng, settings.texture_db)
    rows, columns = images[0].shape[1:]
    static = texture * smooth_fields(rng, 2, rows, columns, 1.2 if half else 2.4)
    common = 0.4 * variation[:: 2 if half else 1, :: 2 if half else 1]
    enl = float(np.exp(draw(rng, tuple(np.log(settings.enl)))))
    vh_factor = rng.uniform(0.4, 1.0)  # VH is close to the noise floor, which increases its scatter
    out = []
    for band, image in enumerate(images):
        image = image + static[band] + texture * common
        image += speckle_db(rng, image.shape, enl if band == 0 else enl * vh_factor, passes=1 if half else 2)
        if half:
            image = image.repeat(2, axis=1).repeat(2, axis=2)[:, : parcel.shape[0], : parcel.shape[1]]
        out.append(np.clip(image, -45, 15).astype(np.float32))
    return RadarObservations(index, out[0], out[1], orbit)


def speckle_db(rng: np.random.Generator, shape: tuple[int, ...], enl: float, *, passes: int) -> np.ndarray:
    """Multiplicative gamma speckle with unit mean and ``enl`` equivalent looks, in dB, float32.

    Gamma quantiles by Wilson and Hilferty 1931 (error of the dB standard deviation below 2 % for 3
    looks or more). Each smoothing pass correlates neighbours, as for pixels finer than the resolution; the variance is
    kept.
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
    parcels, passes = len(vegetation.cover), len(index)
    closed = structure(vegetation) ** rng.uniform(1.3, 2.0)  # leaf area increases faster than NDVI
    canopy, mature = closed[:, index], maturity(closed)[:, index]
    plant = vegetation.plant[:, index]
    strength = rng.uniform(0.6, 1.7, (parcels, 1))
    level = rng.normal(0, settings.field_db, (parcels, 1))
    # drainage differs between soils, so the same rain changes the backscatter of fields differently
    response = draw(rng, settings.moisture_db) * np.exp(rng.normal(0, draw(rng, settings.field_wetness), (parcels, 1)))
    wetness = response * (weather.moisture[index] - 0.5) + rng.normal(0, 0.25, passes)
    frozen = np.where(weather.frost[index], -rng.uniform(1.5, 4.5), 0.0) * rng.uniform(0.3, 1.3, (parcels, 1))
    # ploughing roughens a field, seedbed preparation or rolling smooths it
    rough = vegetation.tilled[:, index] * rng.uniform(-2, 4.5, (parcels, 1)) + 0.5 * rng.standard_normal((parcels, 1))
    plant_db = rng.normal(0, 0.9, (2, len(_PLANTS)))
    mature_db = _MATURE_DB + rng.normal(0, 1.2, (2, len(_PLANTS))) + rng.normal(0, 1.2, len(_PLANTS))
    ripens = rng.uniform(0.3, 1.7, (parcels, 1))  # varies with cultivar and sowing density
    wander = draw(rng, settings.wander_db) * _wander(parcels, index, rng)
    own = draw(rng, settings.wander_ratio_db)
    drops = weather.wet_canopy[index] * rng.uniform(0.2, 1.2) * canopy  # intercepted rain
    offsets = draw(rng, settings.level_db) + rng.normal(
        0, draw(rng, settings.orbit_db), (2, int(orbit.max(initial=0)) + 1)
    )
    dates = rng.normal(0, rng.uniform(0.1, 0.4), (2, passes))
    built = (vegetation.cover == COVER["built"])[:, None]
    water = (vegetation.cover == COVER["water"])[:, None]
    bands = []
    for b, band in enumerate((_VV, _VH)):
        through = np.exp(-2 * band.attenuation[plant] * strength * canopy * (1 + 0.5 * mature))
        leaf = band.canopy_db[plant] + plant_db[b][plant] + band.leaf_level * level
        leaf = leaf + band.leaf_wetness * wetness + 0.4 * frozen + mature_db[b][plant] * ripens * mature
        soil = band.soil_db + band.soil_wetness * wetness + frozen + band.soil_rough * rough + band.soil_level * level
        power = 1.1 * canopy * (1 - through) * 10 ** (0.1 * leaf) + through * 10 ** (0.1 * soil)
        db = 10 * np.log10(np.maximum(power, 1e-5)) + drops
        db = np.where(built, band.built_db + 1.7 * level + 0.1 * wetness, db)
        db = np.where(water, band.water_db + 2.0 * rng.standard_normal(passes) + level, db)
        db = db + wander + own * _wander(parcels, index, rng) + offsets[b][orbit] + dates[b]
        db = db + 0.15 * rng.standard_normal(db.shape)
        bands.append(db.astype(np.float32))
    return bands[0], bands[1]


def _wander(parcels: int, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slow drift of each field independent of its NDVI, unit standard deviation, (P, n).

    Causes are row direction, crusting, lodging, dew, drainage and irrigation; a model must not interpret it as growth.
    """
    keep = np.exp(-np.diff(index) / rng.uniform(12, 60))
    out = rng.standard_normal((parcels, len(index)))
    for i, k in enumerate(keep, start=1):
        out[:, i] = k * out[:, i - 1] + np.sqrt(1 - k**2) * out[:, i]
    return out
