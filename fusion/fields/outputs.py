"""Tables of series and seasons of fields, as data frames and as files that pandas and QGIS open."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from fusion.fields.polygons import FIELD, geopandas
from fusion.place import LONLAT
from fusion.whole_file import whole_file

if TYPE_CHECKING:
    import geopandas as gpd

SERIES_FILE, SEASONS_FILE, SEASONS_GEO_FILE = "series.csv", "seasons.csv", "seasons.parquet"


def series_table(series: xr.DataArray) -> pd.DataFrame:
    """The long table of a series (t, bands, field): one row per field and date, one column per band, lower case."""
    one = series.reset_coords(drop=True).transpose(FIELD, "t", "bands")
    rows = pd.MultiIndex.from_product([one[FIELD].values, one.t.values], names=[FIELD, "date"])
    values = one.values.reshape(-1, one.sizes["bands"])
    return pd.DataFrame(values, rows, [str(b).lower() for b in one.bands.values]).reset_index()


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
    """CSV with ISO dates; numbers with four decimals (degrees with five), missing values empty."""
    places = {str(name): 5 if name in ("lat", "lon") else 4 for name in table.select_dtypes("number")}
    with whole_file(file) as partial:
        table.round(places).to_csv(partial, index=False, float_format="%.7g", date_format="%Y-%m-%d")
    return file


def write_geoparquet(table: "gpd.GeoDataFrame", file: Path) -> Path:
    """GeoParquet 1.1 with the table's CRS."""
    names: dict[Hashable, str] = {c: str(c) for c in table.columns}
    with whole_file(file) as partial:
        table.rename(columns=names).to_parquet(partial, index=False)
    return file
