"""Where a cube lies."""

import xarray as xr


def latitude_of(cube: xr.DataArray | xr.Dataset) -> float | None:
    """Degrees north: ``cube.attrs["latitude"]``, else the cube's middle by its CRS; None where neither is there."""
    import rioxarray  # noqa: F401  (the .rio accessor)
    from pyproj import Transformer

    if "latitude" in cube.attrs:
        return cube.attrs["latitude"]
    if cube.rio.crs is None or not {"y", "x"} <= set(cube.coords):
        return None
    x, y = (float(cube[axis].mean()) for axis in ("x", "y"))
    return float(Transformer.from_crs(cube.rio.crs, "EPSG:4326", always_xy=True).transform(x, y)[1])
