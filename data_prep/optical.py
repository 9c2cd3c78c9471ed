"""Sentinel-2: digital numbers to reflectance, the cloud masks on SCL, NDVI, and the search for residual cloud."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from data_prep.grid import to_grid
from data_prep.raw.bands import RawBand, sample
from data_prep.raw.cubes import SourceError
from data_prep.raw.reading import read_bands
from fusion.cloud_mask import MASK_KERNELS, SCL_CLOUD, SCL_INVALID, gaussian_weights
from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.place import pixel_sides_m, pixel_size_m
from fusion.same_day import one_image_per_day

log = logging.getLogger(__name__)

DN_SCALE = 1e-4  # Sentinel-2 L2A quantification value 10000 (Sentinel-2 Products Specification Document)
# Processing baseline 04.00 (2022-01-25) and Collection-1 add 1000 to every digital number (BOA_ADD_OFFSET = -1000).
BASELINE_OFFSET_DN = -1000
_DN_NODATA = (0, 65535)
_BRIGHT_DN = 1000.0  # with the offset still in, no surface is darker than this (cloud alone lies above twice that)


class OpticalSettings(BaseModel):
    """Cloud mask and NDVI of Sentinel-2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask: Literal["gaussian", "disk", "square", "none"] = Field(
        "gaussian", description="gaussian: the original's two kernels; disk, square: dilation; none: keep every pixel"
    )
    remove_classes: tuple[int, ...] = Field(SCL_CLOUD, description="SCL classes that disk and square dilate")
    drop_classes: tuple[int, ...] = Field(SCL_INVALID, description="SCL classes that disk and square drop undilated")
    dilation_px: int = Field(5, ge=0, le=200, description="radius of disk and square, pixels of the S2 grid")
    user_mask: Path | None = Field(None, description="your own cloud mask: a file with one band, nonzero = cloud")
    user_mask_role: Literal["instead", "on_top"] = Field("on_top", description="use it instead of SCL or on top of it")
    flag_dips: bool = Field(False, description="add band S2_SUSPECT: 1 where an observation dips like undetected cloud")
    dip_ndvi: float = Field(0.12, gt=0, description="drop below both neighbours that counts as a dip, NDVI")
    dip_window_d: int = Field(25, ge=2, description="farthest neighbour observation used by the dip search, days")


def reflectance(band: RawBand, *, scale: float | None, offset_dn: int | str, notes: list[str]) -> xr.DataArray:
    """Surface reflectance 0..1 of a red or near-infrared band, NaN = nodata.

    Numbers that the file scaled are taken as they are; other integers, and floats beyond 2, are digital numbers of
    1e-4 (``scale`` overrides). DN 0 and 65535 are nodata. ``offset_dn`` is added to digital numbers before scaling:
    "auto" takes BOA_ADD_OFFSET or a pending offset from the file's attributes, else 0, because openEO back-ends, Earth
    Engine's harmonised collection and Terrascope have removed it; it refuses when the numbers contradict that.
    """
    values, attrs = band.values, band.attrs
    found = sample(values)
    is_dn = band.dtype.kind in "ui" and not band.scaled
    if band.dtype.kind == "f" and not band.scaled and np.isfinite(found).any():
        is_dn = float(np.nanpercentile(found, 99)) > 2.0
    where = f"{band.file}: {band.name}"
    if not is_dn:
        factor = DN_SCALE if band.scaled else 1.0
        offset = _said_offset(attrs) if offset_dn == "auto" else int(offset_dn)
        if offset == 0 and offset_dn == "auto":
            _refuse_pending_offset(found / DN_SCALE, values, where, role=band.name)
        shifted = values + np.float32(offset * DN_SCALE) if offset else values
        return _physical(shifted if scale is None else shifted * np.float32(scale / factor))
    for nodata in _DN_NODATA:
        values = values.where(values != nodata)
    offset = _said_offset(attrs) if offset_dn == "auto" else int(offset_dn)
    if offset == 0 and offset_dn == "auto":
        _refuse_pending_offset(found, values, where, role=band.name)
    if offset:
        notes.append(f"{band.file.name}: {band.name} has {offset} added to its digital numbers (baseline 04.00)")
    return _physical((values + np.float32(offset)) * np.float32(scale or DN_SCALE))


def _physical(values: xr.DataArray) -> xr.DataArray:
    """Slightly negative reflectance (over-corrected shade) becomes 0; nodata stays NaN."""
    return values.clip(min=0.0).astype(np.float32)


def _said_offset(attrs: dict[str, object]) -> int:
    for key in ("BOA_ADD_OFFSET", "boa_add_offset", "radio_add_offset"):
        if key in attrs:
            return int(float(str(np.asarray(attrs[key]).ravel()[0])))
    return 0


def _refuse_pending_offset(numbers: np.ndarray, values: xr.DataArray, where: str, role: str) -> None:
    """Red of a dark pixel (vegetation, water, shade) is far below 0.1: a minimum at 1000 is a pending offset."""
    last = values.t.values[-1].astype("datetime64[D]")
    found = numbers[np.isfinite(numbers) & (numbers > 0)]
    if found.size < 50 or not any(mark in role.upper() for mark in ("4", "RED")):
        return
    low = float(np.percentile(found, 0.5))
    if _BRIGHT_DN <= low < 2 * _BRIGHT_DN and last >= np.datetime64("2022-01-25"):
        raise SourceError(
            f"{where}: half a percent of the digital numbers up to {last} lie below {low:.0f}; the offset of baseline "
            "04.00 seems to be still in them; set source.s2_offset_dn=-1000 (or 0 if the surface really is that bright)"
        )


def scene_classes(band: RawBand) -> xr.DataArray:
    """SCL as float32 class numbers 0..11, 0 = nodata (NaN, 255 and the file's fill value too).

    Raises
    ------
    SourceError
        Values that are no classes: interpolated (not whole) or above 11.
    """
    values = band.values.fillna(0)
    values = values.where(values != 255, 0).where(values != 65535, 0)
    found = sample(values)
    if np.abs(found - np.rint(found)).max(initial=0) > 1e-3:
        raise SourceError(f"{band.file}: {band.name} holds fractions; SCL was interpolated; resample it with 'near'")
    if found.max(initial=0) > 11 or found.min(initial=0) < 0:
        raise SourceError(
            f"{band.file}: {band.name} ranges from {found.min():.0f} to {found.max():.0f}; expected SCL classes "
            "0..11; give another encoding as your own mask (optical.user_mask)"
        )
    return values


def cloud_mask(s2: xr.Dataset, settings: OpticalSettings) -> xr.DataArray:
    """True where a pixel is to be removed: the chosen SCL mask and the user's own mask, dims (t, y, x)."""
    pixel_m = pixel_size_m(s2)
    step = max(1, round(float(s2.attrs.get("scl_pixel_m", pixel_m)) / pixel_m))
    replaced = settings.user_mask is not None and settings.user_mask_role == "instead"
    method = "none" if replaced else settings.mask
    removed = xr.apply_ufunc(
        _mask_images,
        s2.SCL.chunk({"t": 1, "y": -1, "x": -1}) if s2.SCL.chunks else s2.SCL,
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
    """The user's mask on the S2 grid and dates: nonzero = cloud; days and pixels that it lacks count as clear."""
    bands = [b for b in read_bands(path) if b.values.sizes["t"] > 0]
    if len(bands) != 1:
        raise SourceError(f"{path} has bands {[b.name for b in bands]}; a cloud mask has one band (nonzero = cloud)")
    mask = to_grid(bands[0].values, s2, "nearest", str(path))
    mask = one_image_per_day(mask.fillna(0) != 0, "max")
    missing = np.setdiff1d(s2.t.values, mask.t.values)
    if len(missing) == s2.sizes["t"]:
        raise SourceError(f"{path} has no date in common with Sentinel-2; it holds {mask.t.values[:2]} ...")
    if len(missing):
        log.warning("%s lacks %d of %d Sentinel-2 dates; they count as clear there", path, len(missing), s2.sizes["t"])
    return mask.reindex(t=s2.t, fill_value=False).transpose("t", "y", "x").drop_vars("spatial_ref", errors="ignore")


def masked_ndvi(s2: xr.Dataset, settings: OpticalSettings) -> xr.DataArray:
    """NDVI (t, y, x) float32 of the pixels that the mask leaves, clipped to the contract's range; NaN elsewhere."""
    total = s2.B04 + s2.B08
    ndvi = ((s2.B08 - s2.B04) / total.where(total > 0)).clip(NDVI_MIN, NDVI_MAX)
    return ndvi.where(~cloud_mask(s2, settings)).astype(np.float32).rename("S2NDVI")


def cloud_dips(ndvi: np.ndarray, red: np.ndarray, days: np.ndarray, settings: OpticalSettings) -> np.ndarray:
    """Observations that dip like undetected cloud, bool (n, H, W); they are flagged, never deleted.

    An observation is suspect where its NDVI lies more than ``dip_ndvi`` below BOTH the previous and the next clear
    observation, those lie within ``dip_window_d`` days, and its red reflectance is brighter than both by 0.02: cloud
    and haze brighten red and go away, harvest and ploughing do not recover within days, shadow darkens red. (Idea:
    Hagolle et al. 2010, multi-temporal cloud detection, doi:10.1016/j.rse.2010.03.002.)
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
    seen = np.maximum.accumulate(index, axis=0)
    return np.concatenate([np.full_like(seen[:1], -1), seen[:-1]])
