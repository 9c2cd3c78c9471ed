"""Drill: the graph on this machine, killed at random moments. The next run goes on with what was not finished."""

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

from fusion.inference.locate import locate_model
from tests.unit.udf.raw_scene import write_raw

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
KILLS = 4  # per format
# the command with small regions, and a line in the file `begun` for each region that it begins
COUNTED = """
import sys
from fusion.cli.app import main
from udf.local import regions

regions.REGION_PX = 16
values = regions._values

def counted(*args):
    with open("begun", "a") as file:
        file.write("region\\n")
    return values(*args)

regions._values = counted
sys.exit(main(sys.argv[1:]))
"""


def started(folder: Path, out: str, form: str) -> subprocess.Popen[bytes]:
    words = [
        "workflow", "target=local", "source=raw", "start=2019-03-01", "end=2019-04-30", "output=fused", "window_px=16",
        "overlap_px=16", f"model={folder / 'model'}", f"out={out}", f"format={form}", "workers=1", "overwrite=true",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "counted.py", *words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """Every file that has its final name."""
    files = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".yaml")
    return {str(name): (folder / name).read_bytes() for name in files if not name.parts[0].startswith(".")}


def finished(folder: Path) -> dict[str, int]:
    """Time of writing of every marker."""
    markers = (folder / "out" / ".openEO.regions" / "finished").glob("[!.]*.json")
    return {marker.name: marker.stat().st_mtime_ns for marker in markers}


def regions_begun(folder: Path) -> int:
    """Regions begun by all runs until now."""
    file = folder / "begun"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("form", ["GTiff", "NetCDF", "Zarr"])
def test_killed_at_random_moments(tmp_path: Path, form: str) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    write_raw(tmp_path / "raw")
    shutil.copytree(locate_model(), tmp_path / "model")
    assert started(tmp_path, "whole", form).wait() == 0
    whole, out, number = content(tmp_path / "whole"), tmp_path / "out", regions_begun(tmp_path)
    assert number == 9
    (tmp_path / "begun").unlink()
    rng = np.random.default_rng(0)
    kills, wholes, lost = 0, 0, 0
    known: dict[str, int] = {}
    while kills < KILLS:
        process = started(tmp_path, "out", form)
        upto = regions_begun(tmp_path) + int(rng.integers(1, 5))  # beyond the ninth: as it writes, or after its end
        while process.poll() is None and regions_begun(tmp_path) < upto:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0.0, 0.3)))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        now = finished(tmp_path)
        if out.exists() and content(out):
            assert content(out) == whole
            shutil.rmtree(out)
            wholes, now = wholes + 1, {}
        elif known and not now:  # killed between the removal of the store and the final names
            lost += 1
        else:
            assert known.items() <= now.items(), "a finished region was computed again"
        known = now
    assert started(tmp_path, "out", form).wait() == 0
    assert content(out) == whole
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == []
    again = regions_begun(tmp_path)
    log.info("%d kills, %d whole runs of %d regions, %d regions begun", kills, wholes + 1, number, again)
    assert (wholes + 1 + lost) * number <= again <= (wholes + 1 + lost) * number + kills
    assert lost <= 1
