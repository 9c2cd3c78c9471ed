"""Sentinel-2: when it looks, what clouds hide, what the mask misses, and how far a look lies from the truth.

Dates follow the 5-day repeat of the pair on each relative orbit (ESA Sentinel-2 User Handbook). Errors act on the red
and near-infrared reflectance, so NDVI errors come out as they do in nature: thin cloud and haze are a white layer
(pulls NDVI down), additive errors of the atmospheric correction grow with the length of the path at low sun (Doxani et
al. 2018, doi:10.3390/rs10020352; Sen2Cor red and NIR uncertainty 0.005 + 5 %), view angle changes the ratio of the bands
(Roy et al. 2017, doi:10.1016/j.rse.2017.06.019), and the cloud mask errs both ways (Tarrio et al. 2020,
doi:10.1016/j.srs.2020.100010; Skakun et al. 2022, doi:10.1016/j.rse.2022.112990).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.special import ndtri

from data_prep.simulator.fields import draw, smooth_fields
from data_prep.simulator.settings import OpticsSettings
from data_prep.simulator.weather import Weather

CLOUD_REFLECTANCE = (0.62, 0.60)  # red and NIR of thick cloud
SNOW_REFLECTANCE = (0.75, 0.72)


@dataclass(frozen=True)
class OpticalLooks:
    """Sentinel-2 on its dates: bands with all errors, what the mask says, and what really is disturbed."""

    index: np.ndarray  # int64 (n,), day index of each look
    red: np.ndarray  # float32 (n, H, W)
    nir: np.ndarray
    cloud: np.ndarray  # bool (n, H, W): the scene classification says cloud or shadow (before dilation)
    snow: np.ndarray  # bool (n, H, W): the scene classification says snow
    disturbed: np.ndarray  # bool (n, H, W): cloud, shadow or snow really touches the pixel
    dilation_px: int

    def masked_ndvi(self) -> np.ndarray:
        """NDVI as the cube step keeps it: the mask dilated, masked pixels NaN, clipped to the contract's range."""
        hidden = dilate(self.cloud, self.dilation_px) | self.snow
        ndvi = (self.nir - self.red) / np.maximum(self.nir + self.red, 1e-3)
        ndvi = np.clip(ndvi, -0.2, 1.0)
        ndvi[hidden] = np.nan
        return ndvi


def cloud_threshold(settings: OpticsSettings, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Level of the cloud regime above which a day is cloudy, (n_days,), from mean cloudiness and its season."""
    mean, swing = draw(rng, settings.cloudiness), draw(rng, settings.cloud_season)
    if rng.random() < 0.15:
        swing = -0.5 * swing  # summer-rain climates
    return -ndtri(np.clip(mean + swing * weather.winter, 0.2, 0.95))


def look_days(settings: OpticsSettings, n_days: int, rng: np.random.Generator) -> np.ndarray:
    """Day indices of the overpasses, sorted, int64."""
    orbits = int(rng.integers(settings.orbits[0], settings.orbits[1] + 1))
    first = rng.permutation(5)[:orbits]
    days = np.concatenate([np.arange(f, n_days, 5) for f in first])
    lost = rng.random(len(days)) < 0.03
    return np.unique(days[~lost])


def look(
    settings: OpticsSettings,
    truth: np.ndarray,
    bright: np.ndarray,
    built: np.ndarray,
    weather: Weather,
    threshold: np.ndarray,
    rng: np.random.Generator,
) -> OpticalLooks:
    """All Sentinel-2 looks with at least one pixel that the mask keeps.

    Parameters
    ----------
    truth : numpy.ndarray
        Clean daily NDVI, (n_days, H, W).
    bright : numpy.ndarray
        Relative brightness of the surface, (H, W), about 1.
    built : numpy.ndarray
        Bright artificial surfaces, which masks tend to call cloud, bool (H, W).
    """
    days = look_days(settings, len(truth), rng)
    spread = rng.uniform(0.25, 0.6)
    missed = rng.random(len(days)) < draw(rng, settings.missed_cloud_probability)
    detection = rng.normal(0.03, 0.08, len(days)) + np.where(missed, rng.uniform(0.2, 0.9, len(days)), 0)
    excess = np.sqrt(1 - spread**2) * weather.cloud[days] - threshold[days]
    days, detection, excess = (a[excess - detection < 2.0 * spread] for a in (days, detection, excess))
    height, width = truth.shape[1:]
    n = len(days)
    layer = 0.8 * smooth_fields(rng, n, height, width, rng.uniform(20, 60)) + 0.6 * smooth_fields(
        rng, n, height, width, rng.uniform(5, 12)
    )
    layer = excess[:, None, None].astype(np.float32) + np.float32(spread) * layer
    says_cloud = layer > detection[:, None, None]
    keep = ~says_cloud.reshape(n, -1).all(axis=1)
    days, layer, says_cloud = days[keep], layer[keep], says_cloud[keep]
    opacity = 1 - np.exp(-np.maximum(layer + 0.12, 0) * np.float32(rng.uniform(0.6, 1.5)))
    shade = _shadows(layer, rng)
    red, nir = _surface(truth[days], bright, settings, rng)
    red, nir, snow, lying = _snow(red, nir, settings, weather.snow[days], rng)
    shaded = 1 - shade * np.float32(rng.uniform(0.3, 0.6))
    red, nir = red * shaded, nir * shaded
    red = red * (1 - opacity) + CLOUD_REFLECTANCE[0] * opacity
    nir = nir * (1 - opacity) + CLOUD_REFLECTANCE[1] * opacity
    red, nir = _atmosphere(red, nir, settings, weather, days, rng)
    finds_shade = (rng.random(len(days)) < 0.75)[:, None, None] & (shade > 0.5)
    says_cloud = says_cloud | finds_shade | _false_alarms(len(days), built, rng)
    disturbed = (opacity > 0.03) | (shade > 0.3) | lying
    dilation = int(rng.integers(settings.dilation_px[0], settings.dilation_px[1] + 1))
    return OpticalLooks(days, red, nir, says_cloud, snow, disturbed, dilation)


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Square dilation of a stack of masks."""
    if radius <= 0 or mask.size == 0:
        return mask
    size = 2 * radius + 1
    grown = maximum_filter1d(mask.view(np.uint8), size, axis=2)
    return maximum_filter1d(grown, size, axis=1).view(bool)


def _shadows(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of shadow cast by the thick part of the cloud field, displaced by its height, (n, H, W)."""
    shift = rng.integers(6, 30, 2) * rng.choice((-1, 1), 2)
    thick = np.clip(3 * (layer - 0.15), 0, 1)
    return np.clip(np.roll(thick, tuple(shift), axis=(1, 2)) - np.clip(6 * (layer + 0.1), 0, 1), 0, 1)


def _surface(
    ndvi: np.ndarray, bright: np.ndarray, settings: OpticsSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Red and NIR of the ground: NIR from brightness and greenness, red so that NDVI comes out exactly."""
    shift = rng.normal(0, draw(rng, settings.shift_px), (2, len(ndvi), 1, 1)).astype(np.float32)
    moved = ndvi.copy()
    moved[:, 1:-1, :] += shift[0] * 0.5 * (ndvi[:, 2:, :] - ndvi[:, :-2, :])
    moved[:, :, 1:-1] += shift[1] * 0.5 * (ndvi[:, :, 2:] - ndvi[:, :, :-2])
    moved = np.clip(moved, -0.3, 0.97)
    nir = bright * (np.float32(0.20) + np.float32(0.22) * np.maximum(moved, 0) ** 1.5)
    water = moved < 0.03
    nir = np.where(water, np.float32(0.05), nir)
    return nir * (1 - moved) / (1 + moved), nir


def _snow(red: np.ndarray, nir: np.ndarray, settings: OpticsSettings, cover: np.ndarray, rng: np.random.Generator):
    """Snow on the ground; most of it is found by the mask."""
    snow = np.zeros(red.shape, bool)
    lying = np.zeros(red.shape, bool)
    for k in np.flatnonzero(cover > 0.05):
        patch = np.clip(cover[k] + 0.25 * smooth_fields(rng, 1, *red.shape[1:], 12.0)[0], 0, 1) * (cover[k] > 0)
        red[k] = red[k] * (1 - patch) + SNOW_REFLECTANCE[0] * patch
        nir[k] = nir[k] * (1 - patch) + SNOW_REFLECTANCE[1] * patch
        lying[k] = patch > 0.05
        found = rng.random() >= settings.snow_missed
        snow[k] = patch > (0.25 if found else 0.8)
    return red, nir, snow, lying


def _atmosphere(
    red: np.ndarray, nir: np.ndarray, settings: OpticsSettings, weather: Weather, days: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Haze, band errors of the date, view-angle ratio error and pixel noise."""
    n, height, width = red.shape
    path = (weather.cos_sun[days] ** -0.8).astype(np.float32)[:, None, None]
    typical = draw(rng, settings.haze)
    # the correction removes the typical aerosol, so the error has a median near zero and a long tail
    haze = typical * (rng.standard_gamma(0.8, (n, 1, 1)).astype(np.float32) - np.float32(0.55))
    uneven = np.exp(np.float32(0.5) * smooth_fields(rng, n, height, width, rng.uniform(8, 40)) - np.float32(0.125))
    offset = draw(rng, settings.band_bias) * rng.standard_t(4, (2, n, 1, 1)).astype(np.float32)
    ratio = draw(rng, settings.brdf) * rng.standard_normal((n, 1, 1), dtype=np.float32)
    noise = np.float32(draw(rng, settings.pixel_noise))
    veil = haze * uneven * path
    red = red * (1 - ratio) + veil + offset[0] * path
    nir = nir * (1 + ratio) + np.float32(0.7) * veil + offset[1] * path
    red = red + noise * rng.standard_normal(red.shape, dtype=np.float32)
    nir = nir + np.float32(1.5) * noise * rng.standard_normal(nir.shape, dtype=np.float32)
    return np.maximum(red, np.float32(0.003)), np.maximum(nir, np.float32(0.003))


def _false_alarms(n: int, built: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clear ground that the mask calls cloud: bright roofs on some dates, and rare patches anywhere."""
    alarm = (rng.random(n) < rng.uniform(0, 0.25))[:, None, None] & built
    for k in np.flatnonzero(rng.random(n) < 0.04):
        alarm[k] |= smooth_fields(rng, 1, *built.shape, 8.0)[0] > 1.6
    return alarm
