"""Means over time of series that need not fit into memory."""

from collections.abc import Iterator

import dask
import numpy as np
import xarray as xr


def time_means(bands: dict[str, xr.DataArray], groups: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Mean over each group of images, float32 (y, x), NaN where no image of it has a value.

    All bands are read once and together, some images at a time; a lazy series gives what one in memory gives.

    Parameters
    ----------
    bands : dict of xarray.DataArray
        Dims (t, y, x), on the same dates.
    groups : list of numpy.ndarray
        Positions along t.
    """
    shapes = {name: values.shape[1:] for name, values in bands.items()}
    totals = {name: [np.zeros(shape, np.float32) for _ in groups] for name, shape in shapes.items()}
    counts = {name: [np.zeros(shape, np.int32) for _ in groups] for name, shape in shapes.items()}
    for part, images in _in_parts(bands):
        for name, values in images.items():
            for total, count, group in zip(totals[name], counts[name], groups, strict=True):
                for image in values[group[(group >= part.start) & (group < part.stop)] - part.start]:
                    seen = np.isfinite(image)
                    np.add(total, image, out=total, where=seen)
                    count += seen
    with np.errstate(invalid="ignore"):
        return {
            name: [(total / count).astype(np.float32) for total, count in zip(totals[name], counts[name], strict=True)]
            for name in bands
        }


def _in_parts(bands: dict[str, xr.DataArray]) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The values of all bands, along t chunk by chunk of the first."""
    first = next(iter(bands.values()))
    start = 0
    for size in first.chunksizes.get("t", (first.sizes["t"],)):
        part = slice(start, start + size)
        yield part, dict(zip(bands, dask.compute(*(band.isel(t=part).data for band in bands.values())), strict=True))
        start = part.stop
