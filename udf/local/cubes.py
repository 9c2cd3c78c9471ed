"""openEO processes on whole cubes: merge_cubes, resample_cube_spatial, apply_kernel, to_scl_dilation_mask,
sar_backscatter.
"""

import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (the .odc accessor)
import xarray as xr
from openeo_processes_dask.process_implementations.cubes.merge import merge_cubes as merge_equal_cubes
from openeo_processes_dask.process_implementations.cubes.resample import resample_methods_list
from openeo_processes_dask.process_implementations.exceptions import KernelDimensionsUneven, OverlapResolverMissing
from scipy import ndimage

from fusion.cloud_mask import NARROW, WIDE, gaussian_kernel
from udf.local.grid import crs_of, keep_crs
from udf.local.loading import CHUNK_PX
from udf.local.overlap import RESOLVERS, resolved
from udf.local.udf_call import callback_process_id

_BORDERS = {"replicate": "nearest", "reflect": "reflect", "reflect_pixel": "mirror", "wrap": "wrap"}
_RANK_ONE = 1e-6  # relative; a kernel rounded to seven digits still counts as an outer product
_AXIS_TOLERANCE_PX = 0.01  # grids closer than this are treated as equal


def merge_cubes(
    cube1: xr.DataArray, cube2: xr.DataArray, overlap_resolver: Callable | None = None, context: dict | None = None
) -> xr.DataArray:
    """openEO ``merge_cubes``; cubes of different bands get the union of their dates, NaN where one has none.

    Overlapping bands need an overlap resolver: one of :data:`udf.local.overlap.RESOLVERS`, or what the library runs.

    Raises
    ------
    ValueError
        The cubes have different grids or CRS.
    """
    cube2 = on_same_grid(cube1, cube2)
    joinable = set(cube1.dims) == set(cube2.dims) and "bands" in cube1.dims
    if not joinable or set(cube1.bands.values.tolist()) & set(cube2.bands.values.tolist()):
        if overlap_resolver is None and joinable:
            raise OverlapResolverMissing(
                f"both cubes hold band {sorted(set(cube1.bands.values.tolist()) & set(cube2.bands.values.tolist()))}; "
                "rename the labels or pass an overlap resolver"
            )
        if joinable and _follow_one_another(cube1, cube2):
            joined = xr.concat([_bare(cube1), _bare(cube2).transpose(*cube1.dims)], dim="t", combine_attrs="drop")
            return keep_crs(joined.sortby("t").chunk({"t": -1}).assign_attrs({**cube2.attrs, **cube1.attrs}), cube1)
        name = None if overlap_resolver is None else callback_process_id(overlap_resolver)
        if name in RESOLVERS and set(cube1.dims) ^ set(cube2.dims) <= {"t"}:
            return resolved(cube1, cube2, name)
        return merge_equal_cubes(cube1, cube2, overlap_resolver, context)
    cube2 = cube2.transpose(*cube1.dims)
    if "t" in cube1.dims:
        days = np.union1d(cube1.t.values, cube2.t.values)
        cube1, cube2 = (_on_dates(c, days) for c in (cube1, cube2))
    attrs = {**cube2.attrs, **cube1.attrs}
    merged = xr.concat([_bare(cube1), _bare(cube2)], dim="bands", join="exact", combine_attrs="drop")
    merged.attrs = {k: v for k, v in attrs.items() if k != "reduced_dimensions_min_values"}
    return keep_crs(merged, cube1)


def resample_cube_spatial(
    data: xr.DataArray, target: xr.DataArray, method: str = "near", options: Any = None
) -> xr.DataArray:
    """openEO ``resample_cube_spatial``; a cube that is already on the target's grid is returned unchanged."""
    crs, wanted = crs_of(data), crs_of(target)
    if crs is None or wanted is None:
        raise ValueError("resample_cube_spatial needs the CRS of both cubes; write it with rioxarray's write_crs")
    if crs == wanted and all(_same_axis(data[a].values, target[a].values) for a in ("y", "x")):
        return data.assign_coords(y=target.y.values, x=target.x.values)
    if min(data.sizes["y"], data.sizes["x"]) < 2:  # too few cells to derive a resolution
        if crs != wanted:
            raise ValueError(f"the source has {data.sizes['y']} x {data.sizes['x']} cells; load a wider extent of it")
        picked = data.sel(y=target.y.values, x=target.x.values, method="nearest")
        return picked.assign_coords(y=target.y.values, x=target.x.values)
    moved = _reproject(data if data.dtype.kind != "b" else data.astype("uint8"), target, method)
    return keep_crs(_bare(moved).assign_coords(y=target.y.values, x=target.x.values).assign_attrs(data.attrs), target)


def _reproject(data: xr.DataArray, target: xr.DataArray, method: str) -> xr.DataArray:
    """Reproject to the target's grid in chunks of CHUNK_PX pixels.

    The library gives the result the chunk size of the source: an area of a few dozen 300 m pixels would become tens of
    thousands of chunks of a few dozen 10 m pixels.
    """
    if method not in resample_methods_list:
        raise ValueError(f"method is {method!r}; expected one of {sorted(resample_methods_list)}")
    resampling = "nearest" if method == "near" else method
    rows_last = data.transpose(..., "y", "x")
    lazy = rows_last if rows_last.chunks is not None else rows_last.chunk()
    moved = lazy.odc.reproject(target.odc.geobox, resampling=resampling, chunks=(CHUNK_PX, CHUNK_PX))
    names = dict(zip(moved.dims[-2:], ("y", "x"), strict=True))
    return moved.rename({old: new for old, new in names.items() if old != new}).transpose(*data.dims)


def _follow_one_another(cube1: xr.DataArray, cube2: xr.DataArray) -> bool:
    """The same bands on different dates only: nothing overlaps."""
    same_bands = cube1.bands.values.tolist() == cube2.bands.values.tolist()
    return same_bands and "t" in cube1.dims and not np.isin(cube1.t.values, cube2.t.values).any()


def _same_axis(a: np.ndarray, b: np.ndarray) -> bool:
    step = abs(a[1] - a[0]) if len(a) > 1 else 1.0
    return len(a) == len(b) and bool(np.abs(a - b).max() <= _AXIS_TOLERANCE_PX * step)


def _bare(cube: xr.DataArray) -> xr.DataArray:
    return cube.drop_vars([c for c in cube.coords if c not in cube.dims]).rename(None)


def _on_dates(cube: xr.DataArray, days: np.ndarray) -> xr.DataArray:
    if len(days) == cube.sizes["t"] and (days == cube.t.values).all():
        return cube
    if cube.dtype.kind != "f":
        cube = cube.astype("float32")
    return cube.reindex(t=days).chunk({"t": -1})


def on_same_grid(cube1: xr.DataArray, cube2: xr.DataArray) -> xr.DataArray:
    """``cube2`` with the y and x labels of ``cube1``; an error where they differ by more than rounding."""
    for axis in ("y", "x"):
        if axis not in cube1.dims or axis not in cube2.dims:
            continue
        a, b = cube1[axis].values, cube2[axis].values
        if not _same_axis(a, b):
            raise ValueError(
                f"the cubes lie on different grids along {axis} ({len(a)} pixels from {a[0]:.6g}, {len(b)} from "
                f"{b[0]:.6g}); call resample_cube_spatial first"
            )
        cube2 = cube2.assign_coords({axis: a})
    crs1, crs2 = crs_of(cube1), crs_of(cube2)
    if crs1 is not None and crs2 is not None and crs1 != crs2:
        raise ValueError(f"the cubes are in {crs1.name} and {crs2.name}; call resample_cube_spatial first")
    return cube2


def apply_kernel(
    data: xr.DataArray, kernel: Any, factor: float = 1.0, border: Any = 0, replace_invalid: float | None = 0
) -> xr.DataArray:
    """openEO ``apply_kernel`` in the y/x plane; rank-one kernels run as two passes (161 + 161 taps, not 161 x 161)."""
    kernel = np.asarray(json.loads(kernel) if isinstance(kernel, str) else kernel, np.float64)
    if kernel.ndim != 2 or any(n % 2 == 0 for n in kernel.shape):
        raise KernelDimensionsUneven(f"the kernel has shape {kernel.shape}; expected two odd numbers")
    mode, cval = ("constant", float(border)) if isinstance(border, (int, float)) else (_BORDERS[border], 0.0)
    order = [d for d in data.dims if d not in ("y", "x")] + ["y", "x"]
    cube = data.transpose(*order)
    values, kind = da.asarray(cube.data).astype("float32"), cube.dtype.kind
    if kind == "f":
        values = da.where(da.isfinite(values), values, np.float32(0 if replace_invalid is None else replace_invalid))
    reach = {values.ndim - 2: kernel.shape[0] // 2, values.ndim - 1: kernel.shape[1] // 2}
    boundary = {"constant": cval, "nearest": "nearest", "reflect": "reflect"}.get(mode)
    small = any(values.shape[axis] <= 2 * depth for axis, depth in reach.items())
    if boundary is None or small:  # mirror and wrap read pixels far across the image: keep it in one chunk
        values = values.rechunk({axis: -1 for axis in reach})
        out = values.map_blocks(convolve_plane, kernel=kernel, mode=mode, cval=cval, dtype="float32")
    else:
        out = da.map_overlap(
            convolve_plane, values, depth=reach, kernel=kernel, mode=mode, cval=cval,
            boundary=dict.fromkeys(reach, boundary),
            dtype="float32", allow_rechunk=True, meta=np.empty((0,) * values.ndim, np.float32),
        )  # fmt: skip
    result = xr.DataArray(out * np.float32(factor), dims=order, coords=cube.coords, attrs=data.attrs)
    return result.transpose(*data.dims)


def convolve_plane(values: np.ndarray, kernel: np.ndarray, mode: str, cval: float) -> np.ndarray:
    """Each plane of the last two axes convolved with ``kernel``, as in the client-side library; float32.

    With zeros outside, an outer product runs as two products with banded matrices: a fifth of the time of a loop over
    the taps at 161 x 161.
    """
    planes = values.reshape(-1, *values.shape[-2:])
    parts = separate(kernel)
    out = np.empty_like(planes, dtype=np.float32)
    if parts is not None and mode == "constant" and cval == 0:
        along_y, along_x = (banded(part, size) for part, size in zip(parts, planes.shape[1:], strict=True))
        for k, plane in enumerate(planes):
            out[k] = along_y @ plane.astype(np.float64) @ along_x.T if plane.any() else 0.0
        return out.reshape(values.shape)
    for k, plane in enumerate(planes):
        if parts is None:
            out[k] = ndimage.convolve(plane, kernel, mode=mode, cval=cval)
        else:
            column, row = parts
            half = ndimage.convolve1d(plane, column, axis=0, mode=mode, cval=cval, output=np.float64)
            ndimage.convolve1d(half, row, axis=1, mode=mode, cval=cval * column.sum(), output=out[k])
    return out.reshape(values.shape)


def banded(taps: np.ndarray, size: int) -> np.ndarray:
    """The matrix (size, size) that convolves a vector with ``taps`` (an odd number), zeros outside."""
    reach = len(taps) // 2
    padded = np.concatenate([np.zeros(size), taps, np.zeros(size)])
    lag = np.subtract.outer(np.arange(size), np.arange(size)).clip(-reach - 1, reach + 1)
    return padded[size + reach + lag]


def separate(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Column and row whose outer product is ``kernel``, or None when it has a higher rank."""
    left, singular, right = np.linalg.svd(kernel)
    if len(singular) > 1 and singular[1] > _RANK_ONE * max(singular[0], 1e-300):
        return None
    scale = np.sqrt(singular[0])
    return left[:, 0] * scale, right[0] * scale


def to_scl_dilation_mask(
    data: xr.DataArray,
    kernel1_size: int = 17,
    kernel2_size: int = 201,
    mask1_values: list[int] | None = None,
    mask2_values: list[int] | None = None,
    erosion_kernel_size: int = 0,
) -> xr.DataArray:
    """Terrascope's ``to_scl_dilation_mask`` on a cube that holds the scene classification alone; 1 = remove.

    ``mask1_values`` are the classes that are *kept* by the narrow kernel, ``mask2_values`` those that the wide one
    dilates, as on Terrascope. Erosion is not supported.
    """
    if erosion_kernel_size:
        raise ValueError(f"erosion_kernel_size is {erosion_kernel_size}; only 0 (no erosion) is supported here")
    clear, cloud = mask1_values or [2, 4, 5, 6, 7], mask2_values or [3, 8, 9, 10, 11]
    if data.sizes.get("bands", 1) != 1:
        raise ValueError(f"to_scl_dilation_mask got bands {data.bands.values.tolist()}; filter the SCL band first")
    known = data.notnull()
    unclear, cloudy = (~data.isin(clear) & known).astype("float32"), (data.isin(cloud) & known).astype("float32")
    first = apply_kernel(unclear, gaussian_kernel(kernel1_size)) > NARROW.threshold
    second = apply_kernel(cloudy, gaussian_kernel(kernel2_size)) > WIDE.threshold
    return keep_crs((first | second).astype("uint8"), data)


def sar_backscatter(data: xr.DataArray, coefficient: str | None = "gamma0-terrain", **options: Any) -> xr.DataArray:
    """openEO ``sar_backscatter`` of a file that already holds that coefficient; any other request is an error.

    The attribute ``s1_coefficient`` of the file names its coefficient; without it the values are returned unchanged.
    """
    held = data.attrs.get("s1_coefficient")
    if held is not None and coefficient is not None and held != coefficient:
        raise ValueError(
            f"the file holds {held} and sar_backscatter requests {coefficient}; calibration needs the original scenes, "
            f"so request {held!r} or load another file"
        )
    extra = [
        k for k in ("mask", "contributing_area", "local_incidence_angle", "ellipsoid_incidence_angle") if options.get(k)
    ]
    if extra:
        raise ValueError(f"sar_backscatter on a file cannot add {extra}; switch these options off")
    return data
