"""Drill: ``predict`` by regions, killed at ten random moments. The next run goes on with what was not finished."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.factory import mock_cube, write_cube

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
KILLS = 10
SIDE, PX = 160, 32
REGIONS = (SIDE // PX) ** 2
# the command, with a line in the file `begun` for each region that this process begins
COUNTED = """
import sys
from fusion.cli.app import main
from fusion.commands import predict_regions as regions

fuse_window = regions.fuse_window

def counted(*args, **options):
    with open("begun", "a") as file:
        file.write("region\\n")
    return fuse_window(*args, **options)

regions.fuse_window = counted
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def started(folder: Path, out: str, *more: str) -> subprocess.Popen[bytes]:
    words = ["predict", "cube=cube.nc", f"out={out}", f"region={PX}", "threads=1", *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}
    return subprocess.Popen(
        [sys.executable, "counted.py", *words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def finished(folder: Path) -> dict[str, int]:
    """Time of writing of every marker."""
    markers = (folder / ".dense.zarr.regions" / "finished").glob("[!.]*.json")
    return {marker.name: marker.stat().st_mtime_ns for marker in markers}


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("workers=2",)])
def test_killed_at_ten_random_moments(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    write_cube(tmp_path / "cube.nc", mock_cube(t=14, y=SIDE, x=SIDE, seed=3))
    began = time.monotonic()
    assert started(tmp_path, "whole.zarr", *more).wait() == 0
    seconds, whole = time.monotonic() - began, content(tmp_path / "whole.zarr")
    begun, out = tmp_path / "begun", tmp_path / "dense.zarr"
    begun.unlink(missing_ok=True)
    rng = np.random.default_rng(0)
    kills, wholes = 0, 0
    known: dict[str, int] = {}
    while kills < KILLS:
        process = started(tmp_path, out.name, *more)
        time.sleep(float(rng.uniform(0.2, 1.0)) * seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        now = finished(tmp_path)
        if out.exists():  # also where the process was killed while it removed the store
            assert content(out) == whole
            shutil.rmtree(out)
            wholes, now = wholes + 1, {}
        else:
            assert known.items() <= now.items(), "a finished region was computed again"
        known = now
    assert started(tmp_path, out.name, *more).wait() == 0
    assert content(out) == whole
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    if not more:
        number = len(begun.read_text().splitlines())
        log.info("%d kills, %d whole runs of %d regions, %d regions begun", kills, wholes + 1, REGIONS, number)
        assert (wholes + 1) * REGIONS <= number <= (wholes + 1) * REGIONS + kills
