"""Season maps of the demo: main season per pixel, and dates of the original method, as arrays and GeoTIFF."""

from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import NDVI
from fusion.phenology.reference import reference_phenology, reference_smoothing
from fusion.whole_file import refuse_cut_off, whole_set


def season_maps(ndvi: xr.DataArray) -> xr.DataArray:
    """Start and end of season by the original method, dims (bands, y, x), float32 day of the year, NaN = none.

    ``ndvi`` has dims (t, y, x), or (t, bands, y, x) with a band ``NDVI``.
    """
    one = ndvi.sel(bands=[NDVI]) if "bands" in ndvi.dims else ndvi.expand_dims(bands=[NDVI])
    dates = reference_phenology(reference_smoothing(one.transpose("t", "bands", "y", "x")))
    return as_maps(dates)


def main_season(data: xr.Dataset) -> xr.DataArray:
    """Start and end of each pixel's largest season, dims (bands, y, x), float32 day of the year, NaN = none.

    ``data`` is the result of :func:`fusion.seasons` for one year: dims (season, y, x), dates as days since 1 January.
    """
    ranked = data.AMPL.where(data.SOSD.notnull() & data.EOSD.notnull()).fillna(-1.0)
    largest = ranked.argmax("season")
    parts = [data[name].isel(season=largest) + 1 for name in ("SOSD", "EOSD")]
    maps = xr.concat([p.reset_coords(drop=True) for p in parts], xr.Variable("bands", ["sos", "eos"]), coords="minimal")
    return maps.transpose("bands", "y", "x").astype(np.float32)


def as_maps(dates: xr.DataArray) -> xr.DataArray:
    """Season dates (t, bands, y, x) or (bands, y, x) as float32 maps; 0 (no season) becomes NaN."""
    maps = dates.isel(t=0, drop=True) if "t" in dates.dims else dates
    maps = maps.transpose("bands", "y", "x").astype(np.float32)
    return maps.where(maps > 0)


def write_maps(maps: xr.DataArray, folder: Path, crs: object) -> list[Path]:
    """Write one GeoTIFF per band (``sos.tif``, ``eos.tif``), int16 day of the year, 0 = no season."""
    files = []
    with whole_set(folder) as partial:
        for band in maps.bands.values:
            values = maps.sel(bands=band, drop=True).fillna(0).astype(np.int16)
            values.attrs = {"long_name": f"{band}, day of the year", "units": "1"}
            file = folder / f"{band}.tif"
            if crs is not None:
                values = values.rio.write_crs(crs)
            values.rio.write_nodata(0).rio.to_raster(partial / file.name, compress="deflate")
            refuse_cut_off(partial / file.name, file, values.values[None])
            files.append(file)
    return files
