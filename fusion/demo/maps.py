"""Season maps of the demo: main season per pixel, and dates of the original method, as arrays and GeoTIFF."""

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import NDVI
from fusion.data.raster_files import write_raster
from fusion.phenology.reference import reference_phenology, reference_smoothing
from fusion.place import transform_of
from fusion.whole_file import whole_set

NODATA = -32768


def season_maps(ndvi: xr.DataArray) -> xr.DataArray:
    """Start and end of season by the original method, dims (bands, y, x), float32 day of the year, NaN = none.

    ``ndvi`` has dims (t, y, x), or (t, bands, y, x) with a band ``NDVI``.
    """
    one = ndvi.sel(bands=[NDVI]) if "bands" in ndvi.dims else ndvi.expand_dims(bands=[NDVI])
    dates = reference_phenology(reference_smoothing(one.transpose("t", "bands", "y", "x")))
    return as_maps(dates)


def main_season(data: xr.Dataset) -> xr.DataArray:
    """Start and end of each pixel's main season, dims (bands, y, x), float32 day of the year, NaN = none.

    ``data`` is the result of :func:`fusion.seasons` for one year. 1 is 1 January; 0 and less lie in the year before.
    """
    parts = [(data[f"{name}_main"] + 1).reset_coords(drop=True) for name in ("SOSD", "EOSD")]
    maps = xr.concat(parts, xr.Variable("bands", ["sos", "eos"]), coords="minimal")
    return maps.transpose("bands", "y", "x").astype(np.float32)


def as_maps(dates: xr.DataArray) -> xr.DataArray:
    """Season dates (t, bands, y, x) or (bands, y, x) as float32 maps; 0 (no season) becomes NaN."""
    maps = dates.isel(t=0, drop=True) if "t" in dates.dims else dates
    maps = maps.transpose("bands", "y", "x").astype(np.float32)
    return maps.where(maps > 0)


def write_maps(maps: xr.DataArray, folder: Path, crs: object) -> list[Path]:
    """Write one GeoTIFF per band (``sos.tif``, ``eos.tif``), int16 day of the year, -32768 = no season.

    1 is 1 January of the season's year; 0 and less lie in the year before, 366 and more in the year after.
    """
    files = []
    with whole_set(folder) as partial:
        for band, name in (("sos", "start of season"), ("eos", "end of season")):
            values = maps.sel(bands=[band]).fillna(NODATA).transpose("bands", "y", "x")
            file = folder / f"{band}.tif"
            write_raster(
                partial / file.name, file, values.values.astype(np.int16), crs=crs,
                transform=transform_of(values), nodata=NODATA, units=["1"],
                names=[f"{name}, day of the year (1 = 1 January)"],
            )  # fmt: skip
            files.append(file)
    return files
