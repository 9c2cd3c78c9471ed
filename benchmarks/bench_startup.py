"""Start-up: import of the package, help and a refused setting of every command, season dates of a small cube.

``python benchmarks/bench_startup.py [--python INTERPRETER] [--runs 3]``. Each run is a process of its own; the fastest
counts, as wall clock and as CPU time of the process. ``--python`` names the interpreter of another environment, which
is then measured as it is installed, with its size on disk.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.cli.table import COMMANDS
from fusion.data.cube_files import write_cube

ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 64
MIB = 2**20


def small_cube(file: Path) -> Path:
    """A fused cube of SIDE_PX x SIDE_PX pixels, 91 dates, one season."""
    days = np.arange(np.datetime64("2018-10-01"), np.datetime64("2019-12-31"), 5)
    peak = 250.0 + np.random.default_rng(0).normal(0, 10, (SIDE_PX, SIDE_PX))
    since = (days - days[0]).astype(float)[:, None, None]
    ndvi = 0.2 + 0.6 * np.exp(-(((since - peak) / 50) ** 2))
    cube = xr.DataArray(
        np.stack([ndvi, np.full_like(ndvi, 0.03)], axis=1).astype(np.float32),
        dims=("t", "bands", "y", "x"),
        coords={
            "t": days.astype("datetime64[ns]"),
            "bands": ["NDVI", "NDVI_SIGMA"],
            "y": 5_670_000.0 - 10 * np.arange(SIDE_PX),
            "x": 600_000.0 + 10 * np.arange(SIDE_PX),
        },
    )
    return write_cube(cube.rio.write_crs("EPSG:32631"), file, title="fused NDVI")


def fastest(words: list[str], runs: int, folder: Path, path: str | None) -> dict[str, float]:
    """Wall clock and CPU seconds of the fastest of the runs."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": path} if path else {}
    walls, cpus = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode not in (0, 2):
            raise RuntimeError(f"{words}: {done.stderr}")
    return {"wall_s": round(min(walls), 2), "cpu_s": round(min(cpus), 2)}


def size_mib(folder: Path) -> dict[str, float]:
    """Size of all files below a folder, and of the compiled bytecode among them."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    compiled = sum(file.stat().st_size for file in files if file.suffix == ".pyc")
    total = sum(file.stat().st_size for file in files)
    return {"all_mib": round(total / MIB, 1), "bytecode_mib": round(compiled / MIB, 1)}


def measure(python: Path, runs: int) -> dict[str, object]:
    """Every figure of one environment."""
    own = python.resolve() == Path(sys.executable).resolve() and python.parent == Path(sys.executable).parent
    path = str(ROOT) if own else None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cube = small_cube(folder / "fused.nc")
        start = [str(python), "-m", "fusion"]
        found: dict[str, object] = {
            "python alone": fastest([str(python), "-c", "pass"], runs, folder, path),
            "import fusion": fastest([str(python), "-c", "import fusion"], runs, folder, path),
            "import fusion; fusion.fuse": fastest(
                [str(python), "-c", "import fusion; fusion.fuse"], runs, folder, path
            ),
        }
        for name in COMMANDS:
            found[f"{name} --help"] = fastest([*start, name, "--help"], runs, folder, path)
            found[f"{name} no_such=1"] = fastest([*start, name, "no_such=1"], runs, folder, path)
        seasons = [*start, "phenology", f"cube={cube}", "overwrite=true", f"out={folder / 'seasons'}"]
        fastest(seasons, 1, folder, path)  # compiles, where numba is installed
        found[f"phenology of {SIDE_PX} x {SIDE_PX} px"] = fastest(seasons, runs, folder, path)
    if not own:
        found["size of the environment"] = size_mib(python.parent.parent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter to measure")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    found = measure(options.python.absolute(), options.runs)
    for name, figures in found.items():
        print(f"{name:50s} {figures}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
