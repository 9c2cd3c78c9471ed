"""Merging images of the same day into one. Also runs in a UDF."""

from typing import Literal

import numpy as np
import xarray as xr

MergeRule = Literal["first", "mean", "max"]


def whole_days(times: np.ndarray) -> np.ndarray:
    """Times floored to days, datetime64[ns]."""
    return np.asarray(times).astype("datetime64[D]").astype("datetime64[ns]")


def one_image_per_day(cube: xr.DataArray, rule: MergeRule = "first") -> xr.DataArray:
    """One image per day: dates floored to days, sorted and unique; see :func:`merge_images` for the rules."""
    return merge_images(cube, whole_days(cube.t.values), rule)


def merge_images(cube: xr.DataArray, labels: np.ndarray, rule: MergeRule = "first") -> xr.DataArray:
    """Merge images that share a label (day or time), per pixel and band; lazy where ``cube`` is lazy.

    Parameters
    ----------
    cube : xarray.DataArray
        Dimension ``t``, sorted or not, and any others.
    labels : numpy.ndarray
        datetime64[ns] (t,), in the same order as the times; ``t`` becomes the sorted unique labels.
    rule : {"first", "mean", "max"}
        "first": the earliest valid value (optical series: a pixel never mixes two images). "mean": the mean (radar in
        linear power; ready-made NDVI products). "max": the maximum (masks: a pixel flagged in any image is flagged).

    Returns
    -------
    xarray.DataArray
        Same dims and attributes. NaN, and 0 in an integer cube, count as missing. Other coordinates along ``t`` are
        those of the first image.
    """
    order = np.lexsort((cube.t.values, labels))
    sorted_cube = cube.isel(t=order)
    days, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    if (counts == 1).all():
        return sorted_cube.assign_coords(t=days)
    along_t = [name for name, c in cube.coords.items() if name != "t" and "t" in c.dims]
    bare = sorted_cube.drop_vars(["t", *along_t])
    images = [_merged(bare.isel(t=slice(k, k + n)), rule) for k, n in zip(first, counts, strict=True)]
    merged = xr.concat(images, xr.Variable("t", days)).transpose(*cube.dims)
    merged.attrs, merged.name = cube.attrs, cube.name
    return merged.assign_coords({name: sorted_cube[name].isel(t=first).variable for name in along_t})


def _merged(images: xr.DataArray, rule: MergeRule) -> xr.DataArray:
    if images.sizes["t"] == 1:
        return images.isel(t=0)
    if rule != "first":
        return images.mean("t", skipna=True) if rule == "mean" else images.max("t")
    image = images.isel(t=0)
    for k in range(1, images.sizes["t"]):
        seen = image.notnull() if image.dtype.kind == "f" else image != 0
        image = image.where(seen, images.isel(t=k))
    return image
