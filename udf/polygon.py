"""Polygons that a user gives as GeoJSON: read from a file or a mapping, checked, in longitude and latitude."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from fusion.place import LONLAT, check_lonlat
from udf.local.grid import project

_log = logging.getLogger(__name__)
MAX_VERTICES = 50_000  # a process graph carries every vertex twice: this many are 5 MB, and a few seconds of checks
NAME_THE_CRS = ', or name the projection beside "type": "crs": {"type": "name", "properties": {"name": "EPSG:32631"}}'
POLYGONS = ("Polygon", "MultiPolygon")


def read_geojson(path: Path, what: str = "area") -> dict[str, Any]:
    """A GeoJSON object from a file in UTF-8, -16 or -32, with or without a byte order mark.

    Raises
    ------
    ValueError
        No such file, or no JSON object in it; the file is named.
    """
    if not path.is_file():
        raise ValueError(f"{what} is {str(path)!r}, which is no file; give a GeoJSON file or west, south, east, north")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: {path} is no JSON ({error}); expected a whole GeoJSON file in UTF-8") from error
    if not isinstance(content, dict):
        raise ValueError(f"{what}: {path} holds a {type(content).__name__}; expected a GeoJSON object with a polygon")
    return content


def polygon_of(geojson: Any, what: str = "area") -> BaseGeometry:
    """Union of the polygons of a GeoJSON object, holes kept, in longitude and latitude.

    A member ``crs`` (GeoJSON of 2008) is honoured. Features without a geometry are left out, with a message.

    Raises
    ------
    ValueError
        No polygon, another type of geometry, coordinates that are no degrees and no ``crs``, a ring that crosses
        itself, an area across the antimeridian, or more than 50 000 vertices.
    """
    geojson = geojson.model_dump() if hasattr(geojson, "model_dump") else geojson
    found = list(_geometries(geojson, what))
    if not found:
        raise ValueError(f"{what} holds no polygon; give at least one Polygon or MultiPolygon")
    vertices = sum(_vertices(geometry, what) for geometry in found)
    if vertices > MAX_VERTICES:
        raise ValueError(
            f"{what} has {vertices} vertices; expected at most {MAX_VERTICES}; simplify it to half a pixel "
            "(shapely.simplify(polygon, 0.00005), in degrees), or give west, south, east, north"
        )
    parts = shapely.get_parts([_shape(geometry, what) for geometry in found])
    parts = project_all(parts[~shapely.is_empty(parts)], _crs(geojson, what))
    if not len(parts):
        raise ValueError(f"{what} holds no polygon; give at least one Polygon or MultiPolygon")
    check_lonlat(tuple(shapely.total_bounds(parts)), what, NAME_THE_CRS)
    for part in parts[~shapely.is_valid(parts)]:
        raise ValueError(
            f"{what} has a polygon that is not valid ({shapely.is_valid_reason(part)}); mend it by "
            "shapely.make_valid(polygon)"
        )
    return shapely.union_all(parts)


def project_all(parts: np.ndarray, crs: CRS | str) -> np.ndarray:
    """Polygons in two dimensions, in longitude and latitude."""
    return np.array([project(part, crs, LONLAT) for part in shapely.force_2d(parts)], object)


def _geometries(geojson: Any, what: str) -> Iterator[dict]:
    """The (multi)polygons of an object; those of a collection that are null are left out."""
    kind = geojson.get("type") if isinstance(geojson, dict) else type(geojson).__name__
    if kind == "FeatureCollection" and isinstance(geojson.get("features"), list):
        features = geojson["features"]
        placed = [f for f in features if not isinstance(f, dict) or f.get("geometry") is not None]
        if len(placed) < len(features):
            _log.warning("%s: %d of %d features have no geometry", what, len(features) - len(placed), len(features))
        for feature in placed:
            yield from _geometries(feature, what)
    elif kind == "Feature":
        if geojson.get("geometry") is None:
            raise ValueError(f"{what} is a Feature without a geometry; give one with a Polygon or MultiPolygon")
        yield from _geometries(geojson["geometry"], what)
    elif kind in POLYGONS:
        yield geojson
    else:
        raise ValueError(f"{what} is of type {kind!r}; expected Polygon, MultiPolygon, Feature or FeatureCollection")


def _vertices(geometry: dict, what: str) -> int:
    """Number of vertices, counted before anything is built of them."""
    try:
        rings = geometry["coordinates"]
        rings = [ring for part in rings for ring in part] if geometry["type"] == "MultiPolygon" else rings
        return sum(len(ring) for ring in rings)
    except (KeyError, TypeError):
        raise ValueError(_unreadable(what)) from None


def _shape(geometry: dict, what: str) -> BaseGeometry:
    try:
        made = shape(geometry)
        if np.isfinite(shapely.get_coordinates(made)).all():
            return made
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, shapely.errors.ShapelyError):
        pass
    raise ValueError(_unreadable(what))


def _unreadable(what: str) -> str:
    return (
        f"{what} has coordinates that cannot be read; expected rings of at least four [longitude, latitude] pairs of "
        "finite numbers, the last as the first"
    )


def _crs(geojson: dict, what: str) -> CRS | str:
    """The object's CRS by its member ``crs``; longitude and latitude without one."""
    told = geojson.get("crs")
    name = (told.get("properties") or {}).get("name") if isinstance(told, dict) else told
    if told is None:
        return LONLAT
    try:
        return CRS.from_user_input(name)
    except CRSError:
        raise ValueError(
            f'{what} has crs {told!r}, which names no known CRS; expected {{"type": "name", "properties": {{"name": '
            '"urn:ogc:def:crs:EPSG::32631"}}, or no member crs for longitude and latitude'
        ) from None
