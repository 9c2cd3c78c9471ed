"""Observations behind a fused series: how many Sentinel-2 observations of a pixel lie nearest to each date."""

import numpy as np

from fusion.contract import TimeGrid
from fusion.features.observations import Observations
from fusion.features.tiling import Tile, inside

COUNT_ATTRS = {"units": "1", "long_name": "Sentinel-2 observations of the pixel that lie nearest to the date"}
MAX_COUNT = 255  # a larger number is written as 255


def add_counts(counts: np.ndarray, obs: Observations, part: Tile, grid: TimeGrid) -> None:
    """Write the counts of a tile's core into ``counts``, uint8 (T, h, w); ``obs`` covers the tile's reach.

    Observations within half a time step of a date count for it, those halfway between two dates for the later one.
    """
    rows, columns = inside(part.core, part.reach)
    nearest = np.floor((obs.s2_days - grid.days[0]) / grid.step_days + 0.5).astype(np.int64)
    for day in range(len(grid.days)):
        at = np.flatnonzero(nearest == day)
        if len(at):
            seen = np.isfinite(obs.s2_ndvi[at, rows, columns]).sum(axis=0)
            counts[day] = np.minimum(seen, MAX_COUNT)
