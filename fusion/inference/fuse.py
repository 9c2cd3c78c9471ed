"""Cube in, dense NDVI with uncertainty out."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr

from fusion.contract import DIMS, FUSED_BANDS, OBS_COUNT, ContractError, TimeGrid, check_layout
from fusion.features.calibration import SIGMA_KINDS
from fusion.features.features import FEATURE_NAMES, compute_features
from fusion.features.measured import measured_cube
from fusion.features.observations import Observations, observations_from_cube
from fusion.features.orientation import reversed_axes, turned
from fusion.features.tiling import Tile, area, cut_tiles, inside
from fusion.inference.counts import COUNT_ATTRS, add_counts
from fusion.inference.manifest import NETWORK_RADIUS_PX
from fusion.inference.session import ModelSession

TILE_PX = 128
TILE_PIXEL_DATES = 600_000  # upper limit for a tile: 113 MB of features, and about 300 MB inside onnxruntime
FAR_DAYS = 180  # the uncertainty is calibrated up to 176 days from an observation


def fuse_cube(
    cube: xr.DataArray,
    session: ModelSession,
    grid: TimeGrid,
    *,
    s1_units: str | None = None,
    latitude: float | None = None,
    sigma: str = "observation",
    tile: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Dense NDVI of a merged cube on a regular grid of dates.

    Parameters
    ----------
    cube : xarray.DataArray
        Merged cube of :mod:`fusion.contract`, dims ``(t, bands, y, x)`` in any order. A cube backed by Dask is loaded
        tile by tile, and the answer is computed at once; :mod:`fusion.inference.lazy` keeps it lazy.
    session : ModelSession
        The model, from :func:`fusion.inference.session.load_session`.
    grid : TimeGrid
        Requested dates. Those before the first and after the last image are extrapolated; those more than
        ``FAR_DAYS`` days from every image are NaN.
    s1_units : {"dB", "linear"}, optional
        Units of the radar bands; required where ``cube.attrs["s1_units"]`` is missing.
    latitude : float, optional
        Degrees north, where ``cube.attrs["latitude"]`` is missing; relates the time of year to the season.
    sigma : {"observation", "ndvi"}
        Meaning of ``NDVI_SIGMA``: standard deviation of one observation, or of the NDVI itself.
    tile : int, optional
        Side of a tile in pixels; chosen to limit memory when not given. It does not change the result.
    workers : int
        Threads that compute tiles side by side. Use a session of one thread then.
    progress : callable, optional
        Called with (tiles done, total number of tiles).

    Returns
    -------
    xarray.DataArray
        float32, dims ``(t, bands, y, x)``, bands ``NDVI`` (-0.2..1) and ``NDVI_SIGMA``, with the
        coordinates and CRS of the cube, in its orientation. NaN for pixels without any Sentinel-2 observation in the
        cube, and on dates far from all images. The coordinate ``OBS_COUNT``, uint8 (t, y, x), counts the Sentinel-2
        observations nearest to each date.

    Raises
    ------
    ContractError
        The cube breaks the contract, or ``sigma`` is unknown.
    """
    cube = checked_cube(cube, s1_units, sigma)
    axes = reversed_axes(cube)
    cube = turned(cube, axes).copy() if axes else cube  # compiled loops need plain arrays, not views from behind
    whole = slice(0, cube.sizes["y"]), slice(0, cube.sizes["x"])
    values, counts = fuse_window(
        cube, whole, session, grid, s1_units=s1_units, latitude=latitude, sigma=sigma, tile=tile, workers=workers,
        measured=cube.chunks is None, progress=progress,
    )  # fmt: skip
    fused = label_fused(values, counts, cube, grid, session, sigma)
    return turned(fused, axes).copy() if axes else fused


def fuse_window(
    cube: xr.DataArray,
    window: tuple[slice, slice],
    session: ModelSession,
    grid: TimeGrid,
    *,
    s1_units: str | None = None,
    latitude: float | None = None,
    sigma: str = "observation",
    tile: int | None = None,
    workers: int = 1,
    measured: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """NDVI and sigma (T, 2, h, w) and counts (T, h, w) of a window of a cube (t, bands, y, x); see :func:`fuse_cube`.

    Pixels around the window, up to the reach of the features, are read for its context. ``measured``: the cube is
    from :func:`fusion.features.measured.measured_cube`.
    """
    image_days = cube.t.values.astype("datetime64[D]").astype("int64")
    plan = plan_passes(image_days, grid, session)
    longest = max((len(days) for days, _, _ in plan), default=1)
    tiles = list(
        cut_tiles(
            (cube.sizes["y"], cube.sizes["x"]), tile or TILE_PX, session.manifest.network_radius_px, reach_px(session),
            window=window, pixels=None if tile else TILE_PIXEL_DATES // longest, workers=1 if tile else workers,
        )
    )  # fmt: skip
    top, left = window[0].start, window[1].start
    out = np.full((len(grid.days), 2, window[0].stop - top, window[1].stop - left), np.nan, np.float32)
    counts = np.zeros((len(out), *out.shape[2:]), np.uint8)
    needed = len(FEATURE_NAMES) * longest * max((area(part.inner) for part in tiles), default=0)
    spare: list[np.ndarray] = []  # memory for features, as many as there are tiles side by side

    def fill(part: Tile) -> None:
        memory = spare.pop() if spare else np.empty(needed, np.float32)
        reach = cube.isel(y=part.reach[0], x=part.reach[1])
        obs = observations_from_cube(reach, s1_units=s1_units, latitude=latitude, measured=measured)
        rows, columns = part.core
        place = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        fill_tile(out[:, :, *place], obs, part, plan, session, sigma, memory)
        add_counts(counts[:, *place], obs, part, grid)
        spare.append(memory)

    for done, _ in enumerate(side_by_side(fill, tiles, workers), start=1):
        if progress is not None:
            progress(done, len(tiles))
    out[far_dates(image_days, grid)] = np.nan
    return out, counts


def reach_px(session: ModelSession) -> int:
    """Pixels around a window that its result depends on: the reach of the features and of the network."""
    return max(session.manifest.overlap_px, session.manifest.network_radius_px)


def side_by_side(work: Callable[[Tile], None], tiles: Iterable[Tile], workers: int) -> Iterator[None]:
    """Call ``work`` for every tile in ``workers`` threads; numpy and onnxruntime compute outside of Python's lock."""
    if workers == 1:
        yield from map(work, tiles)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, tiles)


def far_dates(image_days: np.ndarray, grid: TimeGrid) -> np.ndarray:
    """True, bool (T,), for dates of the grid that are more than ``FAR_DAYS`` from every image (sorted days)."""
    after = np.searchsorted(image_days, grid.days)
    around = np.stack([image_days[np.clip(after - k, 0, len(image_days) - 1)] for k in (0, 1)])
    return np.abs(around - grid.days).min(axis=0) > FAR_DAYS


def fill_tile(
    out: np.ndarray,
    obs: Observations,
    part: Tile,
    plan: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    session: ModelSession,
    sigma: str,
    memory: np.ndarray | None = None,
) -> None:
    """Write NDVI and sigma of a tile's core into ``out`` (T, 2, h, w); ``obs`` covers the tile's reach.

    ``memory`` is for :func:`fusion.features.features.compute_features`.
    """
    window = inside(part.inner, part.reach)
    core = inside(part.core, part.inner)
    for days, picked, rows in plan:
        answer = predict_window(obs, session, days, picked, window, sigma, memory)
        out[rows] = answer[:, :, core[0], core[1]]


def checked_cube(cube: xr.DataArray, s1_units: str | None, sigma: str) -> xr.DataArray:
    """The cube in the contract's order, checked and measured values only; of a lazy one, tile by tile later.

    Raises
    ------
    ContractError
        The cube breaks the contract, or ``sigma`` is unknown.
    """
    if sigma not in SIGMA_KINDS:
        raise ContractError(f"sigma is {sigma!r}; expected one of {SIGMA_KINDS}")
    check_layout(cube)
    cube = cube.transpose(*DIMS)
    return measured_cube(cube, s1_units) if cube.chunks is None else cube


def plan_passes(
    obs_days: np.ndarray, grid: TimeGrid, session: ModelSession
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Passes of the network that together cover every requested date.

    The time step of the network is ``manifest.step_days``; for other dates, several passes are shifted against each
    other. Each entry holds the days of a pass (widened by the temporal context of the network as far as there are
    observations), the positions of the requested dates among them, and the rows of the output that they fill.
    """
    step = session.manifest.step_days
    reach = session.manifest.context_steps * step
    passes = []
    for phase in range(step):
        rows = np.flatnonzero((grid.days - grid.days[0]) % step == phase)
        if rows.size == 0:
            continue
        wanted = grid.days[rows]
        first = min(int(wanted[0]), max(int(wanted[0]) - reach, int(obs_days[0]) - step))
        last = max(int(wanted[-1]), min(int(wanted[-1]) + reach, int(obs_days[-1]) + step))
        start = int(wanted[0]) - (int(wanted[0]) - first) // step * step
        days = np.arange(start, last + 1, step)
        passes.append((days, np.searchsorted(days, wanted), rows))
    return passes


def predict_window(
    obs: Observations,
    session: ModelSession,
    days: np.ndarray,
    picked: np.ndarray,
    window: tuple[slice, slice],
    sigma: str,
    memory: np.ndarray | None = None,
) -> np.ndarray:
    """NDVI and sigma of a window at the dates ``picked`` among the days of a pass, float32 (T, 2, H, W)."""
    height, width = (s.stop - s.start for s in window)
    answer = np.full((len(picked), 2, height, width), np.nan, np.float32)
    if len(obs.s2_days) == 0:
        return answer
    features = compute_features(obs, days, *window, memory=memory)
    ndvi, scale = run_widened(session, features.stack, obs.shape)
    spread = session.manifest.calibration.sigma(scale[picked], features.gap_days[picked], sigma)
    known = np.isfinite(features.linear[picked])
    np.copyto(answer[:, 0], ndvi[picked], where=known)
    np.copyto(answer[:, 1], spread, where=known)
    return answer


def run_widened(session: ModelSession, stack: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """NDVI and raw scale (T, H, W) of features (C, T, H, W); areas of a few pixels are padded with their edge.

    ``shape`` is that of the area around: a window of a few pixels at the border of a large one is not padded.

    The spatial convolutions depend on neighbouring pixels. Without padding, nearly all of the gain over linear
    interpolation was lost on simulated single pixels.
    """
    around = [(NETWORK_RADIUS_PX, NETWORK_RADIUS_PX) if size < 2 * NETWORK_RADIUS_PX else (0, 0) for size in shape]
    rows, columns = (slice(before, before + size) for (before, _), size in zip(around, stack.shape[2:], strict=True))
    wide = np.pad(stack, ((0, 0), (0, 0), *around), mode="edge") if any(map(any, around)) else stack
    ndvi, scale = session.run(wide)
    return ndvi[:, rows, columns], scale[:, rows, columns]


def label_fused(
    values: Any, counts: Any, cube: xr.DataArray, grid: TimeGrid, session: ModelSession, sigma: str
) -> xr.DataArray:
    """The result as a labelled cube with the coordinates of the input; ``values`` and ``counts`` may be lazy."""
    coords = {name: c for name, c in cube.coords.items() if not {"t", "bands"} & set(c.dims)}
    coords[OBS_COUNT] = (("t", "y", "x"), counts, COUNT_ATTRS)
    kept = {name: cube.attrs[name] for name in ("crs", "grid_mapping", "transform") if name in cube.attrs}
    fused = xr.DataArray(
        values,
        dims=DIMS,
        coords={**coords, "t": grid.dates, "bands": list(FUSED_BANDS)},
        name="fused_ndvi",
        attrs={
            **kept,
            "units": "1",
            "long_name": "fused NDVI and its standard deviation",
            "sigma_of": sigma,
            "model_sha256": session.manifest.sha256,
        },
    )
    if "grid_mapping" in cube.encoding:
        fused.encoding["grid_mapping"] = cube.encoding["grid_mapping"]
    return fused
