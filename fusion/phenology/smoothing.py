"""The public function :func:`smooth`: smoothing of an NDVI cube by any of the smoothers."""

import datetime
from functools import partial

import numpy as np
import xarray as xr

from fusion.contract import NDVI_SIGMA, ContractError, TimeGrid
from fusion.dates import first_date, last_date
from fusion.phenology.curve_fit import (
    MIN_OBS,
    detection_curve,
    find_seasons,
    fit_seasons,
    fitted_curve,
    place_obs,
    regular_axis,
)
from fusion.phenology.layers import is_lazy, ndvi_and_sigma
from fusion.phenology.settings import SeasonSettings
from fusion.phenology.smoothers import (
    HARMONICS,
    POLYORDER,
    SMOOTHERS,
    WINDOW_DAYS,
    smooth_values,
)
from fusion.phenology.whittaker import DAILY_LAMBDA

BLOCK_SAMPLES = 750_000  # series times days per block: 2000 series of one year


def smooth(
    cube: xr.DataArray,
    *,
    method: str = "whittaker",
    sigma: xr.DataArray | float | None = None,
    start: str | datetime.date | np.datetime64 | None = None,
    end: str | datetime.date | np.datetime64 | None = None,
    step_days: int | None = None,
    lam: float = DAILY_LAMBDA,
    window_days: int = WINDOW_DAYS,
    polyorder: int = POLYORDER,
    harmonics: int = HARMONICS,
    envelope_iterations: int = 0,
    robust_iterations: int = 0,
    use_numba: bool | None = None,
) -> xr.DataArray:
    """Smooth an NDVI cube: a gap-free curve per pixel.

    Parameters
    ----------
    cube : xarray.DataArray
        NDVI with a dim ``t`` and any others, in any order; with ``bands`` the NDVI band is used. NaN = no observation,
        dates may be irregular or repeated. Dask arrays stay lazy.
    method : str
        ``whittaker`` (``lam``, ``envelope_iterations``, ``robust_iterations``), ``savitzky_golay`` (``window_days``,
        ``polyorder``; with a sigma a weighted local polynomial), ``double_logistic`` (robust fit per season),
        ``spline`` (``lam``), ``hants`` (``harmonics``) or ``none`` (linear interpolation).
    sigma : DataArray or float, optional
        Standard deviation of the observations; default: the band ``NDVI_SIGMA`` if there is one. Weights are
        ``1 / sigma**2``.
    start, end, step_days
        Dates of the result; default: the dates of the cube, or every ``step_days`` from its first to its last date.
    lam, window_days, polyorder, harmonics, envelope_iterations, robust_iterations
        Options of the methods, see :func:`fusion.phenology.smoothers.smooth_values` and
        :func:`fusion.phenology.whittaker.whittaker`.
    use_numba : bool, optional
        None uses numba if it is installed.

    Returns
    -------
    xarray.DataArray
        float32, dims of the input without ``bands``; a series without observations stays NaN.

    Raises
    ------
    ContractError
        Wrong dims or dates, values outside the NDVI range, unknown method; the message lists the choices.
    """
    if method not in SMOOTHERS:
        raise ContractError(f"method is {method!r}; expected one of {', '.join(SMOOTHERS)}")
    ndvi, spread = ndvi_and_sigma(cube, sigma)
    days = ndvi.t.values.astype("datetime64[D]").astype("int64")
    grid_days = _grid(days, start, end, step_days)
    options = {
        "method": method, "lam": lam, "window_days": window_days, "polyorder": polyorder, "harmonics": harmonics,
        "envelope_iterations": envelope_iterations, "robust_iterations": robust_iterations, "use_numba": use_numba,
    }  # fmt: skip
    out = _smooth_lazily(ndvi, spread, days, grid_days, options).transpose(*ndvi.dims)
    out = out.assign_coords(t=grid_days.astype("datetime64[D]").astype("datetime64[ns]"))
    out.attrs = {k: v for k, v in ndvi.attrs.items() if k != NDVI_SIGMA} | {"smoothing": method, "units": "1"}
    return out


def _smooth_lazily(
    ndvi: xr.DataArray, spread: xr.DataArray | None, days: np.ndarray, grid_days: np.ndarray, options: dict
) -> xr.DataArray:
    """Smooth chunk by chunk; lazy if the input is lazy."""
    inputs = [a.drop_vars("t", errors="ignore") for a in (ndvi, spread) if a is not None]
    inputs = [a.chunk({"t": -1}) if is_lazy(a) else a for a in inputs]
    return xr.apply_ufunc(
        partial(_smooth_chunk, days=days, grid_days=grid_days, options=options), *inputs,
        input_core_dims=[["t"]] * len(inputs), output_core_dims=[["t"]], exclude_dims={"t"}, dask="parallelized",
        output_dtypes=[np.float32], dask_gufunc_kwargs={"output_sizes": {"t": len(grid_days)}},
    )  # fmt: skip


def _grid(days: np.ndarray, start, end, step_days: int | None) -> np.ndarray:
    """Dates of the result as days since 1970-01-01."""
    if start is None and end is None and step_days is None:
        return np.unique(days)
    first = np.datetime64(first_date(start)) if start is not None else np.datetime64(int(days[0]), "D")
    last = np.datetime64(last_date(end)) if end is not None else np.datetime64(int(days[-1]), "D")
    return TimeGrid(first, last, 1 if step_days is None else step_days).days


def _smooth_chunk(ndvi, *sigma, days, grid_days, options) -> np.ndarray:
    """Smooth one chunk: input (..., t), output (..., grid date)."""
    shape = ndvi.shape[:-1]
    values = np.asarray(ndvi).reshape(-1, ndvi.shape[-1])
    spread = np.asarray(sigma[0]).reshape(values.shape) if sigma else None
    out = np.empty((len(values), len(grid_days)), np.float32)
    block = max(BLOCK_SAMPLES // int(days[-1] - days[0] + 1), 32)
    for first in range(0, len(values), block):
        part = slice(first, first + block)
        noise = None if spread is None else spread[part]
        if options["method"] == "double_logistic":
            out[part] = _smooth_seasons(values[part], noise, days, grid_days, options["use_numba"])
            continue
        weights = None
        if noise is not None:
            weights = np.where(np.isfinite(noise) & (noise > 0), 1.0 / np.square(noise.astype(float)), 0.0).T
            weights = weights / np.maximum(weights.mean(axis=0), 1e-30)  # of each series: no pixel depends on others
        out[part] = smooth_values(days, values[part].T, grid_days, weights=weights, **options).T
    return out.reshape(*shape, len(grid_days))


def _smooth_seasons(values, sigma, days, grid_days, use_numba) -> np.ndarray:
    """Double-logistic curve of every season, averaged where windows overlap; elsewhere the detection curve.

    Series with too few observations for a season are interpolated linearly.
    """
    settings = SeasonSettings(use_numba=use_numba)
    axis = regular_axis(days)
    placed, spread = place_obs(axis, values, sigma)
    placed = np.where((np.isfinite(placed).sum(1) >= MIN_OBS)[:, None], placed, np.nan)
    curve = detection_curve(axis, placed, sigma is not None, use_numba)
    curve_or_obs = np.where(np.isfinite(curve), curve, place_obs(axis, values, None)[0])
    out = smooth_values(axis.days, curve_or_obs.T, grid_days, method="none").T
    rows, *_ = find_seasons(curve, 4 + 3 * (1 + axis.length * axis.step // 366), settings)
    if len(rows[0]) == 0:
        return out
    fit = fit_seasons(axis, placed, spread, curve, rows, settings)
    total, number = np.zeros(out.shape), np.zeros(out.shape)
    for m in np.flatnonzero(fit.follows):
        first, last = axis.days[fit.window[m]]
        inside = (grid_days >= first) & (grid_days <= last)
        total[fit.pixel[m], inside] += fitted_curve(grid_days[inside] - float(first), fit.theta[m : m + 1])[0]
        number[fit.pixel[m], inside] += 1
    return np.where(number > 0, total / np.maximum(number, 1), out)
