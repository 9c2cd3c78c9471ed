"""Metrics of NDVI images: structure and edges. Images are (y, x); NaN is missing."""

import numpy as np
from scipy.ndimage import gaussian_filter

from fusion.contract import NDVI_MAX, NDVI_MIN

SSIM_SIGMA_PX = 1.5  # standard deviation of the Gaussian window, Wang et al. 2004
SSIM_K1, SSIM_K2 = 0.01, 0.03


def gradient_magnitude(frame: np.ndarray) -> np.ndarray:
    """Magnitude of the NDVI gradient, NDVI per pixel, by central differences; NaN where a neighbour is missing."""
    along_y, along_x = np.gradient(np.asarray(frame, np.float64))
    return np.hypot(along_y, along_x)


def gradient_error(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute difference of gradient magnitudes, NDVI per pixel (Mathieu et al. 2016, arXiv:1511.05440)."""
    if min(prediction.shape) < 2:
        return float("nan")
    difference = np.abs(gradient_magnitude(prediction) - gradient_magnitude(reference))
    return float(np.nanmean(difference)) if np.isfinite(difference).any() else float("nan")


def ssim(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861); 1 for equal images.

    The dynamic range is the NDVI range of the contract. Only pixels that are finite in both images contribute, to
    the local windows and to the mean.
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
