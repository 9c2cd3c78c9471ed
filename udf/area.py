"""The area of interest: a polygon or a bounding box, on the Sentinel-2 grid."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import box, mapping

from fusion.place import LONLAT, S2_GRID_M, Bounds, check_lonlat, on_s2_grid, project_bounds, utm_epsg
from udf.local.grid import project
from udf.polygon import polygon_of, read_geojson


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
        Neither of these, an empty extent, no degrees where degrees are due, or an area across the antimeridian.
    """
    if value is None or isinstance(value, Area):
        return value
    content = value if isinstance(value, dict) else read_geojson(Path(value))
    what = "area" if isinstance(value, dict) else f"area {value}"
    sides = ("west", "south", "east", "north")
    if "type" in content:
        geometry = polygon_of(content, what)
        return _area(geometry.bounds, CRS.from_user_input(LONLAT), geometry, dict(mapping(geometry)))
    unknown = sorted(set(content) - {*sides, "crs"})
    if unknown or not set(sides) <= set(content):
        raise ValueError(f"{what} has keys {sorted(content)}; expected {sides} and optionally crs, or GeoJSON")
    return _area(*_bounds_and_crs([content[s] for s in sides], content.get("crs") or LONLAT), None, None)


def _bounds_and_crs(given: list[Any], crs: Any) -> tuple[Bounds, CRS]:
    """West, south, east and north as numbers, and their CRS, once they are seen to be a place on the Earth."""
    try:
        west, south, east, north = (float(value) for value in given)
    except (TypeError, ValueError):
        raise ValueError(f"area has west, south, east, north {given}; expected four numbers") from None
    try:
        source = CRS.from_user_input(crs)
    except CRSError:
        raise ValueError(f"area has crs {crs!r}; expected an EPSG code such as 32631") from None
    bounds = west, south, east, north
    if source.is_geographic:
        return check_lonlat(bounds, "area", ", or name the projection, for example crs: 32631"), source
    if east <= west or north <= south:
        raise ValueError(f"area {bounds} is empty; east must exceed west and north must exceed south")
    if max(map(abs, bounds)) <= 360:
        raise ValueError(f"area {bounds} looks like degrees, but crs is {crs}, in metres; leave crs out for degrees")
    check_lonlat(project_bounds(bounds, source, LONLAT), f"area {bounds} of crs {crs}")
    return bounds, source


def _area(bounds: Bounds, source: CRS, geometry: Any, geojson: dict | None) -> Area:
    epsg = source.to_epsg() or 0
    if not _is_utm(epsg):
        centre = project(box(*bounds).centroid, source, LONLAT)
        epsg = utm_epsg(centre.x, centre.y)
    extent = project_bounds(bounds, source, epsg) if geometry is None else project(geometry, source, epsg).bounds
    return Area(*on_s2_grid(extent), epsg, geojson)


def _is_utm(epsg: int) -> bool:
    return 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760
