"""Merged and fused cubes on disk: NetCDF or Zarr with CF attributes and a CRS, one variable per band.

QGIS, GDAL and the openEO back-ends read one variable per band, dims (t, y, x); in memory a cube is one array with dims
(t, bands, y, x). Files are written under a temporary name and renamed, so a file with its final name is complete.
"""

import contextlib
import json
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fusion.contract import (
    CF_CONVENTIONS,
    COARSE_NDVI,
    CUBE_BANDS,
    DIMS,
    FUSED_BANDS,
    NDVI,
    NDVI_MAX,
    NDVI_MIN,
    NDVI_SIGMA,
    OBS_COUNT,
    S2NDVI,
    VH,
    VV,
    ContractError,
)
from fusion.data.provenance import MADE_BY, history
from fusion.features.measured import measured_cube
from fusion.features.orientation import reversed_axes, turned
from fusion.layout import with_degrees, with_plain_dims
from fusion.place import described_axes
from fusion.whole_file import OutputExistsError, whole_file

_NDVI_CF = {
    "standard_name": "normalized_difference_vegetation_index",
    "units": "1",
    "valid_range": [NDVI_MIN, NDVI_MAX],
}
_RADAR_CF = {"standard_name": "surface_backwards_scattering_coefficient_of_radar_wave"}
_BAND_CF: dict[str, dict[str, Any]] = {
    S2NDVI: {"long_name": "Sentinel-2 NDVI, clouds masked", **_NDVI_CF},
    COARSE_NDVI: {"long_name": "NDVI of a 300 m sensor on the 10 m grid", **_NDVI_CF},
    VV: {"long_name": "Sentinel-1 backscatter VV", **_RADAR_CF},
    VH: {"long_name": "Sentinel-1 backscatter VH", **_RADAR_CF},
    NDVI: {"long_name": "fused NDVI", **_NDVI_CF},
    NDVI_SIGMA: {"long_name": "one standard deviation of the fused NDVI", "units": "1"},
    OBS_COUNT: {"long_name": "Sentinel-2 observations of the pixel that lie nearest to the date", "units": "1"},
}
_ATTRS_OF_CF = {"Conventions", "title", "history", "grid_mapping", "coordinates", *MADE_BY}

_NETCDF = threading.RLock()  # a process crashes in which threads open, close and read files of HDF5 at once
_OF_A_BAND = ("units", "long_name", "standard_name", "valid_range")  # GDAL takes units of the file for those of x and y
_TIME_ENCODING = {"units": "days since 1970-01-01", "calendar": "standard", "dtype": "int32"}


class CubeFileError(ValueError):
    """A cube file cannot be read or written; the message names the file, what was seen, and the fix."""


def is_zarr(path: str | Path) -> bool:
    """True for a folder that holds a Zarr group or array."""
    path = Path(path)
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def is_cube_file(path: str | Path, band: str = S2NDVI) -> bool:
    """True if ``path`` is a NetCDF or Zarr file that holds ``band`` as a variable or a label of dimension ``bands``.

    Raises
    ------
    CubeFileError
        There is a file, but what it holds cannot be told.
    """
    path = Path(path)
    if not path.is_file() and not is_zarr(path):
        return False
    with open_dataset(path) as opened:
        dataset = plain_dims(opened)
        return band in dataset.data_vars or any(
            band in [str(b) for b in variable.bands.values]
            for variable in dataset.data_vars.values()
            if "bands" in variable.coords
        )


def open_dataset(path: str | Path, chunks: dict[str, int] | None = None) -> xr.Dataset:
    """Open a NetCDF or Zarr file with its CRS as a coordinate.

    Raises
    ------
    CubeFileError
        The file is missing, of another format, or unreadable (a broken or partial download).
    """
    path = Path(path)
    if not path.exists():
        raise CubeFileError(f"{path} does not exist; give a NetCDF or Zarr file")
    if path.is_dir() and not is_zarr(path):
        raise CubeFileError(f"{path} is a folder without Zarr metadata; expected a NetCDF or Zarr file")
    try:
        if path.is_dir():
            zarr = xr.open_zarr(path, chunks=chunks, decode_coords="all", consolidated=_is_consolidated(path))
            return _with_linked_crs(zarr)
        return _with_linked_crs(xr.open_dataset(path, chunks=chunks, decode_coords="all"))
    except MemoryError as error:
        raise CubeFileError(
            f"{path} is too large for this machine ({error}); cut it to a smaller area or period"
        ) from error
    except Exception as error:
        raise CubeFileError(
            f"{path} cannot be read as NetCDF or Zarr ({type(error).__name__}: {error}); "
            "it may be incomplete, download it again"
        ) from error


def _with_linked_crs(dataset: xr.Dataset) -> xr.Dataset:
    """A CRS that stands in the file, but that no band points to with ``grid_mapping``, as ``spatial_ref``.

    Writing with an ``encoding`` of one's own, for packed integers, loses that attribute.
    """
    alone = [n for n, v in dataset.data_vars.items() if v.ndim == 0 and {"crs_wkt", "spatial_ref"} & set(v.attrs)]
    if len(alone) != 1 or "spatial_ref" in dataset.coords:
        return dataset
    return dataset.rename({alone[0]: "spatial_ref"}).set_coords("spatial_ref")


def _is_consolidated(path: Path) -> bool:
    """Whether a Zarr store has consolidated metadata; xarray looks for them and warns where there are none."""
    group = path / "zarr.json"
    return (path / ".zmetadata").is_file() or (
        group.is_file() and "consolidated_metadata" in json.loads(group.read_text())
    )


def read_cube(path: str | Path, *, lazy: bool = False) -> xr.DataArray:
    """Read a cube file as one array (t, bands, y, x), float32, with its CRS and attributes.

    Parameters
    ----------
    path : path
        NetCDF or Zarr with one variable per band (as :func:`write_cube` writes), or one 4-D variable with band labels.
    lazy : bool
        Keep the data in the file, as Dask chunks, until they are asked for. What cannot be a measurement then is NaN
        only where the cube is used (:func:`fusion.features.measured.measured_cube`).

    Raises
    ------
    CubeFileError
        Unreadable, or no variable has the dims (t, y, x) with or without ``bands``.
    fusion.contract.ContractError
        Most values of a band cannot be what its name says.
    """
    dataset = open_dataset(path, chunks={} if lazy else None)
    try:
        cube = _stack(dataset, Path(path))
        return cube if lazy else measured_cube(cube.load())
    except (OSError, RuntimeError) as error:
        raise CubeFileError(
            f"{path} cannot be read to its end ({error}); it may be incomplete, download it again"
        ) from error
    finally:
        if not lazy:
            dataset.close()


def side_px(path: str | Path) -> int:
    """The longer side of a cube file in pixels; reads no values and imports no Dask, so that small files stay fast."""
    with open_dataset(path) as dataset:
        sizes = plain_dims(dataset).sizes
        return max(sizes.get("y", 1), sizes.get("x", 1))


@contextlib.contextmanager
def opened_cube(path: str | Path) -> Iterator[xr.DataArray]:
    """The cube of a file, lazily, inside the block; at its end the file is closed and its buffers are freed.

    Needed for reading many parts of large files: a file that is not closed keeps its buffers (up to 16 MiB per band in
    HDF5) until Python collects it. Of several threads one at a time has a NetCDF file open.
    """
    with contextlib.nullcontext() if is_zarr(path) else _NETCDF, _opened(path) as dataset:
        yield _stack(dataset, Path(path))


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[xr.Dataset]:
    dataset = open_dataset(path, chunks={})
    whole = {
        dim for v in dataset.data_vars.values() if v.encoding.get("contiguous") and v.ndim > 2 for dim in v.dims[-2:]
    }
    if whole:  # not cut in the file: Dask would read all of it for any part
        dataset.close()
        dataset = open_dataset(path, chunks=dict.fromkeys(map(str, whole), 256))
    try:
        yield dataset
    finally:
        dataset.close()


def plain_dims(dataset: xr.Dataset) -> xr.Dataset:
    """Dimensions as the contract names them, from north to south and west to east; latitude and longitude get a CRS."""
    dataset = with_degrees(with_plain_dims(dataset), dataset.dims)
    return turned(dataset, reversed_axes(dataset))


def _stack(dataset: xr.Dataset, path: Path) -> xr.DataArray:
    seen = tuple(dataset.dims)
    try:
        dataset = plain_dims(dataset)
    except ContractError as error:
        raise CubeFileError(f"{path}: {error}") from None
    labelled = [v for v in dataset.data_vars.values() if set(v.dims) == set(DIMS) and "bands" in v.coords]
    single = {str(n): v for n, v in dataset.data_vars.items() if set(v.dims) == {"t", "y", "x"}}
    if labelled:
        cube = labelled[0]
        cube = cube.assign_coords(bands=[str(b) for b in cube.bands.values])
        attrs = {**dataset.attrs, **cube.attrs}
    elif single:
        counts = single.pop(OBS_COUNT, None)
        known = (*CUBE_BANDS, *FUSED_BANDS)
        order = [b for b in known if b in single] + [b for b in single if b not in known]
        cube = xr.concat(
            [single[b].drop_attrs(deep=False) for b in order],
            xr.Variable("bands", order),
            coords="minimal",
            compat="override",
        )
        cube = cube if counts is None else cube.assign_coords({OBS_COUNT: counts.variable})
        attrs = dict(dataset.attrs)
    else:
        advice = "make a cube with `ndvi-fusion cube`"
        if "t" in dataset.dims:
            advice = f"pixels and points are fused in Python: fusion.fuse(xarray.open_dataset({str(path)!r}), ...)"
        raise CubeFileError(
            f"{path} has variables {sorted(map(str, dataset.data_vars))[:6]} with dims {seen}; expected bands with "
            f"dims (t, y, x); {advice}"
        )
    crs = cube.rio.crs if hasattr(cube, "rio") else None
    cube = cube.transpose(*DIMS).astype(np.float32)
    cube.attrs = {k: v for k, v in attrs.items() if k not in _ATTRS_OF_CF}
    cube.name = "cube"
    return cube if crs is None else cube.rio.write_crs(crs)


def write_cube(cube: xr.DataArray, path: str | Path, *, title: str = "NDVI cube", overwrite: bool = True) -> Path:
    """Write a cube (t, bands, y, x) as NetCDF (``.nc``) or Zarr (``.zarr``); on an error no partial file is left.

    Dask-backed cubes are streamed. Values are unpacked float32, NaN = no data.

    Raises
    ------
    CubeFileError
        Unknown suffix, existing file with ``overwrite=False``, no permission, full disk. No partial file stays.
    """
    path = Path(path)
    if path.suffix not in (".nc", ".zarr"):
        raise CubeFileError(f"{path} ends in {path.suffix!r}; expected .nc (NetCDF) or .zarr (Zarr)")
    if path.exists() and not overwrite:
        raise CubeFileError(f"{path} exists; give another file or set overwrite=True")
    dataset = to_dataset(cube, title)
    try:
        with whole_file(path, replace=overwrite) as partial:
            if path.suffix == ".nc":
                _write_netcdf(dataset, partial)
            else:
                write_zarr(dataset, partial)
    except OutputExistsError as error:
        raise CubeFileError(str(error)) from error
    except (OSError, RuntimeError) as error:
        raise CubeFileError(
            f"{path} could not be written ({type(error).__name__}: {error}); "
            "check the folder's permission and the free space"
        ) from error
    return path


def write_zarr(dataset: xr.Dataset, partial: Path, chunks: dict[str, int] | None = None) -> None:
    """A Zarr store, format 3, with consolidated metadata, so that it opens with one request and without a warning.

    With ``chunks``, the largest sides of a chunk by dimension (of others, all), the values of lazy variables are left
    out, to be written region by region.
    """
    encoding: dict[str, dict[str, Any]] = {"t": dict(_TIME_ENCODING)} if "t" in dataset.coords else {}
    if chunks is not None:
        for name, variable in dataset.data_vars.items():
            encoding[str(name)] = {"chunks": tuple(min(n, chunks.get(str(d), n)) for d, n in variable.sizes.items())}
    with (
        warnings.catch_warnings()
    ):  # zarr warns that format 3 does not specify them yet; xarray, GDAL and zarr read them
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        dataset.to_zarr(  # type: ignore[call-overload]
            partial, mode="w", consolidated=True, zarr_format=3, encoding=encoding, compute=chunks is None,
        )  # fmt: skip


def to_dataset(cube: xr.DataArray, title: str = "NDVI cube") -> xr.Dataset:
    """The cube as a CF data set: one variable per band, with units, grid mapping and described axes."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    crs = cube.rio.crs
    layers = {str(b): cube.isel(bands=i, drop=True).astype(np.float32) for i, b in enumerate(cube.bands.values)}
    if OBS_COUNT in cube.coords:
        layers = {name: layer.drop_vars(OBS_COUNT) for name, layer in layers.items()}
        layers[OBS_COUNT] = cube[OBS_COUNT].drop_vars(OBS_COUNT)
    variables = {}
    for name, layer in layers.items():
        band = layer.transpose("t", "y", "x")
        band.attrs = {**_BAND_CF.get(name, {"long_name": name, "units": "1"})}
        if name in (VV, VH):
            units = cube.attrs.get("s1_units")
            band.attrs["units"] = {"dB": "dB", "linear": "1"}.get(str(units), "unknown")
        band.encoding = {}
        variables[name] = band
    attrs = {k: plain for k, v in cube.attrs.items() if k not in _OF_A_BAND and (plain := _plain(v)) is not None}
    of_file = {"Conventions": CF_CONVENTIONS, "title": title, **attrs, "history": history(title), **MADE_BY}
    dataset = xr.Dataset(variables, attrs=of_file)
    dataset.t.attrs = {"standard_name": "time", "axis": "T"}
    dataset = described_axes(dataset)
    if crs is not None:
        dataset = dataset.rio.write_crs(crs, grid_mapping_name="spatial_ref")
    for key, variable in dataset.variables.items():
        variable.encoding = {}
        if crs is not None and key in dataset.data_vars:
            variable.attrs["grid_mapping"] = "spatial_ref"  # as an attribute: an encoding would be replaced on writing
    return dataset


def _plain(value: object) -> str | int | float | list | tuple | None:
    """An attribute in a type that both formats store, NumPy numbers as Python's; None for other types."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iufU":
        value = value.item() if value.size == 1 else value.tolist()
    return value if isinstance(value, str | int | float | list | tuple) else None


def _write_netcdf(dataset: xr.Dataset, partial: Path) -> None:
    compressed = {"zlib": True, "complevel": 4, "shuffle": True, "dtype": "float32", "_FillValue": np.float32(np.nan)}
    encoding: dict[str, dict[str, Any]] = {"t": dict(_TIME_ENCODING)}
    for name, variable in dataset.data_vars.items():
        sizes = [min(n, c) for n, c in zip(variable.shape, (16, 256, 256), strict=True)]
        encoding[str(name)] = {**compressed, "chunksizes": tuple(sizes)}
        if variable.dtype.kind != "f":
            encoding[str(name)] |= {"dtype": str(variable.dtype), "_FillValue": None}
    encoding |= {axis: {"_FillValue": None} for axis in ("x", "y")}
    dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding)
