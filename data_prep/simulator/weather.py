"""Weather common to all sensors of a scene: cloud regime, rain, soil moisture, frost, snow and solar elevation.

Soil moisture is an antecedent precipitation index with exponential drying (Kohler and Linsley 1951); the cloud regime
is the sum of two autoregressive series with memories of 1-3 and 10-30 days (persistence of European cloudiness, Wilson
and Jetz 2016, doi:10.1371/journal.pbio.1002415).
"""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator.fields import autoregressive, draw
from data_prep.simulator.settings import SceneSettings


@dataclass(frozen=True)
class Weather:
    """Daily series, each of shape (n_days,), and latitude of the scene."""

    days: np.ndarray  # int64, days since 1970
    season: np.ndarray  # day of the season, from 0: 1 January in the north, 2 July in the south
    latitude: float  # degrees north
    winter: np.ndarray  # seasonal cosine: 1 in mid-winter, -1 in mid-summer
    cos_sun: np.ndarray  # cosine of the solar zenith angle at 10:30 local time
    cloud: np.ndarray  # cloud regime, standard normal, large when cloudy
    temperature: np.ndarray  # degrees Celsius
    wet_canopy: np.ndarray  # 0 or 1, intercepted rain on the canopy
    moisture: np.ndarray  # 0..1, moisture of the top soil
    frost: np.ndarray  # bool, frozen soil
    snow: np.ndarray  # 0..1, snow-covered share of the ground


def make_weather(settings: SceneSettings, rng: np.random.Generator) -> Weather:
    """Draw latitude, period and daily weather of a scene."""
    phenology = settings.phenology
    south = rng.random() < phenology.southern_probability
    latitude = draw(rng, phenology.latitude_deg) * (-1 if south else 1)
    year = int(rng.integers(settings.first_year, settings.last_year + 1))
    first_day = (np.datetime64(f"{year}-01-01") - np.datetime64("1970-01-01")).astype(int)
    offset = int(rng.integers(settings.start_day[0], settings.start_day[1] + 1))
    n = settings.n_days
    days = first_day + offset + np.arange(n, dtype=np.int64)
    season = (offset + np.arange(n) + (182 if south else 0)).astype(float)
    winter = np.cos(2 * np.pi * (season - 15) / 365.25)
    declination = -0.409 * np.cos(2 * np.pi * (season + 10) / 365.25)
    tilt = np.radians(abs(latitude))
    cos_sun = np.sin(tilt) * np.sin(declination) + np.cos(tilt) * np.cos(declination) * np.cos(np.radians(22))
    memory = rng.uniform(1.0, 3.0)
    fast, slow = autoregressive(rng, n, memory), autoregressive(rng, n, rng.uniform(10, 30))
    share = rng.uniform(0.1, 0.4)
    cloud = np.sqrt(1 - share) * fast + np.sqrt(share) * slow
    temperature = _temperature(abs(latitude), winter, rng)
    wetter_winter = rng.uniform(-0.15, 0.6)
    dry_above = rng.uniform(0.5, 1.4) - wetter_winter * winter
    rain = np.where(cloud + 0.7 * rng.standard_normal(n) > dry_above, rng.exponential(6.0, n), 0.0)
    dryness = 0.015 + np.clip(temperature / 20, 0, 1.5) * rng.uniform(0.07, 0.2)
    moisture = _moisture(rain, dryness, temperature)
    frost = temperature + rng.normal(0, 1, n) < -2.5
    snow = _snow(rain, temperature)
    wet = np.where(rain > 1.0, rng.random(n) < 0.5, rng.random(n) < 0.05).astype(float)
    return Weather(
        days, season, latitude, winter, np.clip(cos_sun, 0.2, 1.0), cloud, temperature, wet, moisture, frost, snow
    )


def _temperature(latitude: float, winter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = 27 - 0.33 * latitude + rng.normal(0, 1.5)
    swing = 2.5 + 0.11 * latitude + rng.normal(0, 1.5)
    return mean - swing * winter + 3.2 * autoregressive(rng, len(winter), 4.0)


def _moisture(rain: np.ndarray, dryness: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    index = np.empty(len(rain))
    state = 8.0
    for i, (fall, loss) in enumerate(zip(rain.tolist(), dryness.tolist(), strict=True)):
        state = min(state * (1 - loss) + (fall if temperature[i] > -1 else 0.3 * fall), 45.0)
        index[i] = state
    return index / (index + 9.0)


def _snow(rain: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    fall = np.where(temperature < 0, rain, 0.0)
    melt = np.exp(-np.clip(temperature + 2, 0.0, 8.0) * 0.35)
    depth, out = 0.0, np.empty(len(rain))
    for i in range(len(rain)):
        depth = (depth + fall[i]) * melt[i]
        out[i] = depth
    return np.clip(out / 4.0, 0, 1)
