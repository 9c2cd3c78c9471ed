"""Measure the shift between sensors by phase correlation, and report it or reject it beyond a threshold.

Phase correlation: Kuglin and Hines 1975; sub-pixel peak by a locally upsampled inverse transform, Guizar-Sicairos et
al. 2008, doi:10.1364/OL.33.000156. Sensors differ in brightness, so edges (gradient
magnitude) are compared.
"""

import logging
from dataclasses import dataclass

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from scipy import ndimage

from data_prep.raw.cubes import SourceError
from data_prep.settings import RegistrationSettings
from fusion.contract import COARSE_NDVI, COARSE_PIXEL_M, S2NDVI, VH, VV
from fusion.place import pixel_size_m

log = logging.getLogger(__name__)

MAX_PIXELS = 512  # height and width of the central crop that is compared; bounds the computing time
_MAX_DATES = 24


@dataclass(frozen=True)
class Shift:
    """Shift of an image against a reference: rows (positive down) and columns (positive right), pixels."""

    rows: float
    columns: float

    @property
    def length(self) -> float:
        """Euclidean length of the shift, pixels."""
        return float(np.hypot(self.rows, self.columns))


def measure_shift(reference: np.ndarray, moved: np.ndarray, *, max_shift: float = 8.0, upsample: int = 50) -> Shift:
    """Shift of ``moved`` against ``reference``, both (H, W), to about 1 / ``upsample`` pixel.

    ``moved[y, x] == reference[y - rows, x - columns]``. NaN is replaced by the mean. ``max_shift`` is the largest shift
    searched per axis, pixels. The estimate is refined by shifting the image back and measuring again, which removes
    the bias of the window towards zero.
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
    """Gradient magnitude of a smoothed image, (H, W); edges are common to all sensors. NaN is replaced by the mean."""
    return ndimage.gaussian_gradient_magnitude(_filled(image), 1.0)


def _filled(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, np.float64)
    valid = np.isfinite(values)
    return np.where(valid, values, values[valid].mean() if valid.any() else 0.0)


def _correlate(a: np.ndarray, b: np.ndarray, max_shift: float, upsample: int) -> tuple[float, float]:
    window = np.outer(np.hanning(a.shape[0] + 2)[1:-1], np.hanning(a.shape[1] + 2)[1:-1])
    fa, fb = (np.fft.fft2((image - np.average(image, weights=window)) * window) for image in (a, b))
    cross = fb * np.conj(fa)
    fy, fx = np.fft.fftfreq(a.shape[0])[:, None], np.fft.fftfreq(a.shape[1])[None, :]
    # reduce the weight of high frequencies (noise, interpolation) and of weak ones, whose phase is noise
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
    """Measure the shift of each sensor against Sentinel-2; one sentence per sensor with the result.

    Bands are on one grid, (t, y, x). The shift is measured between the means of even and odd dates of both sensors (and
    for VV and VH); it counts as measured only if all estimates agree within ``agree_px`` (coarse series: a fifth of its
    pixel). Otherwise the sentence states why no shift could be measured.

    Raises
    ------
    SourceError
        ``check="refuse"`` and a measured shift exceeds the limit.
    """
    if settings.check == "off":
        return []
    reference = bands[S2NDVI]
    pixel_m = pixel_size_m(reference)
    coarse_limit = settings.max_coarse_shift_m / pixel_m
    lines = []
    for what, names, limit_px, coarse in (
        ("Sentinel-1", [b for b in (VV, VH) if b in bands], settings.max_shift_px, False),
        ("the coarse series", [b for b in (COARSE_NDVI,) if b in bands], coarse_limit, True),
    ):
        if not names:
            continue
        agree = COARSE_PIXEL_M / 5 / pixel_m if coarse else settings.agree_px
        blur = COARSE_PIXEL_M / 2.355 / pixel_m if coarse else 0.0
        line, shift = _measure(reference, [bands[n] for n in names], what, agree=agree, blur=blur, limit=limit_px)
        lines.append(line)
        log.info(line)
        if shift is not None and shift.length > limit_px and settings.check == "refuse":
            raise SourceError(
                f"{line}; at most {limit_px:.2g} px is accepted; check the CRS and the pixel-centre convention of the "
                "files, or set registration.check=report"
            )
    return lines


def _measure(
    reference: xr.DataArray, moved: list[xr.DataArray], what: str, *, agree: float, blur: float, limit: float
) -> tuple[str, Shift | None]:
    """Sentence and median shift over all pairs of half series; no shift (None) if the pairs disagree."""
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


def central(values: xr.DataArray) -> xr.DataArray:
    """The middle of an area, at most ``MAX_PIXELS`` (one more of an odd number) a side."""
    crop = {}
    for axis in ("y", "x"):
        extra = max(0, values.sizes[axis] - MAX_PIXELS) // 2
        crop[axis] = slice(extra, values.sizes[axis] - extra)
    return values.isel(crop)


def _mean_images(values: xr.DataArray, parts: int) -> list[np.ndarray | None]:
    """Temporal means of a central crop, of every ``parts``-th date; None if less than half of the pixels have data."""
    values = central(values)
    images: list[np.ndarray | None] = []
    for part in range(parts):
        index = np.arange(part, values.sizes["t"], parts)
        if index.size > _MAX_DATES:
            index = index[np.unique(np.linspace(0, index.size - 1, _MAX_DATES).astype(int))]
        stack = np.asarray(values.isel(t=index).values)
        valid = np.isfinite(stack)
        if index.size == 0 or valid.any(0).mean() < 0.5:
            images.append(None)
            continue
        count = valid.sum(0)
        images.append(np.where(count > 0, np.where(valid, stack, 0).sum(0) / np.maximum(count, 1), np.nan))
    return images
