"""Writing cube files: NetCDF or Zarr with CF attributes and a CRS, one variable per band.

Files are written under a temporary name and renamed, so a file with its final name is complete.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fusion.contract import (
    CF_CONVENTIONS,
    COARSE_NDVI,
    NDVI,
    NDVI_MAX,
    NDVI_MIN,
    NDVI_SIGMA,
    OBS_COUNT,
    S2NDVI,
    VH,
    VV,
)
from fusion.data.cube_files.reading import CubeFileError
from fusion.data.provenance import MADE_BY, history
from fusion.netcdf import write_netcdf
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
_OF_A_BAND = ("units", "long_name", "standard_name", "valid_range")  # GDAL takes units of the file for those of x and y
_TIME_ENCODING = {"units": "days since 1970-01-01", "calendar": "standard", "dtype": "int32"}


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
    write_netcdf(dataset, partial, encoding)
