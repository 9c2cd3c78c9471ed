"""Coarse NDVI (PROBA-V S10, CGLS NDVI 300 m): decoding, status map, and resampling to the 10 m grid."""

import numpy as np
import xarray as xr

from data_prep.grid import to_grid
from data_prep.raw.bands import RawBand, sample
from data_prep.raw.cubes import SourceError
from data_prep.settings import CoarseSettings
from fusion.contract import COARSE_MAX_DN, COARSE_OFFSET, COARSE_SCALE, NDVI_MAX, NDVI_MIN, NDVI_RANGE

# PROBA-V status map, as of SPOT-VEGETATION: bits 0-2 are 0 clear, 1 shadow, 2 undefined, 3 cloud, 4 ice; bit 3 land;
# bits 4-7 good quality of SWIR, NIR, red, blue (later collections add coverage bits above, not used here)
_STATUS_CLEAR_BITS, _STATUS_GOOD_BITS = 0b0000_0111, 0b0110_0000


def coarse_ndvi(
    band: RawBand, encoding: str, *, status: RawBand | None = None, notes: list[str] | None = None
) -> xr.DataArray:
    """NDVI of a coarse band in physical units, float32 (t, y, x); NaN = nodata, flagged, or not clear in ``status``.

    ``encoding`` is "dn", "physical" or "auto". "auto": bands with a scale in the file are physical; other integers, and
    floats with a median above 1.5, are digital numbers (0.004 * DN - 0.08, above 250 = nodata); other floats are
    physical. Physical values outside -0.2..1 are nodata.

    Raises
    ------
    SourceError
        The status map and the NDVI have different shapes.
    """
    values = band.values
    if encoding == "auto":
        encoding = "dn" if _is_digital_numbers(band) else "physical"
    if encoding == "dn":
        _refuse_other_numbers(band)
        values = values.where((values >= 0) & (values <= COARSE_MAX_DN)) * np.float32(COARSE_SCALE) + np.float32(
            COARSE_OFFSET
        )
    elif band.scaled:
        # the flags above DN 250 were scaled too: values above the NDVI of DN 250 are flags
        values = values.where(values <= COARSE_SCALE * COARSE_MAX_DN + COARSE_OFFSET + 1e-4)
    else:  # someone else scaled them: exactly the NDVI of a flag
        for flag in range(COARSE_MAX_DN + 1, 256):
            values = values.where(abs(values - np.float32(COARSE_SCALE * flag + COARSE_OFFSET)) > 2e-6)
    values = values.where((values >= NDVI_MIN) & (values <= NDVI_MAX)).astype(np.float32)
    if status is not None:
        values = values.where(_clear(status, values))
        if notes is not None:
            notes.append(f"{band.file.name}: status map applied (clear, red and NIR good)")
    return values


def _is_digital_numbers(band: RawBand) -> bool:
    if band.scaled:
        return False
    if band.dtype.kind in "ui":
        return True
    found = _sampled(band)
    return bool(found.size and np.percentile(found, 50) > 1.5)


def _sampled(band: RawBand) -> np.ndarray:
    """A sample without NaN and fill values."""
    found = sample(band.values)
    return found[np.isfinite(found) & ~NDVI_RANGE.fills(found)]


def _refuse_other_numbers(band: RawBand) -> None:
    """Digital numbers are one byte; NDVI times 10000 would pass where it is small."""
    found = _sampled(band)
    if found.size and ((found < 0) | (found > 255)).mean() > 0.1:
        raise SourceError(
            f"{band.file}: {band.name} ranges from {found.min():.4g} to {found.max():.4g}; expected digital numbers "
            f"0..255 ({COARSE_SCALE} * DN {COARSE_OFFSET:+}); write scale_factor and add_offset into the file"
        )


def _clear(status: RawBand, values: xr.DataArray) -> xr.DataArray:
    if status.values.shape[1:] != values.shape[1:]:
        raise SourceError(
            f"{status.file}: the status map has shape {status.values.shape}, the NDVI {values.shape}; "
            "provide both on one grid"
        )
    bits = status.values.fillna(_STATUS_CLEAR_BITS).astype(np.int32)
    good = ((bits & _STATUS_CLEAR_BITS) == 0) & ((bits & _STATUS_GOOD_BITS) == _STATUS_GOOD_BITS)
    return good.reindex(t=values.t, fill_value=False).assign_coords(y=values.y, x=values.x)


def coarse_on_grid(coarse: xr.Dataset, grid: xr.Dataset, settings: CoarseSettings) -> xr.DataArray:
    """The coarse series resampled to the S2 grid, float32 (t, y, x), NaN = no composite."""
    values = to_grid(coarse.NDVI, grid, settings.resampling, "the coarse series")
    return values.clip(NDVI_MIN, NDVI_MAX).astype(np.float32)
