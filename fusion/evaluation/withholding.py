"""Withholding observations from a cube before prediction; all of evaluation withholds data by these functions."""

import numpy as np
import xarray as xr

from fusion.contract import COARSE_COMPOSITE_DAYS, COARSE_NDVI, RADAR_BANDS
from fusion.evaluation.predictor import to_days


def blank(cube: xr.DataArray, flags: dict[str, np.ndarray]) -> xr.DataArray:
    """A copy with NaN where the flag of a band, bool (t,) or (t, y, x), is set; missing bands are ignored."""
    cube = cube.transpose("t", "bands", "y", "x")
    values = np.array(cube.values, np.float32)
    bands = [str(band) for band in cube.bands.values]
    for band, flag in flags.items():
        if band in bands:
            values[:, bands.index(band)][flag] = np.nan
    return cube.copy(data=values)


def composite_end(days: np.ndarray) -> np.ndarray:
    """Last day of the composites labelled ``days`` (their first day): ten days, or to the end of the month.

    The dekads of PROBA-V S10 start on day 1, 11 and 21; the third one ends with the month, after 8 to 11 days.
    """
    dates = np.asarray(days).astype("datetime64[D]")
    month = dates.astype("datetime64[M]")
    month_end = (month + 1).astype("datetime64[D]").astype(np.int64) - 1
    third = (dates - month.astype("datetime64[D]")).astype(np.int64) >= 20
    plain = np.asarray(days) + COARSE_COMPOSITE_DAYS - 1
    return np.where(third, np.maximum(plain, month_end), plain)


def optical_bands(cube: xr.DataArray) -> list[str]:
    """Bands derived from S2 observations: all bands except radar and the coarse series.

    A cube may have bands beyond the contract (for example flags of suspect observations), which must not reveal
    withheld observations.
    """
    return [str(band) for band in cube.bands.values if str(band) not in (*RADAR_BANDS, COARSE_NDVI)]


def withhold_window(cube: xr.DataArray, first: int, last: int) -> xr.DataArray:
    """Withhold all S2 observations from day ``first`` to ``last`` (inclusive) and all composites that overlap them.

    A composite is labelled by its first day and may contain any day up to :func:`composite_end`. Radar is kept.
    """
    days = to_days(cube.t.values)
    observations = (days >= first) & (days <= last)
    flags = dict.fromkeys(optical_bands(cube), observations)
    return blank(cube, {**flags, COARSE_NDVI: (days <= last) & (composite_end(days) >= first)})


def withhold_s2(cube: xr.DataArray, first: int, last: int) -> xr.DataArray:
    """Withhold only S2 observations from day ``first`` to ``last`` (inclusive), as clouds do; composites are kept."""
    days = to_days(cube.t.values)
    return blank(cube, dict.fromkeys(optical_bands(cube), (days >= first) & (days <= last)))


def cut_after(cube: xr.DataArray, day: int) -> xr.DataArray:
    """The cube as available at the end of ``day``: no later data of any sensor, no incomplete composite."""
    days = to_days(cube.t.values)
    later = days > day
    flags = dict.fromkeys((*optical_bands(cube), *RADAR_BANDS), later)
    flags[COARSE_NDVI] = composite_end(days) > day
    kept = blank(cube, flags)
    return kept.isel(t=np.flatnonzero(~later)) if (~later).any() else kept
