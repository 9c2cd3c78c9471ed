"""A chunked cube in, a chunked cube out: the eager answer, each input block read once, wherever it is computed."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.inference import session as sessions
from tests.cluster import started_cluster
from tests.factory import mock_cube, mock_model

SIZE = 48


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mock_model(tmp_path_factory.mktemp("model") / "random", 1)


@pytest.fixture(scope="module")
def cube():
    return mock_cube(t=60, y=SIZE, x=SIZE + 8, seed=2)


@pytest.fixture(scope="module")
def eager(cube, model):
    return fused(cube, model)


def fused(cube, model, **more):
    days = cube.t.values.astype("datetime64[D]")
    return fusion.fuse(cube, model=model, start=days[2], end=days[-3], **more)


def counted(cube: xr.DataArray, y: int, x: int) -> tuple[xr.DataArray, list]:
    """The cube in blocks, and a list that gets an entry whenever one is read."""
    reads: list = []

    def block(block_id):
        reads.append(block_id)
        rows, columns = (slice(k * n, (k + 1) * n) for k, n in zip(block_id[2:], (y, x), strict=True))
        return cube.values[:, :, rows, columns]

    chunks = da.core.normalize_chunks((-1, -1, y, x), cube.shape)
    data = da.map_blocks(block, chunks=chunks, dtype=cube.dtype, meta=np.empty((0,) * 4, cube.dtype))
    return cube.copy(data=data), reads


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("y, x, blocks", [(24, 28, ((24, 24), (28, 28))), (48, 20, ((48,), (20, 20, 16)))])
def test_the_lazy_answer_is_the_eager_one(cube, model, eager, scheduler, y, x, blocks):
    chunked, reads = counted(cube, y, x)
    lazy = fused(chunked, model)
    assert lazy.chunks == ((eager.sizes["t"],), (2,), *blocks)  # a block of 16 px joins its neighbour
    assert lazy.dtype == np.float32 and not reads
    with dask.config.set(scheduler=scheduler):
        computed = lazy.compute()
    xr.testing.assert_allclose(computed, eager, atol=1e-6, rtol=0)
    assert computed.attrs == eager.attrs and sorted(reads) == sorted(set(reads))
    assert len(reads) == np.prod(chunked.data.numblocks)


@pytest.mark.parametrize(
    "chunks, blocks",
    [
        ({"y": 5, "x": 7}, ((20, 20, 8), (21, 21, 14))),
        ({"y": 20, "x": 1, "t": 11, "bands": 1}, ((20, 20, 8), (16, 16, 16, 8))),
        ({"y": 47, "x": 55}, ((47, 1), (55, 1))),
    ],
    ids=str,
)
def test_chunks_of_any_size_give_the_eager_answer_in_chunks_that_zarr_takes(
    cube, model, eager, chunks, blocks, tmp_path
):
    lazy = fused(cube.chunk(chunks), model)
    assert lazy.chunks[2:] == blocks and lazy.OBS_COUNT.chunks[1:] == blocks
    lazy.to_dataset("bands").to_zarr(tmp_path / "dense.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "dense.zarr", consolidated=False) as stored:
        assert stored.NDVI.encoding["chunks"] == (eager.sizes["t"], *(sizes[0] for sizes in blocks))
        for band in ("NDVI", "NDVI_SIGMA"):
            np.testing.assert_allclose(stored[band], eager.sel(bands=band), atol=1e-6, rtol=0)


def test_uneven_blocks_smaller_than_their_surroundings_are_joined(cube, model, eager):
    lazy = fused(cube.chunk(y=(20, 1, 27), x=(1, 55)), model)
    assert lazy.chunks[2:] == ((21, 27), (56,))
    xr.testing.assert_allclose(lazy.compute(), eager, atol=1e-6, rtol=0)
    tiny = cube.isel(y=slice(0, 6), x=slice(0, 3))
    xr.testing.assert_allclose(fused(tiny.chunk(y=2, x=1), model).compute(), fused(tiny, model), atol=1e-6, rtol=0)


def test_a_block_without_any_observation_is_nan_and_its_neighbours_are_not(cube, model):
    hole = cube.copy()
    hole[:, :, :24, :28] = np.nan
    found, expected = fused(hole.chunk(y=24, x=28), model).compute(), fused(hole, model)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.isnan(found[:, :, :24, :28]).all() and np.isfinite(found[:, :, 24:, 28:]).all()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_chain_reads_each_block_once(cube, model, eager):
    chunked, reads = counted(cube, 24, 28)
    lazy = fused(chunked, model)
    chain = {
        "seasons": fusion.seasons(lazy, use_numba=False),
        "smooth": fusion.smooth(lazy),
        "suspect": fusion.suspect_observations(chunked, lazy),
    }
    assert not reads
    assert all(value.chunks for value in (chain["smooth"], chain["suspect"], chain["seasons"].SOSD))
    found = dict(zip(chain, dask.compute(*chain.values(), scheduler="threads"), strict=True))
    assert sorted(reads) == sorted(set(reads))
    blocks = eager.chunk(y=24, x=28)  # weights are relative to those of a block
    xr.testing.assert_allclose(found["smooth"], fusion.smooth(blocks).compute(), atol=1e-5, rtol=0)
    assert (found["suspect"] == fusion.suspect_observations(cube, eager)).mean() > 0.9999
    expected = fusion.seasons(eager, use_numba=False)
    apart = np.abs(found["seasons"].SOSD - expected.SOSD)
    np.testing.assert_array_equal(np.isnan(apart), np.isnan(expected.SOSD))
    assert float(apart.quantile(0.99)) < 0.1


def opened(_: int) -> int:
    """Number of sessions in a worker's process."""
    return len(sessions.SESSIONS)


@pytest.mark.slow
def test_processes_give_the_same(cube, model, eager):
    with dask.config.set(scheduler="processes", num_workers=2):
        xr.testing.assert_allclose(fused(cube.chunk(y=24, x=28), model).compute(), eager, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_local_cluster_opens_one_session_per_process(cube, model, eager):
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        xr.testing.assert_allclose(fused(cube.chunk(y=24, x=28), model).compute(), eager, atol=1e-6, rtol=0)
        assert set(client.run(opened, 0).values()) == {1}


@pytest.mark.slow
def test_two_workers_from_the_command_line(cube, model, eager, tmp_path):
    from distributed import Client

    with started_cluster(tmp_path) as (address, _), Client(address) as client:
        xr.testing.assert_allclose(fused(cube.chunk(y=24, x=28), model).compute(), eager, atol=1e-6, rtol=0)
        assert set(client.run(opened, 0).values()) == {1}
