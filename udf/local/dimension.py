"""openEO ``apply_dimension`` and ``reduce_dimension`` over t with a UDF; other callbacks are run by the library."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from openeo_processes_dask.process_implementations.cubes.apply import apply_dimension as library_apply_dimension
from openeo_processes_dask.process_implementations.cubes.reduce import reduce_dimension as library_reduce_dimension

from udf.local.grid import keep_crs
from udf.local.neighborhood import Windows, apply_windows
from udf.local.udf_call import UdfError, udf_of

CHUNK_PX = 128  # tile size of the back-ends


def apply_dimension(
    data: xr.DataArray, process: Callable, dimension: str, target_dimension: str | None = None, context: Any = None
) -> xr.DataArray:
    """openEO ``apply_dimension``; a UDF over ``t`` gets chunks (t, bands, y, x) and may return other t labels."""
    call = udf_of(process, context)
    if call is None:
        return library_apply_dimension(data, process, dimension, target_dimension, context)
    if dimension != "t" or target_dimension not in (None, "t"):
        raise UdfError(f"a UDF over dimension {dimension!r} (target {target_dimension!r}) does not run here; use 't'")
    return _over_time(data, call, keep_time=True)


def reduce_dimension(data: xr.DataArray, reducer: Callable, dimension: str, context: Any = None) -> xr.DataArray:
    """openEO ``reduce_dimension``; a UDF over ``t`` gets chunks (t, bands, y, x) and returns (bands, y, x)."""
    call = udf_of(reducer, context)
    if call is None:
        reduced = library_reduce_dimension(data, reducer, dimension, context)
        reduced.attrs.pop("reduced_dimensions_min_values", None)
        return reduced
    if dimension != "t":
        raise UdfError(f"a UDF that reduces dimension {dimension!r} does not run here; use 't'")
    return _over_time(data, call, keep_time=False)


def _over_time(data: xr.DataArray, call, keep_time: bool) -> xr.DataArray:
    if "t" not in data.dims:
        raise UdfError(f"the cube has dims {tuple(data.dims)} without t; the UDF runs over t")
    cube = data.transpose(*[d for d in ("t", "bands", "y", "x") if d in data.dims])
    windows = Windows(*(max(4, min(CHUNK_PX, cube.sizes[d])) for d in ("y", "x")))
    out = apply_windows(cube, call, windows)
    if "t" in out.dims and not keep_time:
        if out.sizes["t"] != 1:
            raise UdfError(f"a reducing UDF returned {out.sizes['t']} dates; expected one, or no t dimension")
        out = out.isel(t=0, drop=True)
    if "t" not in out.dims and keep_time:
        stamp = np.array(["2020-01-01"], "datetime64[ns]")  # the date that GeoPySpark assigns to a result without t
        out = out.expand_dims(t=stamp).transpose("t", ...)
    return keep_crs(out, data)
