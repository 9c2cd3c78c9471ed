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
    S1_UNITS,
    S2NDVI,
    ContractError,
    measured_ndvi,
)

log = logging.getLogger(__name__)


def measured_cube(cube: xr.DataArray, s1_units: str | None = None) -> xr.DataArray:
    """The cube (in memory) with NaN for what cannot be a measurement, counted in a warning a band.

    The rule of a pixel looks at no other pixel. Limits stand in :class:`fusion.contract.ValidRange`; of NDVI, what
    :func:`fusion.contract.ndvi_marks` finds is missing too. The input, sorted by ``t``, is not changed; it is returned
    itself where nothing is to be masked.

    Raises
    ------
    ContractError
        Most values of a band lie outside its limits, or radar contradicts its units.
    """
    units = s1_units if s1_units is not None else cube.attrs.get("s1_units")
    masked: dict[int, np.ndarray] = {}
    for k, band in enumerate(str(b) for b in cube.bands.values):
        if band not in (S2NDVI, COARSE_NDVI, *RADAR_BANDS):
            continue
        values = np.asarray(cube.isel(bands=k).transpose(*(d for d in DIMS if d != "bands")).values)
        if band in RADAR_BANDS:
            kept = measured_radar(values, units, band)
        else:
            kept = measured_ndvi(values, band)
        if kept is not values:
            masked[k] = kept
    if not masked:
        return cube
    out = cube.transpose(*DIMS).copy(deep=True)
    for k, kept in masked.items():
        out.values[:, k] = kept
    return out.transpose(*cube.dims)


def measured_radar(values: np.ndarray, units: str | None, name: str) -> np.ndarray:
    """Backscatter with NaN for what cannot be one; refuses values that contradict the declared units."""
    if units not in S1_UNITS:  # the caller refuses this where radar is needed
        return RADAR_ANY_RANGE.keep(values, name)
    limits = RADAR_DB_RANGE if units == "dB" else RADAR_POWER_RANGE
    real = values[np.isfinite(values)]
    real = real[~limits.fills(real)]
    if units == "linear" and real.size and (real < 0).mean() > 0.01:
        raise ContractError(
            f"{name} is declared linear but {100 * (real < 0).mean():.0f} % of its values are negative "
            f"(min {real.min():.3g}); it looks like dB; set s1_units='dB'"
        )
    if units == "dB" and real.size > 8 and (real < 0).sum() <= 0.01 * real.size + 1:  # most radar is negative in dB
        low, high = np.percentile(real, (1, 99))
        if low >= 0 and high <= 2:
            raise ContractError(
                f"{name} is declared dB but lies within [{low:.3g}, {high:.3g}]; it looks linear; set s1_units='linear'"
            )
    return limits.keep(values, name)
