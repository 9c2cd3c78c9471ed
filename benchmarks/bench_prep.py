"""Throughput and peak memory of the preparation stages: python benchmarks/bench_prep.py [--size 256] [--dates 60].

Each stage runs in a separate process, so that peak memory is per stage. Input is synthetic (random numbers in the
encodings of real files), so the figures do not depend on the disk of an archive. Prints a table; with --out
the rows are written as JSON too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import peak_mib

STAGES = ("write raw files", "files -> raw cubes", "cloud mask gaussian", "raw cubes -> cube", "quegan filter",
          "cube -> NetCDF", "cube -> patches", "read patches")  # fmt: skip


def main() -> None:
    """Run all stages and print their time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="pixels along an axis")
    parser.add_argument("--dates", type=int, default=60, help="Sentinel-2 dates")
    parser.add_argument(
        "--memory", action="store_true", help="peak memory of `patches` on cubes of growing size instead"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--stage", choices=(*STAGES, "make region", "region"))
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(measure(arguments.stage, arguments.folder, arguments.size, arguments.dates)))
        return
    rows = memory() if arguments.memory else stages(arguments.size, arguments.dates)
    if arguments.out is not None:
        options = "--memory" if arguments.memory else f"--size {arguments.size} --dates {arguments.dates}"
        content = {"command": f"python benchmarks/bench_prep.py {options}", "cores": os.cpu_count(), "rows": rows}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def stages(size: int, dates: int) -> list[dict[str, float | str]]:
    """Run each stage in a separate process; returns one row per stage."""
    rows: list[dict[str, float | str]] = []
    print(f"{dates} dates of {size} x {size} px; one process, one thread")
    print(f"{'stage':24} {'MB':>8} {'wall s':>8} {'cpu s':>8} {'MB/s cpu':>9} {'peak MiB':>9} {'idle MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--folder", folder]
            command += ["--size", str(size), "--dates", str(dates)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            if done.returncode:
                sys.exit(done.stderr)
            figures = json.loads(done.stdout.splitlines()[-1])
            rate = figures["mb"] / max(1e-9, figures["cpu"])
            rows.append({"stage": stage, "mb_per_cpu_s": round(rate, 1), **rounded(figures)})
            print(
                f"{stage:24} {figures['mb']:8.1f} {figures['wall']:8.2f} {figures['cpu']:8.2f} {rate:9.1f} "
                f"{figures['peak']:9.0f} {figures['idle']:9.0f}",
                flush=True,
            )
    return rows


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """The figures rounded to three decimals."""
    return {name: round(value, 3) for name, value in figures.items()}


def memory() -> list[dict[str, float | str]]:
    """Peak memory of cutting patches from cubes of 256, 512 and 1024 pixels: it must not grow with the region."""
    rows: list[dict[str, float | str]] = []
    print(f"{'cube px':>8} {'MB':>8} {'patches':>8} {'cpu s':>8} {'MB/s cpu':>9} {'peak MiB':>9} {'idle MiB':>9}")
    for size in (256, 512, 1024):
        with tempfile.TemporaryDirectory() as folder:
            for stage in ("make region", "region"):  # in separate processes, so that making the cube does not count
                command = [sys.executable, __file__, "--stage", stage, "--folder", folder]
                command += ["--size", str(size), "--dates", "24"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            rows.append({"cube_px": size, "patches": (size // 64) ** 2, **rounded(figures)})
            print(
                f"{size:8} {figures['mb']:8.1f} {(size // 64) ** 2:8} {figures['cpu']:8.2f} "
                f"{figures['mb'] / figures['cpu']:9.1f} "
                f"{figures['peak']:9.0f} {figures['idle']:9.0f}",
                flush=True,
            )
    return rows


def measure(stage: str, folder: Path, size: int, dates: int) -> dict[str, float]:
    """One stage: megabytes of its input as stored or as float32 in memory, time, peak memory."""
    import dask

    sys.path.insert(0, str(Path(__file__).parents[1]))
    dask.config.set(scheduler="synchronous")
    work, mb = STAGE[stage](folder, size, dates)
    idle = peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"mb": mb, "wall": wall, "cpu": cpu, "peak": peak_mib(), "idle": idle}


def _write(folder: Path, size: int, dates: int):
    import netCDF4  # noqa: F401

    from tests.unit.data_prep.raw_files import coarse_file, gee_like

    scl = np.full((dates, size // 2, size // 2), 4, np.uint8)
    scl[::2] = 9  # every second date is fully cloudy, the others in a corner
    scl[:, : size // 8, : size // 8] = 8

    def work() -> None:
        (folder / "raw").mkdir()
        gee_like(folder / "raw", n=size, t=dates, scl=scl)
        coarse_file(folder / "raw" / "proba.nc", np.full((dates // 2, size // 30 + 4, size // 30 + 4), 145, np.uint8))

    return work, dates * size * size * (4 + 0.25 + 2) / 1e6


def _raw(folder: Path):
    from data_prep.sources.files import FilesSource

    return FilesSource(folder=folder / "raw").load()


def _files(folder: Path, size: int, dates: int):
    import data_prep.sources.files  # noqa: F401  (importing is not part of the stage)

    mb = sum(f.stat().st_size for f in (folder / "raw").iterdir()) / 1e6

    def work() -> None:
        raw = _raw(folder)
        for cube in (raw.s2, raw.s1, raw.coarse):
            cube.load()

    return work, mb


def _mask(folder: Path, size: int, dates: int):
    from data_prep.optical import OpticalSettings, cloud_mask

    s2 = _raw(folder).s2.load()
    return lambda: cloud_mask(s2, OpticalSettings()).load(), s2.SCL.size * 4 / 1e6


def _cube(folder: Path, size: int, dates: int):
    from data_prep.cube import build_cube

    raw = _raw(folder)
    mb = sum(c.nbytes for c in (raw.s2, raw.s1, raw.coarse)) / 1e6
    return lambda: build_cube(raw).load(), mb


def _quegan(folder: Path, size: int, dates: int):
    from data_prep.radar import quegan_filter, to_linear

    power = to_linear(_raw(folder).s1.VV).load()
    return lambda: quegan_filter(power, 7).load(), power.nbytes / 1e6


def _save(folder: Path, size: int, dates: int):
    from data_prep.cube import build_cube
    from fusion.data.cube_files import write_cube

    cube = build_cube(_raw(folder)).load()
    return lambda: write_cube(cube, folder / "cube.nc"), cube.nbytes / 1e6


def _cut(folder: Path, size: int, dates: int):
    from data_prep.commands.patches import PatchesSettings, run
    from data_prep.patches import CubePatches, CutSettings
    from data_prep.split import SplitSettings
    from fusion.data.cube_files import read_cube

    settings = PatchesSettings(
        source=CubePatches(cubes=(str(folder / "cube.nc"),)), out=folder / "p.zarr", workers=0,
        cut=CutSettings(min_observations=1, min_clear=0.01), split=SplitSettings(sites={"cube": "train"}),
    )  # fmt: skip
    return lambda: run(settings), read_cube(folder / "cube.nc", lazy=True).nbytes / 1e6


def _make_region(folder: Path, size: int, dates: int):
    """A merged cube of noise, written date by date."""
    import dask.array as da
    import xarray as xr

    from fusion.data.cube_files import write_cube

    level = da.random.default_rng(0).uniform(0, 1, (dates, 4, size, size), chunks=(1, 1, size, size)).astype("float32")
    coords = {
        "t": np.datetime64("2019-01-01", "ns") + np.arange(dates) * np.timedelta64(10, "D"),
        "bands": ["S2NDVI", "VV", "VH", "COARSE_NDVI"],
        "y": 5_660_000 - 10 * (np.arange(size) + 0.5),
        "x": 640_000 + 10 * (np.arange(size) + 0.5),
    }
    cube = xr.DataArray(level, dims=("t", "bands", "y", "x"), coords=coords, attrs={"s1_units": "linear"})
    import rioxarray  # noqa: F401

    return lambda: write_cube(cube.rio.write_crs("EPSG:32631"), folder / "cube.nc"), cube.nbytes / 1e6


def _read(folder: Path, size: int, dates: int):
    from fusion.data.store import PatchStore

    store = PatchStore.open(folder / "p.zarr")
    first = store[0].observations
    layers = (first.s2_ndvi, first.vv_db, first.vh_db, first.coarse_ndvi)
    return lambda: [store[i] for i in range(len(store))], sum(a.nbytes for a in layers) * len(store) / 1e6


STAGE = dict(zip(STAGES, (_write, _files, _mask, _cube, _quegan, _save, _cut, _read), strict=True))
STAGE |= {"make region": _make_region, "region": _cut}

if __name__ == "__main__":
    main()
