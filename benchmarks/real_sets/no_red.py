"""Two cubes of 32 x 32 px of 20 m on native dates, in Flanders and in Tanzania. Their files have no red band.

NDVI is taken from the red edge: red is near B05 - 0.35 (B06 - B05), near infrared is B8A. Against true NDVI this has a
mean absolute error of about .05, so the sets teach the course of a field, not its level.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import binary_dilation

from benchmarks.real_sets.series import RealPatch, clear_dates, daily_mean
from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.features.observations import Observations

FLEMISH, TANZANIA = "000028085BF08E7E", "2021_TZA_COPERNICUS-GEOGLAM_POLY_1101950"
LATITUDES = {FLEMISH: 51.2, TANZANIA: -3.7}  # the files hold metres only
PATCH_PX = 8
RED_SLOPE, LEAST_RED = 0.35, 50.0
CLOUD_CLASSES, CLEAR_CLASSES = (3, 8, 9, 10), (4, 5, 6, 7)
CLOUD_MARGIN_PX = 3


def read(data: Path, cube: str) -> Iterator[RealPatch]:
    """The patches of one cube; each quarter of the cube is a group, so that fields are seldom cut by the split."""
    folder = data / "patches_no_red" / cube
    with xr.open_dataset(next(folder.glob("S2_L2A_20m*.nc")), mask_and_scale=False) as file:
        s2 = file.load()  # the fill value of whole numbers would spoil the classes
    with xr.open_dataset(next(folder.glob("S1_*.nc"))) as file:
        s1 = file.load()
    s2_days, ndvi = clear_dates(*daily_mean(s2.timestamp.values, ndvi_without_red(s2)))
    s1_days, vv = daily_mean(s1.timestamp.values, s1.VV.values)
    _, vh = daily_mean(s1.timestamp.values, s1.VH.values)
    height, width = ndvi.shape[1:]
    for row in range(0, height, PATCH_PX):
        for column in range(0, width, PATCH_PX):
            at = (slice(None), slice(row, row + PATCH_PX), slice(column, column + PATCH_PX))
            none = np.zeros((0, PATCH_PX, PATCH_PX), np.float32)
            images = (s2_days, ndvi[at], s1_days, vv[at], vh[at], np.zeros(0, np.int64), none)
            group = f"{cube}_{2 * row // height}{2 * column // width}"
            yield RealPatch(f"r{row:02d}_c{column:02d}", group, Observations(*images, LATITUDES[cube]))


def ndvi_without_red(s2: xr.Dataset) -> np.ndarray:
    """NDVI (n, y, x) from the red edge, NaN where not clear."""
    first, second, infrared = (s2[band].values.astype(np.float64) for band in ("B05", "B06", "B8A"))
    classes = s2.SCL.values
    margin = np.ones((1, 3, 3), bool)
    cloud = binary_dilation(np.isin(classes, CLOUD_CLASSES), margin, iterations=CLOUD_MARGIN_PX)
    clear = np.isin(classes, CLEAR_CLASSES) & ~cloud & (first > 0)
    red = np.maximum(first - RED_SLOPE * (second - first), LEAST_RED)
    ndvi = (infrared - red) / (infrared + red)
    return np.where(clear, np.clip(ndvi, NDVI_MIN, NDVI_MAX), np.nan).astype(np.float32)
