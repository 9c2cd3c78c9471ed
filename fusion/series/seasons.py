"""Season dates and parameters of an NDVI cube: the public call."""

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import ContractError
from fusion.series.phenology import season_attributes, season_inputs, season_maps
from fusion.series.phenolopy import phenolopy_metrics
from fusion.series.reference import reference_phenology, reference_smoothing, reference_year
from fusion.series.season_settings import SEASON_DATES, SEASON_FLAGS, SeasonSettings


def seasons(
    cube: xr.DataArray,
    *,
    sigma: xr.DataArray | float | None = None,
    looks: xr.DataArray | None = None,
    method: str = "relative_amplitude",
    start: float = 0.25,
    end: float = 0.15,
    curve: str = "double_logistic",
    year: int | list[int] | None = None,
    max_seasons: int = 2,
    min_amplitude: float = 0.1,
    error_days: float | None = None,
    yydoy: bool = False,
    use_numba: bool | None = None,
) -> xr.Dataset:
    """Start, end, peak and productivity of every season, with standard deviations in days, counts and flags.

    Parameters
    ----------
    cube : xarray.DataArray
        NDVI with a dim ``t`` (datetime, sorted, any step, gaps and duplicates allowed) and any others, in any order.
        With a dim ``bands`` the NDVI band is ``NDVI`` or ``S2NDVI`` or the only one, and ``NDVI_SIGMA`` is used.
        NaN = no look. Dask arrays stay lazy.
    sigma : DataArray or float, optional
        Standard deviation of the values; wins over the band. Without any, looks are taken as independent and their
        error is found from the residuals, robustly (undetected clouds).
    looks : DataArray, optional
        Real observations (same pixels, own dates) for the looks counts, gaps and QFLAG of a fused series.
    method, start, end, curve, max_seasons, min_amplitude, error_days, use_numba
        See :class:`fusion.series.season_settings.SeasonSettings`. ``method="reference"`` gives the original use
        case's dates, ``"phenolopy"`` those of phenolopy, each with its own faults.
    year : int or list of int, optional
        Seasons whose maximum lies in these calendar years. Default: a series up to 18 months gives the seasons around
        its middle, counted from 1 January of the middle's year; a longer one gives every calendar year.
    yydoy : bool
        Add ``SOSD_YYDOY`` ... as HR-VPP writes dates.

    Returns
    -------
    xarray.Dataset
        Dims ``(season, y, x)``, or ``(year, season, y, x)`` for several years. Dates are days since 1 January of the
        season's year: negative or above 365 across New Year. NaN = none; ``FLAG`` says why.

    Raises
    ------
    ContractError
        Wrong dims, time axis, values that are no NDVI, unknown method or option; the message lists what is possible.
    """
    settings = SeasonSettings(
        method=method, start=start, end=end, curve=curve, max_seasons=max_seasons, min_amplitude=min_amplitude,
        error_days=error_days, use_numba=use_numba,
    )  # fmt: skip
    if method in ("phenolopy", "reference"):
        ndvi, _ = season_inputs(cube, sigma)
        if method == "phenolopy":
            return phenolopy_metrics(ndvi)
        return reference_seasons(ndvi, year)
    data = season_maps(cube, settings, sigma=sigma, looks=looks, year=year)
    if yydoy:
        for name in SEASON_DATES:
            data[f"{name}_YYDOY"] = season_yydoy(data[name], data.year)
    return data


def season_yydoy(date: xr.DataArray, year: xr.DataArray) -> xr.DataArray:
    """Dates as YYDOY, for example 19121 for 1 May 2019; 0 = none."""

    def convert(value, zero):
        whole = np.where(np.isfinite(value), np.floor(value), 0).astype(np.int64)
        dates = zero.astype("datetime64[D]") + whole
        first = dates.astype("datetime64[Y]")
        doy = (dates - first.astype("datetime64[D]")).astype(np.int64) + 1
        return np.where(np.isfinite(value), (first.astype(np.int64) + 1970) % 100 * 1000 + doy, 0).astype(np.int32)

    zero = xr.DataArray(
        np.array([np.datetime64(f"{int(y):04d}-01-01") for y in np.atleast_1d(year.values)]).reshape(year.shape)
        .astype("datetime64[ns]"), dims=year.dims, coords=year.coords,
    )  # fmt: skip
    out = xr.apply_ufunc(convert, date, zero, dask="parallelized", output_dtypes=[np.int32])
    out = out.transpose(*date.dims)
    out.attrs = {"units": "1", "long_name": f"{date.attrs['long_name']} as YYDOY (0 = none)"}
    return out


def reference_seasons(ndvi: xr.DataArray, wanted: int | list[int] | None) -> xr.Dataset:
    """The original's dates as a season dataset; FLAG marks those that its search window capped."""
    year = reference_year(ndvi.t.values.astype("datetime64[D]").astype("int64"))
    if wanted is not None and np.atleast_1d(wanted).tolist() != [year]:
        raise ContractError(
            f"year is {wanted}, but method 'reference' dates the year of the series' middle, {year}; "
            "select that year's dates from the cube first, or use another method"
        )
    dates = reference_phenology(reference_smoothing(ndvi)).isel(t=0, drop=True)
    data, flag = {}, None
    window = {"SOSD": ("sos", ("04-02", "06-10"), "start_cut"), "EOSD": ("eos", ("09-01", "12-31"), "end_cut")}
    for name, (band, edges, label) in window.items():
        doy = dates.sel(bands=band, drop=True).expand_dims(season=[1])
        data[name] = (doy - 1).where(doy > 0).astype(np.float32)
        data[name].attrs = season_attributes(name)
        ends = [pd.Timestamp(f"{year}-{edge}").dayofyear for edge in edges]
        capped = xr.where(doy.isin(ends), SEASON_FLAGS[label], 0)
        flag = capped if flag is None else flag + capped
    data["FLAG"] = (flag + xr.where(doy == 0, SEASON_FLAGS["no_data"], 0)).astype(np.int16)
    data["FLAG"].attrs = season_attributes("FLAG")
    return xr.Dataset(data, attrs={"method": "reference"}).assign_coords(year=year)
