"""The public function :func:`fuse`, for notebooks and scripts."""

import datetime
import os
from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr

from fusion.contract import STEP_DAYS, TimeGrid
from fusion.dates import first_date, last_date
from fusion.inference.blas import one_blas_thread
from fusion.inference.fuse import fuse_cube
from fusion.inference.locate import locate_model
from fusion.inference.session import load_session
from fusion.place import latitude_of

DateLike = str | datetime.date | np.datetime64


def fuse(
    cube: xr.DataArray,
    *,
    start: DateLike,
    end: DateLike,
    model: str | os.PathLike | None = None,
    step_days: int = STEP_DAYS,
    s1_units: Literal["dB", "linear"] | None = None,
    latitude: float | None = None,
    sigma: Literal["observation", "ndvi"] = "observation",
    tile: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Fuse Sentinel-2, Sentinel-1 and coarse NDVI into one dense NDVI series.

    Parameters
    ----------
    cube : xarray.DataArray
        Merged cube, dims ``(t, bands, y, x)`` in any order, float, NaN = no observation. Band ``S2NDVI`` must exist;
        ``VV``, ``VH`` and ``COARSE_NDVI`` may be absent or all NaN. Any number of dates and any size.
    start, end : date
        First and last date of the result; ``end`` is included where it lies on the time step. A month ``2021-05`` or a
        year ``2021`` counts as a whole.
    model : path or str, optional
        Model folder, archive, ``run:ID`` or registered name; the shipped model when not given.
    step_days : int
        Days between the dates of the result.
    s1_units : {"dB", "linear"}, optional
        Radar units; required where ``cube.attrs["s1_units"]`` is missing. Never guessed.
    latitude : float, optional
        Degrees north; needed where the cube has neither a CRS nor ``cube.attrs["latitude"]``. The time of year enters
        the network relative to the season at this latitude. Without a latitude, and within 45 degrees of the equator,
        the time of year is left out.
    sigma : {"observation", "ndvi"}
        Meaning of ``NDVI_SIGMA``: the standard deviation of one Sentinel-2 observation ("observation"), or of the NDVI
        itself, without the error of an observation ("ndvi"). The second is smaller; season dates derived with it are
        more accurate, but their intervals are too narrow.
    tile : int, optional
        Tile side in pixels; does not change the result.
    threads : int, optional
        CPU threads, which compute tiles side by side; all cores when not given. Of a chunked cube, those of the Dask
        scheduler are used.
    progress : callable, optional
        Called with (tiles done, total number of tiles); not for a chunked cube.

    Returns
    -------
    xarray.DataArray
        float32, dims ``(t, bands, y, x)``, bands ``NDVI`` and ``NDVI_SIGMA``; CRS and pixel coordinates kept; NaN for
        pixels without a single observation. A chunked (Dask) cube gives a chunked one, block by block, and nothing is
        computed here; blocks of less than 20 pixels are joined.

    Raises
    ------
    fusion.contract.ContractError
        The cube or the period breaks the contract; the message names the value seen, the expectation and the fix.
    fusion.inference.manifest.ModelFileError, fusion.inference.locate.ModelNotFoundError
        The model is not found, damaged, or does not match this package.
    """
    grid = TimeGrid(np.datetime64(first_date(start)), np.datetime64(last_date(end)), step_days)
    latitude = latitude_of(cube) if latitude is None else latitude
    if cube.chunks is not None:
        from fusion.inference.lazy import fuse_lazily

        return fuse_lazily(
            cube, locate_model(model), grid, s1_units=s1_units, latitude=latitude, sigma=sigma, tile=tile
        )
    with one_blas_thread():
        return fuse_cube(
            cube,
            load_session(locate_model(model)),
            grid,
            s1_units=s1_units,
            latitude=latitude,
            sigma=sigma,
            tile=tile,
            workers=threads or os.cpu_count() or 1,
            progress=progress,
        )
