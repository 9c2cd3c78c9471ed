"""The thumbnail of the service: NDVI of one date and the start of season, from a result of this package."""

from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_MAX
from fusion.whole_file import whole_file

THUMBNAIL = "thumbnail.png"
SIZE_IN = (6.0, 3.0)


def write_thumbnail(path: Path, fused: xr.Dataset, seasons: xr.Dataset) -> Path:
    """Write a PNG of 600 x 300 px: NDVI in the middle of the period, and SOSD of the first season, days."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    ndvi = fused[NDVI].isel(t=fused.sizes["t"] // 2)
    left.imshow(ndvi.values, cmap="YlGn", vmin=0, vmax=NDVI_MAX, interpolation="nearest")
    left.set_title(f"NDVI, {np.datetime_as_string(ndvi.t.values, unit='D')}", fontsize=9)
    right.imshow(seasons["SOSD_s1"].isel(t=0).values, cmap="viridis", interpolation="nearest")
    right.set_title("Start of season", fontsize=9)
    for axis in (left, right):
        axis.set_xticks([])
        axis.set_yticks([])
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
    return path
