"""Settings of ``ndvi-fusion fields``; the module :mod:`fusion.commands.fields` runs it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.commands.phenology import Method
from fusion.contract import STEP_DAYS
from fusion.data.table_settings import TableColumns
from fusion.date_settings import FirstDate, LastDate
from fusion.fields.rules import FieldRules
from fusion.phenology.settings import SeasonSettings


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
