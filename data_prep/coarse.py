"""Coarse NDVI (PROBA-V S10, CGLS NDVI 300 m): decoding, status map, and resampling to the 10 m grid."""

import numpy as np
import xarray as xr

from data_prep.grid import to_grid
from data_prep.raw.bands import RawBand, sample
from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import once
from data_prep.settings import CoarseSettings
from fusion.contract import COARSE_MAX_DN, COARSE_OFFSET, COARSE_SCALE, NDVI_MAX, NDVI_MIN, NDVI_RANGE, ContractError

# PROBA-V status map, as of SPOT-VEGETATION: bits 0-2 are 0 clear, 1 shadow, 2 undefined, 3 cloud, 4 ice; bit 3 land;
# bits 4-7 good quality of SWIR, NIR, red, blue (later collections add coverage bits above, not used here)
_FAR_NDVI = 0.2
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
        encoding = "dn" if once(f"digital numbers in {band.label}", lambda: _is_digital_numbers(band)) else "physical"
    if encoding != "dn":
        try:
            NDVI_RANGE.refuse_majority(sample(values), f"{band.file}: {band.name}")
        except ContractError as error:
            raise SourceError(str(error)) from None
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
    if not found.size or np.percentile(found, 50) <= 1.5:
        return False
    if np.abs(found - np.rint(found)).max() > 1e-3:
        raise SourceError(
            f"{band.file}: {band.name} ranges from {found.min():.4g} to {found.max():.4g} with fractions, so it "
            "holds neither NDVI nor digital numbers; write scale_factor and add_offset into the file, or set "
            f"source.coarse_encoding=dn if they are digital numbers ({COARSE_SCALE} * DN {COARSE_OFFSET:+}) that were "
            "interpolated"
        )
    return True


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


def level_beside_s2(coarse: xr.DataArray, ndvi: xr.DataArray) -> str | None:
    """A sentence where the coarse series on the grid lies far from Sentinel-2 NDVI of the same days; else None.

    Both in memory. The mean of the area at each composite is compared with images of Sentinel-2 within five days that
    see half of it.
    """
    seen = ndvi.notnull().mean(("y", "x")).values >= 0.5
    days = ndvi.t.values.astype("datetime64[D]").astype("int64")[seen]
    fine = ndvi.isel(t=np.flatnonzero(seen)).mean(("y", "x")).values
    apart = []
    for day, mean in zip(
        coarse.t.values.astype("datetime64[D]").astype("int64"), coarse.mean(("y", "x")).values, strict=True
    ):
        near = np.abs(days - day) <= 5
        if near.any() and np.isfinite(mean):
            apart.append(float(mean - fine[near].mean()))
    if len(apart) < 3 or abs(np.median(apart)) <= _FAR_NDVI:
        return None
    return (
        f"COARSE_NDVI differs from S2NDVI by {np.median(apart):+.2f} in the median of {len(apart)} composites; "
        "unless the area differs so much from its surroundings, its scale is another one: see "
        "source.coarse_encoding, or write scale_factor and add_offset into its files"
    )


def coarse_on_grid(coarse: xr.Dataset, grid: xr.Dataset, settings: CoarseSettings) -> xr.DataArray:
    """The coarse series resampled to the S2 grid, float32 (t, y, x), NaN = no composite."""
    values = to_grid(coarse.NDVI, grid, settings.resampling, "the coarse series")
    return values.clip(NDVI_MIN, NDVI_MAX).astype(np.float32)
