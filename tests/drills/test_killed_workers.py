"""One of two workers of a Dask cluster is killed in the midst: the other computes the rest, the answer is the same."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.data.cube_files import read_cube, write_cube
from fusion.inference.session import SESSIONS
from tests.cluster import ROOT, started_cluster
from tests.factory import mock_cube

pytestmark = pytest.mark.slow
PX = 32


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cube = mock_cube(t=60, y=96, x=96, cloud=0.3, start="2019-01-01")
    return write_cube(cube, tmp_path_factory.mktemp("cube") / "cube.zarr")


def command(words: list[str], folder: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "fusion", *words], cwd=folder, env=environment)


def sessions() -> int:
    return len(SESSIONS)


@pytest.mark.parametrize(
    "words, store, result",
    [
        (["predict"], ".out.zarr.regions", "out.zarr"),
        (["phenology", "maps=false"], ".out.zarr.regions", "out.zarr/seasons.nc"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_regions(file: Path, tmp_path: Path, words: list[str], store: str, result: str) -> None:
    words = [*words, f"cube={file}", f"region={PX}"]
    (tmp_path / "alone").mkdir()
    assert command([*words, "out=out.zarr"], tmp_path / "alone").wait() == 0
    with started_cluster(tmp_path) as (address, workers):
        process = command([*words, "out=out.zarr", f"scheduler={address}"], tmp_path)
        while process.poll() is None and not list((tmp_path / store).glob("finished/[!.]*.json")):
            time.sleep(0.002)
        workers[0].kill()
        assert process.poll() is None and process.wait() == 0
    found, expected = (
        xr.open_dataset(folder / result, **({} if result.endswith(".nc") else {"engine": "zarr"})).load()
        for folder in (tmp_path, tmp_path / "alone")
    )
    xr.testing.assert_equal(found, expected)


def test_a_lazy_cube(file: Path, tmp_path: Path) -> None:
    from distributed import Client

    cube = read_cube(file)
    with started_cluster(tmp_path) as (address, workers), Client(address) as client:
        lazy = fusion.fuse(cube.chunk(y=PX, x=PX)).data.persist()
        parts = client.futures_of(lazy)
        while not any(part.done() for part in parts):
            time.sleep(0.002)
        workers[0].kill()
        found = lazy.compute()
        assert list(client.run(sessions).values()) == [1]
    np.testing.assert_allclose(found, fusion.fuse(cube).values, atol=1e-6, rtol=0)
