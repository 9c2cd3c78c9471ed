"""What the readers of the real sets have in common."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from fusion.features.observations import Observations
from fusion.same_day import one_image_per_day


class RealPatch(NamedTuple):
    """One patch of a set: its name, the group that belongs to one split as a whole, its observations."""

    name: str
    group: str
    observations: Observations


def daily_mean(times: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970 (m,) and the mean image of each, float32 (m, y, x), NaN where no image of the day has a value."""
    series = xr.DataArray(images, dims=("t", "y", "x"), coords={"t": times})
    daily = one_image_per_day(series, "mean")
    return daily.t.values.astype("datetime64[D]").astype(np.int64), daily.values.astype(np.float32)


def clear_dates(days: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dates with a clear pixel, and their images."""
    seen = np.isfinite(images).any(axis=(1, 2))
    return days[seen], images[seen]
