"""The public function :func:`read_table`: a long table of points or fields becomes series per field."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import ValidationError

from fusion.contract import NDVI_SIGMA, S1_UNITS, S2NDVI, VH, VV, ContractError
from fusion.data.table_settings import TableColumns, TableSource
from fusion.data.tables import TableError, read_long_table
from fusion.fields.polygons import FIELD

BANDS = {"ndvi": S2NDVI, "sigma": NDVI_SIGMA, "vv": VV, "vh": VH}


def read_table(
    table: str | os.PathLike,
    *,
    columns: Mapping[str, str] | TableColumns | None = None,
    where: str | None = None,
    shift_days: int = 0,
    s1_units: Literal["dB", "linear"] = S1_UNITS[0],  # type: ignore[assignment]
) -> xr.DataArray:
    """Read a long table, one row per point or field and date, as Earth Engine exports it.

    Parameters
    ----------
    table : path
        ``.csv`` or ``.parquet`` with name, date, NDVI and, if there is radar, VV and VH; empty = no observation.
    columns : mapping or TableColumns, optional
        Names of the columns (:class:`fusion.data.table_settings.TableColumns`). Those of Earth Engine (``id``,
        ``system:time_start``, ``vv``, ``vh``) are found without.
    where : str, optional
        Expression over the columns that is true for clear optical observations, such as ``"cloud < 20"``.
    shift_days : int
        Days added to every date.
    s1_units : {"dB", "linear"}
        Units of VV and VH in the table.

    Returns
    -------
    xarray.DataArray
        float32, dims ``(t, bands, field)`` on all dates of the table, bands ``S2NDVI`` and, with radar, ``VV`` and
        ``VH`` in dB, ``NDVI_SIGMA`` where the table has one; values of one day are averaged; coordinates ``lat`` and
        ``lon`` of ``field`` where the table has them. :func:`fusion.fuse` and :func:`fusion.seasons` take it.

    Raises
    ------
    fusion.data.tables.TableError
        The table cannot be used; the message says why.
    """
    try:
        named = columns if isinstance(columns, TableColumns) else TableColumns(**(columns or {}))
        source = TableSource(
            table=Path(table), columns=named, where=where, shift_days=shift_days, s1_units=s1_units
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(f"{'.'.join(map(str, first['loc'])) or 'table'}: {first['msg']}") from error
    return series_of_table(source)


def series_of_table(source: TableSource) -> xr.DataArray:
    """:func:`read_table` with its settings as one object."""
    rows = read_long_table(source)
    if rows.empty:
        raise TableError(f"{source.table} has no row with a name and a date; nothing to read")
    day = rows.date.dt.floor("D") + pd.Timedelta(days=source.shift_days)
    values = [name for name in BANDS if name in rows]
    if "vv" in rows:  # an acquisition is complete or it is none
        rows = rows.assign(**{n: rows[n].where(rows.vv.notna() & rows.vh.notna()) for n in ("vv", "vh")})
    means = rows.assign(t=day).groupby(["t", "sample"])[values].mean().to_xarray()
    out = means.to_dataarray("bands").transpose("t", "bands", "sample").astype(np.float32).rename(sample=FIELD)
    out = out.assign_coords(bands=[BANDS[name] for name in values])
    places = rows.groupby("sample")[[n for n in ("lat", "lon") if n in rows]].median()
    out = out.assign_coords({n: (FIELD, places[n].reindex(out[FIELD].values).to_numpy()) for n in places})
    out.name, out.attrs = "fields", {"s1_units": S1_UNITS[0]} if "vv" in rows else {}
    return out
