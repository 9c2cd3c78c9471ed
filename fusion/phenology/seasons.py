"""The public function :func:`seasons`: season dates and parameters of an NDVI cube."""

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import ContractError
from fusion.phenology.extraction import LAYERS
from fusion.phenology.layers import ndvi_and_sigma, obs_counts, season_layers
from fusion.phenology.phenolopy import phenolopy_metrics
from fusion.phenology.reference import middle_year, reference_phenology, reference_smoothing
from fusion.phenology.settings import DATES, FLAGS, SeasonSettings
from fusion.phenology.smoothing import smooth

# name: (units, long name)
ATTRIBUTES = {
    "SOSD": ("days since {year}-01-01", "start of season"),
    "EOSD": ("days since {year}-01-01", "end of season"),
    "MAXD": ("days since {year}-01-01", "date of the season's maximum"),
    "SOSV": ("1", "NDVI at the start of season"),
    "EOSV": ("1", "NDVI at the end of season"),
    "MINV": ("1", "mean of the minima left and right of the season"),
    "MAXV": ("1", "NDVI at the season's maximum"),
    "AMPL": ("1", "season amplitude, MAXV - MINV"),
    "LENGTH": ("days", "length of season, EOSD - SOSD"),
    "LSLOPE": ("1/day", "rate of green-up at SOSD"),
    "RSLOPE": ("1/day", "rate of senescence at EOSD, positive"),
    "SPROD": ("day", "seasonal productivity, daily sum of NDVI - MINV from SOSD to EOSD"),
    "TPROD": ("day", "total productivity, daily sum of NDVI from SOSD to EOSD"),
    "QFLAG": ("1", "observations in green-up, peak and green-down: 10 = more than two in each, 0 = no season"),
    "SOSD_SIGMA": ("days", "standard deviation of SOSD"),
    "EOSD_SIGMA": ("days", "standard deviation of EOSD"),
    "MAXD_SIGMA": ("days", "standard deviation of MAXD"),
    "OBS_UP": ("1", "observations during green-up"),
    "OBS_PEAK": ("1", "observations around the peak"),
    "OBS_DOWN": ("1", "observations during green-down"),
    "LONGEST_GAP": ("days", "longest gap between observations from green-up to green-down"),
    "FLAG": ("1", "sum of season flags"),
}
INTEGERS = ("QFLAG", "OBS_UP", "OBS_PEAK", "OBS_DOWN", "FLAG", "COUNT")
PRESMOOTHED = ("savitzky_golay", "spline", "hants")  # curves that are smoothed to 5-day steps before detection


def seasons(
    cube: xr.DataArray,
    *,
    sigma: xr.DataArray | float | None = None,
    observations: xr.DataArray | None = None,
    method: str = SeasonSettings.method,
    start: float = SeasonSettings.start,
    end: float = SeasonSettings.end,
    curve: str = SeasonSettings.curve,
    year: int | list[int] | None = None,
    max_seasons: int = SeasonSettings.max_seasons,
    min_amplitude: float = SeasonSettings.min_amplitude,
    error_days: float | None = None,
    yydoy: bool = False,
    use_numba: bool | None = None,
) -> xr.Dataset:
    """Start, end, peak and productivity of every season, with standard deviations, counts and flags.

    Parameters
    ----------
    cube : xarray.DataArray
        NDVI with a dim ``t`` (datetime, sorted, any step, gaps and duplicates allowed) and any others, in any order.
        With ``bands``, the NDVI band is ``NDVI``, ``S2NDVI`` or the only one. NaN = no observation. Dask arrays
        stay lazy.
    sigma : DataArray or float, optional
        Standard deviation of the values, by default the band ``NDVI_SIGMA``. Without one, observations are assumed
        independent and their error is estimated robustly from the residuals (undetected clouds).
    observations : DataArray, optional
        Original observations (same pixels, own dates) for the counts, gaps and QFLAG of a fused series. Default: the
        counts that :func:`fusion.fuse` carries along (``OBS_COUNT``), on the dates of the series.
    method, start, end, curve, max_seasons, min_amplitude, error_days, use_numba
        See :class:`fusion.phenology.settings.SeasonSettings`. ``method="reference"`` and ``"phenolopy"`` give the
        dates of the original use case and of phenolopy, with their known faults.
    year : int or list of int, optional
        Seasons whose maximum lies in these calendar years. Default: the seasons around the middle of a series of up to
        18 months, with dates counted from 1 January of the year of the middle; every calendar year of a longer one.
    yydoy : bool
        Add ``SOSD_YYDOY``, ``EOSD_YYDOY`` and ``MAXD_YYDOY``, dates in the format of HR-VPP.

    Returns
    -------
    xarray.Dataset
        Dims ``(season, y, x)``, or ``(year, season, y, x)`` for several years. Dates are days since 1 January of the
        season's year: negative or above 365 across New Year. NaN = no value; ``FLAG`` gives the reason.

    Raises
    ------
    ContractError
        Wrong dims or time axis, values outside the NDVI range, unknown method or option; the message lists choices.
    """
    settings = SeasonSettings(
        method=method, start=start, end=end, curve=curve, max_seasons=max_seasons, min_amplitude=min_amplitude,
        error_days=error_days, use_numba=use_numba,
    )  # fmt: skip
    if method in COMPATIBLE:
        return COMPATIBLE[method](ndvi_and_sigma(cube, sigma)[0], year)
    if curve in PRESMOOTHED:
        if observations is None:
            counts = obs_counts(cube)
            observations = ndvi_and_sigma(cube, None)[0] if counts is None else counts
        cube, sigma = smooth(cube, method=curve, sigma=sigma, step_days=5, use_numba=use_numba), None
    data = _dataset(*season_layers(cube, settings, sigma=sigma, obs=observations, year=year), settings)
    return data.assign({f"{n}_YYDOY": _yydoy(data[n], data.year) for n in DATES}) if yydoy else data


def _yydoy(date: xr.DataArray, year: xr.DataArray) -> xr.DataArray:
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


def _reference_seasons(ndvi: xr.DataArray, wanted: int | list[int] | None) -> xr.Dataset:
    """Dates of the original use case as a season dataset; FLAG marks those at the end of their search window."""
    year = middle_year(ndvi.t.values.astype("datetime64[D]").astype("int64"))
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
        data[name].attrs = _attributes(name)
        ends = [pd.Timestamp(f"{year}-{edge}").dayofyear for edge in edges]
        capped = xr.where(doy.isin(ends), FLAGS[label], 0)
        flag = capped if flag is None else flag + capped
    data["FLAG"] = (flag + xr.where(doy == 0, FLAGS["no_data"], 0)).astype(np.int16)
    data["FLAG"].attrs = _attributes("FLAG")
    return xr.Dataset(data, attrs={"method": "reference"}).assign_coords(year=year)


def _phenolopy_seasons(ndvi: xr.DataArray, wanted: int | list[int] | None) -> xr.Dataset:
    """The 18 metrics of phenolopy for the whole series; ``wanted`` years are refused."""
    if wanted is not None:
        raise ContractError(
            f"year is {wanted}, but method 'phenolopy' takes the whole series as one year; select the dates first"
        )
    return phenolopy_metrics(ndvi)


COMPATIBLE = {"reference": _reference_seasons, "phenolopy": _phenolopy_seasons}


def _dataset(layers: xr.DataArray, years, settings: SeasonSettings) -> xr.Dataset:
    """Variables with CF attributes; ``year`` is a dim for several years, else a scalar coordinate."""
    single = np.ndim(years) == 0
    layers = layers.assign_coords(season=np.arange(1, settings.max_seasons + 1))
    layers = layers.isel(year=0).assign_coords(year=years) if single else layers.assign_coords(year=years)
    data = {}
    for i, name in enumerate(LAYERS):
        layer = layers.isel(layer=i)
        if name == "COUNT":
            layer = layer.isel(season=0, drop=True)
        if name in INTEGERS:
            layer = layer.astype(np.int16)
        layer.attrs = _attributes(name)
        data[name] = layer
    out = xr.Dataset(data)
    out.season.attrs = {"long_name": "season of the year, in order of time"}
    out.year.attrs = {"long_name": "calendar year of the season's maximum; dates count from its 1 January"}
    out.attrs = {
        "Conventions": "CF-1.11",
        "title": "Vegetation phenology and productivity",
        "method": settings.method,
        "start_threshold": settings.start,
        "end_threshold": settings.end,
        "curve": settings.curve,
    }
    return out


def _attributes(name: str) -> dict:
    """CF attributes of a variable."""
    if name == "COUNT":
        return {"units": "1", "long_name": "number of seasons in the year"}
    units, long_name = ATTRIBUTES[name]
    attrs: dict[str, object] = {
        "units": "d" if units.startswith("day") else units.replace("/day", " d-1").replace("1 d", "d"),
        "long_name": long_name,
    }
    if name in DATES:
        attrs["comment"] = (
            "days since 1 January of the season's year (0 = 1 January); negative or above 365 across New Year"
        )
    if name == "FLAG":
        attrs["flag_masks"] = np.array(list(FLAGS.values()), np.int16)
        attrs["flag_meanings"] = " ".join(FLAGS)
    return attrs
