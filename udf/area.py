"""The area of interest: a polygon or a bounding box, on the Sentinel-2 grid."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyproj import CRS
from shapely.geometry import box, mapping

from fusion.place import LONLAT, S2_GRID_M, on_s2_grid, project_bounds, utm_epsg
from udf.local.grid import geometry_of, project


@dataclass(frozen=True)
class Area:
    """Bounds in a UTM zone (metres, multiples of 20 m), and the polygon (GeoJSON, longitude and latitude) if given."""

    west: float
    south: float
    east: float
    north: float
    crs: int
    geometry: dict | None = None

    @property
    def latitude(self) -> float:
        """Latitude of the centre, degrees north."""
        return project(box(self.west, self.south, self.east, self.north).centroid, self.crs, LONLAT).y

    def bbox(self, margin_m: float = 0.0) -> dict[str, Any]:
        """openEO bounding box, widened by ``margin_m`` (metres, rounded up to whole 20 m cells)."""
        margin = math.ceil(margin_m / S2_GRID_M) * S2_GRID_M
        return {
            "west": self.west - margin, "south": self.south - margin, "east": self.east + margin,
            "north": self.north + margin, "crs": self.crs,
        }  # fmt: skip


def area_from(value: "dict[str, Any] | Area | str | Path | None") -> Area | None:
    """Area from a bounding box (west, south, east, north, crs), GeoJSON, or the path of a GeoJSON file.

    Raises
    ------
    ValueError
        None of these, or an empty extent.
    """
    if value is None or isinstance(value, Area):
        return value
    content = value if isinstance(value, dict) else _read_geojson(Path(value))
    sides = ("west", "south", "east", "north")
    if "type" in content:
        geometry = geometry_of(content)
        lonlat = tuple(geometry.bounds)
        return _area(lonlat, LONLAT, geometry, dict(mapping(geometry)))
    unknown = sorted(set(content) - {*sides, "crs"})
    if unknown or not set(sides) <= set(content):
        raise ValueError(f"area has keys {sorted(content)}; expected {sides} and optionally crs, or GeoJSON")
    bounds = tuple(float(content[s]) for s in sides)
    if bounds[2] <= bounds[0] or bounds[3] <= bounds[1]:
        raise ValueError(f"area {content} is empty; east must exceed west and north must exceed south")
    return _area(bounds, content.get("crs") or LONLAT, None, None)


def _read_geojson(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"area is {str(path)!r}, which is not a file; give a GeoJSON file or west, south, east, north")
    return json.loads(path.read_text(encoding="utf-8"))


def _area(bounds: tuple, crs: Any, geometry: Any, geojson: dict | None) -> Area:
    source = CRS.from_user_input(crs)
    epsg = source.to_epsg() or 0
    if not _is_utm(epsg):
        centre = project(box(*bounds).centroid, source, LONLAT)
        epsg = utm_epsg(centre.x, centre.y)
    extent = project_bounds(bounds, source, epsg) if geometry is None else project(geometry, source, epsg).bounds
    return Area(*on_s2_grid(extent), epsg, geojson)


def _is_utm(epsg: int) -> bool:
    return 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760
