"""Taking looks out of a cube before anything sees it: the only way in which evaluation hides data."""

import numpy as np
import xarray as xr

from fusion.contract import COARSE_COMPOSITE_DAYS, COARSE_NDVI, RADAR_BANDS, S2NDVI
from fusion.evaluation.predictor import to_days


def blank(cube: xr.DataArray, flags: dict[str, np.ndarray]) -> xr.DataArray:
    """A copy with NaN where a band's flag, bool (t,) or (t, y, x), is set; bands the cube lacks are passed over."""
    cube = cube.transpose("t", "bands", "y", "x")
    values = np.array(cube.values, np.float32)
    bands = [str(band) for band in cube.bands.values]
    for band, flag in flags.items():
        if band in bands:
            values[:, bands.index(band)][flag] = np.nan
    return cube.copy(data=values)


def hide_window(
    cube: xr.DataArray, first: int, last: int, *, composite_days: int = COARSE_COMPOSITE_DAYS, pixels: np.ndarray | None = None
) -> xr.DataArray:
    """Hide every S2 look from day ``first`` to ``last`` (since 1970, inclusive) and each coarse composite that overlaps.

    A coarse image is stamped with the first day of its composite (PROBA-V S10), so one stamped at s may hold any day
    of ``s .. s + composite_days - 1``. ``pixels`` (bool (y, x)) limits the hiding of S2 to a part of the area. Radar stays.
    """
    days = to_days(cube.t.values)
    looks = (days >= first) & (days <= last)
    coarse = (days <= last) & (days + composite_days - 1 >= first)
    flag = looks if pixels is None else looks[:, None, None] & pixels
    return blank(cube, {S2NDVI: flag, COARSE_NDVI: coarse})


def hide_s2(cube: xr.DataArray, first: int, last: int) -> xr.DataArray:
    """Hide only the S2 looks of the window, as clouds do: the coarse composites keep what they caught."""
    days = to_days(cube.t.values)
    return blank(cube, {S2NDVI: (days >= first) & (days <= last)})


def cut_after(cube: xr.DataArray, day: int, *, composite_days: int = COARSE_COMPOSITE_DAYS) -> xr.DataArray:
    """The cube as it stood at the end of ``day``: nothing later of any sensor, no composite still being made."""
    days = to_days(cube.t.values)
    later = days > day
    flags = dict.fromkeys((S2NDVI, *RADAR_BANDS), later)
    flags[COARSE_NDVI] = days + composite_days - 1 > day
    kept = blank(cube, flags)
    return kept.isel(t=np.flatnonzero(~later)) if (~later).any() else kept
