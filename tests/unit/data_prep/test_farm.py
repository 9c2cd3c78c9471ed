"""Processes of Dask that are killed, as the system does where memory ends: one sentence, and what is finished stays."""

import os
import platform
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

from data_prep.farm import WorkersLostError, run_all
from fusion.cli.app import describe
from fusion.commands import predict_regions
from fusion.commands.predict import PredictSettings, run
from tests.factory import mock_cube, write_cube

GIVEN_UP = "b was given up: {} processes were killed while they computed it, most likely for lack of memory; use fewer"


@dataclass(frozen=True)
class Named:
    name: str
    identity: str = ""


def work(task: Named) -> dict[str, Any]:
    if task.name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.fixture
def no_second_try():
    import distributed  # noqa: F401  (its own settings, before they are changed)

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        yield


@pytest.mark.usefixtures("no_second_try")
def test_a_killed_worker_is_told_in_one_sentence():
    with pytest.raises(WorkersLostError) as error:
        run_all([Named("b")], work, workers=1)
    assert str(error.value).startswith(GIVEN_UP.format(1)) and describe(error.value) == (str(error.value), 1)


@dataclass(frozen=True)
class Meeting:
    """A task that ends when ``number`` tasks have begun; the result states whether they were there in time."""

    folder: Path
    number: int

    def __call__(self, task: Named) -> dict[str, Any]:
        (self.folder / task.name).touch()
        end = time.monotonic() + 20
        while len(list(self.folder.iterdir())) < self.number and time.monotonic() < end:
            time.sleep(0.01)
        return {"met": len(list(self.folder.iterdir())) >= self.number}


def test_all_threads_of_a_cluster_work_whatever_workers_is(tmp_path):
    from distributed import LocalCluster

    met = []
    with LocalCluster(n_workers=1, threads_per_worker=5, processes=False, protocol="tcp", dashboard_address=None) as it:
        run_all(
            [Named(f"t{k}") for k in range(5)], Meeting(tmp_path, 5), workers=1, scheduler=it.scheduler_address,
            on_done=lambda task, result: met.append(result["met"]),
        )  # fmt: skip
    assert met == [True] * 5


def pages_taken_again(task: Named) -> dict[str, Any]:
    taken = []
    for _ in range(20):
        np.ones(2**17)  # 1 MiB, 256 pages
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return {"pages": taken[-1] - taken[9]}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_a_worker_keeps_freed_memory_for_its_next_array():
    pages = []
    run_all([Named("a")], pages_taken_again, workers=1, on_done=lambda task, result: pages.append(result["pages"]))
    assert pages[0] < 256  # of 10 arrays with 2,560


@pytest.mark.slow
def test_the_task_of_a_killed_worker_may_be_skipped():
    failed = run_all([Named("b")], work, workers=1, on_error="skip")
    assert [name for name, _ in failed] == ["b"]
    assert failed[0][1].startswith(GIVEN_UP.format(4))


@dataclass(frozen=True)
class KilledAtLast:
    """Fuses a region, unless it is the last one."""

    task: predict_regions.RegionFusion

    def __call__(self, region: Any) -> dict[str, Any]:
        if region.name == "32_32":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.task(region)


@pytest.mark.slow
@pytest.mark.usefixtures("no_second_try")
def test_predict_keeps_its_finished_regions(tmp_path, monkeypatch, caplog):
    file = write_cube(tmp_path / "cube.nc", mock_cube(t=14, y=64, x=64))
    settings = PredictSettings(cube=file, out=tmp_path / "dense.zarr", region=32, threads=1, workers=2)
    compute = predict_regions.compute_regions
    with monkeypatch.context() as patch:
        patch.setattr(
            predict_regions, "compute_regions",
            lambda store, labels, made_of, task, **more: compute(store, labels, made_of, KilledAtLast(task), **more),
        )  # fmt: skip
        with pytest.raises(WorkersLostError, match=r"32_32 was given up: .*use a smaller region= than 32, or fewer wo"):
            run(settings)
    kept = len(list((tmp_path / ".dense.zarr.regions" / "finished").glob("[!.]*.json")))
    assert 0 < kept < 4 and f"{kept} finished regions are kept" in caplog.text
    assert "100.0 % filled" in run(settings.model_copy(update={"workers": 1}))


@pytest.mark.slow
def test_a_scheduler_that_ends_is_told_in_one_sentence():
    code = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, processes=False, protocol="tcp", dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    address = process.stdout.readline().strip()

    def end(task: Named, result: dict[str, Any]) -> None:
        process.kill()

    with pytest.raises(WorkersLostError, match=r"the Dask scheduler ended or lost its connection; start it again"):
        run_all([Named(f"t{k}") for k in range(40)], work, workers=1, scheduler=address, on_done=end)
    process.wait()
