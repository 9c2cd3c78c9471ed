"""The example pixels of the report, and every season of theirs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from fusion.contract import NDVI
from fusion.demo.report import Cell

Pixel = tuple[int, int, str]
HEADER = ("pixel", "year", "start", "maximum", "end", "amplitude", "QFLAG")


def example_pixels(fused: xr.DataArray) -> list[Pixel]:
    """Row, column and title of three pixels: with large, median and small amplitude of NDVI."""
    ndvi = fused.sel(bands=NDVI).values
    amplitude = np.nanpercentile(ndvi, 95, axis=0) - np.nanpercentile(ndvi, 5, axis=0)
    order = np.argsort(np.nan_to_num(amplitude, nan=-1.0), axis=None)
    picked = []
    for share, name in ((0.95, "a field with a strong season"), (0.5, "a typical pixel"), (0.05, "a steady pixel")):
        row, column = np.unravel_index(order[int(share * (order.size - 1))], amplitude.shape)
        picked.append((int(row), int(column), f"{name} (row {row}, column {column})"))
    return picked


def seasons_of(data: xr.Dataset, row: int, column: int) -> list[dict[str, Any]]:
    """Every season of a pixel, in order of time: its year, and its parameters; dates as datetime64[D] or NaT.

    ``data`` is the result of :func:`fusion.seasons`, for one year or several.
    """
    pixel = data.isel(y=row, x=column)
    by_year = pixel if "year" in pixel.dims else pixel.expand_dims("year")
    found = []
    for year in by_year.year.values:
        for season in by_year.season.values:
            one = by_year.sel(year=year, season=season)
            days = {name: float(one[name]) for name in ("SOSD", "MAXD", "EOSD")}
            if np.isfinite(list(days.values())).any():
                values = {
                    name: float(one[name]) for name in ("SOSD_SIGMA", "EOSD_SIGMA", "MAXD_SIGMA", "AMPL", "QFLAG")
                }
                found.append({"year": int(year), **values, **{n: _date(int(year), day) for n, day in days.items()}})
    return sorted(found, key=lambda s: min(d for n in ("SOSD", "MAXD", "EOSD") if not np.isnat(d := s[n])))


def _date(year: int, day: float) -> np.datetime64:
    if not np.isfinite(day):
        return np.datetime64("NaT")
    return np.datetime64(f"{year:04d}-01-01", "D") + np.timedelta64(round(day), "D")


def season_marks(data: xr.Dataset, pixels: Sequence[Pixel]) -> dict[tuple[int, int], list[tuple[str, np.datetime64]]]:
    """Start and end of every season of the pixels, as labelled dates for the figure."""
    marks: dict[tuple[int, int], list[tuple[str, np.datetime64]]] = {}
    for row, column, _ in pixels:
        found = seasons_of(data, row, column)
        number = [f" {k}" if len(found) > 1 else "" for k in range(1, len(found) + 1)]
        marks[row, column] = [
            (label + text, season[name])
            for season, text in zip(found, number, strict=True)
            for name, label in (("SOSD", "SOS"), ("EOSD", "EOS"))
            if not np.isnat(season[name])
        ]
    return marks


def season_rows(data: xr.Dataset, pixels: Sequence[Pixel]) -> list[list[Cell]]:
    """A row per season of the pixels, columns as in :data:`HEADER`."""
    rows: list[list[Cell]] = []
    for row, column, name in pixels:
        for season in seasons_of(data, row, column):
            dates = [_text(season[n], season[f"{n}_SIGMA"]) for n in ("SOSD", "MAXD", "EOSD")]
            rows.append([name, str(season["year"]), *dates, season["AMPL"], str(int(season["QFLAG"]))])
    return rows


def _text(date: np.datetime64, sigma_days: float) -> str:
    if np.isnat(date):
        return "–"
    return f"{date}\u00a0±\u00a0{sigma_days:.0f}\u00a0d" if np.isfinite(sigma_days) else str(date)
