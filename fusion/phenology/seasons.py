"""The public function :func:`seasons`: season dates and parameters of an NDVI cube."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import CF_CONVENTIONS, ContractError
from fusion.phenology.extraction import LAYERS
from fusion.phenology.layers import is_lazy, main_layers, ndvi_and_sigma, obs_counts, season_layers
from fusion.phenology.phenolopy import phenolopy_metrics
from fusion.phenology.reference import middle_year, reference_phenology, reference_smoothing
from fusion.phenology.season_table import date_codes
from fusion.phenology.settings import DATES, FLAGS, MAIN_SUFFIX, VARIABLES, SeasonSettings
from fusion.phenology.smoothing import smooth

log = logging.getLogger(__name__)

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
    "COUNT": ("1", "number of seasons in the year"),
    "MAIN": ("1", "number of the year's main season, that with the largest amplitude; 0 = no season"),
}
OF_A_YEAR = ("COUNT", "MAIN")
INTEGERS = ("QFLAG", "OBS_UP", "OBS_PEAK", "OBS_DOWN", "FLAG", *OF_A_YEAR)
AHEAD_DAYS = 60  # a series should begin so long before the year, since winter crops emerge then
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
        Seasons whose maximum lies in these calendar years; the series before and after serves to find their start and
        end. Default: of a series of up to 18 months, the calendar years of which it covers 180 days or more (where
        there is none, the year that it covers most); every calendar year of a longer one.
    yydoy : bool
        Add the dates as codes, ``SOSD_YYDOY`` (19121 = 1 May 2019, as in HR-VPP) and ``SOSD_YYYYDOY`` (2019121).
        :func:`fusion.season_dates` gives them as datetime64.

    Returns
    -------
    xarray.Dataset
        Dims ``(season, y, x)``, or ``(year, season, y, x)`` for several years; seasons of a year in order of time.
        ``SOSD_main``, ... are the parameters of the year's main season, that with the largest amplitude, without the
        dim ``season``. Dates are days since 1 January of the season's year: negative or above 365 across New Year.
        NaN = no value; ``FLAG`` gives the reason.

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
        return _by_block(COMPATIBLE[method], ndvi_and_sigma(cube, sigma)[0], year)
    if curve in PRESMOOTHED:
        if observations is None:
            counts = obs_counts(cube)
            observations = ndvi_and_sigma(cube, None)[0] if counts is None else counts
        cube, sigma = smooth(cube, method=curve, sigma=sigma, step_days=5, use_numba=use_numba), None
    layers, years = season_layers(cube, settings, sigma=sigma, obs=observations, year=year)
    _warn_of_a_cut(cube.t.values, years)
    data = _dataset(layers, years, settings)
    return data.assign(date_codes(data)) if yydoy else data


def _warn_of_a_cut(dates: np.ndarray, years: np.ndarray | int) -> None:
    """Say where the series is too short to show all seasons of the year."""
    first, last = dates[[0, -1]].astype("datetime64[D]")
    year = int(np.atleast_1d(years)[0])
    begin, end = np.datetime64(f"{year:04d}-01-01"), np.datetime64(f"{year:04d}-12-31")
    if np.ndim(years) == 0 and first > begin - AHEAD_DAYS:
        log.warning(
            "the series begins on %s: seasons of %d that start before it get no SOSD; begin it in the autumn of %d, "
            "by fusion.fuse(cube) or `predict` without start where the cube reaches so far back", first, year, year - 1,
        )  # fmt: skip
    if np.ndim(years) == 0 and last < end:
        log.warning("the series ends on %s: seasons of %d that end after it get no EOSD", last, year)


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
    data |= {f"{name}{MAIN_SUFFIX}": layer.isel(season=0, drop=True) for name, layer in data.items()}
    return xr.Dataset(data, attrs={"method": "reference"}).assign_coords(year=year)


def _phenolopy_seasons(ndvi: xr.DataArray, wanted: int | list[int] | None) -> xr.Dataset:
    """The 18 metrics of phenolopy for the whole series; ``wanted`` years are refused."""
    if wanted is not None:
        raise ContractError(
            f"year is {wanted}, but method 'phenolopy' takes the whole series as one year; select the dates first"
        )
    return phenolopy_metrics(ndvi)


def _by_block(
    method: Callable[[xr.DataArray, int | list[int] | None], xr.Dataset],
    ndvi: xr.DataArray,
    year: int | list[int] | None,
) -> xr.Dataset:
    """The answer of a method that computes at once; of a lazy cube (t, ...), if it has more dims, lazily by blocks."""
    if not is_lazy(ndvi) or ndvi.ndim == 1:
        return method(ndvi, year)
    space = [dim for dim in ndvi.dims if dim != "t"]
    first = ndvi.isel({dim: [0] for dim in space})
    blank = first.copy(data=np.full(first.shape, np.nan, first.dtype))
    pixel = method(blank, year).isel(dict.fromkeys(space, 0), drop=True)
    frame = ndvi.isel(t=0, drop=True)
    template = pixel.map(lambda layer: layer.copy(data=np.zeros_like(layer)) + xr.zeros_like(frame, dtype=layer.dtype))
    template = template.assign_attrs(pixel.attrs)
    for name, layer in pixel.data_vars.items():
        template[name].attrs = layer.attrs
    return xr.map_blocks(method, ndvi.chunk(t=-1), [year], template=template)


COMPATIBLE = {"reference": _reference_seasons, "phenolopy": _phenolopy_seasons}


def _dataset(layers: xr.DataArray, years, settings: SeasonSettings) -> xr.Dataset:
    """Variables with CF attributes; ``year`` is a dim for several years, else a scalar coordinate."""
    single = np.ndim(years) == 0
    layers = layers.assign_coords(season=np.arange(1, settings.max_seasons + 1))
    layers = layers.isel(year=0).assign_coords(year=years) if single else layers.assign_coords(year=years)
    main, data = main_layers(layers), {}
    for i, name in enumerate(LAYERS):
        data[name] = layers.isel(layer=i, season=0, drop=True) if name in OF_A_YEAR else layers.isel(layer=i)
    for name in VARIABLES:
        data[f"{name}{MAIN_SUFFIX}"] = main.isel(layer=LAYERS.index(name))
    for name, layer in data.items():
        plain = name.removesuffix(MAIN_SUFFIX)
        data[name] = layer.astype(np.int16) if plain in INTEGERS else layer
        data[name].attrs = _attributes(plain)
        if plain != name:
            data[name].attrs["long_name"] += ", main season"
    out = xr.Dataset(data)
    out.season.attrs = {"long_name": "season of the year, in order of time"}
    out.year.attrs = {"long_name": "calendar year of the season's maximum; dates count from its 1 January"}
    out.attrs = {
        "Conventions": CF_CONVENTIONS,
        "title": "Vegetation phenology and productivity",
        "main_season": "the season of the year with the largest amplitude",
        "method": settings.method,
        "start_threshold": settings.start,
        "end_threshold": settings.end,
        "curve": settings.curve,
    }
    return out


def layer_attributes(label: str) -> dict:
    """CF attributes of a season band of an openEO cube (``SOSD_s1``, ``SOSD_main``); empty for other bands."""
    name, _, season = label.rpartition("_")
    if label in ATTRIBUTES:
        return _attributes(label)
    if name not in ATTRIBUTES or not (season == "main" or season.removeprefix("s").isdigit()):
        return {}
    attrs = _attributes(name)
    of = "main season" if season == "main" else f"season {season[1:]}"
    return attrs | {"long_name": f"{attrs['long_name']}, {of}"}


def _attributes(name: str) -> dict:
    """CF attributes of a variable."""
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
