"""What the readers of the real sets have in common."""

import warnings
from typing import NamedTuple

import numpy as np

from fusion.features.observations import Observations


class RealPatch(NamedTuple):
    """One patch of a set: its name, the group that belongs to one split as a whole, its observations."""

    name: str
    group: str
    observations: Observations


def daily_mean(times: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970 (m,) and the mean image of each, float32 (m, y, x), NaN where no image of the day has a value."""
    days, row = np.unique(times.astype("datetime64[D]").astype(np.int64), return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any value
        means = [np.nanmean(images[row == k], axis=0) for k in range(len(days))]
    return days, np.stack(means).astype(np.float32)


def clear_dates(days: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dates with a clear pixel, and their images."""
    seen = np.isfinite(images).any(axis=(1, 2))
    return days[seen], images[seen]
