"""Sentinel-2: digital numbers to reflectance, cloud masks from SCL, NDVI, and detection of residual cloud."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from scipy import ndimage

from data_prep.grid import bounds, to_grid
from data_prep.optical_offset import BASELINE_DAY, FILL_FROM_DN
from data_prep.raw.bands import RawBand, flagged, measured, sample
from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import in_window, once
from data_prep.raw.extent import Extent
from data_prep.raw.reading import read_bands
from data_prep.settings import OpticalSettings
from fusion.cloud_mask import MASK_KERNELS, gaussian_weights
from fusion.contract import NDVI_MAX, NDVI_MIN, REFLECTANCE_RANGE, SCL_RANGE
from fusion.place import pixel_sides_m, pixel_size_m
from fusion.same_day import one_image_per_day

log = logging.getLogger(__name__)

DN_SCALE = 1e-4  # Sentinel-2 L2A quantification value 10000 (Sentinel-2 Products Specification Document)
_DN_NODATA = (0, 65535)
_BRIGHT_DN = 1000.0  # with the offset still in, no surface is darker than this (cloud alone lies above twice that)
_NEGATIVE_RED, _NEGATIVE_SHARE = -0.02, 0.05  # atmospheric correction takes few pixels that far below 0


def reflectance(
    band: RawBand, *, scale: float | None, offset_dn: int | str | np.ndarray, notes: list[str]
) -> xr.DataArray:
    """Surface reflectance 0..1 of a red or near-infrared band, NaN = nodata and what cannot be reflectance.

    Numbers that the file scaled are taken as they are; other integers, and floats beyond 2, are digital numbers of
    1e-4 (``scale`` overrides). DN 0, 1 and 65535 are nodata. ``offset_dn`` is added to digital numbers before scaling:
    a number, or one an image (NaN leaves the image out, see :func:`data_prep.optical_offset.decide_offsets`); "auto"
    takes BOA_ADD_OFFSET or a pending offset from the file's attributes, else 0, because openEO back-ends, Earth
    Engine's harmonised collection and Terrascope have removed it; it refuses when the numbers contradict that.
    """
    values = band.values
    in_dn = holds_dn(band)
    unit = DN_SCALE if band.scaled and not in_dn else 1.0
    if in_dn:
        for nodata in _DN_NODATA:
            values = values.where(values != nodata)
    else:
        values = values.where(values != 0)
    where = f"{band.file.name}: {band.name}"
    offset = _each_image(said_offset(band.attrs) or 0 if isinstance(offset_dn, str) else offset_dn, values)
    if isinstance(offset_dn, str) and not offset.any():
        refuse_pending_offset(band)
        refuse_foreign_offset(band)
    if offset.any() and in_dn and not isinstance(offset_dn, np.ndarray):
        notes.append(f"{where} has {int(offset[0])} added to its digital numbers (baseline 04.00)")
    marks = flagged(REFLECTANCE_RANGE.fills, values) | (values == (1.0 if in_dn else np.float32(DN_SCALE)))
    factor = np.float32(scale or DN_SCALE) if in_dn else np.float32(1.0 if scale is None else scale / unit)
    shift = offset * np.float32(1.0 if in_dn else DN_SCALE)
    physical = values + xr.DataArray(shift, dims="t", coords={"t": values.t}) if offset.any() else values
    physical = physical * factor if in_dn or scale is not None else physical
    return _physical(measured(physical, REFLECTANCE_RANGE, where, notes, fills=marks))


def refuse_other_products(band: RawBand, scale: float | None) -> None:
    """Refuse what is no surface reflectance by its name, type or scale.

    Raises
    ------
    SourceError
    """
    where = f"{band.file}: {band.name}"
    if any("MSIL1C" in part.upper() for part in band.file.parts):
        raise SourceError(f"{where} is of level 1C (top of the atmosphere); expected surface reflectance, level 2A")
    if band.dtype.itemsize == 1 and not band.scaled and scale is None:
        raise SourceError(
            f"{where} has 8 bits, as pictures do; expected reflectance in 16 bits; take the bands themselves, or set "
            "source.s2_scale to the reflectance of one number"
        )
    factor, shift = (float(np.ravel(band.attrs.get(key, 0.0))[0]) for key in ("scale_factor", "add_offset"))
    if band.scaled and (factor > 1 or shift > 0):
        told = f"scale_factor {factor:g}" if factor > 1 else f"add_offset {shift:g}"
        raise SourceError(
            f"{where} states {told}; expected the reflectance of one digital number (1e-4) and an offset of 0 or -0.1; "
            "correct the attribute"
        )


def holds_dn(band: RawBand) -> bool:
    """Whether a reflectance band holds digital numbers: integers without a scale, or floats mostly beyond 2."""
    if band.dtype.kind in "ui":
        return not band.scaled
    if band.dtype.kind != "f" or band.scaled:
        return False

    def mostly_beyond() -> bool:
        found = sample(band.values)
        found = found[np.isfinite(found) & ~REFLECTANCE_RANGE.fills(found)]
        real = found[found != 1]  # DN 1 is no data
        return bool((real > REFLECTANCE_RANGE.high).mean() > 0.5) if real.size else bool(found.size)

    return bool(once(f"digital numbers in {band.label}", mostly_beyond))


def digital_numbers(band: RawBand) -> xr.DataArray:
    """The band in Sentinel-2's digital numbers, whatever it is stored as."""
    return band.values if holds_dn(band) else band.values / np.float32(DN_SCALE)


def _each_image(offset: int | np.ndarray, values: xr.DataArray) -> np.ndarray:
    return np.broadcast_to(np.asarray(offset, np.float32), values.sizes["t"])


def _physical(values: xr.DataArray) -> xr.DataArray:
    """Set slightly negative reflectance (over-corrected shadow) to 0; NaN stays NaN."""
    return values.clip(min=0.0).astype(np.float32)


def said_offset(attrs: dict[str, Any]) -> int | None:
    """The offset that a file's attributes say is still to be added; None where they say nothing."""
    if float(np.ravel(attrs.get("add_offset", 0.0))[0]) != 0:
        return 0  # the file's own, which was added on reading
    for key in ("BOA_ADD_OFFSET", "boa_add_offset", "radio_add_offset"):
        if key in attrs:
            return int(float(str(np.asarray(attrs[key]).ravel()[0])))
    return None


def refuse_pending_offset(band: RawBand) -> None:
    """Red of a dark pixel (vegetation, water, shade) is far below 0.1: a minimum at 1000 is a pending offset.

    Raises
    ------
    SourceError
    """
    late = band.values.t.values.astype("datetime64[D]") >= BASELINE_DAY
    if not late.any():
        return
    numbers = digital_numbers(band).isel(t=np.flatnonzero(late))
    last = numbers.t.values.max().astype("datetime64[D]")
    found = sample(numbers)
    found = found[np.isfinite(found) & (found > 1.5) & (found < FILL_FROM_DN)]
    if found.size < 50 or not _is_red(band):
        return
    low = float(np.percentile(found, 0.5))
    if _BRIGHT_DN <= low < 2 * _BRIGHT_DN:
        raise SourceError(
            f"{band.file}: {band.name}: half a percent of the digital numbers from {BASELINE_DAY} to {last} lie below "
            f"{low:.0f}; the offset of baseline 04.00 seems to be still in them; set source.s2_offset_dn=-1000 (or 0 "
            "if the surface really is that bright)"
        )


def refuse_foreign_offset(band: RawBand) -> None:
    """Red far below 0 where the file's own ``add_offset`` was added: its numbers never held that offset.

    Raises
    ------
    SourceError
    """
    shift = float(np.ravel(band.attrs.get("add_offset", 0.0))[0])
    if not band.scaled or shift >= 0 or not _is_red(band):
        return
    found = sample(band.values)
    found = found[np.isfinite(found) & (found != np.float32(shift))]
    if found.size >= 50 and (found < _NEGATIVE_RED).mean() > _NEGATIVE_SHARE:
        raise SourceError(
            f"{band.file}: {band.name} lies below {_NEGATIVE_RED} at {100 * (found < _NEGATIVE_RED).mean():.0f} % of "
            f"its pixels with its add_offset {shift:g}; its numbers seem not to hold that offset (baseline 04.00); "
            "correct the attribute add_offset"
        )


def _is_red(band: RawBand) -> bool:
    return any(mark in band.name.upper() for mark in ("4", "RED"))


def scene_classes(band: RawBand) -> xr.DataArray:
    """SCL as float32 class numbers 0..11, (t, y, x); 0 = nodata, including NaN, 255, 65535 and the fill value.

    Raises
    ------
    SourceError
        Values that are not classes: fractions (interpolated SCL), or outside 0..11.
    """
    values = band.values.fillna(0)
    values = values.where(~flagged(SCL_RANGE.fills, values), 0)
    found = sample(values)
    if np.abs(found - np.rint(found)).max(initial=0) > 1e-3:
        raise SourceError(f"{band.file}: {band.name} contains fractions; SCL was interpolated; resample it with 'near'")
    if found.max(initial=0) > 11 or found.min(initial=0) < 0:
        raise SourceError(
            f"{band.file}: {band.name} ranges from {found.min():.0f} to {found.max():.0f}; expected SCL classes "
            "0..11; provide other classifications as a custom mask (optical.user_mask)"
        )
    if found.max(initial=0) == 1:
        raise SourceError(
            f"{band.file}: {band.name} holds only 0 and 1, which is a mask and no scene classification (0 = no "
            "data, 1 = defective, 2..11 classes); provide it as optical.user_mask (nonzero = cloud), under another name"
        )
    return values.where((values >= 0) & (values <= 11), 0)  # a few strange pixels that the sample did not meet


def cloud_mask(s2: xr.Dataset, settings: OpticalSettings) -> xr.DataArray:
    """Pixels to remove by the chosen SCL mask and the user's mask, bool (t, y, x), True = remove."""
    pixel_m = pixel_size_m(s2)
    step = max(1, round(float(s2.attrs.get("scl_pixel_m", pixel_m)) / pixel_m))
    replaced = settings.user_mask is not None and settings.user_mask_role == "instead"
    method = "none" if replaced else settings.mask
    removed = xr.apply_ufunc(
        _mask_images,
        s2.SCL.chunk({"y": -1, "x": -1}) if s2.SCL.chunks else s2.SCL,
        kwargs={"method": method, "settings": settings, "step": step, "pixel_m": pixel_sides_m(s2)},
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        output_dtypes=[bool],
    )
    if settings.user_mask is not None:
        removed = removed | _user_mask(settings.user_mask, s2)
    return removed


def _mask_images(
    scl: np.ndarray, *, method: str, settings: OpticalSettings, step: int, pixel_m: tuple[float, float]
) -> np.ndarray:
    images = scl.reshape(-1, *scl.shape[-2:])
    if method == "none":
        return (images == 0).reshape(scl.shape)
    if method == "gaussian":
        return np.stack([gaussian_mask(image, step=step, pixel_m=pixel_m) for image in images]).reshape(scl.shape)
    out = [_dilated(image, method, settings) for image in images]
    return np.stack(out).reshape(scl.shape)


def gaussian_mask(scl: np.ndarray, *, step: int = 1, pixel_m: float | tuple[float, float] = 10.0) -> np.ndarray:
    """The mask of :mod:`fusion.cloud_mask` for one image of scene classes (y, x): True = remove.

    ``step``: how many pixels one SCL cell was copied to along an axis; the kernels then run on the cells themselves
    (9 and 81 cells of 20 m). SCL that comes at 10 m gets the kernels of 17 and 161 px instead. Nodata is removed too.
    ``pixel_m``: side of a pixel, or its height and width where they differ (degrees).
    """
    cells = scl[::step, ::step]
    cell_m = [side * step for side in (pixel_m if isinstance(pixel_m, tuple) else (pixel_m, pixel_m))]
    removed = np.zeros(cells.shape, bool)
    for kernel in MASK_KERNELS:
        share = _smooth(kernel.flagged(cells).astype(np.float32), [kernel.size_px(side) for side in cell_m])
        removed |= share > kernel.threshold
    removed |= cells == 0
    full = removed.repeat(step, axis=0).repeat(step, axis=1)
    return full[: scl.shape[0], : scl.shape[1]]


def _smooth(image: np.ndarray, sizes: list[int]) -> np.ndarray:
    for axis, size in enumerate(sizes):
        image = ndimage.convolve1d(
            image, gaussian_weights(size).astype(np.float32), axis=axis, mode="constant", cval=0.0
        )
    return image


def _dilated(scl: np.ndarray, method: str, settings: OpticalSettings) -> np.ndarray:
    cloud = np.isin(scl, settings.remove_classes)
    n = settings.dilation_px
    if n and cloud.any():
        if method == "square":
            cloud = ndimage.binary_dilation(cloud, np.ones((3, 3), bool), iterations=n)
        else:
            cloud = ndimage.distance_transform_edt(~cloud) <= n
    return cloud | np.isin(scl, settings.drop_classes) | (scl == 0)


def _user_mask(path: Path, s2: xr.Dataset) -> xr.DataArray:
    """The user's mask on the S2 grid and dates, True = cloud; dates and pixels missing in it count as clear."""
    within = Extent(bounds(s2), s2.rio.crs.to_wkt()) if in_window() else None
    bands = [b for b in read_bands(path, within=within) if b.values.sizes["t"] > 0]
    if len(bands) != 1:
        raise SourceError(f"{path} has bands {[b.name for b in bands]}; a cloud mask has one band (nonzero = cloud)")
    mask = to_grid(bands[0].values, s2, "nearest", str(path))
    mask = one_image_per_day(mask.fillna(0) != 0, "max")
    missing = np.setdiff1d(s2.t.values, mask.t.values)
    if len(missing) == s2.sizes["t"]:
        raise SourceError(f"{path} has no date in common with Sentinel-2; its dates start with {mask.t.values[:2]}")
    if len(missing) and not in_window():
        log.warning(
            "%s lacks %d of %d Sentinel-2 dates; pixels on these dates count as clear",
            path,
            len(missing),
            s2.sizes["t"],
        )
    return mask.reindex(t=s2.t, fill_value=False).transpose("t", "y", "x").drop_vars("spatial_ref", errors="ignore")


def masked_ndvi(s2: xr.Dataset, settings: OpticalSettings) -> xr.DataArray:
    """NDVI of the unmasked pixels, float32 (t, y, x), clipped to -0.2..1; NaN = masked or nodata."""
    total = s2.B04 + s2.B08
    ndvi = ((s2.B08 - s2.B04) / total.where(total > 0)).clip(NDVI_MIN, NDVI_MAX)
    return ndvi.where(~cloud_mask(s2, settings)).astype(np.float32).rename("S2NDVI")


def cloud_dips(ndvi: np.ndarray, red: np.ndarray, days: np.ndarray, settings: OpticalSettings) -> np.ndarray:
    """Flag NDVI dips that look like undetected cloud, bool (n, H, W); values are flagged, never deleted.

    An observation is suspect where its NDVI lies more than ``dip_ndvi`` below both the previous and the next clear
    observation, both lie within ``dip_window_d`` days, and its red reflectance exceeds both by more than 0.02. Cloud
    and haze increase red and disappear; after harvest and ploughing NDVI does not recover within days; shadow lowers
    red. After Hagolle et al. 2010, multi-temporal cloud detection, doi:10.1016/j.rse.2010.03.002.

    Parameters
    ----------
    ndvi, red : numpy.ndarray
        NDVI and red reflectance, (n, H, W), NaN = no observation.
    days : numpy.ndarray
        Day numbers, sorted, (n,).
    """
    before, after = _neighbours(ndvi, days), _neighbours(ndvi[::-1], -days[::-1])
    previous = np.where(before >= 0, before, 0)
    following = np.where(after >= 0, len(days) - 1 - after, 0)[::-1]
    has_both = (before >= 0) & (after >= 0)[::-1]
    near = np.ones_like(has_both)
    darker = np.ones_like(has_both)
    brighter = np.ones_like(has_both)
    for index in (previous, following):
        gap = np.abs(days[index] - days[:, None, None])
        near &= gap <= settings.dip_window_d
        darker &= ndvi < np.take_along_axis(ndvi, index, 0) - settings.dip_ndvi
        brighter &= red > np.take_along_axis(red, index, 0) + 0.02
    return has_both & near & darker & brighter


def _neighbours(ndvi: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Index of the previous clear observation at each observation, -1 where there is none; (n, H, W)."""
    clear = np.isfinite(ndvi)
    index = np.where(clear, np.arange(len(days))[:, None, None], -1)
    latest = np.maximum.accumulate(index, axis=0)
    return np.concatenate([np.full_like(latest[:1], -1), latest[:-1]])
