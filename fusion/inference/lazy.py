"""A chunked (Dask) cube in, a chunked fused cube out; nothing is computed before it is needed."""

from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from fusion.contract import DIMS, TimeGrid
from fusion.features.measured import measured_cube
from fusion.features.orientation import reversed_axes, turned
from fusion.inference.blas import one_blas_thread
from fusion.inference.fuse import checked_cube, fuse_window, label_fused, reach_px
from fusion.inference.session import load_session


def fuse_lazily(
    cube: xr.DataArray,
    model: Path,
    grid: TimeGrid,
    *,
    s1_units: str | None,
    latitude: float | None,
    sigma: str,
    tile: int | None,
) -> xr.DataArray:
    """The fused cube of :func:`fusion.inference.fuse.fuse_cube` as a Dask array with the cube's chunks in y and x.

    Each block reads itself and ``reach_px`` pixels of its neighbours, so it equals the cube fused at once; blocks
    smaller than that are joined. Equal chunks, the last one smaller, stay so, as Zarr stores need. A block is one task
    of one thread. Every process opens the model once, from the file ``model``, which all workers must see. Faults in
    the values are raised by the computation.
    """
    session = load_session(model)
    cube = checked_cube(cube, s1_units, sigma)
    axes = reversed_axes(cube)
    cube = turned(cube, axes)
    depth = reach_px(session)
    (rows, its_rows), (columns, its_columns) = (_blocks(depth, chunks) for chunks in cube.chunks[2:])  # type: ignore[index]
    blocks = cube.data.rechunk((-1, -1, rows, columns))
    depths = {axis: depth if len(chunks) > 1 else 0 for axis, chunks in ((2, rows), (3, columns))}
    wide = da.overlap.overlap(blocks, depth=depths, boundary="none", allow_rechunk=False)
    layers = da.map_blocks(
        _fuse_block, wide, dtype=np.float32, chunks=((len(grid.days),), (3,), rows, columns),
        meta=np.empty((0, 0, 0, 0), np.float32), labels={name: cube[name].values for name in ("t", "bands")},
        attrs=cube.attrs, model=str(model), sha256=session.manifest.sha256, grid=grid, depth=depth,
        counts=(len(rows), len(columns)),
        options={"s1_units": s1_units, "latitude": latitude, "sigma": sigma, "tile": tile},
    )  # fmt: skip
    layers = layers.rechunk({2: its_rows, 3: its_columns}, method="tasks")  # cuts off a last chunk that was joined
    fused = label_fused(layers[:, :2], layers[:, 2].astype(np.uint8), cube, grid, session, sigma)
    return turned(fused, axes)


def _blocks(least: int, chunks: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunks of an axis to compute, none below ``least`` unless it is the only one, and those of the answer.

    Both are the given ones, joined where they are too small. Of equal chunks with a smaller last one, the answer's are
    such as well.
    """
    if len(set(chunks[:-1])) != 1 or chunks[-1] > chunks[0]:
        joined = _at_least(least, chunks)
        return joined, joined
    answer = da.core.normalize_chunks((-(-least // chunks[0]) * chunks[0],), (sum(chunks),))[0]
    if len(answer) == 1 or answer[-1] >= least:
        return answer, answer
    return (*answer[:-2], answer[-2] + answer[-1]), answer


def _at_least(size: int, chunks: tuple[int, ...]) -> tuple[int, ...]:
    """The chunks of an axis, the smallest ones joined where they are below ``size``; one if all together are."""
    if len(chunks) == 1 or sum(chunks) <= size:
        return (sum(chunks),)
    return tuple(da.overlap.ensure_minimum_chunksize(size, chunks))


def _fuse_block(
    block: np.ndarray,
    *,
    labels: dict[str, np.ndarray],
    attrs: dict,
    model: str,
    sha256: str,
    grid: TimeGrid,
    depth: int,
    counts: tuple[int, int],
    options: dict,
    block_id: tuple[int, ...],
) -> np.ndarray:
    """Fuse a block of values (t, bands, y, x) that includes ``depth`` pixels of each neighbour; (T, 3, h, w).

    The layers are NDVI, sigma and the count of observations.
    """
    cube = measured_cube(xr.DataArray(block, dims=DIMS, coords=labels, attrs=attrs), options["s1_units"])
    window = tuple(
        slice(depth if k > 0 else 0, size - (depth if k < count - 1 else 0))
        for k, count, size in zip(block_id[2:], counts, block.shape[2:], strict=True)
    )
    session = load_session(model, expected_sha256=sha256)
    with one_blas_thread():
        values, seen = fuse_window(cube, window, session, grid, measured=True, **options)  # type: ignore[arg-type]
    return np.concatenate([values, seen[:, None].astype(np.float32)], axis=1)
