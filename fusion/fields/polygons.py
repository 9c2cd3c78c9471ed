"""Polygons of fields: read, checked, repaired, in the CRS of a cube, with inner buffer and small-field rule."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from fusion.contract import ContractError
from fusion.extras import missing_library
from fusion.fields.rules import FIELD_FLAGS, FieldRules
from fusion.place import LONLAT, check_lonlat

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)
FIELD = "field"  # dimension and column of the fields' names
SUFFIXES = (".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".shp", ".fgb")
_GEOPARQUET = (".parquet", ".geoparquet")
_KINDS = ("Polygon", "MultiPolygon")
_OTHER_CRS = ", or set the right CRS with gdf.set_crs(..., allow_override=True)"
_ON_GRID = 1e-3  # share of a field that may lie beside the cube by rounding


def geopandas() -> Any:
    """The package geopandas.

    Raises
    ------
    ContractError
        It, or exactextract, is not installed; the message says how to install both.
    """
    try:
        import exactextract  # noqa: F401  (needed a moment later)
        import geopandas
    except ImportError as error:
        raise ContractError(missing_library(error.name or "geopandas", "work with fields")) from error
    return geopandas


def read_polygons(
    polygons: "str | os.PathLike | gpd.GeoDataFrame", id: str | None = None, layer: str | None = None
) -> "gpd.GeoDataFrame":
    """Polygons with their attributes, one row per field, the name of the field as index ``field``.

    Parameters
    ----------
    polygons : path or GeoDataFrame
        GeoJSON, GeoPackage, GeoParquet, Shapefile or FlatGeobuf, in any CRS. Null and empty geometries stay in the
        table.
    id : str, optional
        Column of the names, which must be unique. Without it the column ``id`` where there is one, else the row
        numbers from 1.
    layer : str, optional
        Layer of a file with several.

    Raises
    ------
    ContractError
        The file cannot be read, has no CRS, no polygon, several layers, other geometries than polygons, or names that
        are missing or not unique; coordinates that are no degrees in a CRS of degrees.
    """
    gpd = geopandas()
    what = "polygons" if isinstance(polygons, gpd.GeoDataFrame) else str(polygons)
    table = polygons.copy() if isinstance(polygons, gpd.GeoDataFrame) else _read(Path(polygons), layer)
    if table.crs is None:
        raise ContractError(f"{what}: the polygons have no CRS; write it, for example gdf.set_crs('EPSG:4326')")
    table = table.set_geometry(gpd.GeoSeries(shapely.force_2d(table.geometry.values), crs=table.crs, index=table.index))
    there = table.geometry[~(table.geometry.isna() | table.geometry.is_empty)]
    kinds = there.geom_type.value_counts()
    if other := {str(kind): int(n) for kind, n in kinds.items() if kind not in _KINDS}:
        raise ContractError(
            f"{what}: {other} among {len(table)} geometries; expected {' and '.join(_KINDS)} only; remove the others, "
            "make polygons of points by gdf.buffer(metres)"
        )
    if there.empty:
        raise ContractError(f"{what} holds no polygon ({len(table)} rows); give at least one")
    if table.crs.is_geographic:
        try:
            check_lonlat(tuple(there.total_bounds), what, _OTHER_CRS)
        except ValueError as error:
            raise ContractError(str(error)) from error
    return _named(table, id, what)


def _read(path: Path, layer: str | None) -> "gpd.GeoDataFrame":
    """The rows of a file."""
    import pyogrio

    gpd = geopandas()
    if path.suffix.lower() not in SUFFIXES:
        raise ContractError(f"polygons={path} ends in {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ContractError(f"there is no file {path}; check the path of the polygons")
    try:
        if path.suffix.lower() in _GEOPARQUET:
            return gpd.read_parquet(path)
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer is None and len(layers) > 1:
            raise ContractError(f"{path} has the layers {', '.join(layers)}; name one, layer={layers[0]}")
        table = gpd.read_file(path, layer=layer)
    except ContractError:
        raise
    except Exception as error:  # pyogrio, pyarrow and geopandas raise many kinds for a broken file
        raise ContractError(f"{path} cannot be read as polygons ({error}); expected one of {SUFFIXES}") from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise ContractError(f"{path} has no geometries; expected polygons")
    return table


def _named(table: "gpd.GeoDataFrame", id: str | None, what: str) -> "gpd.GeoDataFrame":
    """The table with the fields' names as index."""
    if id is None and "id" not in table:
        table.index = np.arange(1, len(table) + 1)
        return table.rename_axis(FIELD)
    column = "id" if id is None else id
    if column not in table:
        columns = ", ".join(str(c) for c in table.columns if c != table.geometry.name)
        raise ContractError(f"{what} has no column {column!r} (it has {columns}); name one of them with id=...")
    names = table[column]
    if names.isna().any():
        raise ContractError(f"{what}: {int(names.isna().sum())} fields have no {column}; fill it, or give id=...")
    twice = names[names.duplicated()]
    if len(twice):
        raise ContractError(
            f"{what}: {column} {twice.iloc[0]!r} occurs {int((names == twice.iloc[0]).sum())} times, {twice.nunique()} "
            f"names occur more than once; give another column with id=..., or join the parts of a field by "
            f"gdf.dissolve(by={column!r}, as_index=False)"
        )
    return table.drop(columns=column).set_index(names.rename(FIELD))


def on_cube(table: "gpd.GeoDataFrame", crs: Any, pixel_area: float, rules: FieldRules) -> "gpd.GeoDataFrame":
    """The fields as they are averaged: in the CRS of the cube, valid, with inner buffer.

    Parameters
    ----------
    table : GeoDataFrame
        From :func:`read_polygons`.
    crs : rasterio or pyproj CRS
        That of the cube.
    pixel_area : float
        Area of a pixel in units of that CRS, squared.

    Returns
    -------
    GeoDataFrame
        Same index. ``geometry``: what is averaged, empty where there is nothing. ``area_ha``: area of the whole field
        (NaN where there is no geometry). ``pixels``: area of ``geometry`` in pixels. ``lat``, ``lon``: a point inside.
        ``field_flag``: sum of :data:`fusion.fields.rules.FIELD_FLAGS`, as far as known before the cube is read.
    """
    gpd = geopandas()
    whole = table.geometry.copy()
    gone = whole.isna() | whole.is_empty
    flag = np.where(gone, FIELD_FLAGS["no_geometry"], 0)
    invalid = ~gone & ~whole.is_valid
    if invalid.any():
        whole = whole.where(~invalid, whole.make_valid(method="structure", keep_collapsed=False))
        lost = invalid & whole.is_empty
        flag = np.where(invalid, np.where(lost, FIELD_FLAGS["no_geometry"], FIELD_FLAGS["repaired"]), flag)
        log.warning("%d of %d polygons were invalid and are repaired (make_valid)", invalid.sum(), len(whole))
        gone |= lost
    if gone.any():
        log.warning("%d of %d fields have no geometry; their values are missing", gone.sum(), len(whole))
    whole = whole.where(~gone, shapely.Polygon())
    metric = _metric(whole[~gone], crs)
    in_metres = whole.to_crs(metric)
    area_ha = (in_metres.area / 1e4).where(~gone)
    inner = in_metres.buffer(-rules.inner_buffer_m).to_crs(crs)
    outline = whole.to_crs(crs)
    full, kept = (shapely.area(shapes.values) / pixel_area for shapes in (outline, inner))
    unbuffered = (kept < rules.min_pixels) & (rules.inner_buffer_m > 0) & ~gone
    flag = flag | np.where(unbuffered, FIELD_FLAGS["no_buffer"], 0)
    flag = flag | np.where((full < rules.min_pixels) & ~gone, FIELD_FLAGS["small"], 0)
    points = outline.representative_point().to_crs(LONLAT)
    return gpd.GeoDataFrame(
        {
            "area_ha": area_ha, "pixels": np.where(unbuffered, full, kept), "lat": points.y, "lon": points.x,
            "field_flag": flag,
        },
        geometry=inner.where(~unbuffered, outline), crs=crs, index=table.index,
    )  # fmt: skip


def _metric(polygons: "gpd.GeoSeries", crs: Any) -> Any:
    """A CRS in metres that is true to scale where the polygons lie: the cube's where it is UTM, else that zone."""
    from pyproj import CRS

    own = CRS.from_user_input(getattr(crs, "to_wkt", lambda: crs)())
    return own if own.utm_zone is not None else polygons.estimate_utm_crs()


def place_flags(pixels: np.ndarray, on_grid: np.ndarray) -> np.ndarray:
    """Flags of fields (area ``pixels``) of which ``on_grid`` pixels lie on the cube."""
    some = pixels > 0
    outside = some & (on_grid <= 0)
    partly = some & ~outside & (on_grid < (1 - _ON_GRID) * pixels)
    return np.where(outside, FIELD_FLAGS["outside"], np.where(partly, FIELD_FLAGS["partly_outside"], 0))
