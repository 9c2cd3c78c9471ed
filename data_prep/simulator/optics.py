"""Sentinel-2: acquisition dates, clouds and shadows, errors of the cloud mask, and errors of the reflectance.

Dates follow the 5-day repeat cycle of the two satellites on each relative orbit (ESA Sentinel-2 User Handbook). Errors
act on the red and near-infrared reflectance, so that NDVI errors are realistic: thin cloud and haze are a white layer
that lowers NDVI; additive errors of the atmospheric correction increase with path length at low sun (Doxani et al.
2018, doi:10.3390/rs10020352; required accuracy of Sen2Cor: 0.005 + 5 %); the view angle changes the ratio of the bands
(Roy et al. 2017, doi:10.1016/j.rse.2017.06.019); and the cloud mask has errors of omission and commission (Tarrio et
al. 2020, doi:10.1016/j.srs.2020.100010; Skakun et al. 2022, doi:10.1016/j.rse.2022.112990).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.special import ndtri

from data_prep.simulator.compiled import njit
from data_prep.simulator.fields import draw, smooth_fields
from data_prep.simulator.settings import OpticsSettings
from data_prep.simulator.weather import Weather
from fusion.cloud_mask import NARROW, WIDE, gaussian_weights
from fusion.contract import NDVI_MAX, NDVI_MIN

CLOUD_REFLECTANCE = (0.62, 0.60)  # red and NIR of thick cloud
SNOW_REFLECTANCE = (0.75, 0.72)


@dataclass(frozen=True)
class OpticalObservations:
    """Sentinel-2 observations: bands with all errors, detected cloud and snow, and actual disturbances."""

    index: np.ndarray  # int64 (n,), day index of each observation
    red: np.ndarray  # float32 (n, H, W)
    nir: np.ndarray
    cloud: np.ndarray  # bool (n, H, W): classified as cloud or shadow, before dilation
    shadow: np.ndarray  # bool (n, H, W): classified as shadow; subset of cloud
    snow: np.ndarray  # bool (n, H, W): classified as snow
    disturbed: np.ndarray  # bool (n, H, W): cloud, shadow or snow affects the pixel
    mask: str  # mask to apply: "square" or "gaussian"
    dilation_px: int  # radius of the square mask
    pixel_m: float  # pixel size, metres; sets the size of the Gaussian kernels

    def masked_ndvi(self) -> np.ndarray:
        """NDVI as in the merged cube, float32 (n, H, W), clipped to -0.2..1; NaN = masked."""
        if self.mask == "gaussian":
            masked = gaussian_mask(self.cloud, self.snow, self.pixel_m)
        else:
            masked = dilate(self.cloud, self.dilation_px) | self.snow
        ndvi = (self.nir - self.red) / (self.nir + self.red)
        ndvi = np.clip(ndvi, np.float32(NDVI_MIN), np.float32(NDVI_MAX))
        ndvi[masked] = np.nan
        return ndvi


def cloud_threshold(settings: OpticsSettings, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Threshold of ``weather.cloud`` above which a day is cloudy, (n_days,), from mean and seasonal cloudiness."""
    mean, swing = draw(rng, settings.cloudiness), draw(rng, settings.cloud_season)
    if rng.random() < 0.15:
        swing = -0.5 * swing  # climates with rain in summer
    return -ndtri(np.clip(mean + swing * weather.winter, 0.2, 0.95))


def obs_days(settings: OpticsSettings, n_days: int, rng: np.random.Generator) -> np.ndarray:
    """Day indices of the overpasses, sorted, int64."""
    orbits = int(rng.integers(settings.orbits[0], settings.orbits[1] + 1))
    first = rng.permutation(5)[:orbits]
    days = np.concatenate([np.arange(f, n_days, 5) for f in first])
    lost = rng.random(len(days)) < 0.03
    return np.unique(days[~lost])


def observe(
    settings: OpticsSettings,
    truth: np.ndarray,
    bright: np.ndarray,
    built: np.ndarray,
    weather: Weather,
    threshold: np.ndarray,
    resolution_m: float,
    rng: np.random.Generator,
) -> OpticalObservations:
    """Sentinel-2 observations of the scene; dates on which the mask detects cloud everywhere are left out.

    Parameters
    ----------
    truth : numpy.ndarray
        True daily NDVI, (n_days, H, W).
    bright : numpy.ndarray
        Relative brightness of the surface, (H, W), about 1.
    built : numpy.ndarray
        Bright artificial surfaces, often misclassified as cloud, bool (H, W).
    threshold : numpy.ndarray
        Result of :func:`cloud_threshold`, (n_days,).
    """
    days = obs_days(settings, len(truth), rng)
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
    cloud_flag = layer > detection[:, None, None]
    keep = ~cloud_flag.all(axis=(1, 2))
    days, layer, cloud_flag = days[keep], layer[keep], cloud_flag[keep]
    shadow = _shadows(layer, rng)
    snow, patch = _snow(layer.shape, settings, weather.snow[days], rng)
    red, nir, disturbed = _bands(truth[days], bright, layer, shadow, patch, settings, weather.cos_sun[days], rng)
    shadow_flag = (rng.random(len(days)) < 0.75)[:, None, None] & (shadow > 0.5) & ~cloud_flag
    cloud_flag = cloud_flag | shadow_flag | _false_alarms(len(days), built, rng)
    dilation = int(rng.integers(settings.dilation_px[0], settings.dilation_px[1] + 1))
    mask = "gaussian" if rng.random() < settings.gaussian_mask_probability else "square"
    return OpticalObservations(days, red, nir, cloud_flag, shadow_flag, snow, disturbed, mask, dilation, resolution_m)


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Square dilation of masks, bool (n, H, W), by ``radius`` pixels."""
    if radius <= 0 or mask.size == 0:
        return mask
    size = 2 * radius + 1
    grown = maximum_filter1d(mask.view(np.uint8), size, axis=2)
    return maximum_filter1d(grown, size, axis=1).view(bool)


def gaussian_mask(cloud: np.ndarray, snow: np.ndarray, pixel_m: float) -> np.ndarray:
    """Default mask of the merged cube (:mod:`fusion.cloud_mask`) as matrix products, bool (n, H, W), True = masked."""
    masked = np.zeros(cloud.shape, bool)
    for flag, kernel in ((cloud | snow, NARROW), (cloud, WIDE)):
        weights = gaussian_weights(kernel.size_px(pixel_m))
        rows, columns = (_band_matrix(weights, length) for length in flag.shape[1:])
        masked |= rows @ flag.astype(np.float32) @ columns > kernel.threshold
    return masked


def _band_matrix(weights: np.ndarray, length: int) -> np.ndarray:
    """The convolution with a symmetric kernel, zero outside, as a matrix, float32 (length, length)."""
    reach = len(weights) // 2
    offset = np.abs(np.arange(length)[:, None] - np.arange(length))
    inside = offset <= reach
    return np.where(inside, weights[reach + np.where(inside, offset, 0)], 0.0).astype(np.float32)


def _shadows(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shadow of the thick part of the cloud field, 0..1, displaced by the cloud height, (n, H, W)."""
    shift = rng.integers(6, 30, 2) * rng.choice((-1, 1), 2)
    thick = np.clip(3 * (layer - np.float32(0.15)), 0, 1)
    return np.clip(np.roll(thick, tuple(shift), axis=(1, 2)) - np.clip(6 * layer + np.float32(0.6), 0, 1), 0, 1)


def _snow(
    shape: tuple[int, ...], settings: OpticsSettings, cover: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels classified as snow (bool), and snow-covered share of each pixel (float32), both (n, H, W)."""
    snow, patch = np.zeros(shape, bool), np.zeros(shape, np.float32)
    for k in np.flatnonzero(cover > 0.05):
        patch[k] = np.clip(cover[k] + 0.25 * smooth_fields(rng, 1, shape[1], shape[2], 12.0)[0], 0, 1)
        found = rng.random() >= settings.snow_missed
        snow[k] = patch[k] > (0.25 if found else 0.8)
    return snow, patch


def _bands(
    ndvi: np.ndarray,
    bright: np.ndarray,
    layer: np.ndarray,
    shadow: np.ndarray,
    snow: np.ndarray,
    settings: OpticsSettings,
    cos_sun: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Red and NIR reflectance with all errors, and pixels affected by cloud, shadow or snow; (n, H, W) each."""
    n, height, width = ndvi.shape
    path = cos_sun**-0.8  # relative path length, longer at low sun
    # the correction removes the mean aerosol: the error has almost no bias, but a long tail
    air = draw(rng, settings.clean_air) if rng.random() < settings.clean_air_probability else 1.0
    haze = air * draw(rng, settings.haze) * (rng.standard_gamma(0.8, n) - 0.75) * path
    uneven = smooth_fields(rng, n, height, width, rng.uniform(8, 40))
    offset = air * draw(rng, settings.band_bias) * rng.standard_t(4, (2, n)) * path
    ratio = air * draw(rng, settings.brdf) * rng.standard_normal(n)
    shift = draw(rng, settings.shift_px) * rng.standard_normal((2, n))
    per_date = np.stack([haze, offset[0], offset[1], ratio, shift[0], shift[1]], 1).astype(np.float32)
    noise = np.float32(draw(rng, settings.pixel_noise)) * rng.standard_normal((2, *ndvi.shape), dtype=np.float32)
    thickness, darkness = np.float32(rng.uniform(0.6, 1.5)), np.float32(rng.uniform(0.3, 0.6))
    return _render(ndvi, bright, layer, shadow, snow, uneven, noise[0], noise[1], per_date, thickness, darkness)


@njit(cache=False, fastmath=True)
def _render(ndvi, bright, layer, shadow, snow, uneven, noise_red, noise_nir, per_date, thickness, darkness):
    n, height, width = ndvi.shape
    red, nir = np.empty_like(ndvi), np.empty_like(ndvi)
    disturbed = np.zeros(ndvi.shape, np.bool_)
    one, zero = np.float32(1.0), np.float32(0.0)
    for k in range(n):
        haze, bias_red, bias_nir, ratio, dy, dx = per_date[k]
        for i in range(height):
            up, down = max(i - 1, 0), min(i + 1, height - 1)
            for j in range(width):
                left, right = max(j - 1, 0), min(j + 1, width - 1)
                v = ndvi[k, i, j]
                # geolocation error to first order: image shifted by (dy, dx) pixels
                v += np.float32(0.5) * (
                    dy * (ndvi[k, down, j] - ndvi[k, up, j]) + dx * (ndvi[k, i, right] - ndvi[k, i, left])
                )
                v = min(max(v, np.float32(-0.3)), np.float32(0.97))
                green = max(v, zero)
                b = (
                    np.float32(0.05)
                    if v < np.float32(0.03)
                    else bright[i, j] * (np.float32(0.20) + np.float32(0.22) * green * np.sqrt(green))
                )
                a = b * (one - v) / (one + v)
                snow_share = snow[k, i, j]
                a += snow_share * (np.float32(SNOW_REFLECTANCE[0]) - a)
                b += snow_share * (np.float32(SNOW_REFLECTANCE[1]) - b)
                transmission = one - shadow[k, i, j] * darkness
                a, b = a * transmission, b * transmission
                depth = layer[k, i, j] + np.float32(0.12)
                opacity = one - np.exp(-depth * thickness) if depth > zero else zero
                a += opacity * (np.float32(CLOUD_REFLECTANCE[0]) - a)
                b += opacity * (np.float32(CLOUD_REFLECTANCE[1]) - b)
                veil = haze * np.exp(np.float32(0.5) * uneven[k, i, j] - np.float32(0.125))
                a = a * (one - ratio) + veil + bias_red + noise_red[k, i, j]
                b = b * (one + ratio) + np.float32(0.7) * veil + bias_nir + np.float32(1.5) * noise_nir[k, i, j]
                red[k, i, j], nir[k, i, j] = max(a, np.float32(0.003)), max(b, np.float32(0.003))
                disturbed[k, i, j] = opacity > 0.03 or shadow[k, i, j] > 0.3 or snow_share > 0.05
    return red, nir, disturbed


def _false_alarms(n: int, built: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clear pixels classified as cloud, bool (n, H, W): bright roofs on some dates, and rare patches anywhere."""
    alarm = (rng.random(n) < rng.uniform(0, 0.25))[:, None, None] & built
    for k in np.flatnonzero(rng.random(n) < 0.04):
        alarm[k] |= smooth_fields(rng, 1, built.shape[0], built.shape[1], 8.0)[0] > 1.6
    return alarm
