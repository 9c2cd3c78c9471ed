"""``ndvi-fusion predict``, and ``phenology`` after it, on squares of several sizes: time, and peak memory.

``python benchmarks/bench_predict.py [sizes=500,1000] [workers=2] [days=365] [region=512] [phenology=true]
[out=FILE.json]`` writes a merged Zarr cube of each size (one season and noise, which does not affect the speed), three
sensors, and fuses one year of it; with ``phenology=true`` the seasons of the fused cube follow, with all files of the
command's defaults. Memory is the sum of the proportional set sizes (PSS) of all processes of a command, sampled five
times a second.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from fusion.contract import COARSE_NDVI, DIMS, S2NDVI, VH, VV
from fusion.data.cube_files import write_cube

LEVELS = {
    S2NDVI: (0.6, 0.05, 5),
    VV: (-12.0, 2.0, 6),
    VH: (-19.0, 2.0, 6),
    COARSE_NDVI: (0.6, 0.05, 10),
}  # every n days
CHUNK_PX = 256
NDVI_BANDS = (S2NDVI, COARSE_NDVI)


def write_input(path: Path, px: int, days: int) -> int:
    """A merged cube; Sentinel-2 is overcast on every second date. Returns the number of its dates."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    dates = np.array([d for d in range(days) if any(d % n == 0 for _, _, n in LEVELS.values())])
    chunks = (1, CHUNK_PX, CHUNK_PX)
    bands = []
    for k, (name, (level, spread, every)) in enumerate(LEVELS.items()):
        seen = dates % (2 * every if name == S2NDVI else every) == 0
        noise = da.random.default_rng(k).random((len(dates), px, px), chunks=chunks, dtype="float32")
        season = 0.5 * np.exp(-(((dates - 190) / 55.0) ** 2)) - 0.3 if name in NDVI_BANDS else np.zeros(len(dates))
        values = da.where(seen[:, None, None], season[:, None, None] + level + spread * (noise - 0.5), np.nan)
        bands.append(values.astype("float32").rechunk((16, CHUNK_PX, CHUNK_PX)))
    axis = 10.0 * (np.arange(px) + 0.5)
    times = (np.datetime64("2019-01-01") + dates).astype("datetime64[ns]")
    coords = {"t": times, "bands": list(LEVELS), "y": 5_700_000.0 - axis, "x": 600_000.0 + axis}
    cube = xr.DataArray(da.stack(bands, axis=1), coords, DIMS, attrs={"s1_units": "dB"}).rio.write_crs("EPSG:32631")
    write_cube(cube, path)
    return len(dates)


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory (MiB) of a command with all processes below it."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen(command, cwd=folder)
    while process.poll() is None:
        peak = max(peak, sum(pss_mib(pid) for pid in family(process.pid)))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.monotonic() - began, "cpu_seconds": cpu, "peak_mib": peak}


def measured_command(name: str, words: list[str], folder: Path, px: int) -> dict[str, float]:
    """The figures of a command of the package, also per km2 of a square of ``px`` pixels of 10 m."""
    figures = measured([sys.executable, "-m", "fusion", name, *words], folder)
    per_km2 = {f"{key}_per_km2": figures[key] / (px / 100) ** 2 for key in ("seconds", "cpu_seconds")}
    return {key: round(value, 3) for key, value in (figures | per_km2).items()}


def family(pid: int) -> list[int]:
    """The process and all that it or its children started."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]  # by thread that started
    except OSError:
        return []
    return [pid, *(other for child in " ".join(lists).split() for other in family(int(child)))]


def pss_mib(pid: int) -> float:
    """Memory of a process, MiB, its share of common pages; 0 where it has ended."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    sizes = [int(px) for px in given.get("sizes", "500,1000").split(",")]
    rows = []
    for px in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            dates = write_input(folder / "cube.zarr", px, int(given.get("days", 365)))
            shared = [f"workers={given.get('workers', 2)}"] + [f"region={given['region']}"] * ("region" in given)
            row = {"px": px, "dates": dates, "words": " ".join(shared)}
            row |= measured_command("predict", ["cube=cube.zarr", "out=ndvi.zarr", *shared], folder, px)
            if given.get("phenology") == "true":
                row["phenology"] = measured_command("phenology", ["cube=ndvi.zarr", "out=seasons", *shared], folder, px)
            print(json.dumps(row), flush=True)
            rows.append(row)
    if "out" in given:
        Path(given["out"]).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
