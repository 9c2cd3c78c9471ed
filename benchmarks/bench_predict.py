"""``ndvi-fusion predict``, and ``phenology`` after it, or ``cube``, on squares of several sizes: time, peak memory.

``python benchmarks/bench_predict.py [sizes=500,1000] [workers=2] [days=365] [region=512] [phenology=true|alone]
[raw=true] [cube=true] [out=FILE.json]`` writes a merged Zarr cube of each size (one season and noise, which does not
affect the speed), three sensors, and fuses one year of it. ``raw=true`` writes a folder of raw files instead, which are
prepared region by region; ``cube=true`` gives such a folder to ``cube`` instead (``region=`` above the size: all at
once). ``phenology=true`` takes the seasons of the fused cube, with all files of the command's defaults;
``phenology=alone`` those of a cube with the bands of a fused one. Memory is the sum of the proportional set sizes (PSS)
of all processes of a command, sampled five times a second.
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

from fusion.contract import COARSE_NDVI, DIMS, NDVI, NDVI_SIGMA, S2NDVI, VH, VV
from fusion.data.cube_files import write_cube

LEVELS = {
    S2NDVI: (0.6, 0.05, 5),
    VV: (-12.0, 2.0, 6),
    VH: (-19.0, 2.0, 6),
    COARSE_NDVI: (0.6, 0.05, 10),
}  # every n days
CHUNK_PX = 256
RAW = {  # band, lowest and highest number, type
    "s2": [("B04", 300, 900, "uint16"), ("B08", 2000, 5000, "uint16"), ("SCL", 4, 6, "uint8")],
    "s1": [("VV", -1500, -900, "int16"), ("VH", -2200, -1600, "int16")],
    "coarse": [("NDVI", 120, 200, "uint8")],
}
NDVI_BANDS = (S2NDVI, COARSE_NDVI)


def write_input(path: Path, px: int, days: int) -> int:
    """A merged cube; Sentinel-2 is overcast on every second date. Returns the number of its dates."""
    dates = np.array([d for d in range(days) if any(d % n == 0 for _, _, n in LEVELS.values())])
    bands = {}
    for k, (name, (level, spread, every)) in enumerate(LEVELS.items()):
        seen = dates % (2 * every if name == S2NDVI else every) == 0
        values = level + (season(dates) if name in NDVI_BANDS else 0.0) + spread * (noise(k, len(dates), px) - 0.5)
        bands[name] = da.where(seen[:, None, None], values, np.nan)
    write_bands(path, bands, dates)
    return len(dates)


def write_raw(folder: Path, px: int, days: int) -> int:
    """Raw files, one a sensor, as archives store them. Returns the number of Sentinel-2 dates."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    folder.mkdir()
    rng = np.random.default_rng(0)
    sides = {"s2": (10.0, px), "s1": (10.0, px), "coarse": (300.0, px // 30 + 2)}
    for name, (pixel, side) in sides.items():
        dates = np.arange(0, days, {"s2": 5, "s1": 6, "coarse": 10}[name])
        axis = pixel * (np.arange(side) + 0.5)
        times = (np.datetime64("2019-01-01") + dates).astype("datetime64[ns]")
        coords = {"t": times, "y": 5_700_000.0 - axis, "x": 600_000.0 + axis}
        bands = {}
        for band, low, high, kind in RAW[name]:
            values = rng.integers(low, high, (len(dates), side, side), dtype="int32").astype(kind)
            if band == "SCL":
                values[:, : side // 3, : side // 3] = 9
            scale = {"scale_factor": 0.01} if name == "s1" else {}
            bands[band] = (("t", "y", "x"), values, scale)
        made = xr.Dataset(bands, coords, {"s1_units": "dB"}).rio.write_crs("EPSG:32631")
        chunked = {b: {"chunksizes": (1, min(side, 512), min(side, 512)), "zlib": True, "complevel": 1} for b in bands}
        made.to_netcdf(folder / f"{name}.nc", encoding=chunked)
    return len(range(0, days, 5))


def write_fused(path: Path, px: int, days: int) -> int:
    """A cube with the bands of a fused one, a date every 5 days. Returns the number of its dates."""
    dates = np.arange(0, days, 5)
    ndvi = 0.6 + season(dates) + 0.05 * (noise(0, len(dates), px) - 0.5)
    write_bands(path, {NDVI: ndvi, NDVI_SIGMA: 0.03 + 0.01 * noise(1, len(dates), px)}, dates)
    return len(dates)


def season(dates: np.ndarray) -> np.ndarray:
    """One season of NDVI, highest in July, (t, 1, 1)."""
    return (0.5 * np.exp(-(((dates - 190) / 55.0) ** 2)) - 0.3)[:, None, None]


def noise(seed: int, dates: int, px: int) -> da.Array:
    return da.random.default_rng(seed).random((dates, px, px), chunks=(1, CHUNK_PX, CHUNK_PX), dtype="float32")


def write_bands(path: Path, bands: dict[str, da.Array], dates: np.ndarray) -> None:
    import rioxarray  # noqa: F401  (the .rio accessor)

    layers = [band.astype("float32").rechunk((16, CHUNK_PX, CHUNK_PX)) for band in bands.values()]
    axis = 10.0 * (np.arange(layers[0].shape[-1]) + 0.5)
    times = (np.datetime64("2019-01-01") + dates).astype("datetime64[ns]")
    coords = {"t": times, "bands": list(bands), "y": 5_700_000.0 - axis, "x": 600_000.0 + axis}
    cube = xr.DataArray(da.stack(layers, axis=1), coords, DIMS, attrs={"s1_units": "dB"}).rio.write_crs("EPSG:32631")
    write_cube(cube, path)


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
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            days, phenology = int(given.get("days", 365)), given.get("phenology")
            shared = [f"workers={given.get('workers', 2)}"]
            if "region" in given:
                shared.append(f"region={given['region']}")
            row = {"px": px, "words": " ".join(shared)}
            if phenology == "alone":
                row["dates"] = write_fused(folder / "ndvi.zarr", px, days)
            elif given.get("cube") == "true":
                row["dates"] = write_raw(folder / "raw", px, days)
                row["cube"] = measured_command("cube", ["input=raw", "out=cube.zarr", *shared], folder, px)
            else:
                name, write = ("raw", write_raw) if given.get("raw") == "true" else ("cube.zarr", write_input)
                row["dates"] = write(folder / name, px, days)
                row["predict"] = measured_command("predict", [f"cube={name}", "out=ndvi.zarr", *shared], folder, px)
            if phenology in ("true", "alone"):
                row["phenology"] = measured_command("phenology", ["cube=ndvi.zarr", "out=seasons", *shared], folder, px)
            print(json.dumps(row), flush=True)
            rows.append(row)
    if "out" in given:
        Path(given["out"]).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
