"""The metrics of phenolopy with its defaults (as used by FuseTS), for comparison, including its known faults.

Definitions re-implemented from Trotter's phenolopy (Apache-2.0), ``calc_phenometrics(peak_metric="pos",
base_metric="bse", method="first_of_slope")``. Faults kept on purpose: dates are days of year and wrong across New
Year, integrals count samples instead of days (``dx = 1``), one season per series, a flat series gets dates.
"""

import numpy as np
import xarray as xr


def phenolopy_metrics(values: xr.DataArray) -> xr.Dataset:
    """The 18 metrics of one season.

    Parameters
    ----------
    values : xarray.DataArray
        Dim ``t`` (datetime) and any others; any vegetation index in any unit; gap-free, or NaN at all dates.

    Returns
    -------
    xarray.Dataset
        ``pos_values``, ``pos_times`` ... as float32, dates as days of year; NaN where a series is all NaN or a
        metric is undefined.
    """
    space = [d for d in values.dims if d != "t"]
    moved = values.transpose("t", *space)
    stack = np.asarray(moved.values, float)
    doy = moved.t.dt.dayofyear.values.astype(float)
    metrics = _arrays(stack.reshape(len(doy), -1), doy)
    coords = {name: c for name, c in values.coords.items() if "t" not in c.dims}
    data = {
        name: xr.DataArray(value.reshape(stack.shape[1:]).astype(np.float32), dims=space, coords=coords)
        for name, value in metrics.items()
    }
    return xr.Dataset(data, attrs={"method": "phenolopy"})


def _arrays(y: np.ndarray, doy: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics (N,) of series (T, N); ``doy`` is the day of year of every date, (T,)."""
    empty = np.isnan(y).all(axis=0)
    y = np.where(empty, 0.0, y)
    columns, day = np.arange(y.shape[1]), doy[:, None]
    top, low = np.nanargmax(y, axis=0), np.nanargmin(y, axis=0)
    out = {"pos_values": y[top, columns], "pos_times": doy[top]}
    before, after = day <= out["pos_times"], day >= out["pos_times"]
    sides = [np.where(mask, y, np.nan) for mask in (before, after)]
    upper = [np.nanmean(np.where(s >= 0.8 * np.nanmax(s, axis=0), s, np.nan), axis=0) for s in sides]
    out |= {"mos_values": 0.5 * (upper[0] + upper[1]), "vos_values": y[low, columns], "vos_times": doy[low]}
    out["bse_values"] = 0.5 * (np.nanmin(sides[0], axis=0) + np.nanmin(sides[1], axis=0))
    out["aos_values"] = out["pos_values"] - out["bse_values"]
    for name, side, sign in (("sos", sides[0], 1.0), ("eos", sides[1], -1.0)):
        steep = sign * np.gradient(side, doy, axis=0) > 0
        flank = np.where(steep, side, np.inf)
        first = flank.argmin(axis=0)
        value = flank[first, columns]
        found = np.isfinite(value)  # a peak at the end has no flank: phenolopy then returns day 0
        out[f"{name}_values"], out[f"{name}_times"] = np.where(found, value, np.nan), np.where(found, doy[first], 0.0)
    length = out["eos_times"] - out["sos_times"]
    out["los_values"] = np.where(length < 0, doy[-1] + length, length)
    with np.errstate(invalid="ignore", divide="ignore"):
        out["roi_values"] = (out["pos_values"] - out["sos_values"]) / (out["pos_times"] - out["sos_times"])
        out["rod_values"] = np.abs((out["eos_values"] - out["pos_values"]) / (out["eos_times"] - out["pos_times"]))
    inside = (day >= out["sos_times"]) & (day <= out["eos_times"])
    base = np.broadcast_to(out["bse_values"], y.shape)
    out["lios_values"] = np.trapezoid(np.where(inside, y, 0.0), dx=1, axis=0)
    out["sios_values"] = out["lios_values"] - np.trapezoid(np.where(inside, base, 0.0), dx=1, axis=0)
    out["liot_values"] = np.trapezoid(y, dx=1, axis=0)
    out["siot_values"] = out["liot_values"] - np.trapezoid(base, dx=1, axis=0)
    return {name: np.where(empty, np.nan, value) for name, value in out.items()}
