"""Settings of the reader of long tables, :mod:`fusion.data.tables`. Imports no library that computes."""

from collections.abc import Container
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fusion.contract import S1_UNITS

ALIASES = {  # names that a column may have as well, where it is not named in the settings
    "sample": ("id", "field", "point"),
    "date": ("system:time_start", "time", "t"),
    "ndvi": ("NDVI", "S2NDVI"),
    "vv": ("vv", "VV"),
    "vh": ("vh", "VH"),
    "lat": ("latitude",),
    "lon": ("longitude",),
}


class TableColumns(BaseModel):
    """Names of the columns. Of the radar both or none may be absent, latitude and longitude as well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: str = Field("sample", description="name of the point, pixel or field; id is found too")
    date: str = Field("date", description="date, or milliseconds since 1970; system:time_start is found too")
    ndvi: str = Field("ndvi", description="Sentinel-2 NDVI; empty where there is no observation")
    sigma: str = Field("ndvi_sigma", description="standard deviation of NDVI, where the table has one")
    vv: str = Field("vv_db", description="Sentinel-1 VV; empty where there is no acquisition; vv is found too")
    vh: str = Field("vh_db", description="Sentinel-1 VH; vh is found too")
    lat: str = Field("lat", description="latitude, degrees north")
    lon: str = Field("lon", description="longitude, degrees east")

    def found_in(self, table: Container[str]) -> "TableColumns":
        """The names as this table has them: an alias where a column is not named and its usual name is absent."""
        other = {
            key: alias
            for key, aliases in ALIASES.items()
            if getattr(self, key) == type(self).model_fields[key].default and getattr(self, key) not in table
            for alias in reversed(aliases)
            if alias in table
        }
        return self.model_copy(update=other)


class TableSource(BaseModel):
    """A long table and how it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Path = Field(description="table to read, .parquet or .csv")
    columns: TableColumns = Field(TableColumns(), description="names of the columns")
    where: str | None = Field(
        None, description="expression over the columns (pandas query) that is true for clear optical observations"
    )
    shift_days: int = Field(
        0, ge=-31, le=31, description="days added to every date: 5 for dekads that are dated by their first day"
    )
    s1_units: Literal["dB", "linear"] = Field(S1_UNITS[0], description="units of VV and VH")  # type: ignore[arg-type]

    @field_validator("table")
    @classmethod
    def _known_format(cls, table: Path) -> Path:
        if table.suffix not in (".parquet", ".csv"):
            raise ValueError(f"table={table} ends in {table.suffix!r}; expected .parquet or .csv")
        return table
