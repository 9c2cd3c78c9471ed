"""Metrics of whole NDVI images: structure, edges and texture. Frames are (y, x); NaN is no value."""

import numpy as np
from scipy.ndimage import gaussian_filter

from fusion.contract import NDVI_MAX, NDVI_MIN

SSIM_SIGMA_PX = 1.5  # the gaussian window of Wang et al. 2004
SSIM_K1, SSIM_K2 = 0.01, 0.03
SPECTRUM_MIN_PX = 16  # smaller frames have too few radial frequencies
SPECTRUM_FLOOR = 1e-12  # NDVI^2; keeps the logarithm of a perfectly flat image finite


def gradient_magnitude(frame: np.ndarray) -> np.ndarray:
    """Length of the NDVI gradient, NDVI a pixel, by central differences; NaN where a neighbour is missing."""
    along_y, along_x = np.gradient(np.asarray(frame, np.float64))
    return np.hypot(along_y, along_x)


def gradient_error(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute difference of the gradient magnitudes, NDVI a pixel (Mathieu et al. 2016, arXiv:1511.05440)."""
    if min(prediction.shape) < 2:
        return float("nan")
    difference = np.abs(gradient_magnitude(prediction) - gradient_magnitude(reference))
    return float(np.nanmean(difference)) if np.isfinite(difference).any() else float("nan")


def ssim(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861), 1 is equal.

    The dynamic range is the contract's NDVI range. Windows are weighted by the pixels that both images have, and
    only pixels that have both count.
    """
    pair = np.isfinite(prediction) & np.isfinite(reference)
    if min(prediction.shape) < 2 or not pair.any():
        return float("nan")
    weight = gaussian_filter(pair.astype(np.float64), SSIM_SIGMA_PX, mode="constant")
    weight = np.where(pair, weight, 1.0)

    def local_mean(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(np.where(pair, image, 0.0).astype(np.float64), SSIM_SIGMA_PX, mode="constant") / weight

    a, b = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    cov = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * (NDVI_MAX - NDVI_MIN)) ** 2, (SSIM_K2 * (NDVI_MAX - NDVI_MIN)) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(score[pair].mean())


def radial_power(image: np.ndarray) -> np.ndarray:
    """Radially averaged power spectrum of a NaN-free image about its mean, from frequency 1 up to Nyquist.

    Frequencies are whole cycles per shorter side. A Hann window keeps the image border out of the spectrum.
    """
    height, width = image.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    centred = (image - np.average(image, weights=window)) * window
    power = np.abs(np.fft.fft2(centred)) ** 2 / (window**2).sum()
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]) * side
    ring = np.rint(radius).astype(int)
    inside = (ring >= 1) & (ring <= side // 2)
    total = np.bincount(ring[inside], weights=power[inside], minlength=side // 2 + 1)
    count = np.bincount(ring[inside], minlength=side // 2 + 1)
    return total[1:] / count[1:]


def gradient_spectrum(frame: np.ndarray) -> np.ndarray | None:
    """log10 of the radially averaged power spectrum of a frame's NDVI gradient magnitude, from frequency 1 to Nyquist.

    None for frames with gaps or under 16 px.
    """
    if min(frame.shape) < SPECTRUM_MIN_PX or not np.isfinite(frame).all():
        return None
    return np.log10(radial_power(gradient_magnitude(frame)) + SPECTRUM_FLOOR)


def gradient_spectrum_error(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the upper half of the radial frequencies of |log10 P_prediction - log10 P_reference|.

    P is the radially averaged power spectrum of the NDVI gradient magnitude: too smooth a prediction has too little
    power at high frequencies. 0 is equal, 1 is a factor of ten. NaN for frames with gaps or under 16 px.
    """
    return float(np.abs(_upper_spectrum_difference(prediction, reference)).mean())


def gradient_spectrum_bias(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The same without the absolute value: negative is too smooth, positive too rough.

    Near 0 beside a large :func:`gradient_spectrum_error`: contrasts between fields are wrong, not the texture.
    """
    return float(_upper_spectrum_difference(prediction, reference).mean())


def _upper_spectrum_difference(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    predicted, true = gradient_spectrum(prediction), gradient_spectrum(reference)
    if predicted is None or true is None:
        return np.array([np.nan])
    return (predicted - true)[true.size // 2 :]
