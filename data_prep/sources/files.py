"""Local files as a source: NetCDF, Zarr and GeoTIFF, told apart by what is in them, not by their names."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_prep.coarse import coarse_ndvi
from data_prep.grid import nesting, overlap_share, to_grid
from data_prep.optical import digital_numbers, reflectance, said_offset, scene_classes
from data_prep.optical_offset import OFFSET_HELP, OffsetSetting, decide_offsets, offset_evidence
from data_prep.radar import backscatter, mean_power
from data_prep.raw.bands import RawBand, probe
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.raw.reading import find_files, read_bands
from data_prep.raw.roles import role_of
from fusion.place import pixel_size
from fusion.same_day import one_image_per_day, whole_days

log = logging.getLogger(__name__)

S1Units = Literal["auto", "dB", "linear", "dn16"]


class FilesSource(BaseModel):
    """Raw data on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["files"] = "files"
    folder: Path | None = Field(None, description="folder whose files are told apart by their bands")
    s2: tuple[Path, ...] = Field((), description="files with B04, B08 and SCL (also of different pixel size)")
    s1: tuple[Path, ...] = Field((), description="files with VV and VH")
    coarse: tuple[Path, ...] = Field((), description="files with a coarse NDVI (PROBA-V, CGLS)")
    on_error: Literal["stop", "skip"] = Field("stop", description="what to do with a file that cannot be read")
    s2_scale: float | None = Field(
        None, gt=0, description="reflectance a digital number; null: 1e-4 unless the file says"
    )
    s2_offset_dn: OffsetSetting = Field("auto", description=OFFSET_HELP)
    s1_units: S1Units = Field("auto", description="what the numbers of VV and VH are")
    coarse_encoding: Literal["auto", "dn", "physical"] = Field("auto", description="PROBA-V digital numbers or NDVI")

    @model_validator(mode="after")
    def _one_way(self) -> "FilesSource":
        if (self.folder is None) == (not self.s2):
            raise ValueError("name either folder=... or s2=[...] (with s1=[...], coarse=[...] as you have them)")
        if self.folder is not None and (self.s1 or self.coarse):
            raise ValueError(
                "folder=... finds S1 and the coarse series itself; drop s1 and coarse, or name s2=[...] too"
            )
        return self

    def load(self) -> RawCubes:
        """The raw cubes of these files; see :func:`load_files`."""
        return load_files(self)


def load_files(settings: FilesSource) -> RawCubes:
    """Read, tell apart, decode and align the bands of each sensor.

    Rules: a file that cannot be read stops the run, or is skipped and noted with ``on_error="skip"``; observations of
    one day are merged (S2 and coarse: the first valid pixel in the order of file and hour; S1: mean power); dates are
    sorted.

    Raises
    ------
    SourceError
        Names the file or band, what was seen, and the fix.
    """
    notes: list[str] = []
    files = find_files(settings.folder) if settings.folder is not None else []
    wanted = [*files, *settings.s2, *settings.s1, *settings.coarse]
    bands = list(_read_all(wanted, settings.on_error, notes))
    by_role = _by_role(bands)
    notes += describe(by_role)
    missing = [role for role in ("B04", "B08") if role not in by_role]
    if missing:
        seen = sorted({b.name for b in bands})
        raise SourceError(
            f"no band {' and '.join(missing)} in {', '.join(map(str, wanted)) or settings.folder}; "
            f"bands found: {seen[:12]}; Sentinel-2 red and near infrared are required"
        )
    s2 = _sentinel2(by_role, settings, notes)
    s1 = _sentinel1(by_role, settings, notes)
    coarse = _coarse(by_role, settings, notes)
    for what, cube in (("Sentinel-1", s1), ("the coarse series", coarse)):
        if cube is not None:
            share = overlap_share(next(iter(cube.data_vars.values())), s2, what)
            if share < 0.999:
                notes.append(f"{what} covers {100 * share:.0f} % of the Sentinel-2 area; the rest stays empty")
    origin = str(settings.folder or ", ".join(map(str, settings.s2)))
    return RawCubes(s2=s2, s1=s1, coarse=coarse, origin=Path(origin).name or origin, notes=tuple(notes))


def describe(by_role: dict[str, list[RawBand]]) -> list[str]:
    """What was detected, one line a band role."""
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


def _read_all(files: Sequence[Path], on_error: str, notes: list[str]) -> Iterable[RawBand]:
    for file in files:
        try:
            bands = read_bands(file)
            for band in bands:
                probe(band)
            yield from bands
        except SourceError as error:
            if on_error == "stop":
                raise
            log.warning("skipped: %s", error)
            notes.append(f"skipped: {error}")


def _by_role(bands: list[RawBand]) -> dict[str, list[RawBand]]:
    found: dict[str, list[RawBand]] = {}
    for band in bands:
        role = role_of(band.name, band.pixel_m)
        if role is not None:
            found.setdefault(role, []).append(band)
    order = ("B04", "B08", "SCL", "VV", "VH", "NDVI", "STATUS")
    return {role: found[role] for role in order if role in found}


def _join(parts: list[tuple[RawBand, xr.DataArray]], resampling: str, notes: list[str]) -> xr.DataArray:
    """Files of one band into one series on the grid of the first file, hours kept, sorted."""
    grid = parts[0][1]
    moved = []
    for band, values in parts:
        on_grid = to_grid(values, grid, resampling, f"{band.file.name}:{band.name}")
        if on_grid is not values and pixel_size(on_grid) != pixel_size(values):
            notes.append(f"{band.file.name}: {band.name} was brought to the grid of {parts[0][0].file.name}")
        moved.append(on_grid)
    joined = xr.concat(moved, "t") if len(moved) > 1 else moved[0]
    return joined.sortby("t")


def _once_a_day(values: xr.DataArray, notes: list[str]) -> xr.DataArray:
    """One image a day (:mod:`fusion.same_day`); days with several are noted."""
    days, counts = np.unique(whole_days(values.t.values), return_counts=True)
    if (counts > 1).any():
        twice = days[counts > 1].astype("datetime64[D]")
        notes.append(
            f"{values.name}: {len(twice)} days have several images ({twice[0]} first); the first valid one was kept"
        )
    return one_image_per_day(values)


def _sentinel2(by_role: dict[str, list[RawBand]], settings: FilesSource, notes: list[str]) -> xr.Dataset:
    if "SCL" not in by_role:
        notes.append("no SCL: every valid pixel counts as clear unless you give your own cloud mask")
    red = _join([(b, b.values) for b in by_role["B04"]], "bilinear", notes)
    scl_raw, scl_pixel_m = None, by_role["B04"][0].pixel_m
    if "SCL" in by_role:
        scl_raw = _join([(b, scene_classes(b)) for b in by_role["SCL"]], "nearest", notes)
        scl_pixel_m = by_role["SCL"][0].pixel_m if nesting(scl_raw, red) is not None else scl_pixel_m
    offsets = _offsets(by_role["B04"], by_role["B08"], scl_raw, settings, notes)
    bands = {}
    for role in ("B04", "B08"):
        parts = [
            (b, reflectance(b, scale=settings.s2_scale, offset_dn=_of_band(b, offsets, settings), notes=notes))
            for b in by_role[role]
        ]
        values = to_grid(_join(parts, "bilinear", notes), red, "bilinear", role)
        bands[role] = _once_a_day(values.rename(role), notes)
    if scl_raw is not None:
        classes = to_grid(scl_raw, red, "nearest", "SCL")
        bands["SCL"] = _once_a_day(classes.where(classes != 0).rename("SCL"), notes)
    s2 = _common_dates(bands, notes)
    if "SCL" in s2:
        s2["SCL"] = s2.SCL.fillna(0).astype(np.uint8)
    else:
        s2["SCL"] = xr.full_like(s2.B04, 4, dtype=np.uint8).where(s2.B04.notnull(), 0).astype(np.uint8)
    s2.attrs = {"scl_pixel_m": float(scl_pixel_m)}
    return s2.rio.write_crs(red.rio.crs)


def _offsets(
    red: list[RawBand], nir: list[RawBand], classes: xr.DataArray | None, settings: FilesSource, notes: list[str]
) -> dict[int, float]:
    """What to add to the digital numbers of each image by its time, where images differ; else empty."""
    if isinstance(settings.s2_offset_dn, int):
        return {}
    times = np.concatenate([b.values.t.values for b in red]).astype("datetime64[ns]")
    said = [said_offset(b.attrs) for b in red for _ in range(b.values.sizes["t"])]
    evidence = np.zeros(len(times), np.int8)
    if settings.s2_offset_dn == "auto":
        evidence = np.concatenate([offset_evidence(digital_numbers(b), _twin(b, nir), classes) for b in red])
    where = f"{red[0].file.name}: {red[0].name}"
    offsets = decide_offsets(times, evidence, said, settings.s2_offset_dn, where, notes)
    plain = np.array([s or 0 for s in said], np.float32)
    if settings.s2_offset_dn == "auto" and np.array_equal(offsets, plain):
        return {}  # as the files say: the check of the whole series follows
    return dict(zip(times.astype("datetime64[D]").astype("int64").tolist(), offsets.tolist(), strict=True))


def _twin(band: RawBand, others: list[RawBand]) -> xr.DataArray | None:
    """Digital numbers of the other band of the same images and pixels, if there is one."""
    for other in others:
        if other.values.shape == band.values.shape and np.array_equal(other.values.t.values, band.values.t.values):
            return digital_numbers(other)
    return None


def _of_band(band: RawBand, offsets: dict[int, float], settings: FilesSource) -> int | str | np.ndarray:
    if not offsets:
        return settings.s2_offset_dn
    days = band.values.t.values.astype("datetime64[D]").astype("int64")
    return np.array([offsets.get(day, np.nan) for day in days.tolist()], np.float32)


def _common_dates(bands: dict[str, xr.DataArray], notes: list[str]) -> xr.Dataset:
    common = sorted(set.intersection(*(set(b.t.values.tolist()) for b in bands.values())))
    every = sorted(set.union(*(set(b.t.values.tolist()) for b in bands.values())))
    dropped = [np.datetime64(t, "ns").astype("datetime64[D]") for t in every if t not in set(common)]
    if not common:
        raise SourceError(
            f"Sentinel-2 bands {sorted(bands)} have no date in common ({len(every)} dates in all); "
            "they belong to different files"
        )
    if dropped:
        notes.append(f"{len(dropped)} S2 dates lack one of {sorted(bands)} and were dropped, the first {dropped[0]}")
    times = np.array(common, "datetime64[ns]")
    return xr.Dataset({name: band.sel(t=times) for name, band in bands.items()})


def _sentinel1(by_role: dict[str, list[RawBand]], settings: FilesSource, notes: list[str]) -> xr.Dataset | None:
    if "VV" not in by_role and "VH" not in by_role:
        notes.append("no Sentinel-1 found")
        return None
    bands, units = {}, set()
    orbits: dict[int, str] = {}
    grid = by_role["VV" if "VV" in by_role else "VH"][0].values
    for role in ("VV", "VH"):
        parts = []
        for band in by_role.get(role, []):
            values, unit = backscatter(band, settings.s1_units, notes)
            units.add(unit)
            parts.append((band, values))
            orbits |= dict(zip(values.t.values.tolist(), band.passes, strict=True))
        if parts:
            bands[role] = to_grid(_join(parts, "bilinear", notes), grid, "bilinear", role).rename(role)
        else:
            notes.append(f"no {role} found; it stays empty")
    if len(units) > 1:
        raise SourceError(f"Sentinel-1 files mix the units {sorted(units)}; convert them or give them one at a time")
    unit = units.pop()
    for role, values in bands.items():
        if len(np.unique(values.t.values)) < values.sizes["t"]:
            notes.append(f"{role}: images of equal time were averaged in power")
            bands[role] = mean_power(values, unit, values.t.values)
    if len(bands) == 1:
        only = next(iter(bands))
        bands["VH" if only == "VV" else "VV"] = xr.full_like(bands[only], np.nan)
    s1 = xr.Dataset(bands)
    s1 = s1.assign_coords(orbit=("t", [orbits[t] for t in s1.t.values.tolist()]))
    s1.attrs = {"s1_units": unit}
    return s1.rio.write_crs(grid.rio.crs)


def _coarse(by_role: dict[str, list[RawBand]], settings: FilesSource, notes: list[str]) -> xr.Dataset | None:
    if "NDVI" not in by_role:
        notes.append("no coarse NDVI found")
        return None
    status = {b.file.parent / b.file.stem: b for b in by_role.get("STATUS", [])}
    parts = []
    for band in by_role["NDVI"]:
        own = next((s for s in by_role.get("STATUS", []) if s.file == band.file), status.get(band.file))
        parts.append((band, coarse_ndvi(band, settings.coarse_encoding, status=own, notes=notes)))
    series = _once_a_day(_join(parts, "nearest", notes).rename("NDVI"), notes)
    return xr.Dataset({"NDVI": series}).rio.write_crs(series.rio.crs)
