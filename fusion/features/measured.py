"""A merged cube without the numbers that no sensor measured: fill values, infinities, values outside the limits."""

import logging

import numpy as np
import xarray as xr

from fusion.contract import (
    COARSE_NDVI,
    DIMS,
    RADAR_ANY_RANGE,
    RADAR_BANDS,
    RADAR_DB_RANGE,
    RADAR_POWER_RANGE,
    S1_DB_MIN,
    S1_UNITS,
    S2NDVI,
    VH,
    VV,
    ContractError,
    measured_ndvi,
)

log = logging.getLogger(__name__)

LAND_DB = 3.0  # median backscatter of land, water and cities is lower in VV and VH
MIN_VALUES = 25  # fewer of one image do not tell its units
NEGATIVE_RED = 1.001  # NDVI above it needs red below 0
NDVI_OF_RATIOS = 100.0  # larger numbers are fill values
MEDIAN_OF_RATIOS = 5.0  # a larger median is of percent or digital numbers, which the range of NDVI refuses
ABOVE_SHARE = 0.1  # of the pixels of an image, and of the images; deep shade that is corrected below 0 is rarer
MIN_PIXELS = 50
STRETCHED = 0.5  # 1 % of a year's NDVI lies below, as a rule also over evergreen forest: haze, snow, shade
YEAR_DAYS = 300


def measured_cube(cube: xr.DataArray, s1_units: str | None = None) -> xr.DataArray:
    """The cube (in memory) with NaN for what cannot be a measurement, counted in a warning a band.

    The rule of a pixel looks at no other pixel. Limits stand in :class:`fusion.contract.ValidRange`; of NDVI, what
    :func:`fusion.contract.ndvi_marks` finds is missing too. The input, sorted by ``t``, is not changed; it is returned
    itself where nothing is to be masked.

    Raises
    ------
    ContractError
        Most values of a band lie outside its limits, or radar contradicts its units or its names, or NDVI lies above 1
        on many images.
    """
    units = s1_units if s1_units is not None else cube.attrs.get("s1_units")
    if S2NDVI in cube.bands.values:
        refuse_negative_red(cube)
    masked: dict[int, np.ndarray] = {}
    radar: dict[str, np.ndarray] = {}
    for k, band in enumerate(str(b) for b in cube.bands.values):
        if band not in (S2NDVI, COARSE_NDVI, *RADAR_BANDS):
            continue
        values = np.asarray(cube.isel(bands=k).transpose(*(d for d in DIMS if d != "bands")).values)
        if band in RADAR_BANDS:
            kept = radar[band] = measured_radar(values, units, band, cube.t.values)
        else:
            kept = measured_ndvi(values, band)
            if band == S2NDVI:
                note_stretched(kept, cube.t.values)
        if kept is not values:
            masked[k] = kept
    if len(radar) == 2 and units in S1_UNITS:
        refuse_swapped(radar[VV], radar[VH], str(units))
    if not masked:
        return cube
    out = cube.transpose(*DIMS).astype(np.result_type(cube.dtype, np.float32))  # a copy; whole numbers hold no NaN
    for k, kept in masked.items():
        out.values[:, k] = kept
    return out.transpose(*cube.dims)


def refuse_negative_red(cube: xr.DataArray) -> None:
    """Refuse a cube (t, bands, y, x) whose NDVI lies above 1 on many images: red below 0, as where the offset of
    Sentinel-2 is removed twice.

    An offset that is still in the numbers lowers NDVI and cannot be told from it; files and downloads are checked.

    Raises
    ------
    ContractError
    """
    ndvi = np.asarray(cube.sel(bands=S2NDVI).transpose("t", "y", "x").values)
    if not (ndvi > NEGATIVE_RED).any():
        return
    seen = np.isfinite(ndvi) & (np.abs(ndvi) < NDVI_OF_RATIOS)
    count = seen.sum(axis=(1, 2))
    above = (seen & (ndvi > NEGATIVE_RED)).sum(axis=(1, 2)) > ABOVE_SHARE * count
    usable = count >= MIN_PIXELS
    if above[usable].sum() >= max(3, ABOVE_SHARE * usable.sum()) and np.median(ndvi[seen]) < MEDIAN_OF_RATIOS:
        raise ContractError(
            f"NDVI lies above 1 on {int(above[usable].sum())} of {int(usable.sum())} images, so red is below 0; "
            "the offset of baseline 04.00 seems to be removed twice; load reflectance from which it is removed once"
        )


def note_stretched(ndvi: np.ndarray, times: np.ndarray) -> None:
    """Warn of NDVI that never falls to what soil, winter or haze show in a year, as (NDVI + 1) / 2 would not."""
    days = np.asarray(times).astype("datetime64[D]").astype(int)
    count = np.count_nonzero(np.isfinite(ndvi))
    if count < MIN_VALUES or np.ptp(days) < YEAR_DAYS or np.count_nonzero(ndvi < STRETCHED) > 0.01 * count:
        return
    real = ndvi[np.isfinite(ndvi)]
    log.warning(
        "S2NDVI lies above %.2f on 99 %% of the values of a year, up to %.2f, as (NDVI + 1) / 2 does (take "
        "2 * value - 1, if so) and evergreen forest may",
        np.percentile(real, 1),
        real.max(),
    )


def measured_radar(values: np.ndarray, units: str | None, name: str, times: np.ndarray | None = None) -> np.ndarray:
    """Backscatter with NaN for what cannot be one; refuses values that contradict the declared units."""
    if units not in S1_UNITS:  # the caller refuses this where radar is needed
        return RADAR_ANY_RANGE.keep(values, name)
    limits = RADAR_DB_RANGE if units == "dB" else RADAR_POWER_RANGE
    refuse_other_units(values, str(units), name, times)
    return limits.keep(values, name)


def refuse_other_units(
    values: np.ndarray, units: str, name: str, times: np.ndarray | None = None, *, setting: str = "s1_units"
) -> None:
    """Refuse backscatter (t, ...) that contradicts its declared units, as a whole or image by image.

    Power is not negative. Land lies below 0 dB: where even the lowest values are at 3 dB and more, the sign of the
    decibels is lost, or these are amplitudes. An image of at least 25 values from 0 to 2, without a negative one, is
    linear power. Fill values are left aside.

    Raises
    ------
    ContractError
    """
    # decibels of which more than 1 % are negative pass all that looks at the whole; nearly all do, in fewer passes
    below = (values < 0) & (values >= S1_DB_MIN) if units == "dB" else None
    usual = below is not None and np.count_nonzero(below & (values != S1_DB_MIN)) > 0.01 * values.size + 8
    if not usual and _refuse_units_of_all(values, units, name, setting) <= 8:
        return
    if below is not None and values.ndim > 1:
        pixels = tuple(range(1, values.ndim))
        rest = ~below.any(axis=pixels)
        linear = np.flatnonzero(rest)[((values[rest] > 0) & (values[rest] <= 2)).sum(axis=pixels) >= MIN_VALUES]
        if linear.size:
            first = int(linear[0])
            which = f"number {first}" if times is None else f"of {times[first].astype('datetime64[D]')}"
            raise ContractError(
                f"{name} is declared dB but {linear.size} of {len(values)} images, the first {which}, hold only "
                "values from 0 to 2, which is linear power; convert them with 10 * log10(power), or leave them out"
            )


def _refuse_units_of_all(values: np.ndarray, units: str, name: str, setting: str) -> int:
    """Refuse backscatter that contradicts its units as a whole; the number of values that are no fill values."""
    limits = RADAR_DB_RANGE if units == "dB" else RADAR_POWER_RANGE
    real = values[np.isfinite(values)]
    real = real[~limits.fills(real)]
    if real.size <= 8:
        return real.size
    if units == "linear" and (real < 0).mean() > 0.01:
        raise ContractError(
            f"{name} is declared linear but {100 * (real < 0).mean():.0f} % of its values are negative "
            f"(min {real.min():.3g}); it looks like dB; set {setting}=dB"
        )
    least = 0.0 if units == "dB" else 10 ** (LAND_DB / 10)
    if (real < least).sum() > 0.01 * real.size + 1:  # so is the lowest percent, as nearly always; saves the sorting
        return real.size
    low, high = np.percentile(real, (1, 99))
    if units == "dB" and low >= 0 and high <= 2:
        raise ContractError(
            f"{name} is declared dB but lies within [{low:.3g}, {high:.3g}]; it looks linear; set {setting}=linear"
        )
    if low >= (LAND_DB if units == "dB" else 10 ** (LAND_DB / 10)) and high <= limits.high:
        raise ContractError(
            f"{name} is declared {units} but lies within [{low:.3g}, {high:.3g}]; backscatter of land is below 0 dB (a "
            "power of 1); give the decibels their sign, or calibrate amplitudes to sigma0 or gamma0"
        )
    return real.size


def refuse_swapped(vv: np.ndarray, vh: np.ndarray, units: str) -> None:
    """Refuse VH that is brighter than VV; land, water and cities reflect less in VH.

    Raises
    ------
    ContractError
    """
    step = max(1, vv.size // 200_000)
    pairs = np.stack([vv.flat[::step], vh.flat[::step]])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < MIN_VALUES:
        return
    middle = np.median(pairs, axis=1)
    if units == "linear":
        middle = 10 * np.log10(np.maximum(middle, 1e-5))
    if middle[1] > middle[0] + 1:
        raise ContractError(
            f"VH has a median of {middle[1]:.1f} dB and VV of {middle[0]:.1f} dB; VH is the weaker one on land and "
            "water; swap the two bands, or name what they are"
        )
