"""Converts the chunk that a back-end passes to a UDF to a cube of the contract. Bundled into both UDF files."""

import datetime

import numpy as np
import xarray as xr

from fusion.contract import COARSE_NDVI, DIMS, S2NDVI, ContractError, check_dates
from udf.context import ROLES, unknown_word


def in_order(cube: xr.DataArray) -> xr.DataArray:
    """Dims (t, bands, y, x) in this order, float32, infinite values NaN; a missing band dimension becomes one band.

    Raises
    ------
    ContractError
        No t (the UDF was called date by date), other dims, no pixels.
    """
    if not isinstance(cube, xr.DataArray):
        raise ContractError(f"the UDF got a {type(cube).__name__}; expected an xarray.DataArray with dims {DIMS}")
    if "t" not in cube.dims:
        raise ContractError(
            f"the UDF got dims {tuple(cube.dims)} without t: it was called date by date; call it with "
            "apply_neighborhood (size in x and y only) or apply_dimension over t"
        )
    strange = [d for d in cube.dims if d not in DIMS]
    missing = [d for d in ("y", "x") if d not in cube.dims]
    if strange or missing:
        raise ContractError(f"the UDF got dims {tuple(cube.dims)}; expected {DIMS}; rename or add {strange or missing}")
    if "bands" not in cube.dims:
        cube = cube.drop_vars("bands", errors="ignore").expand_dims("bands")
    cube = cube.transpose(*DIMS)
    if cube.sizes["y"] == 0 or cube.sizes["x"] == 0:
        raise ContractError(f"the UDF got a chunk without pixels (y={cube.sizes['y']}, x={cube.sizes['x']})")
    if cube.dtype.kind not in "fiub":
        raise ContractError(f"the UDF got values of type {cube.dtype}; expected numbers")
    values = np.array(cube.values, dtype=np.float32)
    if (infinite := np.isinf(values)).any():
        values[infinite] = np.nan
    kept = {name: cube[name].values for name in DIMS if name in cube.coords}
    return xr.DataArray(values, dims=DIMS, coords=kept)


def in_time(cube: xr.DataArray) -> xr.DataArray:
    """Dates as datetime64[ns], sorted; text and objects of Python are read where they tell UTC, or no time zone.

    Raises
    ------
    ContractError
        No dates, labels that are not dates, another time zone, years that nanoseconds do not hold.
    """
    if "t" not in cube.coords:
        raise ContractError("the UDF got a cube without dates on t; keep the labels of t in the steps before it")
    t = cube.t.values
    if t.dtype.kind in "OUS":
        t = np.array([_moment(label) for label in t], "datetime64[us]")
    if t.dtype.kind != "M":
        raise ContractError(f"the dates on t are of type {t.dtype}; expected datetimes")
    if np.isnat(t).any():
        raise ContractError("a date on t is missing (NaT); drop it before the UDF")
    if (t[1:] < t[:-1]).any():
        cube = cube.isel(t=np.argsort(t, kind="stable"))
    cube = cube.assign_coords(t=np.sort(t, kind="stable"))
    check_dates(cube)
    return cube.assign_coords(t=cube.t.values.astype("datetime64[ns]"))


def _moment(label: object) -> object:
    """A label of t as a datetime without a time zone, in UTC; NaT where it is missing."""
    if label is None or label != label:
        return np.datetime64("NaT")
    text = label.decode() if isinstance(label, bytes) else str(label)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ContractError(f"a date on t is {text!r}; expected ISO 8601, such as 2021-05-01T10:30:00Z") from None
    if moment.utcoffset():
        raise ContractError(f"a date on t is {text!r}; expected UTC; shift the labels of t to UTC before the UDF")
    return moment.replace(tzinfo=None)


def by_role(cube: xr.DataArray, context: dict) -> xr.DataArray:
    """Bands renamed to their roles, others left out; NDVI scaled to physical values.

    Raises
    ------
    ContractError
        Labels are missing and the context does not give the order; a label of the context is absent; no S2NDVI.
    """
    labels = _labels(cube, context)
    named = context["bands"] or {}
    for role, label in named.items():
        if str(label) not in labels:
            raise ContractError(unknown_word(f"context bands: label {label!r} for {role}", str(label), tuple(labels)))
    role_of = {label: label for label in ROLES if label not in named and label in labels}
    role_of |= {str(label): role for role, label in named.items()}
    if S2NDVI not in role_of.values():
        raise ContractError(
            f"the cube has bands {labels}; the band of Sentinel-2 NDVI is missing; label it {S2NDVI!r} or "
            "name it in the context: bands={'S2NDVI': label}"
        )
    picked = [k for k, label in enumerate(labels) if label in role_of]
    out = cube if len(picked) == len(labels) else cube.isel(bands=picked)
    out = out.assign_coords(bands=[role_of[labels[k]] for k in picked])
    for role, scale, offset in (
        (S2NDVI, context["ndvi_scale"], context["ndvi_offset"]),
        (COARSE_NDVI, context["coarse_scale"], context["coarse_offset"]),
    ):
        if role in out.bands.values and (scale != 1 or offset != 0):
            k = list(out.bands.values).index(role)
            values = out.values.copy()
            values[:, k] = values[:, k] * np.float32(scale) + np.float32(offset)
            out = out.copy(data=values)
    return out


def _labels(cube: xr.DataArray, context: dict) -> list[str]:
    """Band labels as text; from the context's ``band_order`` where the cube has none."""
    count = cube.sizes["bands"]
    if "bands" in cube.coords:
        labels = [str(b) for b in np.atleast_1d(cube.bands.values)]
    elif context["band_order"]:
        if len(context["band_order"]) != count:
            raise ContractError(
                f"the cube has {count} bands, context band_order names {len(context['band_order'])}: "
                f"{context['band_order']}"
            )
        labels = [str(b) for b in context["band_order"]]
    elif count == 1:
        labels = [S2NDVI]
    else:
        raise ContractError(
            f"the cube has {count} bands without labels; give their order in the context, for example "
            f"band_order={list(ROLES)[:count]}"
        )
    if len(set(labels)) != len(labels):
        raise ContractError(f"the cube has bands {labels}; each label may occur once")
    return labels
