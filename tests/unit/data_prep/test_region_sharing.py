"""Several runs of one output share its regions: each is computed once, one run writes, and a killed one is replaced."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from data_prep.regions.sharing import WRITTEN_ELSEWHERE, compute_regions
from data_prep.regions.store import Region, RegionStore, store_for
from fusion.data.cube_files import CubeFileError
from tests.threads import at_once

ROOT = Path(__file__).parents[4]
PX, REGIONS = 32, 4
TEMPLATE = xr.Dataset({"NDVI": (("y", "x"), da.full((64, 64), np.nan, dtype="float32", chunks=-1))})
MADE_OF = {"cube": "a", "sigma": "ndvi"}


@dataclass
class Numbering:
    """Writes 1, 2, ... in the order in which regions are computed; ``before`` is called with each number first."""

    store: RegionStore
    before: Callable[[int], object] = lambda number: None
    computed: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, region: Region) -> dict[str, Any]:
        with self.lock:
            self.computed.append(region.name)
            number = len(self.computed)
        self.before(number)
        shape = tuple(s.stop - s.start for s in region.window)
        self.store.write(region, {"NDVI": np.full(shape, number, dtype="float32")})
        return {}


def compute(task: Numbering, save: Callable[[xr.Dataset], str] | None = None, **changed: object) -> str:
    return compute_regions(
        task.store, TEMPLATE, lambda: MADE_OF | changed, task, workers=1, scheduler=None,
        report=lambda done, total: None,
        save=save or (lambda filled: " ".join(f"{value:.0f}" for value in np.unique(filled.NDVI.values))),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> RegionStore:
    return store_for(tmp_path / "out.zarr", PX)


def test_two_runs_compute_each_region_once_and_one_writes(store, caplog):
    caplog.set_level("INFO")
    both = threading.Barrier(2)  # neither can compute the first two regions alone
    task = Numbering(store, lambda number: both.wait(20) if number <= 2 else None)
    results = at_once(lambda: compute(task), lambda: compute(task))
    assert sorted(map(str, results)) == ["1 2 3 4", WRITTEN_ELSEWHERE]
    assert len(task.computed) == len(set(task.computed)) == REGIONS
    assert "other processes compute" in caplog.text and "(1); the regions are shared" in caplog.text
    assert list(store.folder.parent.iterdir()) == []


def test_a_run_of_something_else_is_refused_and_disturbs_nothing(store):
    said = []

    def meanwhile(number: int) -> None:
        if number == 2:
            with pytest.raises(CubeFileError, match="another run is writing to .*out.zarr, with another sigma; wait"):
                compute(Numbering(store), sigma="observation")
            said.append(number)

    assert compute(Numbering(store, meanwhile)) == "1 2 3 4" and said == [2]
    assert list(store.folder.parent.iterdir()) == []


def test_a_run_that_fails_leaves_its_regions_to_the_other(store):
    both = threading.Barrier(2)

    def fail_first(number: int) -> None:
        if number <= 2:
            both.wait(20)
        if number == 1:
            raise ValueError("no")

    task = Numbering(store, fail_first)
    results = at_once(lambda: compute(task), lambda: compute(task))
    assert [str(r) for r in results if isinstance(r, ValueError)] == ["no"]
    assert "2 3 4 5" in results and len(task.computed) == REGIONS + 1
    assert list(store.folder.parent.iterdir()) == []


def test_where_the_run_that_writes_fails_the_other_writes(store):
    calls, both = [], threading.Barrier(2)

    def save(filled: xr.Dataset) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("disk full")
        return "written"

    task = Numbering(store, lambda number: both.wait(20) if number <= 2 else None)
    results = at_once(lambda: compute(task, save), lambda: compute(task, save))
    assert "written" in results and sum(isinstance(r, CubeFileError) for r in results) == 1
    assert len(task.computed) == REGIONS and list(store.folder.parent.iterdir()) == []


HOLD = """
import sys, time; from contextlib import ExitStack; from pathlib import Path; from fusion.whole_file import claimed
with ExitStack() as held:
    assert all(held.enter_context(claimed(Path(file))) for file in sys.argv[1:])
    print("held", flush=True); time.sleep(60)
"""


def test_the_region_of_a_killed_process_is_taken_over(store):
    """The process is killed when all other regions are there."""
    files = [store.folder / "members" / "other.lock", store.markers / ".0_32.lock"]
    other: list[subprocess.Popen] = []

    def meanwhile(number: int) -> None:
        if number == 1:
            words = [sys.executable, "-c", HOLD, *map(str, files)]
            other.append(subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE))
            assert other[0].stdout and other[0].stdout.readline() == b"held\n"
        if number == 3:
            assert "0_32" not in task.computed  # the fourth waits for it
            threading.Timer(0.5, os.kill, (other[0].pid, signal.SIGKILL)).start()

    task = Numbering(store, meanwhile)
    assert compute(task) == "1 2 3 4"
    assert task.computed == ["0_0", "32_0", "32_32", "0_32"]
    other[0].wait()
    assert list(store.folder.parent.iterdir()) == []
