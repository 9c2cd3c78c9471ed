"""``ndvi-fusion fields``: polygons and a cube, or a table of points or fields -> series and seasons per field."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from fusion.commands.fields_settings import FieldsSettings
from fusion.contract import S2NDVI, ContractError
from fusion.data.table_settings import TableSource
from fusion.demo.report import Cell, Report
from fusion.extras import can_draw
from fusion.fields.outputs import (
    SEASONS_FILE,
    SEASONS_GEO_FILE,
    SERIES_FILE,
    placed,
    series_table,
    write_csv,
    write_geoparquet,
)
from fusion.fields.points import series_of_table
from fusion.fields.polygons import FIELD, read_polygons
from fusion.fields.rules import FIELD_FLAGS
from fusion.fields.series import field_series
from fusion.phenology.plots import plot_seasons
from fusion.phenology.season_table import season_table
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import FLAGS
from fusion.whole_file import whole_file, whole_set

PAGE, PLOTS = "fields.html", "field_*.png"
RESULTS = (SERIES_FILE, SEASONS_FILE, SEASONS_GEO_FILE, PAGE, PLOTS)


def run(settings: FieldsSettings) -> str:
    """Compute and write all files together; returns a line for the terminal."""
    with whole_set(settings.out, RESULTS, overwrite=settings.overwrite) as folder:
        return f"{settings.out}: {write_results(settings, folder)}"


def write_results(settings: FieldsSettings, folder: Path) -> str:
    """Compute and write into ``folder``; returns a summary in one line."""
    polygons = None if settings.polygons is None else read_polygons(settings.polygons, settings.id, settings.layer)
    series, seen = _series(settings, polygons)
    data = seasons(
        series, observations=seen, method=settings.method, year=settings.year, max_seasons=settings.max_seasons
    )
    table = season_table(data)
    write_csv(series_table(series), folder / SERIES_FILE)
    write_csv(table, folder / SEASONS_FILE)
    geo = placed(table, polygons)
    if geo is not None:
        write_geoparquet(geo, folder / SEASONS_GEO_FILE)
    drawn = settings.plots > 0 and can_draw("plots of fields are")
    plots = write_plots(series, data, seen, settings.plots, folder) if drawn else []
    dated = table.groupby(FIELD).MAXD.count().gt(0).sum()
    summary = (
        f"{series.sizes[FIELD]} fields on {series.sizes['t']} dates, {dated} with a season; main season: median start "
        f"{_median_date(table, 'SOSD_date')}, median end {_median_date(table, 'EOSD_date')}"
    )
    write_page(summary, series, table, plots, folder / PAGE)
    return summary


def _series(settings: FieldsSettings, polygons: Any) -> tuple[xr.DataArray, xr.DataArray | None]:
    """The series of the fields, and the observations behind them where they are fused."""
    if settings.table is not None:
        units = {} if settings.s1_units is None else {"s1_units": settings.s1_units}
        source = TableSource(
            table=settings.table, columns=settings.columns, where=settings.where, shift_days=settings.shift_days,
            **units,
        )  # fmt: skip
        series = series_of_table(source)
    else:
        series = _means(settings, settings.cube, polygons)
    if settings.fuse is False or (settings.fuse is None and settings.table is None):
        return series, None if settings.observations is None else _means(settings, settings.observations, polygons)
    if S2NDVI not in series.bands.values:
        raise ContractError(f"fuse=true, but {settings.cube} is fused already; leave fuse out, or give a merged cube")
    return _fused(settings, series), series


def _means(settings: FieldsSettings, cube: Any, polygons: Any) -> xr.DataArray:
    """The field means of a cube; ``polygons`` have their names as index."""
    return field_series(
        cube, polygons.reset_index(), id=FIELD, inner_buffer_m=settings.inner_buffer_m, min_pixels=settings.min_pixels,
        min_share=settings.min_share, correlation=settings.correlation, s1_units=settings.s1_units,
    )  # fmt: skip


def _fused(settings: FieldsSettings, series: xr.DataArray) -> xr.DataArray:
    from fusion.api import fuse

    days = series.t.values.astype("datetime64[D]")
    fused = fuse(
        series,
        start=settings.start or days[0],
        end=settings.end or days[-1],
        model=settings.model,
        step_days=settings.step_days,
        latitude=settings.latitude,
    )
    assert isinstance(fused, xr.DataArray)  # as the series
    return fused


def write_plots(
    series: xr.DataArray, data: xr.Dataset, seen: xr.DataArray | None, count: int, folder: Path
) -> list[tuple[str, Path]]:
    """Curve, observations and season dates of the first ``count`` fields that have values: name and PNG of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = {k: str(name) for k, name in enumerate(series[FIELD].values)}
    known = np.isfinite(series.isel(bands=0).transpose("t", FIELD).values).any(axis=0)
    plots = []
    for k in np.flatnonzero(known)[:count]:
        shown = None if seen is None else seen.isel({FIELD: k})
        figure, axes = plt.subplots(figsize=(9, 3.5), layout="constrained")
        plot_seasons(series.isel({FIELD: k}), data.isel({FIELD: k}), observations=shown, ax=axes)
        axes.set_title(names[k])
        file = folder / f"field_{k + 1}_{re.sub(r'[^A-Za-z0-9._-]', '_', names[k])[:80]}.png"
        with whole_file(file) as partial:
            figure.savefig(partial, dpi=90)
        plt.close(figure)
        plots.append((names[k], file))
    return plots


def write_page(
    summary: str, series: xr.DataArray, table: pd.DataFrame, plots: list[tuple[str, Path]], file: Path
) -> Path:
    """A page with the key figures, the flags and the plots, in one file."""
    page = Report("Fields", summary)
    page.section("Files", f"`{SERIES_FILE}`: one row per field and date. `{SEASONS_FILE}` and `{SEASONS_GEO_FILE}` "
                 "(with geometry, for QGIS and geopandas): one row per field, year and season.")  # fmt: skip
    page.section("Seasons by year", "Medians over the main season of each field, that with the largest amplitude.")
    rows: list[list[Cell]] = [
        [int(year), int(some.MAXD.count()), _median_date(some, "SOSD_date"), _median_date(some, "MAXD_date"),
         _median_date(some, "EOSD_date"), *(float(some[name][some.main].median()) for name in ("LENGTH", "MAXV"))]
        for year, some in table.groupby("year")
    ]  # fmt: skip
    page.table(
        ["year", "seasons", "median start", "median maximum", "median end", "median length, days", "median maximum"],
        rows, digits=2,
    )  # fmt: skip
    page.section("Flags")
    bits = [(f"season: {name}", int((table.FLAG & bit > 0).sum())) for name, bit in FLAGS.items()]
    if "field_flag" in series.coords:
        bits += [(f"field: {n}", int((series.field_flag.values & bit > 0).sum())) for n, bit in FIELD_FLAGS.items()]
    page.table(["flag", "rows or fields"], [row for row in bits if row[1]])
    if plots:
        page.section("Plots", f"The first {len(plots)} fields that have values.")
    for name, picture in plots:
        page.picture(picture.read_bytes(), f"NDVI and seasons of field {name}", f"Field {name}")
    return page.write(file)


def _median_date(table: pd.DataFrame, name: str) -> str:
    """The median of a date over the main seasons."""
    middle = table[name][table.main].median()
    return "none" if pd.isna(middle) else f"{middle:%Y-%m-%d}"
