"""Build the merged cube from raw cubes: cloud mask, NDVI, common grid, common time axis."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.coarse import coarse_on_grid, level_beside_s2
from data_prep.coregistration import central, check_registration
from data_prep.grid import to_grid
from data_prep.optical import OpticalSettings, cloud_dips, masked_ndvi
from data_prep.radar import prepare_radar
from data_prep.raw.cubes import RawCubes, SourceError, free_cycles
from data_prep.raw.decisions import in_window
from data_prep.settings import PrepareSettings, RegistrationSettings
from data_prep.sources.files import FilesSource, load_files
from fusion.contract import COARSE_NDVI, DIMS, S2NDVI, VH, VV, check_time
from fusion.data.cube_files import is_zarr, opened_cube, read_cube
from fusion.layout import with_roles
from fusion.place import latitude_of
from fusion.same_day import one_image_per_day

log = logging.getLogger(__name__)

S2_IMAGES = "s2_images"  # attribute: days of the Sentinel-2 images, one a line, wholly cloudy ones included
SUSPECT = "S2_SUSPECT"  # optional band: 1 = NDVI dip like undetected cloud, 0 = no dip, NaN = no observation
_IN_MEMORY_BYTES = 512 * 2**20
_PART_BYTES = 8 * 2**20


def build_cube(
    raw: RawCubes, settings: PrepareSettings | None = None, *, compare: bool = True, in_memory_bytes: int | None = None
) -> xr.DataArray:
    """Merged cube (t, bands, y, x) on the Sentinel-2 grid, float32, NaN = no observation.

    ``t`` is the sorted union of the days of all sensors. ``attrs``: ``s1_units``, ``s1_acquisitions`` (day, satellite
    and pass, one a line, where known), ``s2_images`` (days, one a line), ``latitude``, ``source``, ``notes``
    (processing decisions and data left out, one per line), ``registration`` (result of the shift check). Raw cubes up
    to ``in_memory_bytes`` (512 MiB) are loaded into memory; larger ones stay lazy if ``raw`` is lazy.
    ``compare``: whether the sensors are compared with each other (:func:`compare_sensors`).

    Raises
    ------
    SourceError
        No data in the period, sensors that do not overlap, unknown units, or a shift beyond the limit.
    """
    settings = settings or PrepareSettings()
    notes = list(raw.notes)
    most = _IN_MEMORY_BYTES if in_memory_bytes is None else in_memory_bytes
    bands, s2, attrs = prepared_bands(raw, settings, notes, most)
    del raw
    level, shifts = compare_sensors(bands, settings.registration) if compare else (None, [])
    notes += [level] if level else []
    cube = merged(bands, s2)
    if (latitude := latitude_of(cube)) is not None:
        attrs["latitude"] = round(latitude, 4)
    if shifts:
        attrs["registration"] = "; ".join(shifts)
    cube.attrs = {**attrs, "notes": "\n".join(dict.fromkeys(notes))}
    check_time(cube)
    return cube


def prepared_bands(
    raw: RawCubes, settings: PrepareSettings, notes: list[str], in_memory_bytes: int = 0
) -> tuple[dict[str, xr.DataArray], xr.Dataset, dict[str, object]]:
    """The bands of a merged cube, each (t, y, x) on its own dates and on the grid of Sentinel-2, which comes second,
    and the cube's attributes.

    Raises
    ------
    SourceError
        As :func:`build_cube`.
    """
    raw = _loaded_if_small(raw, in_memory_bytes)
    s2 = _once_a_day(_period(raw.s2, settings, "Sentinel-2"))
    ndvi = masked_ndvi(s2, settings.optical)
    bands = {S2NDVI: ndvi}
    attrs: dict[str, object] = {"source": raw.origin, S2_IMAGES: _days_text(s2.t.values)}
    free_cycles(ndvi.nbytes)
    if raw.s1 is not None:
        radar, told = _radar_bands(_period(raw.s1, settings, "Sentinel-1", required=False), s2, settings, notes)
        bands |= radar
        attrs |= told
    if raw.coarse is not None:
        coarse = _period(raw.coarse, settings, "the coarse series", required=False)
        bands[COARSE_NDVI] = coarse_on_grid(_once_a_day(coarse), s2, settings.coarse)
    for name, band in bands.items() if not in_window() else ():
        if band.sizes["t"] == 0:
            notes.append(f"{name} has no data in the period; the band is empty")
        elif not _has_value(band):
            notes.append(f"{name} has no value in the area: the files do not reach it, or every pixel is masked")
    if settings.optical.flag_dips:
        bands[SUSPECT] = _suspects(ndvi, s2, settings.optical)
    del raw
    free_cycles(ndvi.nbytes)
    return bands, s2, attrs


def compare_sensors(bands: dict[str, xr.DataArray], settings: RegistrationSettings) -> tuple[str | None, list[str]]:
    """A sentence where the coarse series has another level than Sentinel-2, and one a sensor on its shift.

    Bands are those of :func:`prepared_bands`; the middle of the area is read, at most 512 px a side.

    Raises
    ------
    SourceError
        A shift beyond the limit, with ``check="refuse"``.
    """
    middle = {name: central(band) for name, band in bands.items() if band.sizes["t"]}
    pair = [name for name in (S2NDVI, COARSE_NDVI) if name in middle]
    middle |= {name: middle[name].load() for name in pair if len(pair) == 2 or settings.check != "off"}
    level = level_beside_s2(middle[COARSE_NDVI], middle[S2NDVI]) if len(pair) == 2 else None
    return level, check_registration(bands | middle, settings)


def _has_value(band: xr.DataArray) -> bool:
    """Whether any value is known; of a lazy band, only as many images are read as are needed to tell."""
    if band.chunks is None:
        return bool(band.notnull().any())
    return any(bool(band.isel(t=k).notnull().any()) for k in range(band.sizes["t"]))


def clear_share(cube: xr.DataArray, start: Any = None, end: Any = None) -> float:
    """Share of the Sentinel-2 pixels of all images that are clear, 0..1; wholly cloudy images count.

    The days of the images are ``cube.attrs["s2_images"]``; without it, those with an observation, which is too high
    a share. ``start`` and ``end`` are the first and last date that count.
    """
    seen = cube.sel(bands=S2NDVI, t=slice(start, end)).notnull().mean(("y", "x")).values
    days = np.array(str(cube.attrs.get(S2_IMAGES, "")).split(), "datetime64[D]").astype("datetime64[ns]")
    images = xr.DataArray(days, {"t": days}, "t").sel(t=slice(start, end)).size or int((seen > 0).sum())
    return float(seen.sum() / images) if images else 0.0


def _days_text(times: np.ndarray) -> str:
    return "\n".join(np.datetime_as_string(np.unique(times.astype("datetime64[D]"))))


def _radar_bands(
    s1: xr.Dataset, s2: xr.Dataset, settings: PrepareSettings, notes: list[str]
) -> tuple[dict[str, xr.DataArray], dict[str, object]]:
    """VV and VH, processed, on the S2 grid (length 0 if the period has no acquisition), and the cube's attributes."""
    if s1.sizes["t"] == 0:
        return {band: s2.B04.isel(t=slice(0, 0)) for band in (VV, VH)}, {"s1_units": settings.radar.units}
    prepared, more = prepare_radar(s1, settings.radar)
    notes += more
    moved = {band: to_grid(prepared[band], s2, settings.radar.resampling, "Sentinel-1") for band in (VV, VH)}
    return moved, dict(prepared.attrs)


def open_cube(path: str | Path, settings: PrepareSettings | None = None, *, lazy: bool = False) -> xr.DataArray:
    """Open a merged cube (NetCDF, Zarr), or build it from a folder of raw files.

    In a file, a single band with "ndvi" in its name counts as ``S2NDVI`` (:func:`fusion.layout.with_roles`).

    ``settings`` apply to raw files only. ``lazy=True`` returns Dask arrays where possible.

    Raises
    ------
    SourceError, fusion.data.cube_files.CubeFileError
        The file is missing or unreadable; the message names file, value found and fix.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a merged cube (.nc, .zarr) or a folder of raw files")
    if path.is_dir() and not is_zarr(path):
        cube = build_cube(load_files(FilesSource(folder=path)), settings)
        return cube if lazy else cube.load()
    with opened_cube(path) as seen:
        bands = with_roles(seen).bands.values.tolist()
    if S2NDVI not in bands:
        raise SourceError(
            f"{path} is not a merged cube: its bands are {bands[:6]}, and none is {S2NDVI} or a single one with 'ndvi' "
            f"in its name; create one: `ndvi-fusion cube source.s2=[{path}] out=...`"
        )
    return with_roles(read_cube(path, lazy=lazy))


def _loaded_if_small(raw: RawCubes, most_bytes: int) -> RawCubes:
    """Load small cubes into memory; large ones and windows are computed some images at a time."""
    if in_window():
        s1, coarse = (None if c is None else _in_parts(c) for c in (raw.s1, raw.coarse))
        return replace(raw, s2=_in_parts(raw.s2), s1=s1, coarse=coarse)
    if raw.nbytes > most_bytes:
        return raw
    s1, coarse = (None if c is None else c.compute() for c in (raw.s1, raw.coarse))
    return replace(raw, s2=raw.s2.compute(), s1=s1, coarse=coarse)


def _in_parts(cube: xr.Dataset) -> xr.Dataset:
    """A cube whose variables in memory are computed some images at a time, which bounds what their steps add to it."""
    images = max(1, _PART_BYTES // (4 * cube.sizes["y"] * cube.sizes["x"]))
    return cube.assign(
        {
            name: (v.dims, da.from_array(v.values, (images, -1, -1), name=False), v.attrs)
            for name, v in cube.data_vars.items()
            if v.chunks is None and v.sizes["t"] > images
        }
    )


def _once_a_day(cube: xr.Dataset) -> xr.Dataset:
    """One image per day in every variable, the first valid value; attributes are kept."""
    return cube.map(one_image_per_day, keep_attrs=True).assign_attrs(cube.attrs)


def _period(cube: xr.Dataset, settings: PrepareSettings, what: str, *, required: bool = True) -> xr.Dataset:
    days = cube.t.values.astype("datetime64[D]")
    keep = np.ones(len(days), bool)
    if settings.start is not None:
        keep &= days >= np.datetime64(settings.start)
    if settings.end is not None:
        keep &= days <= np.datetime64(settings.end)
    if required and not keep.any():
        have = f"{days.min()}..{days.max()}" if len(days) else "none"
        raise SourceError(
            f"{what} has no data from {settings.start or '(open)'} to {settings.end or '(open)'}; "
            f"its dates are {have}; change start and end"
        )
    return cube.isel(t=np.flatnonzero(keep))


def _suspects(ndvi: xr.DataArray, s2: xr.Dataset, settings: OpticalSettings) -> xr.DataArray:
    days = ndvi.t.values.astype("datetime64[D]").astype("int64")

    def one(values: np.ndarray, red: np.ndarray) -> np.ndarray:
        images, reds = np.moveaxis(values, -1, 0), np.moveaxis(red, -1, 0)
        flags = cloud_dips(images, reds, days, settings).astype(np.float32)
        return np.moveaxis(np.where(np.isfinite(images), flags, np.float32(np.nan)), 0, -1)

    return xr.apply_ufunc(
        one,
        *(a.chunk({"t": -1}) if a.chunks else a for a in (ndvi, s2.B04)),
        input_core_dims=[["y", "x", "t"]] * 2,
        output_core_dims=[["y", "x", "t"]],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[np.float32],
    ).transpose("t", "y", "x")


def merged(bands: dict[str, xr.DataArray], s2: xr.Dataset, window: tuple[slice, slice] | None = None) -> xr.DataArray:
    """The merged cube (t, bands, y, x) of bands on the grid of ``s2``; lazy where they are, in memory of a ``window``
    (rows and columns)."""
    if window is not None:
        s2 = s2.isel(y=window[0], x=window[1])
    union = np.unique(np.concatenate([b.t.values.astype("datetime64[ns]") for b in bands.values()]))
    plain = []
    for values in bands.values():
        part = values if window is None else values.isel(y=window[0], x=window[1])
        bare = part.reset_coords(drop=True).assign_coords(y=s2.y.values, x=s2.x.values).astype(np.float32, copy=False)
        bare.attrs = {}
        plain.append(bare.transpose("t", "y", "x"))
    if window is None and any(band.chunks is not None for band in plain):
        names = xr.DataArray(list(bands), dims="bands", name="bands")
        whole = [band.reindex(t=union) for band in plain]
        cube = xr.concat(whole, names, coords="minimal", compat="override").transpose(*DIMS)
    else:  # band by band into its place: half the memory
        stack = np.full((len(plain), len(union), s2.sizes["y"], s2.sizes["x"]), np.nan, np.float32)
        places: list[Any] = [
            _Images(layer, np.searchsorted(union, band.t.values)) for layer, band in zip(stack, plain, strict=True)
        ]
        for band, place in zip(plain, places, strict=True):
            if band.chunks is None:
                place[:, :, :] = band.values
        lazy = [k for k, band in enumerate(plain) if band.chunks is not None]
        if lazy:  # all at once, so that each image is read once
            da.store([plain[k].data for k in lazy], [places[k] for k in lazy], lock=False)
        coords = {"t": union, "y": s2.y.values, "x": s2.x.values, "bands": list(bands)}
        cube = xr.DataArray(stack, coords, ("bands", "t", "y", "x")).transpose(*DIMS)
    cube.name = "cube"
    return cube.rio.write_crs(s2.rio.crs, inplace=True)  # without a copy


@dataclass(frozen=True)
class _Images:
    """Some images of a series in memory (t, y, x), by their positions, for :func:`dask.array.store`."""

    series: np.ndarray
    at: np.ndarray

    def __setitem__(self, key: tuple[slice, slice, slice], values: np.ndarray) -> None:
        self.series[self.at[key[0]], key[1], key[2]] = values
