"""Location of a cube: latitude, UTM zone, pixel size, bounds in another CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fusion.contract import ContractError, check_latitude

if TYPE_CHECKING:
    import xarray as xr
    from rasterio import Affine

LONLAT = "EPSG:4326"
METRES_PER_DEGREE = 111_320.0  # per degree of latitude; per degree of longitude, times the cosine of the latitude
S2_GRID_M = 20.0  # the 10 m and 20 m grids of Sentinel-2 share the multiples of 20 m of their UTM zone
_ON_GRID_M = 5e-4  # tolerance: an edge on the grid stays on it after a projection there and back
Bounds = tuple[float, float, float, float]  # west, south, east, north


def latitude_of(cube: xr.DataArray | xr.Dataset) -> float | None:
    """Latitude in degrees north: ``cube.attrs["latitude"]``, else of the cube's centre in its CRS.

    None where the cube has neither, or where its coordinates cannot be projected: the latitude is optional.

    Raises
    ------
    ContractError
        The attribute is not a number from -90 to 90.
    """
    import rioxarray  # noqa: F401  (the .rio accessor)
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    if "latitude" in cube.attrs:
        return check_latitude(cube.attrs["latitude"])
    try:
        if cube.rio.crs is None or not {"y", "x"} <= set(cube.coords):
            return None
        x, y = (float(cube[axis].mean()) for axis in ("x", "y"))
        latitude = Transformer.from_crs(cube.rio.crs, "EPSG:4326", always_xy=True).transform(x, y)[1]
    except ProjError:
        return None
    return float(latitude) if math.isfinite(latitude) else None


def pixel_size(grid: xr.DataArray | xr.Dataset, axis: str = "x") -> float:
    """Distance between pixel centres along an axis, in CRS units.

    Of one pixel along it, that of the transform which the grid carries, else that along the other axis.

    Raises
    ------
    ContractError
        One pixel in all, without a transform.
    """
    import rioxarray  # noqa: F401  (the .rio accessor)

    centres = grid[axis].values
    if len(centres) > 1:
        return float(abs(centres[-1] - centres[0]) / (len(centres) - 1))
    stored = grid.rio.transform(recalc=False)
    if not stored.is_identity:
        return float(abs(stored.a if axis == "x" else stored.e))
    other = "y" if axis == "x" else "x"
    if grid.sizes.get(other, 1) > 1:
        return pixel_size(grid, other)
    raise ContractError(
        "the size of the only pixel is unknown; give the cube a transform with rio.write_transform(...), or an area of "
        "more pixels"
    )


def transform_of(grid: xr.DataArray | xr.Dataset) -> Affine:
    """The transform of a raster file, from the labels; rioxarray's is that of no place where an axis has one pixel."""
    import rioxarray  # noqa: F401  (the .rio accessor)
    from rasterio import Affine

    if min(grid.sizes["y"], grid.sizes["x"]) > 1:
        return grid.rio.transform(recalc=True)
    dx, dy = pixel_size(grid, "x"), pixel_size(grid, "y")
    return Affine(dx, 0, float(grid.x[0]) - dx / 2, 0, -dy, float(grid.y[0]) + dy / 2)


def pixel_size_m(grid: xr.DataArray | xr.Dataset) -> float:
    """Pixel size in metres: along x in a projected CRS, along the meridian in a geographic one."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    if grid.rio.crs is None or not grid.rio.crs.is_geographic:
        return pixel_size(grid)
    return METRES_PER_DEGREE * pixel_size(grid, "y" if grid.sizes["y"] > 1 else "x")


def pixel_sides_m(grid: xr.DataArray | xr.Dataset) -> tuple[float, float]:
    """Height and width of a pixel in metres; in degrees the width shrinks by the cosine of the middle latitude."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    if grid.rio.crs is None or not grid.rio.crs.is_geographic:
        return pixel_size_m(grid), pixel_size_m(grid)
    shrinks = math.cos(math.radians(float(grid.y.mean())))
    return pixel_size_m(grid), METRES_PER_DEGREE * pixel_size(grid, "x") * shrinks


def check_lonlat(bounds: Bounds, what: str, advice: str = "") -> Bounds:
    """The bounds, once they are seen to be a place in degrees; ``advice`` is what else helps where they are no degrees.

    Raises
    ------
    ValueError
        Not finite, not degrees (coordinates of a projection, out of range), empty, or across the antimeridian: says
        what was seen and what to do.
    """
    west, south, east, north = bounds
    seen = f"{what} runs from {west:.10g} to {east:.10g} in longitude and from {south:.10g} to {north:.10g} in latitude"
    split = "split it at 180 degrees into two areas and run each"
    if not all(math.isfinite(v) for v in bounds):
        raise ValueError(f"{seen}; expected finite numbers, in degrees")
    if abs(south) > 90 or abs(north) > 90 or max(abs(west), abs(east)) > 360:
        raise ValueError(
            f"{seen}; these are no degrees: give longitude (-180 to 180) before latitude (-90 to 90), WGS 84{advice}"
        )
    if max(abs(west), abs(east)) > 180 or east - west > 180:
        raise ValueError(f"{seen}; expected longitudes from -180 to 180 on one side of the antimeridian; {split}")
    if east < west and west - east > 180:
        raise ValueError(f"{seen}: it crosses the antimeridian; {split}")
    if east <= west or north <= south:
        raise ValueError(f"{seen}; it is empty: expected west < east and south < north")
    return bounds


def utm_epsg(longitude: float, latitude: float) -> int:
    """EPSG code of the UTM zone at a position in degrees (without the exceptions for Norway and Svalbard).

    Longitudes wrap: 180 and -180 are the same meridian, in zone 1; 185 is -175. The equator counts as north.

    >>> utm_epsg(5.0, 51.0), utm_epsg(-70.5, -33.4), utm_epsg(180.0, 0.0), utm_epsg(-180.0, -0.1)
    (32631, 32719, 32601, 32701)
    """
    zone = min(60, int((longitude + 180.0) % 360.0 // 6) + 1)
    return (32600 if latitude >= 0 else 32700) + zone


def utm_of_bounds(bounds: Bounds) -> int:
    """EPSG code of the UTM zone at the centre of bounds in degrees (west < east)."""
    west, south, east, north = bounds
    return utm_epsg((west + east) / 2, (south + north) / 2)


def project_bounds(bounds: Bounds, source: Any, target: Any) -> Bounds:
    """Bounds of an area in another CRS. 21 points per side are projected, so that curved edges lie inside.

    A CRS is an EPSG code, a string, or an object of rasterio, pyproj or odc.
    """
    from pyproj import CRS, Transformer

    old, new = (CRS.from_user_input(getattr(crs, "to_wkt", lambda crs=crs: crs)()) for crs in (source, target))
    if old == new:
        return bounds
    return Transformer.from_crs(old, new, always_xy=True).transform_bounds(*bounds, densify_pts=21)


def on_s2_grid(bounds: Bounds) -> Bounds:
    """UTM bounds in metres, enlarged to the 20 m grid of Sentinel-2, which contains its 10 m grid."""
    west, south, east, north = bounds
    left, bottom = (math.floor((v + _ON_GRID_M) / S2_GRID_M) * S2_GRID_M for v in (west, south))
    right, top = (math.ceil((v - _ON_GRID_M) / S2_GRID_M) * S2_GRID_M for v in (east, north))
    return left, bottom, right, top


def described_axes(dataset: xr.Dataset) -> xr.Dataset:
    """CF attributes of x and y, by the CRS."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    degrees = dataset.rio.crs is not None and dataset.rio.crs.is_geographic
    for axis, name, units in (("x", "longitude", "degrees_east"), ("y", "latitude", "degrees_north")):
        if axis in dataset.coords:
            standard, unit = (name, units) if degrees else (f"projection_{axis}_coordinate", "m")
            attrs = {"standard_name": standard, "axis": axis.upper(), "units": unit}
            dataset = dataset.assign_coords({axis: (axis, dataset[axis].values, attrs)})
    return dataset
