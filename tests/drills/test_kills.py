"""Drill: commands killed at any moment. No broken final file, and the next run ends well and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from tests.factory import mock_cube, write_cube

ROOT = Path(__file__).parents[2]
KILLS = 6  # per command, spread over its time
COMMANDS = {
    "phenology": ["phenology", "cube=fused.nc", "out=seasons", "sigma=0.02", "overwrite=true"],
    "predict.tif": ["predict", "cube=cube.nc", "out=dense.tif", "threads=1", "overwrite=true"],
    "predict.zarr": ["predict", "cube=cube.nc", "out=dense.zarr", "threads=1", "overwrite=true"],
    "package": ["package", "out=package", "dependencies=false"],
    "export": ["export", f"checkpoint={ROOT / 'fusion' / 'pretrained' / 'generator.pt'}", "out=model"],
}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}  # of `history`


def started(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fusion", *words], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip


def content(folder: Path) -> dict[str, object]:
    """What a reader sees in every final file: values where there are some, else bytes; a broken file is an error."""
    seen: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in name.parts) or path.suffix == ".yaml":
            continue
        if path.suffix == ".nc":
            with xr.open_dataset(path) as data:
                seen[str(name)] = {str(k): v.values.tobytes() for k, v in data.data_vars.items()}
        elif path.suffix == ".tif":
            with rasterio.open(path) as data:
                seen[str(name)] = data.read().tobytes()
        else:
            seen[str(name)] = path.read_bytes()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_whole_files_and_the_next_run_cleans_up(name: str, tmp_path: Path) -> None:
    write_cube(tmp_path / "cube.nc", mock_cube(t=40, y=24, x=24))
    write_cube(tmp_path / "fused.nc", mock_cube(t=73, y=8, x=8, cloud=0.0, start="2019-01-01"))
    before = set(content(tmp_path))
    began = time.monotonic()
    process = started(COMMANDS[name], tmp_path)
    assert process.communicate()[0] is None and process.returncode == 0
    seconds, whole = time.monotonic() - began, content(tmp_path)
    assert set(whole) > before
    killed = 0
    for share in np.linspace(0.5, 1.0, KILLS):
        process = started(COMMANDS[name], tmp_path)
        time.sleep(float(share) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        found = content(tmp_path)
        assert {k: v for k, v in found.items() if whole.get(k) != v} == {}, "a final file is broken, mixed or new"
    assert killed >= 2
    process = started(COMMANDS[name], tmp_path)
    assert process.communicate()[1] is not None and process.returncode == 0
    assert content(tmp_path) == whole
    left = [p for p in tmp_path.rglob("*") if "partial" in p.name or ".old-" in p.name]
    assert left == []
