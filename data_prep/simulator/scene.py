"""Simulate one scene: landscape, weather, vegetation, and the observations of the three sensors."""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator import coarse, optics, radar
from data_prep.simulator.crops import COVER
from data_prep.simulator.fields import smooth_fields
from data_prep.simulator.geometry import Landscape, make_landscape
from data_prep.simulator.phenology import Vegetation, make_vegetation
from data_prep.simulator.settings import SceneSettings
from data_prep.simulator.truth import daily_truth
from data_prep.simulator.weather import Weather, make_weather
from fusion.features.observations import Observations


@dataclass(frozen=True)
class SimulatedScene:
    """Observations and truth of a simulated scene.

    ``truth`` is the true NDVI of every day, float32 (n, H, W), on ``truth_days`` (int64, days since 1970-01-01).
    ``cover`` (index into :data:`data_prep.simulator.crops.COVERS`) and ``parcel`` are (H, W). ``suspect`` flags
    unmasked observations affected by cloud, shadow or snow, bool (n_s2, H, W). ``latitude``: degrees north.
    """

    observations: Observations
    truth_days: np.ndarray
    truth: np.ndarray
    cover: np.ndarray
    parcel: np.ndarray
    suspect: np.ndarray
    latitude: float
    seed: int


@dataclass(frozen=True)
class SceneParts:
    """All intermediate results of a scene, for raw cubes, tests and figures; a sensor that is absent is None."""

    land: Landscape
    weather: Weather
    vegetation: Vegetation
    truth: np.ndarray
    optical: optics.OpticalObservations
    radar: radar.RadarObservations | None
    coarse: coarse.CoarseObservations | None
    cover: np.ndarray
    parcel: np.ndarray


def simulate_parts(settings: SceneSettings, seed: int) -> SceneParts:
    """All parts of the scene of ``seed``; each part uses its own random stream."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(int(seed)).spawn(7)]
    height, width = settings.height, settings.width
    weather = make_weather(settings, streams[0])
    land = make_landscape(settings.geometry, height, width, settings.resolution_m, streams[1])
    vegetation = make_vegetation(settings.phenology, land, weather, streams[2])
    truth = daily_truth(land, vegetation.ndvi)
    m = land.margin
    parcel = land.parcel[m : m + height, m : m + width]
    cover = vegetation.cover[parcel]
    threshold = optics.cloud_threshold(settings.optics, weather, streams[3])
    built = cover == COVER["built"]
    bright = streams[3].uniform(0.8, 1.3, len(land.kind))[parcel] * np.exp(
        0.08 * smooth_fields(streams[3], 1, height, width, 5.0)[0]
    )
    bright = bright.astype(np.float32) * streams[3].uniform(0.75, 1.25)
    optical = optics.observe(
        settings.optics, truth, bright.astype(np.float32), built, weather, threshold, settings.resolution_m, streams[3]
    )
    dropout = streams[6].random(2)
    sar = None
    if dropout[0] >= settings.radar.dropout:
        sar = radar.observe(settings.radar, land, vegetation, weather, streams[4])
    broad = None
    if dropout[1] >= settings.coarse.dropout:
        broad = coarse.observe(
            settings.coarse, land, vegetation.ndvi, weather, threshold, settings.resolution_m, streams[5]
        )
    return SceneParts(land, weather, vegetation, truth, optical, sar, broad, cover, parcel)


def simulate_observations(settings: SceneSettings, seed: int) -> SimulatedScene:
    """Scene of ``seed`` as used in training: masked observations on one grid, and the truth.

    Parameters
    ----------
    settings : SceneSettings
        Size, period and randomised ranges.
    seed : int
        Equal settings and seed give an equal scene.

    Returns
    -------
    SimulatedScene
        Sentinel-2 NDVI is masked as in a merged cube; dates without a clear pixel are dropped. The coarse series is
        resampled to the 10 m grid and dated by the first day of its dekad.
    """
    parts = simulate_parts(settings, seed)
    days, height, width = parts.weather.days, settings.height, settings.width
    ndvi = parts.optical.masked_ndvi()
    clear = np.isfinite(ndvi)
    keep = clear.any(axis=(1, 2))
    none, nothing = np.zeros(0, np.int64), np.zeros((0, height, width), np.float32)
    observations = Observations(
        s2_days=days[parts.optical.index[keep]],
        s2_ndvi=ndvi[keep],
        s1_days=none if parts.radar is None else days[parts.radar.index],
        vv_db=nothing if parts.radar is None else parts.radar.vv_db,
        vh_db=nothing if parts.radar is None else parts.radar.vh_db,
        coarse_days=none if parts.coarse is None else parts.coarse.days,
        coarse_ndvi=nothing
        if parts.coarse is None
        else coarse.resampled(parts.coarse, height, width, settings.resolution_m),
        latitude=float(parts.weather.latitude),
    )
    suspect = parts.optical.disturbed[keep] & clear[keep]
    return SimulatedScene(
        observations, days, parts.truth, parts.cover, parts.parcel, suspect, parts.weather.latitude, int(seed)
    )
