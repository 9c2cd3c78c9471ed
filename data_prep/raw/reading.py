"""Open a NetCDF, Zarr or GeoTIFF file as bands with dims (t, y, x): decoded values, standard dims, CRS, dates.

Bands are decoded here and not by xarray, because some products use NaN as the fill value of integers, store unsigned
numbers in signed types, or keep the CRS in a separate variable.
"""

import logging
import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rioxarray
import xarray as xr

from data_prep.raw.bands import RawBand
from data_prep.raw.crs import find_crs, on_plain_axes
from data_prep.raw.cubes import NotRawError, SourceError
from data_prep.raw.dates import DatesBy, contradiction, date_in_band, date_of_file, plain_times
from data_prep.raw.decisions import in_window, once
from data_prep.raw.decoding import decode
from data_prep.raw.eopf import is_eopf, open_eopf
from data_prep.raw.extent import Extent, reaches, upper_left
from data_prep.raw.folders import GEOTIFF, NETCDF
from data_prep.raw.roles import may_play
from data_prep.raw.satellite import satellite_labels
from fusion.contract import ContractError
from fusion.data.cube_files import is_zarr
from fusion.data.provenance import is_own_output
from fusion.layout import with_plain_dims
from fusion.netcdf import groups_with_variables, open_netcdf

log = logging.getLogger(__name__)

_CHUNK_BYTES = 4 * 2**20
_MOST_CHUNK_BYTES = 64 * 2**20
_ORBIT_NAMES = {  # what files call the pass of an image; "orbit" is what this program writes
    "orbit": "orbit",
    "orbit_state": "state",
    "orbit_direction": "state",
    "pass": "state",
    "orbitproperties_pass": "state",
    "relative_orbit": "number",
    "relative_orbit_number": "number",
    "relativeorbitnumber_start": "number",
}


def read_bands(
    path: Path, *, roles_only: bool = False, dates_by: DatesBy = "name", within: Extent | None = None
) -> list[RawBand]:
    """All raster bands of one file; with ``roles_only`` those that play a role by their names.

    ``within``: only this part of those that reach into it, with some pixels around it.

    Raises
    ------
    NotRawError
        An output of this program; with ``roles_only`` also a file without such a band or raster.
    SourceError
        The file is unreadable or incomplete, has no CRS, or contains no raster; the message names it.
    """
    try:
        rasters = (
            _opened_before(path, path.stat().st_mtime_ns, roles_only) if in_window() else _opened(path, roles_only)
        )
    except SourceError:
        raise
    except Exception as error:
        if roles_only:
            _refuse_unrelated_times(path)
        told = (str(error).splitlines() or [""])[0][:200]
        if "decode time" in told:
            raise SourceError(f"{path}: its dates cannot be read ({told}); write them as 'days since ...'") from error
        raise SourceError(
            f"{path} cannot be opened ({type(error).__name__}: {told}); it is damaged, incomplete or of an "
            "unsupported format; download it again or remove it"
        ) from error
    return [band for opened in rasters for band in _bands_of(opened, path, dates_by, within)]


@dataclass(frozen=True)
class _Rasters:
    """Variables of an opened file along t, y and x, not read yet, with CRS, attributes, passes and satellites."""

    variables: dict[str, xr.DataArray]
    crs: Any
    attrs: dict[str, Any]
    labels: tuple[np.ndarray | None, np.ndarray | None]


def _opened(path: Path, roles_only: bool) -> list[_Rasters]:
    datasets = open_eopf(path) if is_eopf(path) else [_open(path)]
    return [_rasters_of(dataset, path, roles_only) for dataset in datasets]


_opened_before = lru_cache(maxsize=512)(lambda path, modified_ns, roles_only: _opened(path, roles_only))


def _rasters_of(dataset: xr.Dataset, path: Path, roles_only: bool) -> _Rasters:
    crs = find_crs(dataset)
    dataset = _with_plain_dims(dataset, path)
    labels = orbit_labels(dataset), satellite_labels(dataset)
    variables = _variables(dataset)
    if is_own_output(dataset.attrs, variables):
        raise NotRawError(f"{path} was made by ndvi-fusion and is no raw file; name the raw files")
    if roles_only:
        _with_roles(variables, path)
    if crs is not None:
        variables = _variables(on_plain_axes(dataset, crs, path))
    if roles_only:
        variables = _with_roles(variables, path)
    rasters = {}
    for name, variable in variables.items():
        if not {"y", "x"} <= set(variable.dims) or variable.dtype.kind not in "fiub":
            continue
        if crs is None:
            raise SourceError(f"{path} names no CRS; write one into it (gdal_edit -a_srs, or rio.write_crs)")
        for axis in ("y", "x"):
            if axis not in variable.coords:
                raise SourceError(_no_centres(name, axis, path, dataset, crs))
        rasters[name] = variable
    if not rasters:
        kind = NotRawError if roles_only else SourceError
        raise kind(
            f"{path} contains no raster with two spatial dimensions; "
            f"its variables are {sorted(map(str, dataset.variables))[:8]}"
        )
    return _Rasters(rasters, crs, dataset.attrs, labels)


def _bands_of(opened: _Rasters, path: Path, dates_by: DatesBy, within: Extent | None) -> list[RawBand]:
    bands = []
    for name, variable in opened.variables.items():
        if not once(f"{path}:{name} reaches into the area", partial(reaches, variable, opened.crs, within)):
            continue
        part = variable if within is None else within.cut(variable, opened.crs)
        band = _band(name, part, path, opened.crs, opened.attrs, opened.labels, dates_by)
        bands.append(replace(band, corner=upper_left(variable)))
    return bands


def _with_roles(variables: dict[str, xr.DataArray], path: Path) -> dict[str, xr.DataArray]:
    kept = {name: variable for name, variable in variables.items() if may_play(_plain_name(name, path))}
    if not kept:
        seen = f"{list(variables)[:8]} of {len(variables)}" if len(variables) > 8 else list(variables)
        raise NotRawError(f"{path} has no band of a known role; it has {_groups(path) if not variables else seen}")
    return kept


def _groups(path: Path) -> str:
    """What stands in the groups of a file whose root is empty."""
    try:
        groups = groups_with_variables(path)
    except Exception:
        groups = []
    return (
        f"groups ({', '.join(groups[:3])}); expected bands at its root; save the group as a file" if groups else "none"
    )


def _refuse_unrelated_times(path: Path) -> None:
    """A NetCDF whose dates cannot be decoded matters only if one of its variables plays a role."""
    if path.suffix.lower() not in NETCDF:
        return
    try:
        dataset = open_netcdf(path, decode_times=False, mask_and_scale=False)
    except Exception:
        return  # it is unreadable as it was
    with dataset:
        _with_roles(_variables(_with_plain_dims(dataset, path)), path)


def _with_plain_dims(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    try:
        return with_plain_dims(dataset)
    except ContractError as error:
        raise SourceError(f"{path}: {error}") from None


def _plain_name(name: str, path: Path) -> str:
    """A band's name without dates; a band that is called by dates only is what its file is called."""
    return date_in_band(name)[1] or date_in_band(path.stem)[1]


def _open(path: Path) -> xr.Dataset:
    if path.is_dir() or path.suffix == ".zarr":
        if not is_zarr(path):
            raise SourceError(f"{path} is a folder without Zarr metadata, possibly an incomplete copy; copy it again")
        return xr.open_zarr(path, mask_and_scale=False, chunks=None, consolidated=(path / ".zmetadata").is_file())
    if path.suffix.lower() in NETCDF:
        return open_netcdf(path, mask_and_scale=False, chunks=None)
    if path.suffix.lower() in GEOTIFF:
        return _open_geotiff(path)
    raise SourceError(f"{path} ends in {path.suffix!r}; expected one of {(*NETCDF, '.zarr', *GEOTIFF)}")


def _open_geotiff(path: Path) -> xr.Dataset:
    image = rioxarray.open_rasterio(path, masked=False, cache=False)
    if not isinstance(image, xr.DataArray):  # several image sizes in one file
        raise SourceError(f"{path} contains images of different sizes; save each in a separate file")
    names = image.attrs.get("long_name", ())
    names = (names,) if isinstance(names, str) else tuple(names)
    if len(names) != image.sizes["band"]:
        count = image.sizes["band"]
        names = (path.stem,) if count == 1 else tuple(f"{path.stem}_{k + 1}" for k in range(count))
    names = _unique([name or f"{path.stem}_{k + 1}" for k, name in enumerate(names)])
    attrs = {k: v for k, v in image.attrs.items() if k in ("_FillValue",)}
    scales = np.broadcast_to(np.asarray(image.attrs.get("scales", image.attrs.get("scale_factor", 1.0))), len(names))
    offsets = np.broadcast_to(np.asarray(image.attrs.get("offsets", image.attrs.get("add_offset", 0.0))), len(names))
    variables = {}
    for k, name in enumerate(names):
        band = image.isel(band=k, drop=True)
        band.attrs = dict(attrs)
        if scales[k] != 1.0 or offsets[k] != 0.0:
            band.attrs |= {"scale_factor": float(scales[k]), "add_offset": float(offsets[k])}
        variables[name] = band
    tags = {k: v for k, v in image.attrs.items() if isinstance(v, str | int | float)}
    return xr.Dataset(variables, attrs=tags)


def _variables(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    found = {}
    for name, variable in dataset.data_vars.items():
        if "bands" in variable.dims:
            labels = _unique([str(b) for b in variable.bands.values]) if "bands" in variable.coords else None
            for k in range(variable.sizes["bands"]):
                found[labels[k] if labels else f"{name}_{k + 1}"] = variable.isel(bands=k, drop=True)
        else:
            found[str(name)] = variable
    return found


def _no_centres(name: str, axis: str, path: Path, dataset: xr.Dataset, crs: Any) -> str:
    """Why a band has no pixel centres along an axis: rotated, curvilinear, or just not written."""
    transforms = [v.attrs["GeoTransform"] for v in dataset.variables.values() if "GeoTransform" in v.attrs]
    numbers = [float(number) for number in str(transforms[0]).split()] if transforms else []
    if len(numbers) == 6 and (numbers[2] or numbers[4]):
        degrees = math.degrees(math.atan2(numbers[4], numbers[1]))
        fill = "float('nan')" if dataset[name].dtype.kind == "f" else "0"
        return (
            f"{path} is rotated by {degrees:.0f} degrees; expected a north-up grid; warp it to north-up: "
            f'python -c "import rasterio as r, rasterio.shutil as s; from rasterio.vrt import WarpedVRT as W; '
            f"s.copy(W(r.open('{path}'), crs='{crs.to_string()}', nodata={fill}), 'north_up.tif', driver='GTiff')\" "
            "and use that file in its place"
        )
    if any(v.dims == ("y", "x") for v in dataset.coords.values()):
        return f"{path} tells positions in two dimensions (a swath); expected a north-up grid; resample it to x and y"
    return f"{path}: dimension {axis!r} of {name} has no coordinate; write pixel centres into it"


def _unique(names: list[str]) -> list[str]:
    """Names that stand twice get their band's number before them, so that no band takes the place of another."""
    return [f"{k + 1}_{name}" if names.count(name) > 1 else name for k, name in enumerate(names)]


def orbit_labels(dataset: xr.Dataset) -> np.ndarray | None:
    """Pass of each image, (t,): orbit state ("ascending") and relative orbit number, from variables along t.

    Returns None if the dataset has no such variable.

    >>> orbit_labels(xr.Dataset({"orbit_state": ("t", ["ASCENDING"]), "relative_orbit": ("t", [88])}))
    array(['ascending 88'], dtype='<U12')
    """
    found: dict[str, np.ndarray] = {}
    for name, variable in dataset.variables.items():
        kind = _ORBIT_NAMES.get(str(name).lower().removeprefix("sat:"))
        if kind is not None and variable.dims == ("t",):
            found[kind] = np.char.lower(np.char.strip(variable.values.astype(str)))
    if "orbit" in found:
        return found["orbit"]
    parts = [found[kind] for kind in ("state", "number") if kind in found]
    if not parts:
        return None
    return np.array([" ".join(words) for words in zip(*(part.tolist() for part in parts), strict=True)])


def _band(
    name: str, variable: xr.DataArray, path: Path, crs: Any, attrs: dict[str, Any],
    labels: tuple[np.ndarray | None, np.ndarray | None], dates_by: DatesBy,
) -> RawBand:  # fmt: skip
    variable, dated, remark = _with_time(name, variable, path, attrs, dates_by)
    name = _plain_name(name, path)
    variable = variable.transpose("t", "y", "x")
    variable = variable.assign_coords(t=plain_times(variable.t.values, f"{path}: {name}"))
    try:
        values, dtype, scaled = decode(_bounded(variable))
    except SourceError as error:
        raise SourceError(f"{path}: {name}: {error}") from error
    if values.sizes["y"] > 1 and float(values.y[0]) < float(values.y[-1]):
        values = values.isel(y=slice(None, None, -1))
    if values.sizes["x"] > 1 and float(values.x[0]) > float(values.x[-1]):
        values = values.isel(x=slice(None, None, -1))
    keep = values.reset_coords(drop=True)
    keep.attrs, keep.encoding, keep.name = {}, {}, name
    keep = keep.rio.write_crs(crs, inplace=True)  # without a copy
    return RawBand(name, path, keep, dtype, scaled, {**attrs, **variable.attrs}, labels[0], dated, remark, labels[1])


def _with_time(
    name: str, variable: xr.DataArray, path: Path, attrs: dict[str, Any], dates_by: DatesBy
) -> tuple[xr.DataArray, Literal["axis", "band", "file"], str | None]:
    """The band with a time axis, where its dates stand, and a remark on weak or contradicting evidence."""
    known = variable.coords.get("t")
    if "t" in variable.dims or known is not None:
        variable = variable if "t" in variable.dims else variable.expand_dims("t")
        if known is None or known.size != 1 or not np.issubdtype(known.dtype, np.datetime64):
            return variable, "axis", None
        return variable, "axis", contradiction(np.ravel(known.values)[0], path)
    day = None if name.startswith(path.stem) else date_in_band(name)[0]  # else the file's name is the band's
    if day is not None:
        return variable.expand_dims(t=[day.astype("datetime64[ns]")]), "band", None
    day, remark = date_of_file(path, attrs, dates_by)
    return variable.expand_dims(t=[day.astype("datetime64[ns]")]), "file", remark


def _bounded(variable: xr.DataArray) -> xr.DataArray:
    """Dask chunks of whole images, or rows of one, and about ``_CHUNK_BYTES``, whatever the layout of the file, to
    bound memory; what one chunk holds, of a window, is read."""
    if in_window() and 4 * variable.size <= _CHUNK_BYTES:
        return variable.compute()
    stored = variable.encoding.get("chunksizes") or variable.encoding.get("chunks") or ()
    t_stored, rows_stored = (int(n) for n in stored[:2]) if len(stored) == variable.ndim else (1, 1)
    row = 4 * variable.sizes["x"]
    dates = _layers(row * variable.sizes["y"], t_stored)
    rows = variable.sizes["y"] if dates else min(max(_layers(row, rows_stored), 1), variable.sizes["y"])
    return variable.chunk({"t": min(max(dates, 1), variable.sizes["t"]), "y": rows, "x": -1})


def _layers(nbytes: int, stored: int) -> int:
    """How many layers of a size fit into a chunk: whole chunks of the file where that can be, so that none is read
    twice."""
    fits = _CHUNK_BYTES // nbytes
    if fits < stored and stored > 1:
        return min(stored, _MOST_CHUNK_BYTES // nbytes)
    return fits // stored * stored
