"""Overlap resolvers of ``merge_cubes`` that GeoPySpark back-ends know, by the name of their process."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from udf.local.grid import keep_crs

RESOLVERS: dict[str, Callable] = {
    "max": np.fmax,
    "min": np.fmin,  # both ignore no data
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
}


def resolved(cube1: xr.DataArray, cube2: xr.DataArray, name: str) -> xr.DataArray:
    """Cubes of the same bands and pixels as one: overlapping dates by the process, others as they are.

    A cube without ``t`` meets every date of the other.
    """
    whole = cube1 if "t" in cube1.dims else cube2
    first, second = (c.drop_vars([k for k in c.coords if k not in c.dims]) for c in (cube1, cube2))
    parts = []
    if "t" in cube1.dims and "t" in cube2.dims:
        both = np.intersect1d(cube1.t.values, cube2.t.values)
        parts = [c.sel(t=np.setdiff1d(c.t.values, both)).transpose(*cube1.dims) for c in (first, second)]
        first, second = first.sel(t=both), second.sel(t=both)
    parts.append(xr.apply_ufunc(RESOLVERS[name], first, second, join="exact", dask="allowed").transpose(*whole.dims))
    joined = xr.concat(parts, "t").sortby("t") if len(parts) > 1 else parts[0]
    return keep_crs(joined.astype(np.float32).assign_attrs({**cube2.attrs, **cube1.attrs}), whole)
