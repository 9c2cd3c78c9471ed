"""The offset of Sentinel-2's baseline 04.00 in digital numbers, decided image by image from flags and numbers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_prep.grid import to_grid
from data_prep.raw.cubes import SourceError
from data_prep.settings import OffsetSetting
from fusion.cloud_mask import SCL_CLOUD

# Processing baseline 04.00 (2022-01-25) and Collection-1 add 1000 to every digital number (BOA_ADD_OFFSET = -1000).
BASELINE_OFFSET_DN = -1000
BASELINE_DAY = np.datetime64("2022-01-25")
_BASELINE = re.compile(r"MSIL2A_\d{8}T\d{6}_N(\d{4})_", re.IGNORECASE)
_VEGETATION = 4  # SCL
_DARK_DN = 980.0  # red of vegetation is far below 0.1; with the offset in, its digital numbers start at about 1000
_LEAFY_NDVI = 0.3  # of the numbers as they are; the offset lowers NDVI 0.6 to 0.33, bare soil lies below
FILL_FROM_DN = 20_000.0  # larger numbers are fill values
_HAZY = 0.2  # share of cloud from which haze around it may lift red like the offset
_MIN_PIXELS = 5
_FEW = 0.1  # share of doubtful images that are left out; with more of them the series is refused
_ALL_BYTES = 256 * 2**20
_MOST_IMAGES = 48


def offset_evidence(red_dn: xr.DataArray, nir_dn: xr.DataArray | None, classes: xr.DataArray | None) -> np.ndarray:
    """What the numbers of each image say, int8 (t,): 1 the offset is in them, -1 it is not, 0 they do not tell.

    Vegetation (by SCL and NDVI) of a clear image, whose red never falls below 0.1, holds the offset. An image whose
    vegetation, or without SCL whose pixels, lie below 0.1 in the median does not: they would become negative.
    """
    count = red_dn.sizes["t"]
    picked = np.arange(count)
    if red_dn.nbytes > _ALL_BYTES and count > _MOST_IMAGES:
        picked = np.unique(np.linspace(0, count - 1, _MOST_IMAGES).astype(int))
    step = max(1, max(red_dn.sizes["y"], red_dn.sizes["x"]) // 120)
    thin: Any = {"y": slice(None, None, step), "x": slice(None, None, step)}
    red = np.asarray(red_dn.isel(t=picked, **thin).values)
    seen = np.isfinite(red) & (red > 1) & (red < FILL_FROM_DN)
    leafy, clear = np.zeros(red.shape, bool), np.zeros(len(picked), bool)
    if classes is not None:
        days = classes.t.values.astype("datetime64[D]").tolist()
        at = [days.index(d) if d in days else -1 for d in red_dn.t.values[picked].astype("datetime64[D]").tolist()]
        on_grid = to_grid(classes.isel(t=np.maximum(at, 0)), red_dn, "nearest", "SCL")
        found = np.asarray(on_grid.isel(**thin).values)
        cloudy = (seen & np.isin(found, SCL_CLOUD)).sum(axis=(1, 2))
        clear = cloudy < _HAZY * np.maximum(seen.sum(axis=(1, 2)), 1)
        seen &= found == _VEGETATION
        seen[np.array(at) < 0] = False
        if nir_dn is not None:
            nir = np.asarray(nir_dn.isel(t=picked, **thin).values)
            with np.errstate(invalid="ignore", divide="ignore"):
                leafy = seen & (nir < FILL_FROM_DN) & ((nir - red) / (nir + red) >= _LEAFY_NDVI)
    verdict = np.zeros(count, np.int8)
    for k, image, green, some, sharp in zip(picked, red, leafy, seen, clear, strict=True):
        if some.sum() < _MIN_PIXELS:
            continue
        if sharp and green.sum() > some.sum() / 2 and np.percentile(image[some], 5) >= _DARK_DN:
            verdict[k] = 1
        elif np.median(image[some]) < _DARK_DN:
            verdict[k] = -1
    return verdict


def decide_offsets(
    times: np.ndarray,
    evidence: np.ndarray,
    said: Sequence[int | None],
    setting: OffsetSetting,
    where: str,
    notes: list[str],
) -> np.ndarray:
    """What to add to the digital numbers of each image, float32 (t,); NaN = leave the image out.

    A number given by the caller holds. "auto" takes what metadata say (``said``), else 0, and looks whether the
    numbers (``evidence``, see :func:`offset_evidence`) agree: if those without metadata hold the offset exactly from
    2022-01-25 on, it is removed there; a few doubtful images are left out; more are refused.

    Raises
    ------
    SourceError
        Numbers contradict the metadata, or hold the offset in part, and no rule tells why.
    """
    days = np.asarray(times).astype("datetime64[D]")
    late = days >= BASELINE_DAY
    if setting == "by_date":
        return np.where(late, BASELINE_OFFSET_DN, 0).astype(np.float32)
    if setting != "auto":
        return np.full(len(days), int(setting), np.float32)
    silent = np.array([s is None for s in said], bool)
    offsets = np.array([s or 0 for s in said], np.float32)
    held, free = evidence == 1, evidence == -1
    if (held & silent).any() and (free & silent).any() and late[held & silent].all() and not late[free & silent].any():
        offsets[silent & late] = BASELINE_OFFSET_DN
        notes.append(
            f"{where}: {BASELINE_OFFSET_DN} added to the digital numbers of {int((silent & late).sum())} images from "
            f"{BASELINE_DAY} on (baseline 04.00); earlier ones do not hold the offset"
        )
    doubtful = (held & (offsets == 0)) | (free & (offsets < 0))
    if not doubtful.any():
        return offsets
    first = days[doubtful][0]
    seen = "are never below 980 on vegetation: the offset seems to be in them"
    if free[doubtful][0]:
        seen = "are below 980 on vegetation, or in the median: the offset seems to be removed already"
    if doubtful.sum() > _FEW * max(1, (held | free).sum()):
        told = "no metadata tell" if silent[doubtful][0] else f"metadata say {offsets[doubtful][0]:.0f}"
        raise SourceError(
            f"{where}: the red digital numbers of {int(doubtful.sum())} of {len(days)} images, the first of {first}, "
            f"{seen} (baseline 04.00), but {told}; set source.s2_offset_dn=-1000 if all images hold it, =0 if none "
            "does, or =by_date if those from 2022-01-25 on do"
        )
    notes.append(
        f"{where}: {int(doubtful.sum())} of {len(days)} images were left out, the first of {first}: their red digital "
        f"numbers {seen}, unlike the others'; source.s2_offset_dn decides"
    )
    offsets[doubtful] = np.nan
    return offsets


def offset_of_name(path: Path) -> int | None:
    """The offset that the numbers of a product hold by the baseline in its name or its folder's; None without one.

    >>> offset_of_name(Path("S2A_MSIL2A_20210303T105031_N0500_R051_T31UFS_20230301T120000.tif"))
    -1000
    """
    found = [match for part in reversed(path.parts) if (match := _BASELINE.search(part)) is not None]
    return None if not found else BASELINE_OFFSET_DN if int(found[0].group(1)) >= 400 else 0


def said_or_named(
    said: list[int | None], named: list[int | None], evidence: np.ndarray, where: str, notes: list[str]
) -> list[int | None]:
    """What metadata say of each image, else what its name says, unless the numbers prove that names do not count."""
    held_by_name = np.array([s is None and n == BASELINE_OFFSET_DN for s, n in zip(said, named, strict=True)], bool)
    if not held_by_name.any():
        return said
    told = f"{where}: {int(held_by_name.sum())} images are of baseline 04.00 or later by their names"
    if (evidence[held_by_name] == -1).any() and not (evidence[held_by_name] == 1).any():
        notes.append(f"{told}, but their red lies below 980: the offset was removed already")
        return said
    notes.append(f"{told}: {BASELINE_OFFSET_DN} added to their digital numbers; source.s2_offset_dn decides otherwise")
    return [n if s is None else s for s, n in zip(said, named, strict=True)]


def pending_offset(item: Any, asset: str) -> int | None:
    """Offset in digital numbers that metadata say must still be added to a band of an item; None: they say nothing.

    ``earthsearch:boa_offset_applied`` or ``s2:boa_offset_applied`` true: none. Else the asset's ``raster:bands`` offset
    over its scale; else -1000 for ``s2:processing_baseline`` (or ``processing:version``) 04.00 and later.
    """
    properties = item.properties
    for key in ("earthsearch:boa_offset_applied", "s2:boa_offset_applied"):
        if properties.get(key) is True:
            return 0
    scale, offset = scale_of_asset(item.assets[asset])
    if offset is not None:
        return round(offset / (scale or 1e-4))
    baseline = str(properties.get("s2:processing_baseline", properties.get("processing:version", "")))
    digits = re.fullmatch(r"N?(\d\d)[.]?(\d\d)", baseline)
    if digits is None:
        return None
    return BASELINE_OFFSET_DN if int("".join(digits.groups())) >= 400 else 0


def scale_of_asset(asset: Any) -> tuple[float | None, float | None]:
    """Scale and offset that an asset's metadata state (``raster:bands``, ``bands`` of STAC 1.1, or its own fields).

    Raises
    ------
    SourceError
        One of them is no number.
    """
    fields = asset.extra_fields
    first = (fields.get("raster:bands") or fields.get("bands") or [{}])[0]
    found: list[float | None] = []
    for key in ("scale", "offset"):
        stated = (d.get(name) for d in (first, fields) for name in (key, f"raster:{key}"))
        value = next((v for v in stated if v is not None), None)
        try:
            found.append(None if value is None else float(value))
        except (TypeError, ValueError):
            raise SourceError(f"{asset.href} has the {key} {value!r}; expected a number; mend its metadata") from None
    return found[0], found[1]
