"""Where a cube lies."""

import math

import xarray as xr

from fusion.contract import check_latitude


def latitude_of(cube: xr.DataArray | xr.Dataset) -> float | None:
    """Degrees north: ``cube.attrs["latitude"]``, else the cube's middle by its CRS.

    None where there is neither, or where CRS and coordinates do not tell a place: the latitude is welcome, not needed.

    Raises
    ------
    ContractError
        The attribute is no real number from -90 to 90.
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
