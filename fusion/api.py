"""The public calls, for notebooks and scripts: :func:`fuse`, and others for data of any layout."""

import datetime
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import DIMS, STEP_DAYS, TimeGrid, check_time
from fusion.dates import first_date, last_date
from fusion.inference.blas import one_blas_thread
from fusion.inference.fuse import FAR_DAYS, far_dates, fuse_cube
from fusion.inference.locate import locate_model
from fusion.inference.session import load_session
from fusion.inference.suspect import suspect_observations as _suspect_observations
from fusion.layout import Data, Layout, any_layout, as_grid, plain_names, with_roles
from fusion.phenology.seasons import seasons as _seasons
from fusion.phenology.smoothing import smooth as _smooth
from fusion.place import latitude_of, pixel_sides_m

__all__ = ["fuse", "seasons", "smooth", "suspect_observations"]

log = logging.getLogger(__name__)
DateLike = str | datetime.date | np.datetime64
LEARNED_PIXEL_M = (7.5, 13.3)  # around the 10 m of the training data
UNWARNED_DAYS = 15  # before the first or after the last image

seasons = any_layout(_seasons)
smooth = any_layout(_smooth)
suspect_observations = any_layout(_suspect_observations, roles=True)


def fuse(
    cube: Data,
    *,
    start: DateLike | None = None,
    end: DateLike | None = None,
    model: str | os.PathLike | None = None,
    step_days: int = STEP_DAYS,
    s1_units: Literal["dB", "linear"] | None = None,
    latitude: float | None = None,
    sigma: Literal["observation", "ndvi"] = "observation",
    tile: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray | xr.Dataset | pd.DataFrame:
    """Fuse Sentinel-2, Sentinel-1 and coarse NDVI into one dense NDVI series.

    Parameters
    ----------
    cube : xarray.DataArray, xarray.Dataset, pandas.Series or pandas.DataFrame
        Merged cube, dims ``(t, bands, y, x)`` in any order, float, NaN = no observation. Band ``S2NDVI`` must exist, or
        one band or array with "ndvi" in its name; ``VV``, ``VH`` and ``COARSE_NDVI`` may be absent or all NaN. Any
        number of dates and any size. Dims may also be called ``time``, ``band``, ``latitude``, ``longitude`` and the
        like. A Dataset has a variable, a DataFrame a column per band. Without ``y`` and ``x`` it is one pixel, and with
        another dim instead (``point``) each element is a pixel without neighbours.
    start, end : date, optional
        First and last date of the result; ``end`` is included where it lies on the time step. A month ``2021-05`` or a
        year ``2021`` counts as a whole. Default: the first and last date of the cube. For season dates the series
        should begin on 1 September of the year before, where the cube reaches so far back. Dates before the first and
        after the last image are extrapolated, with a warning from 15 days on; dates more than 180 days from every image
        are NaN.
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
        float32, dims ``(t, bands, y, x)``, bands ``NDVI`` and ``NDVI_SIGMA``; CRS, pixel coordinates, their direction
        and the names of dims kept; NaN for pixels without a single observation. A Dataset gives a Dataset, a Series or
        DataFrame a DataFrame with the columns ``NDVI`` and ``NDVI_SIGMA``. A chunked
        (Dask) cube gives a chunked one: nothing is computed here. Its chunks in y and x are those of the cube; small
        ones, of less than 16 pixels as a rule, are joined.

    Raises
    ------
    fusion.contract.ContractError
        The cube or the period breaks the contract; the message names the value seen, the expectation and the fix.
    fusion.inference.manifest.ModelFileError, fusion.inference.locate.ModelNotFoundError
        The model is not found, damaged, or does not match this package.
    """
    folder, workers = locate_model(model), threads or os.cpu_count() or 1
    plain, layout = plain_names(cube)
    plain = with_roles(plain)
    grid = _requested_dates(plain, start, end, step_days)

    options: dict[str, Any] = {"s1_units": s1_units, "latitude": latitude, "sigma": sigma, "tile": tile}
    others = [dim for dim in plain.dims if dim not in DIMS]
    if len(others) == 1 and not {"y", "x"} & set(plain.dims):
        dense = _fuse_points(plain, str(others[0]), folder, grid, options, progress)
    else:
        plain, layout = as_grid(plain, layout)
        options["latitude"] = latitude_of(plain) if latitude is None else latitude
        if plain.chunks is None:
            with one_blas_thread():
                dense = fuse_cube(plain, load_session(folder), grid, workers=workers, progress=progress, **options)
        else:
            from fusion.inference.lazy import fuse_lazily

            dense = fuse_lazily(plain, folder, grid, **options)
        _warn_of_pixel_size(plain)
    _warn_of_period(plain, grid)
    return layout.restore(dense)


def _requested_dates(cube: xr.DataArray, start: DateLike | None, end: DateLike | None, step_days: int) -> TimeGrid:
    """The dates of the result; without ``start`` or ``end`` those of the cube."""
    if start is None or end is None:
        check_time(cube)
    first = cube.t.values[0] if start is None else np.datetime64(first_date(start))
    last = cube.t.values[-1] if end is None else np.datetime64(last_date(end))
    return TimeGrid(first, last, step_days)


def _fuse_points(
    points: xr.DataArray,
    dim: str,
    model: Path,
    grid: TimeGrid,
    options: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Points (t, bands, dim), fused one by one, since they are no neighbours of each other; lazily where they are."""
    if points.chunks is not None:
        return _by_block(partial(_fuse_points, dim=dim, model=model, grid=grid, options=options), points, dim)
    answers, session = [], load_session(model)
    for k in range(points.sizes[dim]):
        own = points.isel({dim: k})
        dated = own.dropna("t", how="all")  # dates of other points only would change the answer
        pixel, _ = as_grid(dated if dated.sizes["t"] else own, Layout("array", {}))
        north = latitude_of(pixel) if options["latitude"] is None else options["latitude"]
        with one_blas_thread():
            answers.append(fuse_cube(pixel, session, grid, **{**options, "latitude": north}))
        if progress is not None:
            progress(k + 1, points.sizes[dim])
    first = answers[0]
    values = np.concatenate(
        [answer.transpose("t", "bands", ...).values.reshape(*first.shape[:2], 1) for answer in answers], axis=2
    )
    frame = points.isel(t=0, bands=0, drop=True).expand_dims(t=first.t.values, bands=first.bands.values)
    return frame.transpose("t", "bands", dim).copy(data=values).rename(first.name).assign_attrs(first.attrs)


def _by_block(fused: Callable[[xr.DataArray], xr.DataArray], points: xr.DataArray, dim: str) -> xr.DataArray:
    """Chunked points (t, bands, dim), fused lazily in their chunks along ``dim``."""
    whole = {points.dims.index(axis): -1 for axis in ("t", "bands")}
    points = points.copy(data=points.data.rechunk(whole))  # .chunk() would make the labels of points lazy as well
    first = points.isel({dim: [0]})
    pixel = fused(first.copy(data=np.full(first.shape, np.nan, np.float32))).isel({dim: 0}, drop=True)
    blank = xr.zeros_like(points.isel(t=0, bands=0, drop=True), dtype=np.float32)
    template = (blank + xr.zeros_like(pixel)).transpose("t", "bands", dim).rename(pixel.name)
    lazy = xr.map_blocks(fused, points, template=template.assign_attrs(pixel.attrs))
    lazy.encoding = pixel.encoding
    return lazy


def _warn_of_pixel_size(cube: xr.DataArray) -> None:
    """Warn where the pixels are not those of the training data; nothing is known of a cube without a CRS."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    if cube.rio.crs is None or not {"y", "x"} <= set(cube.coords) or max(cube.sizes["y"], cube.sizes["x"]) < 2:
        return
    height, width = pixel_sides_m(cube)
    low, high = LEARNED_PIXEL_M
    if not (low <= height <= high and low <= width <= high):
        log.warning(
            "the pixels are %.4g x %.4g m; the network learned on 10 m and counts its surroundings in pixels, so "
            "errors and NDVI_SIGMA differ from the published ones; score it on this cube with `ndvi-fusion evaluate`",
            height, width,
        )  # fmt: skip


def _warn_of_period(cube: xr.DataArray, grid: TimeGrid) -> None:
    """Warn of requested dates before the first or after the last image, and of those that are NaN."""
    check_time(cube)
    images = cube.t.values.astype("datetime64[D]").astype("int64")
    early, late = int((grid.days < images[0]).sum()), int((grid.days > images[-1]).sum())
    far = int(far_dates(images, grid).sum())
    if far or max(images[0] - grid.days[0], grid.days[-1] - images[-1]) > UNWARNED_DAYS:
        log.warning(
            "the images run from %s to %s; of the %d requested dates %d lie before and %d after them and are "
            "extrapolated; %d dates more than %d days from every image are NaN; choose start and end inside",
            *(np.datetime64(int(day), "D") for day in images[[0, -1]]), len(grid.days), early, late, far, FAR_DAYS,
        )  # fmt: skip
