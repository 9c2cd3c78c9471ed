"""``ndvi-fusion fields``: polygons and a cube, or a table of points or fields -> series and seasons per field."""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.commands.phenology import Method
from fusion.contract import S2NDVI, STEP_DAYS, ContractError
from fusion.data.tables import TableColumns, TableSource
from fusion.date_settings import FirstDate, LastDate
from fusion.demo.report import Report
from fusion.fields.outputs import (
    SEASONS_FILE,
    SEASONS_GEO_FILE,
    SERIES_FILE,
    placed,
    season_table,
    series_table,
    write_csv,
    write_geoparquet,
)
from fusion.fields.points import series_of_table
from fusion.fields.polygons import FIELD, read_polygons
from fusion.fields.rules import FIELD_FLAGS, FieldRules
from fusion.fields.series import field_series
from fusion.phenology.plots import plot_seasons
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import FLAGS, SeasonSettings
from fusion.whole_file import whole_file, whole_set

PAGE, PLOTS = "fields.html", "field_*.png"
RESULTS = (SERIES_FILE, SEASONS_FILE, SEASONS_GEO_FILE, PAGE, PLOTS)


class FieldsSettings(BaseModel):
    """``ndvi-fusion fields``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder for series.csv, seasons.csv, seasons.parquet, plots and fields.html")
    cube: Path | None = Field(None, description="fused or merged cube (.nc or .zarr) that polygons are averaged over")
    polygons: Path | None = Field(None, description="polygons in any CRS: .geojson, .gpkg, .parquet, .shp, .fgb")
    table: Path | None = Field(
        None, description="instead of cube and polygons: long table of points or fields (.csv, .parquet)"
    )
    id: str | None = Field(None, description="column with the unique names of the polygons; id, or row numbers")
    layer: str | None = Field(None, description="layer of a file of polygons with several")
    inner_buffer_m: float = Field(FieldRules.inner_buffer_m, ge=0, description="border that is left out, metres")
    min_pixels: float = Field(
        FieldRules.min_pixels, ge=0, description="pixels that the buffer must leave; with fewer it is not applied"
    )
    min_share: float = Field(
        FieldRules.min_share, ge=0, le=1, description="share of a field that a date must observe to count"
    )
    correlation: float = Field(
        FieldRules.correlation, ge=0, le=1, description="correlation of the errors of two pixels of a field"
    )
    observations: Path | None = Field(
        None, description="merged cube behind a fused cube: its observations are counted and drawn"
    )
    columns: TableColumns = Field(TableColumns(), description="names of the columns of the table")
    where: str | None = Field(None, description="table: expression that is true for clear optical observations")
    shift_days: int = Field(0, ge=-31, le=31, description="table: days added to every date")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="radar units, where a cube does not state them; of a table dB when empty"
    )
    fuse: bool | None = Field(
        None, description="fuse the series of each field or point first; when empty, tables are and cubes are not"
    )
    start: FirstDate | None = Field(None, description="first date of a fused series; the first date when empty")
    end: LastDate | None = Field(None, description="last date of a fused series; the last date when empty")
    step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between the dates of a fused series")
    model: str | None = Field(None, description="model folder, archive, run:ID or registered name; shipped when empty")
    latitude: float | None = Field(None, ge=-90, le=90, description="degrees north, where a table has no lat")
    method: Method = Field(
        SeasonSettings.method,  # type: ignore[arg-type]
        description="method that derives start and end of season from the curve",
    )
    year: int | list[int] | None = Field(None, description="year(s) of the season's maximum; derived when empty")
    max_seasons: int = Field(SeasonSettings.max_seasons, ge=1, le=10, description="seasons kept per year")
    plots: int = Field(12, ge=0, le=500, description="fields to draw, the first ones")
    overwrite: bool = Field(False, description="replace all results of an earlier run in this folder")

    @model_validator(mode="after")
    def _one_input(self) -> "FieldsSettings":
        if self.table is None and (self.cube is None or self.polygons is None):
            raise ValueError("nothing to read: give cube and polygons, or table")
        if self.table is not None and (self.cube, self.polygons, self.observations) != (None, None, None):
            raise ValueError("give either table, or cube and polygons (with observations); not both")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"the period ends ({self.end}) before it starts ({self.start}); swap start and end")
        if self.method in ("reference", "phenolopy"):
            raise ValueError(f"method={self.method} gives maps only; use another one here, or `ndvi-fusion phenology`")
        return self


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
    plots = write_plots(series, data, seen, settings.plots, folder)
    dated = table.groupby(FIELD).MAXD.count().gt(0).sum()
    summary = (
        f"{series.sizes[FIELD]} fields on {series.sizes['t']} dates, {dated} with a season; median start "
        f"{_median_date(table, 'SOS')}, median end {_median_date(table, 'EOS')}"
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
    return fuse(
        series,
        start=settings.start or days[0],
        end=settings.end or days[-1],
        model=settings.model,
        step_days=settings.step_days,
        latitude=settings.latitude,
    )


def write_plots(
    series: xr.DataArray, data: xr.Dataset, seen: xr.DataArray | None, count: int, folder: Path
) -> list[tuple[str, Path]]:
    """Curve, observations and season dates of the first ``count`` fields that have values: name and PNG of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = {k: str(name) for k, name in enumerate(series[FIELD].values)}
    known = np.isfinite(series.isel(bands=0)).any("t").values
    plots = []
    for k in np.flatnonzero(known)[:count]:
        shown = None if seen is None else seen.isel({FIELD: k})
        axes = plot_seasons(series.isel({FIELD: k}), data.isel({FIELD: k}), observations=shown)
        axes.set_title(names[k])
        file = folder / f"field_{k + 1}_{re.sub(r'[^A-Za-z0-9._-]', '_', names[k])[:80]}.png"
        with whole_file(file) as partial:
            axes.figure.savefig(partial, dpi=90)
        plt.close(axes.figure)
        plots.append((names[k], file))
    return plots


def write_page(
    summary: str, series: xr.DataArray, table: pd.DataFrame, plots: list[tuple[str, Path]], file: Path
) -> Path:
    """A page with the key figures, the flags and the plots, in one file."""
    page = Report("Fields", summary)
    page.section("Files", f"`{SERIES_FILE}`: one row per field and date. `{SEASONS_FILE}` and `{SEASONS_GEO_FILE}` "
                 "(with geometry, for QGIS and geopandas): one row per field, year and season.")  # fmt: skip
    page.section("Seasons by year")
    rows = [
        [int(year), int(some.MAXD.count()), _median_date(some, "SOS"), _median_date(some, "MAX"),
         _median_date(some, "EOS"), float(some.LENGTH.median()), float(some.MAXV.median())]
        for year, some in table.groupby("year")
    ]  # fmt: skip
    page.table(
        ["year", "seasons", "median start", "median maximum", "median end", "median length, days", "median maximum"],
        rows, digits=2,
    )  # fmt: skip
    page.section("Flags")
    counted = [[f"season: {name}", int((table.FLAG & bit > 0).sum())] for name, bit in FLAGS.items()]
    if "flag" in series.coords:
        counted += [[f"field: {n}", int((series.flag.values & bit > 0).sum())] for n, bit in FIELD_FLAGS.items()]
    page.table(["flag", "rows or fields"], [row for row in counted if row[1]])
    if plots:
        page.section("Plots", f"The first {len(plots)} fields that have values.")
    for name, picture in plots:
        page.picture(picture.read_bytes(), f"NDVI and seasons of field {name}", f"Field {name}")
    return page.write(file)


def _median_date(table: pd.DataFrame, name: str) -> str:
    middle = table[name].median()
    return "none" if pd.isna(middle) else f"{middle:%Y-%m-%d}"
