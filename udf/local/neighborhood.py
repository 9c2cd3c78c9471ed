"""openEO ``apply_neighborhood`` for UDFs: windows with overlap, borders padded with no data as GeoPySpark does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from udf.local.grid import extend_axis, keep_crs
from udf.local.udf_call import Answer, UdfCall, UdfError, checked_values, plain, probe_answer, udf_of


@dataclass(frozen=True)
class Windows:
    """Window size and overlap in pixels along y and x."""

    size_y: int
    size_x: int
    overlap_y: int = 0
    overlap_x: int = 0

    def __post_init__(self) -> None:
        for axis, size, overlap in (("y", self.size_y, self.overlap_y), ("x", self.size_x, self.overlap_x)):
            if size < 4:
                raise UdfError(f"window size along {axis} is {size} px; back-ends need at least 4")
            if overlap < 0 or overlap > size:
                raise UdfError(
                    f"overlap along {axis} is {overlap} px for windows of {size} px; back-ends shift the result when "
                    "the overlap exceeds the window; use larger windows"
                )
        if (self.overlap_y > 0) != (self.overlap_x > 0):
            raise UdfError(
                f"overlap is {self.overlap_y} px along y and {self.overlap_x} px along x; back-ends ignore an overlap "
                "unless both are positive"
            )


def parse_windows(size: Any, overlap: Any, shape: tuple[int, int]) -> Windows:
    """Windows from the process arguments ``size`` and ``overlap`` (unit px; dims x and y; t only as a whole)."""
    sizes, overlaps = _chunk_sizes(size, "size"), _chunk_sizes(overlap, "overlap")
    if overlap is None:
        raise UdfError("overlap is null; pass an empty list, which every back-end accepts")
    return Windows(
        int(sizes.get("y") or shape[0]), int(sizes.get("x") or shape[1]), int(overlaps.get("y") or 0),
        int(overlaps.get("x") or 0),
    )  # fmt: skip


def _chunk_sizes(items: Any, name: str) -> dict[str, float | None]:
    out: dict[str, float | None] = {}
    for item in plain(items) or []:
        dimension, value = item.get("dimension"), item.get("value")
        if dimension in ("y", "x"):
            if item.get("unit", "px") != "px":
                raise UdfError(f"{name} of {dimension} is in {item['unit']!r}; back-ends take pixels only (unit 'px')")
            out[dimension] = value
        elif value is not None:
            raise UdfError(f"{name} of dimension {dimension!r} is {value!r}; only y and x can be cut into windows here")
    return out


def apply_neighborhood(
    data: xr.DataArray, process: Callable, size: Any, overlap: Any = (), context: dict | None = None
) -> xr.DataArray:
    """openEO ``apply_neighborhood`` with a UDF as its child process.

    The cube is cut into windows of ``size``; the UDF gets each with ``overlap`` pixels around it, no data beyond the
    cube's border (right and bottom windows are filled up to full size, as in GeoPySpark), and the overlap of its result
    is cut off. The result is lazy.

    Raises
    ------
    UdfError
        The child process is not a UDF, sizes are not in pixels, or the result of the UDF breaks the contract.
    """
    call = udf_of(process, context)
    if call is None:
        raise UdfError("apply_neighborhood on this machine runs a UDF only; wrap the child process in run_udf")
    order = [d for d in ("t", "bands", "y", "x") if d in data.dims]
    cube = data.transpose(*order)
    windows = parse_windows(size, overlap, (cube.sizes["y"], cube.sizes["x"]))
    return keep_crs(apply_windows(cube, call, windows), data)


def apply_windows(cube: xr.DataArray, call: UdfCall, windows: Windows) -> xr.DataArray:
    """Run ``call`` window by window on ``cube`` (dims in the order t, bands, y, x), lazily."""
    height, width = cube.sizes["y"], cube.sizes["x"]
    size, around = (windows.size_y, windows.size_x), (windows.overlap_y, windows.overlap_x)
    fill = (-height % size[0], -width % size[1])
    values = da.asarray(cube.astype("float32").data)
    lead = cube.ndim - 2
    full = da.pad(values, [(0, 0)] * lead + [(0, n) for n in fill], constant_values=np.float32(np.nan))
    cut = full.rechunk({**{k: -1 for k in range(lead)}, lead: size[0], lead + 1: size[1]})
    if any(around):
        cut = da.overlap.overlap(cut, {lead: around[0], lead + 1: around[1]}, boundary=np.float32(np.nan))
    frame = cube.isel(y=slice(0, 0), x=slice(0, 0)).drop_vars([v for v in cube.coords if v not in cube.dims])
    frame = xr.DataArray(np.zeros(frame.shape, np.float32), coords=frame.coords, dims=frame.dims)
    y, x = (
        extend_axis(cube[axis].values, beside, beside + more)
        for axis, beside, more in zip(("y", "x"), around, fill, strict=True)
    )

    def real() -> xr.DataArray:
        first = cut.blocks[(0,) * cut.ndim].compute()
        return _labelled(first, frame, y[: first.shape[-2]], x[: first.shape[-1]])

    def empty(n: int) -> xr.DataArray:
        shape = (*(frame.sizes[d] for d in frame.dims[:-2]), n, n)
        return _labelled(
            np.full(shape, np.nan, np.float32), frame, y[0] + np.arange(n) * _step(y), x[0] + np.arange(n) * _step(x)
        )

    answer = probe_answer(call, empty, real)
    out = da.map_blocks(  # one layer of the graph for all windows: its memory hardly grows with the area
        run_window, cut, call=call, windows=windows, frame=frame, answer=answer, y=y, x=x,
        drop_axis=list(range(lead)), new_axis=list(range(len(answer.dims) - 2)),
        chunks=(*((n,) for n in answer.leading), *((n,) * m for n, m in zip(size, cut.numblocks[-2:], strict=True))),
        dtype=answer.dtype, meta=np.empty((0,) * len(answer.dims), answer.dtype),
    )  # fmt: skip
    coords = {"t": answer.t, "bands": answer.bands, "y": cube.y.values, "x": cube.x.values}
    dims = {d: coords[d] for d in answer.dims}
    return xr.DataArray(out[..., :height, :width], dims=answer.dims, coords=dims)


def run_window(
    values: np.ndarray,
    call: UdfCall,
    windows: Windows,
    frame: xr.DataArray,
    answer: Answer,
    y: np.ndarray,
    x: np.ndarray,
    block_id: tuple[int, ...],
) -> np.ndarray:
    """The UDF on one window, overlap cut off; a Dask task. ``y`` and ``x`` are the labels of all windows."""
    top, left = block_id[-2] * windows.size_y, block_id[-1] * windows.size_x
    labels = y[top : top + values.shape[-2]], x[left : left + values.shape[-1]]
    out = checked_values(call, _labelled(values, frame, *labels), answer)
    oy, ox = windows.overlap_y, windows.overlap_x
    return np.ascontiguousarray(out[..., oy : oy + windows.size_y, ox : ox + windows.size_x])


def _labelled(values: np.ndarray, frame: xr.DataArray, y: np.ndarray, x: np.ndarray) -> xr.DataArray:
    coords = {d: frame[d].values for d in frame.dims if d in frame.coords and d not in ("y", "x")}
    return xr.DataArray(values, dims=frame.dims, coords={**coords, "y": y, "x": x})


def _step(axis: np.ndarray) -> float:
    return float(axis[1] - axis[0]) if len(axis) > 1 else 1.0
