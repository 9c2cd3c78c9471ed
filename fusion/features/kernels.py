"""Gaussian smoothing in time and box means in space; missing values are left out."""

import numpy as np
from scipy.ndimage import uniform_filter


def time_kernel(obs_days: np.ndarray, grid_days: np.ndarray, sigma_days: float) -> np.ndarray:
    """Gaussian weights (T, n) between grid dates and observations: 1 at distance zero, 0 beyond four sigma."""
    distance = (grid_days[:, None] - obs_days[None, :]) / sigma_days
    return np.where(np.abs(distance) <= 4.0, np.exp(-0.5 * distance**2), 0.0).astype(np.float32)


def smooth_in_time(
    filled: np.ndarray, valid: np.ndarray, obs_days: np.ndarray, grid_days: np.ndarray, sigma_days: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel-weighted mean of the valid observations around every grid date.

    Parameters
    ----------
    filled : float32 (n, P)
        Values, 0 where invalid.
    valid : float32 (n, P)
        1 where valid, else 0.
    obs_days, grid_days : int64 (n,), (T,)
        Days since 1970-01-01.
    sigma_days : float
        Standard deviation of the kernel, days.

    Returns
    -------
    mean : float32 (T, P); 0 where no observation lies within four sigma.
    support : float32 (T, P); sum of the kernel weights.
    """
    weights = time_kernel(obs_days, grid_days, sigma_days)
    support = weights @ valid
    mean = (weights @ filled) / np.maximum(support, np.float32(1e-6))
    return mean, support


def box_mean(images: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the finite pixels in a square window around each pixel, per image.

    Parameters
    ----------
    images : float32 (n, H, W), NaN = missing.
    radius : int
        Half width in pixels; the window has 2 * radius + 1 pixels per side and is cut at the border.

    Returns
    -------
    mean : float32 (n, H, W); 0 where the window has no finite pixel.
    share : float32 (n, H, W); finite share of the window's pixels inside the image.
    """
    size = (1, 2 * radius + 1, 2 * radius + 1)
    valid = np.isfinite(images)
    inside = uniform_filter(np.ones((1, *images.shape[1:]), np.float32), size, mode="constant")
    if valid.all() and len(images):  # typical for radar; saves half of the work
        return uniform_filter(images, size, mode="constant") / inside, np.ones_like(images)
    seen = uniform_filter(valid.astype(np.float32), size, mode="constant")
    total = uniform_filter(np.where(valid, images, np.float32(0)), size, mode="constant")
    mean = np.where(seen > 1e-6, total / np.maximum(seen, np.float32(1e-6)), np.float32(0))
    return mean, np.clip(seen / inside, 0, 1)
