"""Season dates as datetime64 or as codes, and seasons as a long table."""

from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import ContractError
from fusion.phenology.settings import DATES, MAIN_SUFFIX

DateForm = Literal["datetime", "yydoy", "yyyydoy"]
FORMS = ("datetime", "yydoy", "yyyydoy")


def season_dates(data: xr.Dataset, form: DateForm = "datetime") -> xr.Dataset:
    """The season dates as calendar dates.

    Parameters
    ----------
    data : xarray.Dataset
        Result of :func:`fusion.seasons`; lazy data stay lazy.
    form : {"datetime", "yydoy", "yyyydoy"}
        datetime64[ns], or the year and the day of the year (1 January = 1) as a number: 19121 or 2019121 is 1 May 2019.

    Returns
    -------
    xarray.Dataset
        ``SOSD``, ``EOSD``, ``MAXD`` and those of the main season (``SOSD_main``, ...), dims as in ``data``. Fractions
        of a day are cut off. Without a date: NaT, or 0 in codes.

    Raises
    ------
    ContractError
        Unknown form, or ``data`` has no season dates.
    """
    if form not in FORMS:
        raise ContractError(f"form is {form!r}; expected one of {', '.join(FORMS)}")
    names = [f"{name}{end}" for end in ("", MAIN_SUFFIX) for name in DATES if f"{name}{end}" in data]
    if not names or "year" not in data.coords:
        raise ContractError(
            f"the data set has variables {sorted(map(str, data.data_vars))[:6]}; expected SOSD, EOSD or MAXD and a "
            "coordinate year, as fusion.seasons gives them (not by method 'phenolopy')"
        )
    return xr.Dataset({name: _dates(data[name], data.year, form) for name in names})


def date_codes(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """``SOSD_YYDOY``, ``SOSD_YYYYDOY``, ... of a season data set."""
    return {
        f"{name}_{form.upper()}": dates
        for form in ("yydoy", "yyyydoy")
        for name, dates in season_dates(data, form).items()  # type: ignore[arg-type]
    }


def _dates(days: xr.DataArray, year: xr.DataArray, form: DateForm) -> xr.DataArray:
    zero = np.array([f"{int(y):04d}-01-01" for y in np.atleast_1d(year.values)], "datetime64[ns]")
    origin = xr.DataArray(zero.reshape(year.shape), dims=year.dims, coords=year.coords)
    dtype = "datetime64[ns]" if form == "datetime" else np.int32
    kwargs = {"form": form}
    out = xr.apply_ufunc(_converted, days, origin, kwargs=kwargs, dask="parallelized", output_dtypes=[dtype])
    out = out.transpose(*days.dims)
    name = days.attrs.get("long_name", str(days.name))
    out.attrs = {"long_name": name}
    if form != "datetime":
        out.attrs = {"units": "1", "long_name": f"{name} as {form.upper()} (0 = none)"}
    return out


def _converted(days: np.ndarray, origin: np.ndarray, form: DateForm) -> np.ndarray:
    """Dates of days since ``origin``."""
    known = np.isfinite(days)
    dates = origin.astype("datetime64[D]") + np.where(known, np.floor(days), 0).astype(np.int64)
    if form == "datetime":
        return np.where(known, dates, np.datetime64("NaT")).astype("datetime64[ns]")
    first = dates.astype("datetime64[Y]")
    day = (dates - first.astype("datetime64[D]")).astype(np.int64) + 1
    number = first.astype(np.int64) + 1970
    return np.where(known, (number % 100 if form == "yydoy" else number) * 1000 + day, 0).astype(np.int32)


def season_table(data: xr.Dataset) -> pd.DataFrame:
    """Seasons as a long table, one row per pixel (or field), year and season.

    Parameters
    ----------
    data : xarray.Dataset
        Result of :func:`fusion.seasons`, of pixels (dims y, x) or with any other dims, such as one of fields.

    Returns
    -------
    pandas.DataFrame
        ``pixel`` (row-major number, with dims y and x), the dims and coordinates of the pixel or field, ``year``,
        ``season`` (1, 2, ... in order of time), ``main`` (whether it is the year's main season), the dates as
        datetime64 (``SOSD_date``, ...), and every parameter under its name. A pixel and year without a season have one
        row with season 0, whose ``FLAG`` tells why.

    Raises
    ------
    ContractError
        ``data`` has no season dates.
    """
    dates = season_dates(data)
    data = (data if "year" in data.dims else data.expand_dims("year")).load()
    dates = (dates if "year" in dates.dims else dates.expand_dims("year")).load()
    layers = {str(n): v for n, v in data.data_vars.items() if "season" in v.dims}
    place = [d for d in next(iter(layers.values())).dims if d not in ("year", "season")]
    order = [*place, "year", "season"]
    sizes = [data.sizes[d] for d in order]
    index = dict(zip(order, np.indices(sizes).reshape(len(sizes), -1), strict=True))

    def column(layer: xr.DataArray) -> np.ndarray:
        return layer.broadcast_like(data["SOSD"]).transpose(*order).values.ravel()

    found = np.isfinite(column(data.SOSD)) | np.isfinite(column(data.EOSD))
    found = index["season"] < column(data.COUNT) if "COUNT" in data else found
    kept = np.flatnonzero(found | (index["season"] == 0))
    number = np.where(found, index["season"] + 1, 0)
    main = column(data.MAIN) if "MAIN" in data else 1
    table = (
        {"pixel": np.ravel_multi_index([index[d] for d in place], sizes[: len(place)])} if place == ["y", "x"] else {}
    )
    table |= {str(d): column(data[d]) if d in data.coords else index[d] for d in reversed(place)}
    for name, coord in data.coords.items():
        if name not in (*place, "year", "season") and coord.ndim and set(coord.dims) <= set(place):
            table[str(name)] = column(coord)
    table |= {"year": column(data.year), "season": number, "main": found & (number == main)}
    table |= {f"{name}_date": column(dates[name]) for name in DATES if name in dates}
    table |= {name: column(layer) for name, layer in layers.items()}
    return pd.DataFrame({name: values[kept] for name, values in table.items()})
