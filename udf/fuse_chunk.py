"""Fusion of one chunk of a back-end. Bundled into the fusion UDF."""

import numpy as np
import xarray as xr

from fusion.contract import FUSED_BANDS, OBS_COUNT, S2NDVI, ContractError, TimeGrid
from fusion.features.measured import measured_cube
from fusion.features.orientation import reversed_axes
from fusion.features.tiling import inside
from fusion.inference.fuse import fuse_cube, fuse_window, label_fused
from fusion.inference.session import ModelSession
from fusion.same_day import one_image_per_day
from udf.chunk import by_role, in_order, in_time
from udf.context import check_context
from udf.runtime import model_session


def fused_bands(context: dict | None) -> tuple[str, ...]:
    """Band labels of the result; the context is checked first."""
    return (*FUSED_BANDS, OBS_COUNT) if check_context(context)["counts"] else FUSED_BANDS


def fuse_chunk(cube: xr.DataArray, context: dict | None) -> xr.DataArray:
    """NDVI, NDVI_SIGMA and, where the context says so, OBS_COUNT of a chunk, float32 (t, bands, y, x).

    The dates are given by the context alone.

    Raises
    ------
    ContractError, ModelFileError
        One sentence that names the value seen, what was expected, and the fix.
    """
    options = check_context(context)
    if options["start"] is None or options["end"] is None:
        raise ContractError(
            "the context lacks start and end; set both (YYYY-MM-DD), so that every chunk returns the same dates"
        )
    step = options["step_days"]
    lead = -(-options["lead_days"] // step) * step  # start stays one of the dates
    grid = TimeGrid(np.datetime64(options["start"]) - lead, np.datetime64(options["end"]), step)
    obs = in_time(by_role(in_order(cube), options))
    obs = measured_cube(obs, options["s1_units"])
    obs = one_image_per_day(obs)  # a fill value never takes the place of the day's other image
    session = model_session(options)
    frame = _inside_frame(obs)
    kept = _without_overlap(frame, (obs.sizes["y"], obs.sizes["x"]), options)
    window = inside(kept, frame)
    fused = _fused(obs.isel(y=frame[0], x=frame[1]), window, session, grid, options)
    inner = obs.isel(y=kept[0], x=kept[1])
    fused = _without_few_obs(fused, inner, options)
    if lead:
        fused = _from_first_observation(fused, inner, grid.start + lead)
    bands = fused_bands(context)
    values = np.full((len(grid.days), len(bands), obs.sizes["y"], obs.sizes["x"]), np.nan, np.float32)
    values[:, : len(FUSED_BANDS), kept[0], kept[1]] = fused.values
    if OBS_COUNT in bands:
        values[:, -1, kept[0], kept[1]] = fused[OBS_COUNT].values
    labels = {name: c.values for name, c in obs.coords.items() if name in ("y", "x")}
    return xr.DataArray(values, dims=fused.dims, coords={**labels, "t": fused.t.values, "bands": list(bands)})


def _inside_frame(obs: xr.DataArray) -> tuple[slice, slice]:
    """Rows and columns without the frame of no data that back-ends add around the border of a cube.

    The network then treats the border of the data as an image border, as when the whole cube is fused at once. A chunk
    without any data is kept whole.
    """
    seen = np.isfinite(obs.values).any(axis=(0, 1))
    if not seen.any():
        return slice(0, seen.shape[0]), slice(0, seen.shape[1])
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _without_overlap(frame: tuple[slice, slice], size: tuple[int, int], options: dict) -> tuple[slice, slice]:
    """Rows and columns of the frame that the back-end keeps of a whole window; those of the frame in other chunks."""
    overlap = options["overlap_px"]
    whole = options["window_px"] is not None and set(size) == {options["window_px"] + 2 * overlap}
    kept = tuple(slice(max(f.start, overlap), min(f.stop, n - overlap)) for f, n in zip(frame, size, strict=True))
    return (kept[0], kept[1]) if whole and all(k.start < k.stop for k in kept) else frame


def _fused(
    obs: xr.DataArray, window: tuple[slice, slice], session: ModelSession, grid: TimeGrid, options: dict
) -> xr.DataArray:
    """The window of measured observations, fused with what lies around it: that window of the whole, fused."""
    told = {"s1_units": options["s1_units"], "latitude": options["latitude"], "sigma": options["sigma"]}
    if window == (slice(0, obs.sizes["y"]), slice(0, obs.sizes["x"])) or reversed_axes(obs):
        return fuse_cube(obs, session, grid, **told).isel(y=window[0], x=window[1])
    values, counts = fuse_window(obs, window, session, grid, measured=True, **told)
    return label_fused(values, counts, obs.isel(y=window[0], x=window[1]), grid, session, options["sigma"])


def _from_first_observation(fused: xr.DataArray, obs: xr.DataArray, start: np.datetime64) -> xr.DataArray:
    """Dates before ``start`` only from a pixel's first observation on: what lies before it would be invented."""
    seen = obs.sel(bands=S2NDVI, drop=True).notnull()
    first = xr.where(seen.any("t"), obs.t[seen.argmax("t")].drop_vars("t"), start)
    return fused.where((fused.t >= start) | (fused.t >= first))


def _without_few_obs(fused: xr.DataArray, obs: xr.DataArray, options: dict) -> xr.DataArray:
    """Pixels with fewer clear Sentinel-2 observations than requested: no data, kept, or an error (context)."""
    if options["insufficient"] == "keep" or options["min_observations"] == 0:
        return fused
    count = np.isfinite(obs.sel(bands=S2NDVI).values).sum(axis=0)
    few = count < options["min_observations"]
    if not few.any():
        return fused
    if options["insufficient"] == "error":
        raise ContractError(
            f"{int(few.sum())} of {few.size} pixels have fewer than {options['min_observations']} clear Sentinel-2 "
            "observations; widen the period, or set insufficient to 'nan' or 'keep'"
        )
    return fused.where(xr.DataArray(~few, dims=("y", "x")))
