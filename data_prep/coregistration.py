"""Measure the shift between sensors by phase correlation, report it, and refuse a merge beyond a threshold.

Phase correlation: Kuglin and Hines 1975; sub-pixel peak by a locally upsampled inverse transform, Guizar-Sicairos et
al. 2008, doi:10.1364/OL.33.000156. Sensors differ in what is bright, so edges (gradient magnitude) are compared.
"""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from data_prep.raw.cubes import SourceError
from fusion.contract import COARSE_NDVI, COARSE_PIXEL_M, S2NDVI, VH, VV
from fusion.place import pixel_size_m

log = logging.getLogger(__name__)

_MAX_PIXELS = 512  # a central crop of this size is enough and bounds the cost
_MAX_DATES = 24


class RegistrationSettings(BaseModel):
    """When sensors count as misaligned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Literal["off", "report", "refuse"] = Field(
        "report", description="off, report the shift, or refuse beyond max"
    )
    max_shift_px: float = Field(1.5, gt=0, description="largest accepted shift of Sentinel-1, pixels of the S2 grid")
    max_coarse_shift_m: float = Field(150.0, gt=0, description="largest accepted shift of the coarse series, metres")
    agree_px: float = Field(0.5, gt=0, description="parts of the series must agree within this, else not measurable")


@dataclass(frozen=True)
class Shift:
    """How far ``moved`` lies from ``reference``: rows (down) and columns (right), pixels, and its uncertainty."""

    rows: float
    columns: float

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.rows, self.columns))


def measure_shift(reference: np.ndarray, moved: np.ndarray, *, max_shift: float = 8.0, upsample: int = 50) -> Shift:
    """Shift of ``moved`` against ``reference`` (both (H, W), NaN allowed), to about 1 / ``upsample`` pixel.

    ``moved[y, x] == reference[y - rows, x - columns]``. The estimate is refined by moving the image back and measuring
    again, which removes the pull of the window towards zero.
    """
    a, b = _filled(reference), _filled(moved)
    rows = columns = 0.0
    for _ in range(4):
        back = ndimage.shift(b, (-rows, -columns), order=3, mode="nearest")
        more = _correlate(a, back, max_shift, upsample)
        rows, columns = rows + more[0], columns + more[1]
        if np.hypot(*more) < 0.5 / upsample:
            break
    return Shift(rows, columns)


def edges(image: np.ndarray) -> np.ndarray:
    """Gradient magnitude of a smoothed image: what two sensors have in common."""
    return ndimage.gaussian_gradient_magnitude(_filled(image), 1.0)


def _filled(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, np.float64)
    seen = np.isfinite(values)
    return np.where(seen, values, values[seen].mean() if seen.any() else 0.0)


def _correlate(a: np.ndarray, b: np.ndarray, max_shift: float, upsample: int) -> tuple[float, float]:
    window = np.outer(np.hanning(a.shape[0] + 2)[1:-1], np.hanning(a.shape[1] + 2)[1:-1])
    fa, fb = (np.fft.fft2((image - np.average(image, weights=window)) * window) for image in (a, b))
    cross = fb * np.conj(fa)
    fy, fx = np.fft.fftfreq(a.shape[0])[:, None], np.fft.fftfreq(a.shape[1])[None, :]
    # the highest frequencies hold noise and interpolation, the phase of weak ones is noise: weigh both down
    size = np.abs(cross)
    cross = cross / (size + 0.02 * size.max()) * np.exp(-(fy**2 + fx**2) / (2 * 0.18**2))
    surface = np.fft.ifft2(cross).real
    near = np.abs(np.fft.fftfreq(a.shape[0], 1 / a.shape[0]))[:, None] <= max_shift
    near = near & (np.abs(np.fft.fftfreq(a.shape[1], 1 / a.shape[1]))[None, :] <= max_shift)
    peak = np.unravel_index(np.argmax(np.where(near, surface, -np.inf)), surface.shape)
    centre = [int(p) if p <= n // 2 else int(p) - n for p, n in zip(peak, a.shape, strict=True)]
    fine = np.arange(-upsample, upsample + 1) / upsample
    at_rows = np.exp(2j * np.pi * np.outer(centre[0] + fine, fy.ravel()))
    at_columns = np.exp(2j * np.pi * np.outer(fx.ravel(), centre[1] + fine))
    best = np.unravel_index(np.argmax((at_rows @ cross @ at_columns).real), (len(fine), len(fine)))
    return float(centre[0] + fine[best[0]]), float(centre[1] + fine[best[1]])


def check_registration(bands: dict[str, xr.DataArray], settings: RegistrationSettings) -> list[str]:
    """One sentence a sensor: the shift against Sentinel-2 that was measured, or why none could be.

    Bands are on one grid, (t, y, x). Even and odd dates of either sensor (and VV and VH) are measured against each
    other; only if all agree within ``agree_px`` (the coarse series: a fifth of its pixel) is there a measurement.

    Raises
    ------
    SourceError
        ``check="refuse"`` and a measured shift is larger than the maximum.
    """
    if settings.check == "off":
        return []
    reference = bands[S2NDVI]
    pixel_m = pixel_size_m(reference)
    coarse_limit = settings.max_coarse_shift_m / pixel_m
    told = []
    for what, names, limit_px, coarse in (
        ("Sentinel-1", [b for b in (VV, VH) if b in bands], settings.max_shift_px, False),
        ("the coarse series", [b for b in (COARSE_NDVI,) if b in bands], coarse_limit, True),
    ):
        if not names:
            continue
        agree = COARSE_PIXEL_M / 5 / pixel_m if coarse else settings.agree_px
        blur = COARSE_PIXEL_M / 2.355 / pixel_m if coarse else 0.0
        line, shift = _measure(reference, [bands[n] for n in names], what, agree=agree, blur=blur, limit=limit_px)
        told.append(line)
        log.info(line)
        if shift is not None and shift.length > limit_px and settings.check == "refuse":
            raise SourceError(
                f"{line}; at most {limit_px:.2g} px is accepted; check the CRS and the pixel-centre convention of the "
                "files, or set registration.check=report"
            )
    return told


def _measure(
    reference: xr.DataArray, moved: list[xr.DataArray], what: str, *, agree: float, blur: float, limit: float
) -> tuple[str, Shift | None]:
    """All pairs of half series, of every band of the sensor, must tell the same shift; the median is reported."""
    need = round(8 * blur * 2.355) if blur else 32
    if min(reference.sizes["y"], reference.sizes["x"]) < need:
        return f"{what}: shift not measurable on less than {need} x {need} px", None
    still = [image for image in _mean_images(reference, 2) if image is not None]
    others = [image for band in moved for image in _mean_images(band, 2) if image is not None]
    if len(still) < 2 or len(others) < 2 * len(moved):
        return f"{what}: shift not measurable, too few observations", None
    sharpen = (lambda image: image) if blur else edges
    soften = (lambda image: ndimage.gaussian_filter(_filled(image), blur)) if blur else edges
    shifts = np.array(
        [
            [(s := measure_shift(soften(a), sharpen(b), max_shift=4 * limit)).rows, s.columns]
            for a in still
            for b in others
        ]
    )
    middle = np.median(shifts, axis=0)
    apart = float(np.hypot(*(shifts - middle).T).max())
    if apart > agree:
        return f"{what}: shift not measurable, parts of the series disagree by {apart:.1f} px", None
    shift = Shift(float(middle[0]), float(middle[1]))
    return (
        f"{what} lies {shift.columns:+.2f} px right and {shift.rows:+.2f} px down of Sentinel-2 "
        f"(parts of the series agree to {apart:.2f} px)",
        shift,
    )


def _mean_images(values: xr.DataArray, parts: int) -> list[np.ndarray | None]:
    """Temporal means of a central crop, of all dates or of alternating dates; None without an observation."""
    crop = {}
    for axis in ("y", "x"):
        extra = max(0, values.sizes[axis] - _MAX_PIXELS) // 2
        crop[axis] = slice(extra, values.sizes[axis] - extra)
    images: list[np.ndarray | None] = []
    for part in range(parts):
        index = np.arange(part, values.sizes["t"], parts)
        if index.size > _MAX_DATES:
            index = index[np.unique(np.linspace(0, index.size - 1, _MAX_DATES).astype(int))]
        stack = np.asarray(values.isel({"t": index, **crop}).values)
        seen = np.isfinite(stack)
        if index.size == 0 or seen.any(0).mean() < 0.5:
            images.append(None)
            continue
        count = seen.sum(0)
        images.append(np.where(count > 0, np.where(seen, stack, 0).sum(0) / np.maximum(count, 1), np.nan))
    return images
