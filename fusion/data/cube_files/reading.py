"""Reading cube files: NetCDF or Zarr, one variable per band or one 4-D variable, to one array (t, bands, y, x)."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import CUBE_BANDS, DIMS, FUSED_BANDS, OBS_COUNT, S2NDVI, ContractError
from fusion.data.provenance import MADE_BY
from fusion.features.measured import measured_cube
from fusion.features.orientation import reversed_axes, turned
from fusion.layout import with_degrees, with_plain_dims
from fusion.netcdf import open_netcdf

_ATTRS_OF_CF = {"Conventions", "title", "history", "grid_mapping", "coordinates", *MADE_BY}


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
        return _with_linked_crs(open_netcdf(path, chunks=chunks, decode_coords="all"))
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
    HDF5) until Python collects it.
    """
    with _opened(path) as dataset:
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
    import rioxarray  # noqa: F401  (the .rio accessor)

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
    crs = cube.rio.crs
    cube = cube.transpose(*DIMS).astype(np.float32)
    cube.attrs = {k: v for k, v in attrs.items() if k not in _ATTRS_OF_CF}
    cube.name = "cube"
    return cube if crs is None else cube.rio.write_crs(crs)
