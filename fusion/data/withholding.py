"""What a training sample is not shown: dates, pixels and sensors, and radar that is noisy or of another place."""

from dataclasses import replace

import numpy as np

from fusion.data.settings import WithholdingSettings
from fusion.features.features import YEAR_DAYS
from fusion.features.observations import Observations


def withheld_dates(days: np.ndarray, settings: WithholdingSettings, rng: np.random.Generator) -> np.ndarray:
    """The S2 dates withheld from a sample, bool (n,); at least two dates stay."""
    withheld = np.zeros(len(days), bool)
    if len(days) < 3:
        return withheld
    first, last = days[0], days[-1]
    low, high = settings.windows
    for _ in range(rng.integers(low, high + 1)):
        start = rng.integers(first - 10, last + 1)
        withheld |= (days >= start) & (
            days < start + rng.integers(settings.window_days[0], settings.window_days[1] + 1)
        )
    if rng.random() < settings.long_share:
        start = rng.integers(first - 30, last + 1)
        length = min(int(rng.integers(settings.long_days[0], settings.long_days[1] + 1)), int(last - first) // 2)
        withheld |= (days >= start) & (days < start + length)
    if rng.random() < settings.trailing_share:
        withheld |= days > last - rng.integers(5, 91)
    if rng.random() < settings.thinning_share:
        withheld |= rng.random(len(days)) < rng.uniform(0.1, 0.7)
    if (~withheld).sum() < 2:
        withheld[rng.choice(len(days), 2, replace=False)] = False
    return withheld


def borrow_clouds(obs: Observations, other: Observations, rng: np.random.Generator) -> np.ndarray:
    """The missing pixels of another scene, assigned to the dates of this one, bool (n, H, W)."""
    n = len(obs.s2_days)
    height, width = obs.shape
    if len(other.s2_days) == 0 or other.shape[0] < height or other.shape[1] < width:
        return np.zeros((n, height, width), bool)
    pick = (np.arange(n) + rng.integers(len(other.s2_days))) % len(other.s2_days)
    return ~np.isfinite(other.s2_ndvi[pick, :height, :width])


def foreign_radar(obs: Observations, other: Observations) -> Observations:
    """The observations with the radar of another scene, moved by whole years to the same time.

    Such radar explains nothing of the NDVI: the network learns to ask the data whether radar is to be believed.
    """
    height, width = obs.shape
    fits = other.shape[0] >= height and other.shape[1] >= width
    if other is obs or not fits or len(obs.s1_days) == 0 or len(other.s1_days) == 0:
        return obs
    years = round(float(np.mean(obs.s1_days) - np.mean(other.s1_days)) / YEAR_DAYS)
    days = other.s1_days + round(years * YEAR_DAYS)
    return replace(obs, s1_days=days, vv_db=other.vv_db[:, :height, :width], vh_db=other.vh_db[:, :height, :width])


def noisy_radar(obs: Observations, settings: WithholdingSettings, rng: np.random.Generator) -> Observations:
    """The observations with independent noise added to VV and VH, as of pixels with fewer looks."""
    if len(obs.s1_days) == 0:
        return obs
    noise = rng.uniform(*settings.radar_noise_db) * rng.standard_normal((2, *obs.vv_db.shape), dtype=np.float32)
    noise = noise.astype(np.float32)
    return replace(obs, vv_db=obs.vv_db + noise[0], vh_db=obs.vh_db + noise[1])


def withhold(
    obs: Observations, other: Observations, settings: WithholdingSettings, rng: np.random.Generator
) -> Observations:
    """A copy of the observations with dates, pixels and sensors withheld and radar disturbed at random.

    ``other`` is another scene of the same source, which lends its clouds and its radar.
    """
    gone = np.broadcast_to(withheld_dates(obs.s2_days, settings, rng)[:, None, None], obs.s2_ndvi.shape)
    if rng.random() < settings.borrowed_share:
        gone = gone | borrow_clouds(obs, other, rng)
    no_radar, no_coarse = rng.random() < settings.no_radar_share, rng.random() < settings.no_coarse_share
    visible = obs.withhold(s2=gone, s1=bool(no_radar), coarse=bool(no_coarse))
    if rng.random() < settings.foreign_radar_share:
        visible = foreign_radar(visible, other)
    if rng.random() < settings.radar_noise_share:
        visible = noisy_radar(visible, settings, rng)
    return replace(visible, latitude=None) if rng.random() < settings.no_latitude_share else visible


def season_shift(settings: WithholdingSettings, rng: np.random.Generator) -> float:
    """Error of the day of year given to the network for a sample, days.

    Season dates differ between places: spring comes about 4 days later with each degree of latitude (Hopkins 1918,
    Periodical events and natural law as guides to agricultural research and practice). A share of the samples gets a
    random season.
    """
    reach = YEAR_DAYS / 2 if rng.random() < settings.wrong_season_share else settings.season_shift_days
    return float(rng.uniform(-reach, reach))
