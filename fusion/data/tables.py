"""Long tables of points and fields, one row per sample and date, as Earth Engine exports them: the one reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusion.contract import NDVI_MAX, NDVI_MIN, NDVI_RANGE, ContractError
from fusion.data.table_settings import ALIASES, TableColumns, TableSource
from fusion.extras import needs
from fusion.features.measured import measured_radar
from fusion.features.observations import to_db

MILLISECONDS_FROM = 1e10  # a number above is a time in milliseconds since 1970, as in Earth Engine's system:time_start


class TableError(ContractError):
    """A table cannot be used; the message names the file, what was seen, and the fix."""


def read_long_table(source: TableSource, keep: tuple[str, ...] = (), key: str = "") -> pd.DataFrame:
    """The table with the columns sample, date, ndvi, those of ``keep`` and, where present, sigma, vv, vh, lat and lon.

    Radar is in dB. NDVI is empty where an observation is not clear or outside -0.2 to 1. Dates are as in the file.

    Parameters
    ----------
    source : TableSource
        File and columns.
    keep : tuple of str
        Further columns, which must exist.
    key : str
        What stands before the names of the settings in messages, such as ``source.``.

    Raises
    ------
    TableError
        The file or a column is missing, a date is unreadable, an expression fails, or the values have other units.
    """
    path = source.table
    if not path.is_file():
        raise TableError(f"{key}table: there is no file {path}; check the path")
    raw = _read(path, source.columns)
    names = source.columns.found_in(raw)
    if missing := [name for name in (names.sample, names.date, names.ndvi, *keep) if name not in raw]:
        raise TableError(
            f"{path} has no column {', '.join(missing)} (it has {', '.join(map(str, raw.columns))}); "
            f"name the columns in {key}columns" + (f", the unit of the split in {key}group" if keep else "")
        )
    if (names.vv in raw) != (names.vh in raw):
        there, gone = (names.vv, names.vh) if names.vv in raw else (names.vh, names.vv)
        raise TableError(f"{path} has {there} but no {gone}; give both or neither in {key}columns.vv and vh")
    raw = raw.dropna(subset=[names.sample, names.date]).reset_index(drop=True)
    raw[names.date] = _dates(raw[names.date], path)
    ndvi = pd.to_numeric(raw[names.ndvi], errors="coerce")
    out: dict[str, Any] = {"sample": raw[names.sample].astype(str), "date": raw[names.date]}
    for column in ("sigma", "vv", "vh", "lat", "lon"):
        if (name := getattr(names, column)) in raw:
            out[column] = pd.to_numeric(raw[name], errors="coerce")
    try:
        NDVI_RANGE.refuse_majority(ndvi.to_numpy(np.float32), names.ndvi)
        for name in {"vv", "vh"} & set(out):
            power = measured_radar(out[name].to_numpy(np.float32), source.s1_units, name.upper())
            out[name] = to_db(power, source.s1_units)
    except ContractError as error:
        raise TableError(f"{path}: {error} (here: {key}s1_units)") from error
    out["ndvi"] = ndvi.where(_clear(raw, source, key) & ndvi.between(NDVI_MIN, NDVI_MAX))
    return pd.DataFrame({**{name: raw[name] for name in keep}, **out})


def _read(path: Path, columns: TableColumns) -> pd.DataFrame:
    if path.suffix == ".parquet":
        needs("pyarrow", f"reading {path}")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        names = columns.sample, *ALIASES["sample"]
        return pd.read_csv(path, dtype=dict.fromkeys(names, str))
    except Exception as error:  # pandas and pyarrow raise many kinds for a broken file
        raise TableError(f"{path} cannot be read as {path.suffix[1:]} ({error}); write it again") from error


def _dates(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.api.types.is_numeric_dtype(column)
    if numbers and float(column.min()) < MILLISECONDS_FROM:
        raise TableError(f"{path} has dates such as {column.iloc[0]}; expected 2021-05-30 or milliseconds since 1970")
    try:
        if numbers:
            return pd.to_datetime(column, unit="ms")
        return pd.to_datetime(column, utc=True, format="ISO8601").dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise TableError(f"{path} has an unreadable date ({error}); expected dates such as 2021-05-30") from error


def _clear(raw: pd.DataFrame, source: TableSource, key: str) -> pd.Series:
    if source.where is None:
        return pd.Series(True, raw.index)
    try:
        found = raw.eval(source.where, engine="python")
    except Exception as error:  # pandas raises many kinds for a bad expression
        raise TableError(f"{key}where={source.where!r} fails on {source.table} ({error}); correct it") from error
    if not isinstance(found, pd.Series) or found.dtype != bool:
        raise TableError(f"{key}where={source.where!r} is no condition; expected one such as red < 0.3")
    return found
