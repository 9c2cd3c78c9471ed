"""openEO ``save_result`` to GeoTIFF, NetCDF and Zarr, region by region: memory does not grow with the area."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import CF_CONVENTIONS, NDVI, NDVI_SIGMA, OBS_COUNT
from fusion.fields.polygons import FIELD
from fusion.inference.blas import one_blas_thread
from fusion.netcdf import VALUES_LOCK, netcdf_to_fill, write_netcdf
from fusion.phenology.seasons import layer_attributes
from fusion.place import described_axes
from fusion.process_memory import bounded_gdal_cache
from fusion.whole_file import refuse_cut_off, whole_file
from udf.local.grid import pixel_transform
from udf.local.regions import Output, computed
from udf.local.udf_call import plain
from udf.local.vector import write_vector

_log = logging.getLogger(__name__)
BLOCK_PX = 512  # written at once; a multiple of the files' own blocks
_OUTPUT: ContextVar[Output | None] = ContextVar("ndvi_fusion_output", default=None)
FORMATS = {"gtiff": "GTiff", "netcdf": "NetCDF", "zarr": "Zarr"}
BAND_ATTRIBUTES = {
    NDVI: {"units": "1", "long_name": "NDVI", "standard_name": "normalized_difference_vegetation_index"},
    NDVI_SIGMA: {"units": "1", "long_name": "one standard deviation of NDVI"},
    OBS_COUNT: {"units": "1", "long_name": "Sentinel-2 observations of the pixel that lie nearest to the date"},
    "sos": {"units": "1", "long_name": "start of season, day of the year (1 = 1 January), 0 = none"},
    "eos": {"units": "1", "long_name": "end of season, day of the year (1 = 1 January), 0 = none"},
}
_NODATA = {"i2": -32768, "i4": -2147483648, "u1": 255, "u2": 65535}


@dataclass(frozen=True)
class SavedResult:
    """The files that ``save_result`` wrote."""

    files: tuple[Path, ...]


@contextmanager
def output_folder(output: Output) -> Iterator[Path]:
    """Set where ``save_result`` writes within this block."""
    token = _OUTPUT.set(output)
    try:
        yield output.folder
    finally:
        _OUTPUT.reset(token)


def save_result(data: xr.DataArray, format: str, options: dict | None = None) -> SavedResult:
    """openEO ``save_result``: one GeoTIFF per date (``openEO_YYYY-MM-DDZ.tif``), or ``openEO.nc``, or ``openEO.zarr``.

    Means of polygons become ``openEO.csv`` or ``openEO.nc`` (:mod:`udf.local.vector`).

    Options: ``filename_prefix`` (default "openEO"). Files appear under their final name only when complete.
    """
    prefix = str((plain(options) or {}).get("filename_prefix", "openEO"))
    output = _OUTPUT.get() or Output(Path.cwd())
    if FIELD in data.dims:
        return SavedResult((write_vector(data, str(format), output.folder, prefix),))
    kind = FORMATS.get(str(format).lower())
    if kind is None:
        raise ValueError(f"output format is {format!r}; expected one of {sorted(FORMATS.values())}")
    if 0 in data.shape:
        raise ValueError(f"the cube is empty (shape {data.shape}); there is nothing to save as {kind}")
    write = {"GTiff": _write_geotiffs, "NetCDF": _write_netcdf, "Zarr": _write_zarr}[kind]
    with (
        bounded_gdal_cache(),
        one_blas_thread(),  # windows are computed side by side
        computed(data, prefix, kind, output) as whole,
    ):
        files = write(whole, output.folder, prefix)
    _log.info("saved %d file(s)", len(files))
    return SavedResult(tuple(files))


def _blocks(data: xr.DataArray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Row slice, column slice and values of the computed cube, block by block."""
    height, width = data.sizes["y"], data.sizes["x"]
    for top, left in product(range(0, height, BLOCK_PX), range(0, width, BLOCK_PX)):
        rows, columns = slice(top, min(top + BLOCK_PX, height)), slice(left, min(left + BLOCK_PX, width))
        yield rows, columns, data.isel(y=rows, x=columns).values


def _nodata(dtype: np.dtype) -> float | int | None:
    return np.nan if dtype.kind == "f" else _NODATA.get(dtype.str[1:])


def _write_geotiffs(data: xr.DataArray, folder: Path, prefix: str) -> list[Path]:
    cube = data if "t" in data.dims else data.expand_dims("t")
    cube = cube if "bands" in cube.dims else cube.expand_dims(bands=["band"])
    cube = cube.transpose("t", "bands", "y", "x")
    names = (
        [f"{prefix}_{pd.Timestamp(t):%Y-%m-%d}Z.tif" for t in cube.t.values] if "t" in data.dims else [f"{prefix}.tif"]
    )
    profile = {
        "driver": "GTiff", "dtype": cube.dtype.name, "count": cube.sizes["bands"], "height": cube.sizes["y"],
        "width": cube.sizes["x"], "crs": data.rio.crs, "transform": pixel_transform(cube),
        "nodata": _nodata(cube.dtype),
        "compress": "deflate", "tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    paths = [folder / n for n in names]
    with ExitStack() as files:
        partials = [files.enter_context(whole_file(path)) for path in paths]
        with ExitStack() as opened:
            sinks = [opened.enter_context(rasterio.open(partial, "w", **profile)) for partial in partials]
            for sink in sinks:
                sink.descriptions = tuple(str(b) for b in cube.bands.values)
            for rows, columns, values in _blocks(cube):
                window = rasterio.windows.Window.from_slices(rows, columns)
                for sink, image in zip(sinks, values):
                    sink.write(image, window=window)
        for partial, path in zip(partials, paths):
            refuse_cut_off(partial, path)
    return paths


def _dataset(cube: xr.DataArray) -> xr.Dataset:
    """One variable per band, CRS in ``spatial_ref``."""
    if "bands" in cube.dims:
        data = cube.to_dataset("bands")
        data = data.rename({v: str(v) for v in data.data_vars})
    else:
        data = cube.rename("band").to_dataset()
    data.attrs = {
        k: v if isinstance(v, (str, int, float)) else json.dumps(v, default=str)
        for k, v in cube.attrs.items()
        if k not in ("units", "long_name")  # GDAL takes units of the file for those of x and y
    }
    data.attrs["Conventions"] = CF_CONVENTIONS
    for name, band in data.data_vars.items():
        band.attrs = BAND_ATTRIBUTES.get(str(name)) or layer_attributes(str(name))
    if "t" in data.coords:
        data.t.attrs = {"standard_name": "time", "axis": "T"}
    data = described_axes(data)
    data = data if cube.rio.crs is None else data.rio.write_crs(cube.rio.crs)
    for axis in {"x", "y"} & set(data.coords):
        data[axis].encoding = {"_FillValue": None}
    return data


def _write_netcdf(data: xr.DataArray, folder: Path, prefix: str) -> list[Path]:
    path = folder / f"{prefix}.nc"
    dataset = _dataset(data)
    bands = list(dataset.data_vars)
    dims = tuple(str(d) for d in data.dims if d != "bands")
    axis = data.dims.index("bands") if "bands" in data.dims else None
    with whole_file(path) as partial:
        write_netcdf(dataset.drop_vars(bands), partial)
        with netcdf_to_fill(partial, "a") as sink:
            with VALUES_LOCK:
                _add_variables(sink, dataset, data, dims)
            for rows, columns, values in _blocks(data):
                where = tuple({"y": rows, "x": columns}.get(d, slice(None)) for d in dims)
                with VALUES_LOCK:
                    for k, band in enumerate(bands):
                        sink[str(band)][where] = values if axis is None else np.take(values, k, axis=axis)
    return [path]


def _add_variables(sink: Any, dataset: xr.Dataset, data: xr.DataArray, dims: tuple[str, ...]) -> None:
    """A variable without values for each band, in an open NetCDF file."""
    for dim in dims:
        if dim not in sink.dimensions:
            sink.createDimension(dim, data.sizes[dim])
    chunks = tuple(min(256, data.sizes[d]) if d in ("y", "x") else 1 for d in dims)
    packed = {"zlib": True, "complevel": 1, "chunksizes": chunks, "fill_value": _nodata(data.dtype)}
    for band in dataset.data_vars:
        variable = sink.createVariable(str(band), data.dtype, dims, **packed)
        variable.set_auto_maskandscale(False)
        variable.setncatts(dataset[band].attrs)
        if data.rio.crs is not None:
            variable.grid_mapping = "spatial_ref"


def _write_zarr(data: xr.DataArray, folder: Path, prefix: str) -> list[Path]:
    path = folder / f"{prefix}.zarr"
    dims = tuple(str(d) for d in data.dims if d != "bands")
    lazy = data.chunk({d: (256 if d in ("y", "x") else -1) for d in data.dims})
    dataset = _dataset(lazy)
    with whole_file(path) as partial:
        with warnings.catch_warnings():  # zarr: format 3 does not specify consolidated metadata yet
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            dataset.to_zarr(partial, compute=False, mode="w", consolidated=True)
        axis = data.dims.index("bands") if "bands" in data.dims else None
        for rows, columns, values in _blocks(data):
            part = {
                band: (dims, values if axis is None else np.take(values, k, axis=axis))
                for k, band in enumerate(dataset.data_vars)
            }
            where = {d: {"y": rows, "x": columns}.get(d, slice(None)) for d in dims}
            xr.Dataset(part).to_zarr(partial, region=where, consolidated=True)
    return [path]
