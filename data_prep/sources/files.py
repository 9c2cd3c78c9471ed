"""Local files as a source: NetCDF, Zarr and GeoTIFF, identified by their bands, not by file names."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.coarse import coarse_ndvi
from data_prep.grid import nesting, overlap_share, to_grid
from data_prep.mosaic import common_grid
from data_prep.optical import reflectance, refuse_other_products, scene_classes
from data_prep.radar import backscatter, mean_power
from data_prep.raw.bands import RawBand, probe, sample
from data_prep.raw.cubes import NotRawError, RawCubes, SourceError, free_cycles
from data_prep.raw.decisions import in_window, once
from data_prep.raw.extent import Extent, described, extent_of_area, grid_of
from data_prep.raw.reading import read_bands
from data_prep.raw.roles import coefficient_of, role_of
from data_prep.satellites import passes_apart
from data_prep.sources.s2_offsets import image_offsets, offset_of_band, plain_offsets
from data_prep.sources.settings import FilesSource
from fusion.place import pixel_size
from fusion.same_day import one_image_per_day, whole_days

log = logging.getLogger(__name__)

_PIXEL_SIZE = re.compile(r"[-_. ]\d+M$", re.IGNORECASE)


def load_files(settings: FilesSource, window: Extent | None = None) -> RawCubes:
    """Read, identify, decode and align the bands of each sensor, of all files, ``settings.area`` or a ``window`` of it.

    A file that cannot be read stops the run, or is skipped and noted with ``on_error="skip"``. Images of one day are
    merged for S2 and coarse (first valid pixel in the order of time and file); S1 images of equal time are averaged in
    linear power. Dates are sorted.

    Raises
    ------
    SourceError
        Data are missing, unreadable or inconsistent; the message names file or band, value found and fix.
    """
    notes: list[str] = []
    wanted = settings.files()
    within = window or (None if settings.area is None else extent_of_area(settings.area))
    bands = list(_read_all(wanted, settings, within, notes))
    origin = str(settings.folder or ", ".join(map(str, settings.s2)))
    by_role = _by_role(bands)
    notes += describe(by_role)
    missing = [role for role in ("B04", "B08") if role not in by_role]
    if missing:
        seen = sorted({b.name for b in bands})
        left_out = f" ({notes[0]})" if notes and not bands else ""
        if settings.area is not None and not bands:
            raise SourceError(f"no file of {origin} reaches into the area {settings.area}; choose another area")
        raise SourceError(
            f"no band {' and '.join(missing)} in {', '.join(map(str, wanted)) or settings.folder}; "
            f"bands found: {seen[:12]}{left_out}; Sentinel-2 red and near infrared are required"
        )
    free_cycles(by_role["B04"][0].values.nbytes)
    s2 = _sentinel2(by_role, settings, within, notes)
    bands.clear()
    by_role = {role: of_role for role, of_role in by_role.items() if role not in ("B04", "B08", "SCL")}
    free_cycles(s2.nbytes)
    s1 = _sentinel1(by_role, settings, within, notes)
    coarse = _coarse(by_role, settings, within, notes)
    for what, cube in (("Sentinel-1", s1), ("the coarse series", coarse)):
        if cube is not None:
            share = overlap_share(next(iter(cube.data_vars.values())), s2, what)
            if share < 0.999:
                notes.append(f"{what} covers {100 * share:.0f} % of the Sentinel-2 area; the rest has no data")
    return RawCubes(s2=s2, s1=s1, coarse=coarse, origin=Path(origin).name or origin, notes=tuple(notes))


def describe(by_role: dict[str, list[RawBand]]) -> list[str]:
    """Summary of the bands found, one line per role: files, dates, size, pixel size, type."""
    lines = []
    for role, bands in by_role.items():
        dates = np.concatenate([b.values.t.values for b in bands]).astype("datetime64[D]")
        names = sorted({f"{b.file.name}:{b.name}" for b in bands})
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        lines.append(
            f"{role}: {', '.join(names[:2])}{more}, {len(np.unique(dates))} dates {dates.min()}..{dates.max()}, "
            f"{' x '.join(map(str, bands[0].values.shape[1:]))} px, {bands[0].pixel_m:.4g} m, {bands[0].dtype}"
        )
    return lines


def _read_all(
    files: Sequence[Path], settings: FilesSource, within: Extent | None, notes: list[str]
) -> Iterable[RawBand]:
    """The bands of all files; in a folder, files that are no raw data are left out and noted."""
    in_folder = settings.folder is not None
    remarks: dict[str, str] = {}
    damaged: list[str] = once("damaged files", list) if in_window() else []
    for file in files:
        if str(file) in damaged:
            continue
        try:
            bands = read_bands(file, roles_only=in_folder, dates_by=settings.dates_by, within=within)
            for band in () if in_window() else bands:
                probe(band)
            told = [band.remark for band in bands if band.remark is not None]
            remarks |= {file.name: told[0]} if told else {}
            yield from bands
        except NotRawError as error:
            if not in_folder:
                raise
            notes.append(f"left out: {error}")
        except SourceError as error:
            if settings.on_error == "stop":
                raise
            log.warning("skipped: %s", error)
            notes.append(f"skipped: {error}")
            damaged.append(str(file))
    once("damaged files", lambda: damaged)
    notes += _summed(remarks)


def _summed(remarks: dict[str, str]) -> list[str]:
    """Remarks on the dates of files, in one line."""
    if not remarks:
        return []
    name, remark = next(iter(remarks.items()))
    more = f" (and {len(remarks) - 1} more files like it)" if len(remarks) > 1 else ""
    return [f"{name}{more}: {remark}"]


def _by_role(bands: list[RawBand]) -> dict[str, list[RawBand]]:
    found: dict[str, list[RawBand]] = {}
    for band in bands:
        role = role_of(band.name, band.pixel_m)
        if role is not None:
            found.setdefault(role, []).append(band)
    for role in ("B04", "B08", "SCL", "VV", "VH"):
        _refuse_undated(role, found.get(role, []))
    order = ("B04", "B08", "SCL", "VV", "VH", "NDVI", "STATUS")
    return {role: found[role] for role in order if role in found}


def _refuse_undated(role: str, bands: list[RawBand]) -> None:
    """Several images of one role in a file need dates of their own; B04_10M beside B04_20M is one image."""
    images: dict[Path, set[str]] = {}
    for band in bands:
        if band.dated == "file":
            images.setdefault(band.file, set()).add(_PIXEL_SIZE.sub("", band.name))
    for file, names in images.items():
        if len(names) > 1:
            raise SourceError(
                f"{file} has {len(names)} bands for {role} ({', '.join(sorted(names)[:3])}) and one date; expected a "
                f"date in each band's name; describe the bands as {role}_20210401, or save a file a date"
            )


def _join(
    parts: list[tuple[RawBand, xr.DataArray]], resampling: str, role: str, within: Extent | None, notes: list[str]
) -> xr.DataArray:
    """Concatenate files of one band on their common grid, sorted; times of day are kept."""
    grid = _shared_grid(parts, role, within, notes)
    moved = []
    for band, values in parts:
        on_grid = to_grid(values, grid, resampling, f"{band.file.name}:{band.name}")
        if on_grid is not values and pixel_size(on_grid) != pixel_size(values):
            notes.append(f"{band.file.name}: {band.name} was resampled to pixels of {pixel_size(on_grid):.4g}")
        moved.append(on_grid)
    joined = xr.concat(moved, "t") if len(moved) > 1 else moved[0]
    return joined.sortby("t")


def _shared_grid(
    parts: list[tuple[RawBand, xr.DataArray]], role: str, within: Extent | None, notes: list[str]
) -> xr.DataArray:
    """The common grid of the files of one band; in a window, its part of the whole area's."""
    if in_window() and within is not None:
        whole = grid_of(once(f"grid of {role}", list))
        return within.cut(whole, whole.rio.crs)
    grid = common_grid([(band.file.name, values) for band, values in parts], parts[0][0].name, notes)
    once(f"grid of {role}", lambda: described(grid))
    return grid


def _once_a_day(values: xr.DataArray, notes: list[str]) -> xr.DataArray:
    """One image per day (:mod:`fusion.same_day`); days with several images are noted."""
    days, counts = np.unique(whole_days(values.t.values), return_counts=True)
    if (counts > 1).any():
        twice = days[counts > 1].astype("datetime64[D]")
        notes.append(
            f"{values.name}: {len(twice)} days have several images (first: {twice[0]}); the first valid pixel is kept"
        )
    return one_image_per_day(values)


def _sentinel2(
    by_role: dict[str, list[RawBand]], settings: FilesSource, within: Extent | None, notes: list[str]
) -> xr.Dataset:
    if "SCL" not in by_role:
        notes.append("no SCL: every valid pixel counts as clear unless optical.user_mask is set")
    for band in (*by_role["B04"], *by_role["B08"]):
        refuse_other_products(band, settings.s2_scale)
    red = _join([(b, b.values) for b in by_role["B04"]], "bilinear", "B04", within, notes)
    red = red if within is None else within.part(red)
    scl_raw, scl_pixel_m = None, by_role["B04"][0].pixel_m
    if "SCL" in by_role:
        scl_raw = _join([(b, scene_classes(b)) for b in by_role["SCL"]], "nearest", "SCL", within, notes)
        if not in_window() and not sample(scl_raw).any():
            raise SourceError(
                f"{by_role['SCL'][0].file}: SCL is 0 (no data) on every pixel; expected scene classes; take the band "
                "from the product again, or leave it out and set optical.user_mask"
            )
        scl_pixel_m = by_role["SCL"][0].pixel_m if nesting(scl_raw, red) is not None else scl_pixel_m
    decided = once(
        "offsets of Sentinel-2",
        lambda: plain_offsets(image_offsets(by_role["B04"], by_role["B08"], scl_raw, settings.s2_offset_dn, notes)),
    )
    offsets = {tuple(key): offset for key, offset in decided}
    bands = {}
    for role in ("B04", "B08"):
        parts = [
            (
                b,
                reflectance(
                    b, scale=settings.s2_scale, offset_dn=offset_of_band(b, offsets, settings.s2_offset_dn), notes=notes
                ),
            )
            for b in by_role[role]
        ]
        values = to_grid(_join(parts, "bilinear", role, within, notes), red, "bilinear", role)
        bands[role] = _once_a_day(values.rename(role), notes)
    if scl_raw is not None:
        classes = to_grid(scl_raw, red, "nearest", "SCL")
        bands["SCL"] = _once_a_day(classes.where(classes != 0).rename("SCL"), notes)
    free_cycles(bands["B04"].nbytes)
    s2 = _common_dates(bands, notes)
    if "SCL" in s2:
        s2["SCL"] = s2.SCL.fillna(0).astype(np.uint8)
    else:
        s2["SCL"] = xr.full_like(s2.B04, 4, dtype=np.uint8).where(s2.B04.notnull(), 0).astype(np.uint8)
    s2.attrs = {"scl_pixel_m": float(scl_pixel_m)}
    return s2.rio.write_crs(red.rio.crs, inplace=True)


def _common_dates(bands: dict[str, xr.DataArray], notes: list[str]) -> xr.Dataset:
    common = sorted(set.intersection(*(set(b.t.values.tolist()) for b in bands.values())))
    every = sorted(set.union(*(set(b.t.values.tolist()) for b in bands.values())))
    dropped = [np.datetime64(t, "ns").astype("datetime64[D]") for t in every if t not in set(common)]
    if not common:
        raise SourceError(
            f"Sentinel-2 bands {sorted(bands)} have no date in common ({len(every)} dates in all); "
            "provide all bands of the same acquisitions"
        )
    if dropped:
        notes.append(f"{len(dropped)} S2 dates lack one of {sorted(bands)} and were dropped (first: {dropped[0]})")
    times = np.array(common, "datetime64[ns]")
    return xr.Dataset({name: band.sel(t=times) for name, band in bands.items()})


def _sentinel1(
    by_role: dict[str, list[RawBand]], settings: FilesSource, within: Extent | None, notes: list[str]
) -> xr.Dataset | None:
    if "VV" not in by_role and "VH" not in by_role:
        notes.append("no Sentinel-1 found")
        return None
    bands: dict[str, xr.DataArray] = {}
    units: set[str] = set()
    seen: dict[int, tuple[str, str]] = {}  # pass and satellite by time
    grid = None
    for role in ("VV", "VH"):
        parts = []
        for band in _one_coefficient(by_role.get(role, []), role, notes):
            values, unit = backscatter(band, settings.s1_units, notes)
            units |= set() if unit is None else {unit}
            labels = list(zip(band.passes, band.satellites, strict=True))
            if band.state is not None and len(by_role[role]) > 1:  # a band for each pass, on the dates of both
                own = values.notnull().any(("y", "x")).values
                values, labels = values.isel(t=own), [label for label, kept in zip(labels, own, strict=True) if kept]
            parts.append((band, passes_apart(values, labels, seen)))
        if parts:
            joined = _join(parts, "bilinear", role, within, notes)
            grid = joined if grid is None else grid
            bands[role] = to_grid(joined, grid, "bilinear", role).rename(role)
        else:
            notes.append(f"no {role} found; the band is empty")
    if len(units) > 1:
        raise SourceError(f"Sentinel-1 files mix the units {sorted(units)}; convert them to one unit")
    unit = units.pop() if units else "dB"  # no value at all
    for role, values in bands.items():
        if len(np.unique(values.t.values)) < values.sizes["t"]:
            notes.append(f"{role}: images of equal time were averaged in power")
            bands[role] = mean_power(values, unit, values.t.values)
    if len(bands) == 1:
        only = next(iter(bands))
        bands["VH" if only == "VV" else "VV"] = xr.full_like(bands[only], np.nan)
    s1 = xr.Dataset(bands)
    told = [seen[t] for t in s1.t.values.tolist()]
    s1 = s1.assign_coords(orbit=("t", [t[0] for t in told]), platform=("t", [t[1] for t in told]))
    s1.attrs = {"s1_units": unit}
    return s1.rio.write_crs(next(iter(bands.values())).rio.crs, inplace=True)


def _one_coefficient(bands: list[RawBand], role: str, notes: list[str]) -> list[RawBand]:
    """The bands of one backscatter coefficient: sigma0 and gamma0 of an image must not be averaged.

    Raises
    ------
    SourceError
        Names of one file do not tell which of several bands of a role and date is meant.
    """
    told = [coefficient_of(band.name) or coefficient_of(band.file.stem) for band in bands]
    if {"sigma0", "gamma0"} <= set(told):
        kept = [band for band, name in zip(bands, told, strict=True) if name == "gamma0"]
        notes.append(
            f"{role}: bands of sigma0 and gamma0 ({', '.join(sorted({band.name for band in bands})[:4])}); gamma0 is "
            "taken; leave out the files or bands that you do not want"
        )
        bands = kept
    for k, band in enumerate(bands):
        for other in bands[:k]:
            same = other.file == band.file and other.state == band.state and band.dated == other.dated == "axis"
            if same and np.isin(band.values.t, other.values.t).any():
                raise SourceError(
                    f"{band.file} has two bands for {role} on the same dates, {other.name} and {band.name}; leave one "
                    "out, or save them as files of their own"
                )
    return bands


def _coarse(
    by_role: dict[str, list[RawBand]], settings: FilesSource, within: Extent | None, notes: list[str]
) -> xr.Dataset | None:
    if "NDVI" not in by_role:
        notes.append("no coarse NDVI found")
        return None
    status = {b.file.parent / b.file.stem: b for b in by_role.get("STATUS", [])}
    parts = []
    for band in by_role["NDVI"]:
        same = (
            s for s in by_role.get("STATUS", []) if s.file == band.file and np.isin(s.values.t, band.values.t).any()
        )
        own = next(same, status.get(band.file))
        parts.append((band, coarse_ndvi(band, settings.coarse_encoding, status=own, notes=notes)))
    series = _once_a_day(_join(parts, "nearest", "NDVI", within, notes).rename("NDVI"), notes)
    return xr.Dataset({"NDVI": series}).rio.write_crs(series.rio.crs)
