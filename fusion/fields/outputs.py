"""Tables of series and seasons of fields, as data frames and as files that pandas and QGIS open."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from fusion.fields.polygons import FIELD, geopandas
from fusion.fields.series import FACTS
from fusion.phenology.settings import DATES
from fusion.place import LONLAT
from fusion.whole_file import whole_file

if TYPE_CHECKING:
    import geopandas as gpd

SERIES_FILE, SEASONS_FILE, SEASONS_GEO_FILE = "series.csv", "seasons.csv", "seasons.parquet"
DIGITS = 4  # of NDVI in CSV


def series_table(series: xr.DataArray) -> pd.DataFrame:
    """The long table of a series (t, bands, field): one row per field and date, one column per band, lower case."""
    one = series.reset_coords(drop=True).transpose(FIELD, "t", "bands")
    rows = pd.MultiIndex.from_product([one[FIELD].values, one.t.values], names=[FIELD, "date"])
    values = one.values.reshape(-1, one.sizes["bands"])
    return pd.DataFrame(values, rows, [str(b).lower() for b in one.bands.values]).reset_index()


def season_table(seasons: xr.Dataset) -> pd.DataFrame:
    """The long table of the seasons of fields: one row per field, year and season.

    A field and year without a season have one row with season 0, whose FLAG says why. ``SOSD_date``, ``EOSD_date`` and
    ``MAXD_date`` are calendar dates. The facts about a field come first.
    """
    years = seasons if "year" in seasons.dims else seasons.expand_dims("year")
    frame = years.to_dataframe(dim_order=[FIELD, "year", "season"]).reset_index()
    found = frame.season <= frame.COUNT
    frame = frame.assign(season=frame.season.where(found, 0))[found | (frame.season == 1)]
    zero = pd.to_datetime(frame.year.astype(str) + "-01-01")
    dates = {f"{name}_date": zero + pd.to_timedelta(np.floor(frame[name]), "D") for name in DATES}
    first = [FIELD, *(c for c in FACTS if c in frame), "year", "season"]
    names = [*first, *dates, *(str(n) for n, v in years.data_vars.items() if "season" in v.dims)]
    return frame.assign(**dates)[names].reset_index(drop=True)


def placed(seasons: pd.DataFrame, polygons: "gpd.GeoDataFrame | None") -> "gpd.GeoDataFrame | None":
    """The season table with geometries: the polygons with their own columns, or the points of ``lat`` and ``lon``.

    None where there are neither. Columns of the polygons that the season table has too keep their values under a name
    that ends in ``_of_polygon``.
    """
    if polygons is None and not {"lat", "lon"} <= set(seasons.columns):
        return None
    gpd = geopandas()
    if polygons is not None:
        own = {c: f"{c}_of_polygon" for c in polygons.columns if c in seasons and c != polygons.geometry.name}
        joined = polygons.rename(columns=own).join(seasons.set_index(FIELD), how="right")
        return gpd.GeoDataFrame(joined.reset_index(), geometry=polygons.geometry.name, crs=polygons.crs)
    return gpd.GeoDataFrame(seasons, geometry=gpd.points_from_xy(seasons.lon, seasons.lat), crs=LONLAT)


def write_csv(table: pd.DataFrame, file: Path) -> Path:
    """CSV with ISO dates; numbers with four digits, missing values empty."""
    with whole_file(file) as partial:
        table.to_csv(partial, index=False, float_format=f"%.{DIGITS}f", date_format="%Y-%m-%d")
    return file


def write_geoparquet(table: "gpd.GeoDataFrame", file: Path) -> Path:
    """GeoParquet 1.1 with the table's CRS."""
    names: dict[Hashable, str] = {c: str(c) for c in table.columns}
    with whole_file(file) as partial:
        table.rename(columns=names).to_parquet(partial, index=False)
    return file
