"""Smoothing and season dates of the original openEO use case, reproduced exactly for comparison; not recommended.

Known weaknesses, kept on purpose: a date outside its search window is returned as the end of the window without a
flag, a flat series gets dates, and only one northern spring season can be found. ``seasons`` has none of them.
"""

import numpy as np
import xarray as xr

from fusion.contract import ContractError, check_time

WINDOW_DAYS = 91  # days, Savitzky-Golay
POLYORDER = 3
CROP = ((4, 1), (12, 31))  # month, day; both ends inclusive
SPRING = ((4, 2), (6, 10))
SUMMER = ((6, 10), (9, 1))
AUTUMN = ((9, 1), (12, 31))
THRESHOLD = 0.1  # share of the amplitude above the window's minimum
BANDS = ("sos", "eos")


def reference_smoothing(cube: xr.DataArray) -> xr.DataArray:
    """Daily curve of 1 April to 31 December by Savitzky-Golay (91 days, order 3), every band.

    Parameters
    ----------
    cube : xarray.DataArray
        Dim ``t`` (datetime, sorted) and any others, in any order. NaN = no observation.

    Returns
    -------
    xarray.DataArray
        float64, the same dims, ``t`` daily (275 dates). Inner gaps are filled linearly in time, outer ones with the
        nearest value; a series without observations stays NaN. The year is that of the middle of the period.
    """
    from scipy.signal import savgol_filter

    days = _days_of(cube)
    year = middle_year(days)
    grid = np.arange(_day(year, (1, 1)), _day(year + 1, (3, 31)) + 1)
    crop = np.arange(_day(year, CROP[0]), _day(year, CROP[1]) + 1)
    values = np.moveaxis(np.asarray(cube.values, float), cube.dims.index("t"), 0)
    flat = fill_gaps_linear(days, values.reshape(len(days), -1))
    axis = np.union1d(grid, days)
    bridged = interpolation_matrix(days, axis)
    operator = savgol_filter(bridged, WINDOW_DAYS, POLYORDER, axis=0, mode="interp")
    # rounded, so that a flat series is exactly flat and ties give the first day, as with a convolution
    smooth = np.round(operator[np.searchsorted(axis, crop)] @ flat, 12)
    smooth = np.moveaxis(smooth.reshape(len(crop), *values.shape[1:]), 0, cube.dims.index("t"))
    return _labelled(cube, smooth, crop, None)


def reference_phenology(smoothed: xr.DataArray) -> xr.DataArray:
    """Start and end of season of the first band as day of year, 0 where the series contains NaN.

    Parameters
    ----------
    smoothed : xarray.DataArray
        Daily series of one year from :func:`reference_smoothing`; dims in any order, ``bands`` optional.

    Returns
    -------
    xarray.DataArray
        int16, dims in the order of the input, ``t`` = [1 January], ``bands`` = [sos, eos].
    """
    days = _days_of(smoothed)
    year = middle_year(days)
    if "bands" not in smoothed.dims:
        smoothed = smoothed.expand_dims("bands", axis=smoothed.dims.index("t") + 1)
    order = ("t", *(d for d in smoothed.dims if d not in ("t", "bands")))
    values = np.asarray(smoothed.isel(bands=0, drop=True).transpose(*order).values, float)
    curve = values.reshape(len(days), -1)
    spring, summer, autumn = (_window(days, year, window) for window in (SPRING, SUMMER, AUTUMN))
    valid = ~np.isnan(curve).any(axis=0)
    curve = np.where(valid, curve, 0.0)
    peak = curve[summer].max(axis=0)
    sos = _crossing(curve[spring], peak, rising=True)
    eos = _crossing(curve[autumn], peak, rising=False)
    first = _day(year, (1, 1))
    doy = np.stack([days[spring][sos], days[autumn][eos]]) - first + 1
    doy = np.where(valid, doy, 0).astype(np.int16).reshape(1, 2, *values.shape[1:])
    moved = xr.DataArray(doy, dims=("t", "bands", *order[1:])).transpose(*smoothed.dims)
    return _labelled(smoothed, moved.values, np.array([first]), BANDS)


def _crossing(curve: np.ndarray, peak: np.ndarray, *, rising: bool) -> np.ndarray:
    """Index nearest to the threshold, on the season's side of the window's minimum; the first one of equals."""
    bottom = curve.argmin(axis=0)
    low = curve.min(axis=0)
    distance = np.abs(curve - (low + THRESHOLD * (peak - low)))
    index = np.arange(len(curve))[:, None]
    outside = index < bottom if rising else index > bottom
    return np.where(outside, np.inf, distance).argmin(axis=0)


def _window(days: np.ndarray, year: int, window: tuple) -> slice:
    """Slice of the sorted dates from the first to the last (month, day) of a year, both inclusive."""
    first, last = (_day(year, edge) for edge in window)
    part = slice(int(np.searchsorted(days, first)), int(np.searchsorted(days, last, side="right")))
    if part.stop <= part.start:
        raise ContractError(
            f"the series holds no date from {np.datetime64(first, 'D')} to {np.datetime64(last, 'D')}; "
            "method 'reference' needs the daily series of April to December that reference_smoothing returns"
        )
    return part


def _day(year: int, month_day: tuple[int, int]) -> int:
    """Days since 1970-01-01."""
    return int(np.datetime64(f"{year:04d}-{month_day[0]:02d}-{month_day[1]:02d}", "D").astype("int64"))


def _days_of(cube: xr.DataArray) -> np.ndarray:
    """Dates as days since 1970-01-01; refuses a missing, unsorted or duplicate time axis."""
    if not isinstance(cube, xr.DataArray) or "t" not in cube.dims:
        seen = getattr(cube, "dims", type(cube).__name__)
        raise ContractError(f"got {seen}; expected an xarray.DataArray with a dim 't'")
    check_time(cube)
    return cube.t.values.astype("datetime64[D]").astype("int64")


def middle_year(days: np.ndarray) -> int:
    """Year of the middle between first and last date."""
    middle = np.datetime64(int(days[0]), "D") + np.timedelta64(int(days[-1] - days[0]) * 12, "h")
    return int(middle.astype("datetime64[Y]").astype("int64")) + 1970


def _labelled(like: xr.DataArray, values: np.ndarray, days: np.ndarray, bands: tuple | None) -> xr.DataArray:
    """Label values with the dims, spatial coordinates and attributes of ``like``, and new dates (and bands)."""
    stale = {"t"} if bands is None else {"t", "bands"}
    coords = {name: c for name, c in like.coords.items() if not stale & set(c.dims)}
    coords["t"] = days.astype("datetime64[D]").astype("datetime64[ns]")
    if bands is not None:
        coords["bands"] = list(bands)
    return xr.DataArray(values, dims=like.dims, coords=coords, attrs=like.attrs)


def fill_gaps_linear(days: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Fill NaN in (T, N) linearly in time, beyond the ends with the nearest observation; all-NaN series stay NaN."""
    seen = np.isfinite(values)
    if seen.all():
        return values
    index = np.arange(len(days))[:, None]
    left = np.maximum.accumulate(np.where(seen, index, -1), axis=0)
    right = np.minimum.accumulate(np.where(seen, index, len(days))[::-1], axis=0)[::-1]
    no_left, no_right = left < 0, right >= len(days)
    left, right = np.where(no_left, right, left), np.where(no_right, left, right)
    left, right = np.clip(left, 0, len(days) - 1), np.clip(right, 0, len(days) - 1)
    y0, y1 = np.take_along_axis(values, left, 0), np.take_along_axis(values, right, 0)
    span = days[right] - days[left]
    share = np.divide(days[:, None] - days[left], span, out=np.zeros(span.shape), where=span > 0)
    return np.where(seen, values, y0 + (y1 - y0) * share)


def interpolation_matrix(days: np.ndarray, grid_days: np.ndarray) -> np.ndarray:
    """Matrix (len(grid_days), len(days)) of linear interpolation; constant beyond the ends."""
    position = np.interp(grid_days, days, np.arange(len(days)))
    left = np.floor(position).astype(np.int64)
    matrix = np.zeros((len(grid_days), len(days)))
    rows = np.arange(len(grid_days))
    matrix[rows, left] = 1 - (position - left)
    inner = left + 1 < len(days)
    matrix[rows[inner], left[inner] + 1] = (position - left)[inner]
    return matrix
