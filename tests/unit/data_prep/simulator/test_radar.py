"""Sentinel-1 acquisitions: signs by crop, moisture, speckle statistics, passes."""

import numpy as np
import pytest
from scipy.special import polygamma

from data_prep.simulator import radar
from data_prep.simulator.growth import CEREAL, GRASS, MAIZE
from data_prep.simulator.phenology import Vegetation
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import RadarSettings
from data_prep.simulator.weather import Weather


def field(plant: int, ndvi: np.ndarray, cleared: np.ndarray | None = None) -> Vegetation:
    n = len(ndvi)
    return Vegetation(
        np.stack([ndvi, ndvi])[:, None].astype(np.float32),
        np.zeros(1, np.int8),
        np.full((1, n), plant, np.int8),
        np.zeros((1, n), np.float32) if cleared is None else cleared[None].astype(np.float32),
        np.zeros((1, n), np.float32),
        np.full(1, 0.15, np.float32),
    )


def weather(n: int, moisture: np.ndarray | float = 0.5) -> Weather:
    flat = np.zeros(n)
    wet = np.broadcast_to(np.asarray(moisture, float), n)
    return Weather(np.arange(n), flat, 50.0, flat, flat + 1, flat, flat + 10, flat, wet, flat > 1, flat)


def backscatter(plant: int, ndvi: np.ndarray, moisture: np.ndarray | float = 0.5) -> np.ndarray:
    """Mean VV and VH over draws of the random levels, (2, n)."""
    settings, index = RadarSettings(level_db=(0, 0), orbit_db=(0, 0)), np.arange(len(ndvi))
    draws = [
        radar._parcel_backscatter(
            settings, field(plant, ndvi), weather(len(ndvi), moisture), index, index * 0, np.random.default_rng(seed)
        )
        for seed in range(60)
    ]
    return np.mean(draws, axis=0)[:, 0]


def test_sign_of_vv_depends_on_the_crop():
    """Cereals attenuate VV, maize raises it; VH/VV rises with either (Veloso et al. 2017)."""
    rise = np.concatenate([np.full(30, 0.15), np.linspace(0.15, 0.85, 60), np.full(60, 0.85)])
    before, after = slice(0, 25), slice(130, 150)
    change = {}
    for name, plant in (("cereal", CEREAL), ("maize", MAIZE)):
        vv, vh = backscatter(plant, rise)
        change[name] = vv[after].mean() - vv[before].mean()
        assert (vh - vv)[after].mean() > (vh - vv)[before].mean() + 1.0, name
    assert change["cereal"] < -1.5
    assert change["maize"] > change["cereal"] + 2


def test_wet_soil_is_brighter():
    bare = np.full(40, 0.15)
    dry, wet = (backscatter(GRASS, bare, moisture) for moisture in (0.2, 0.8))
    assert (wet - dry).mean() > 2


def test_structure_outlasts_green_and_ends_with_the_harvest():
    ndvi = np.concatenate([np.full(60, 0.85), np.linspace(0.85, 0.3, 25), np.full(15, 0.3), np.full(30, 0.15)])
    cleared = np.zeros(len(ndvi))
    cleared[100] = 1.0
    state = radar.structure(field(CEREAL, ndvi, cleared))[0]
    green = np.clip((ndvi - 0.15) / 0.65, 0, 1.15)
    assert state[95] > green[95] + 0.3  # yellow stems still stand
    assert state[103] < 0.1


@pytest.mark.parametrize("enl", [4.0, 12.0, 50.0])
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_speckle_has_unit_mean_and_the_observations_asked_for(enl, passes):
    """Standard deviation of gamma speckle in dB: 10 / ln(10) * sqrt(trigamma(looks))."""
    db = radar.speckle_db(np.random.default_rng(1), (60, 40, 40), enl, passes=passes)
    expected = 10 / np.log(10) * np.sqrt(polygamma(1, enl))
    inner = db[:, 3:-3, 3:-3]
    assert np.std(inner) == pytest.approx(expected, rel=0.03)
    assert np.mean(10 ** (inner / 10)) == pytest.approx(1.0, abs=0.02)


def test_passes_of_two_orbits(settings):
    days, orbit = radar.obs_days(RadarSettings(orbits=(2, 2), revisit_d=(6,)), 300, np.random.default_rng(0))
    assert (np.diff(days) > 0).all() and set(orbit.tolist()) == {0, 1}
    for number in (0, 1):
        assert len(np.unique(days[orbit == number] % 6)) == 1


def test_radar_follows_vegetation_in_scenes(settings):
    """Over scenes, VH/VV and NDVI go together in space; VV alone has no fixed sign."""
    ratio, vv = [], []
    for seed in range(12):
        scene = simulate_observations(settings, seed)
        o = scene.observations
        truth = scene.truth[o.s1_days - scene.truth_days[0]].mean(axis=0).ravel()
        ratio.append(np.corrcoef(truth, (o.vh_db - o.vv_db).mean(axis=0).ravel())[0, 1])
        vv.append(np.corrcoef(truth, o.vv_db.mean(axis=0).ravel())[0, 1])
    assert np.mean(ratio) > 0.2
    assert min(vv) < -0.1 and max(vv) > 0.1
