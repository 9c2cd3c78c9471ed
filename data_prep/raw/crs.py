"""The CRS of a file, and its axes as pixel centres in that CRS: right, or refused where both contradict."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_prep.raw.cubes import SourceError

_KM = ("km", "kilometer", "kilometre", "kilometers", "kilometres")
_UNEVEN = 0.3  # of a step; single precision rounds UTM northings to half a metre
_HALF = 0.02  # of a pixel, around a half


def find_crs(dataset: xr.Dataset) -> Any:
    """CRS of rasterio: the one that the bands point to, else any that the file holds; None where there is none."""
    from pyproj import CRS as ProjCRS
    from pyproj.exceptions import CRSError as ProjError
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    pointed = [v.attrs.get("grid_mapping", v.encoding.get("grid_mapping")) for v in dataset.data_vars.values()]
    named = [dataset.variables[name] for name in dict.fromkeys(pointed) if name in dataset.variables]
    candidates: list[Any] = []
    for variable in (*named, *dataset.variables.values()):
        candidates += [variable.attrs.get("crs_wkt"), variable.attrs.get("spatial_ref")]
        if "grid_mapping_name" in variable.attrs:
            with contextlib.suppress(ProjError, KeyError, ValueError, TypeError):  # incomplete; another may tell
                candidates.append(ProjCRS.from_cf(variable.attrs).to_wkt())
    candidates += [dataset.attrs.get("crs_wkt"), dataset.attrs.get("epsg"), dataset.attrs.get("crs")]
    if any(str(d).lower() in ("lat", "latitude") for d in dataset.dims):
        candidates.append(4326)
    for candidate in candidates:
        if candidate in (None, ""):
            continue
        text = str(candidate)
        try:
            return CRS.from_epsg(int(text)) if text.isdigit() else CRS.from_user_input(text.replace("+init=", ""))
        except (CRSError, ValueError):
            continue
    return None


def on_plain_axes(dataset: xr.Dataset, crs: Any, path: Path) -> xr.Dataset:
    """The data set (dims t, y, x) with metres for kilometres and longitudes from -180 to 180, evenly spaced.

    Raises
    ------
    SourceError
        Steps along an axis differ, coordinates are no positions in the CRS, or lie on corners of pixels.
    """
    for axis in ("y", "x"):
        if axis not in dataset.coords or dataset[axis].dims != (axis,) or dataset[axis].dtype.kind not in "fiu":
            return dataset
        units = str(dataset[axis].attrs.get("units", "")).strip().lower()
        if units in _KM and not crs.is_geographic:
            dataset = dataset.assign_coords({axis: dataset[axis].astype(np.float64) * 1000.0})
    x = dataset.x.values
    if crs.is_geographic and 180 < x.max() <= 360 and x.min() >= -1e-6:
        turned = (np.asarray(x, np.float64) + 180.0) % 360.0 - 180.0
        dataset = dataset.assign_coords(x=turned).sortby("x")
    _refuse_contradiction(dataset, crs, path)
    for axis in ("y", "x"):
        _refuse_uneven(np.asarray(dataset[axis].values, np.float64), axis, path)
    _refuse_corners(dataset, path)
    return dataset


def _refuse_contradiction(dataset: xr.Dataset, crs: Any, path: Path) -> None:
    (left, right), (bottom, top) = ((float(dataset[a].min()), float(dataset[a].max())) for a in ("x", "y"))
    span = f"x runs from {left:.8g} to {right:.8g} and y from {bottom:.8g} to {top:.8g}"
    seen = f"{path} names {crs.to_string()}, but {span}"
    if crs.is_geographic and (max(abs(left), abs(right)) > 360 or max(abs(bottom), abs(top)) > 90.01):
        raise SourceError(f"{seen}; these are no degrees; write the CRS of these coordinates (rio.write_crs)")
    small = max(abs(left), abs(right)) <= 360 and max(abs(bottom), abs(top)) <= 90
    if (
        not crs.is_geographic
        and small
        and dataset.sizes["x"] > 1
        and abs(dataset.x.values[1] - dataset.x.values[0]) < 1
    ):
        raise SourceError(f"{seen}; these are degrees; write their CRS, EPSG:4326 (rio.write_crs)")


def _refuse_uneven(centres: np.ndarray, axis: str, path: Path) -> None:
    steps = np.diff(centres)
    if len(steps) < 2:
        return
    middle = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - middle)))
    if not abs(steps[worst] - middle) <= _UNEVEN * abs(middle):
        raise SourceError(
            f"{path}: {axis} goes on by {middle:.8g}, but by {steps[worst]:.8g} after {centres[worst]:.8g}; expected "
            "even steps; rows or columns are missing, or positions are no grid: fill them (reindex) or resample"
        )


def _refuse_corners(dataset: xr.Dataset, path: Path) -> None:
    """Coordinates half a pixel away from what the file's own GeoTransform says, along both axes."""
    told = next((v.attrs["GeoTransform"] for v in dataset.variables.values() if "GeoTransform" in v.attrs), None)
    numbers = [float(number) for number in str(told).split()] if told is not None else []
    if len(numbers) != 6 or min(dataset.sizes["x"], dataset.sizes["y"]) < 2:
        return
    aside = []
    for axis, origin, step in (("x", numbers[0], numbers[1]), ("y", numbers[3], numbers[5])):
        first, second = (float(v) for v in dataset[axis].values[:2])
        if step == 0 or abs(abs(second - first) - abs(step)) > _HALF * abs(step):
            return  # of another grid: left behind by what cut or resampled the file
        aside.append(abs(((first - origin) / step) % 1.0))  # a half at pixel centres
    if all(min(part, 1.0 - part) < _HALF for part in aside):
        raise SourceError(
            f"{path}: x begins with {float(dataset.x.values[0]):.8g}, the corner of a pixel by its GeoTransform "
            f"({numbers[0]:.8g}, steps of {numbers[1]:.8g}); expected pixel centres; move x and y by half a pixel, or "
            "remove the attribute GeoTransform if they are centres"
        )
