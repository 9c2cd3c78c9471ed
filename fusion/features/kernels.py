"""Gaussian smoothing in time and box means in space; missing values are left out."""

import numpy as np
from scipy.ndimage import uniform_filter1d

from fusion.features.tiling import grown, inside

ROWS_OF_A_BLOCK = 24  # dates whose kernels are cut to the observations that they reach


def time_kernel(obs_days: np.ndarray, grid_days: np.ndarray, sigma_days: float) -> np.ndarray:
    """Gaussian weights (T, n) between grid dates and observations: 1 at distance zero, 0 beyond four sigma."""
    distance = (grid_days[:, None] - obs_days[None, :]) / sigma_days
    return np.where(np.abs(distance) <= 4.0, np.exp(-0.5 * distance**2), 0.0).astype(np.float32)


class TimeSmoother:
    """Kernel-weighted means between two sets of dates, for any number of blocks of pixels.

    Parameters
    ----------
    obs_days, grid_days : int64 (n,), (T,)
        Sorted days since 1970-01-01.
    """

    def __init__(self, obs_days: np.ndarray, grid_days: np.ndarray) -> None:
        self.obs_days, self.grid_days = obs_days, grid_days
        self._blocks: dict[float, list[tuple[slice, slice, np.ndarray]]] = {}

    def __call__(
        self, filled: np.ndarray, weight: np.ndarray | None, sigma_days: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the observations around every grid date.

        Parameters
        ----------
        filled : float32 (n, P)
            Values, 0 where invalid.
        weight : float32 (n, P), optional
            1 where valid, else 0; None where all are valid.
        sigma_days : float
            Standard deviation of the kernel, days.

        Returns
        -------
        mean : float32 (T, P); 0 where no observation lies within four sigma.
        support : float32 (T, P), or (T, 1) where all are valid; sum of the kernel weights.
        """
        pixels = filled.shape[1]
        mean = np.empty((len(self.grid_days), pixels), np.float32)
        support = np.empty((len(self.grid_days), 1 if weight is None else pixels), np.float32)
        with np.errstate(invalid="ignore"):  # OpenBLAS may set this flag although values and products are finite
            for dates, reached, kernel in self._kernels(sigma_days):
                np.matmul(kernel, filled[reached], out=mean[dates])
                if weight is None:
                    kernel.sum(axis=1, keepdims=True, out=support[dates])
                else:
                    np.matmul(kernel, weight[reached], out=support[dates])
        mean /= np.maximum(support, np.float32(1e-6))
        return mean, support

    def _kernels(self, sigma_days: float) -> list[tuple[slice, slice, np.ndarray]]:
        """The kernel in blocks of dates, each without the observations beyond its reach."""
        if sigma_days not in self._blocks:
            self._blocks[sigma_days] = []
            for first in range(0, len(self.grid_days), ROWS_OF_A_BLOCK):
                dates = slice(first, first + ROWS_OF_A_BLOCK)
                kernel = time_kernel(self.obs_days, self.grid_days[dates], sigma_days)
                hits = np.flatnonzero(kernel.any(axis=0))
                reached = slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 0)
                block = np.ascontiguousarray(kernel[:, reached])
                self._blocks[sigma_days].append((dates, reached, block))
        return self._blocks[sigma_days]


WHOLE = slice(None), slice(None)


def box_mean(images: np.ndarray, radius: int, window: tuple[slice, slice] = WHOLE) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the finite pixels in a square window around each pixel, per image.

    Parameters
    ----------
    images : float32 (n, H, W), NaN = missing.
    radius : int
        Half width in pixels; the box has 2 * radius + 1 pixels per side and is cut at the border of the images.
    window : (slice, slice)
        Rows and columns for which means are computed, h x w pixels.

    Returns
    -------
    mean : float32 (n, h, w); 0 where the box has no finite pixel.
    share : float32 (n, h, w); finite share of the box's pixels inside the image.
    """
    (mean,), share = box_means([images], np.isfinite(images), radius, window)
    return mean, share


def box_means(
    fields: list[np.ndarray], valid: np.ndarray, radius: int, window: tuple[slice, slice] = WHOLE
) -> tuple[list[np.ndarray], np.ndarray]:
    """Box means of several fields with the same valid pixels, see :func:`box_mean`; bool ``valid`` (n, H, W)."""
    window = grown(window, valid.shape[1:], 0)
    reach = grown(window, valid.shape[1:], radius)
    rows, columns = inside(window, reach)
    size = 2 * radius + 1

    def means(images: np.ndarray) -> np.ndarray:
        down = uniform_filter1d(images, size, axis=1, mode="constant")[:, rows]
        return uniform_filter1d(down, size, axis=2, mode="constant")[:, :, columns]

    fields, valid = [field[:, *reach] for field in fields], valid[:, *reach]
    area = means(np.ones((1, *valid.shape[1:]), np.float32))
    if valid.all() and len(valid):  # typical for radar; saves half of the work
        return [means(field) / area for field in fields], np.ones((len(valid), *area.shape[1:]), np.float32)
    seen = means(valid.astype(np.float32))
    known, divisor = seen > 1e-6, np.maximum(seen, np.float32(1e-6))
    found = [means(np.where(valid, field, np.float32(0))) / divisor * known for field in fields]
    return found, np.clip(seen / area, 0, 1)
