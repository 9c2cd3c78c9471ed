"""Time and memory of a municipality: 5,000 fields, 73 dates, from a Zarr cube of 1,000 x 1,000 pixels (100 km2).

    python benchmarks/bench_fields.py [--fields 5000] [--side 1000] [--seasons] [--out FILE]
    python benchmarks/bench_fields.py --points 200

Random cube with NDVI and NDVI_SIGMA, chunks of 256 pixels, and rotated rectangular fields. The cube is
written before the clock starts; peak memory is that of a process of its own, less what it holds after the imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.data.cube_files import read_cube, write_cube

DATES, CHUNK_PX = 73, 256
WEST, NORTH, CRS = 640_000.0, 5_660_000.0, "EPSG:32631"


def write_random_cube(file: Path, side: int) -> None:
    """A random fused cube, one season per pixel."""
    shape, chunks = (DATES, side, side), (DATES, CHUNK_PX, CHUNK_PX)
    curve = 0.2 + 0.6 * np.exp(-(((np.arange(DATES) - 35) / 12) ** 2))
    ndvi = da.random.default_rng(0).normal(0, 0.03, shape, chunks=chunks) + curve[:, None, None]
    axis = np.arange(side) * 10 + 5.0
    coords = {
        "t": np.datetime64("2020-01-01", "ns") + np.arange(DATES) * np.timedelta64(5, "D"),
        "bands": ["NDVI", "NDVI_SIGMA"], "y": NORTH - axis, "x": WEST + axis,
    }  # fmt: skip
    values = da.stack([ndvi, da.full(shape, 0.05, chunks=chunks)], axis=1).astype(np.float32)
    cube = xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords)
    write_cube(cube.rio.write_crs(CRS), file)


def write_fields(file: Path, count: int, side: int) -> None:
    """Rotated rectangles on a grid of cells, in longitude and latitude."""
    import geopandas as gpd
    import shapely
    from shapely.affinity import rotate

    rng = np.random.default_rng(1)
    per_side = int(np.ceil(count**0.5))
    cell = side * 10 / per_side
    polygons = []
    for k in range(count):
        x, y = WEST + (k % per_side + 0.5) * cell, NORTH - (k // per_side + 0.5) * cell
        half = cell * rng.uniform(0.25, 0.42, 2)
        box = shapely.box(x - half[0], y - half[1], x + half[0], y + half[1])
        polygons.append(rotate(box, rng.uniform(0, 90)))
    gpd.GeoDataFrame({"id": np.arange(count)}, geometry=polygons, crs=CRS).to_crs(4326).to_parquet(file)


def measure(folder: Path, seasons: bool) -> dict:
    """Seconds and MiB of one run; prints JSON for the process that started it."""
    import exactextract  # noqa: F401
    import geopandas  # noqa: F401

    import fusion
    from benchmarks.memory import peak_mib
    from fusion.phenology.season_table import season_table

    _ = fusion.field_series
    cube = read_cube(folder / "cube.zarr", lazy=True)
    before, start, busy = peak_mib(), time.perf_counter(), time.process_time()
    series = fusion.field_series(cube, folder / "fields.parquet")
    cpu = time.process_time() - busy
    middle, held = time.perf_counter(), peak_mib()
    result = {
        "fields": series.sizes["field"], "dates": series.sizes["t"], "cube_mib": round(cube.nbytes / 2**20),
        "means_s": round(middle - start, 1), "means_cpu_s": round(cpu, 1),
        "peak_mib": round(held), "after_imports_mib": round(before),
        "values": int(np.isfinite(series.sel(bands="NDVI").values).sum()),
    }  # fmt: skip
    if seasons:
        result["rows"] = len(season_table(fusion.seasons(series)))
        result["seasons_s"] = round(time.perf_counter() - middle, 1)
        result["peak_with_seasons_mib"] = round(peak_mib())
    return result


def measure_points(count: int) -> dict:
    """Seconds per point of the fusion of a table, 73 dates with NDVI and radar."""
    import fusion

    rng = np.random.default_rng(2)
    values = rng.uniform(0.2, 0.8, (DATES, 3, count)).astype(np.float32)
    values[:, 1:] = rng.normal(-14, 2, (DATES, 2, count))
    t = np.datetime64("2020-01-01", "ns") + np.arange(DATES) * np.timedelta64(5, "D")
    coords = {"t": t, "bands": ["S2NDVI", "VV", "VH"], "field": np.arange(count)}
    points = xr.DataArray(values, dims=("t", "bands", "field"), coords=coords, attrs={"s1_units": "dB"})
    fusion.fuse(points.isel(field=[0]), start="2020", end="2020")
    start, busy = time.perf_counter(), time.process_time()
    fusion.fuse(points, start="2020", end="2020", threads=1)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    return {"points": count, "ms_per_point": round(1e3 * seconds / count, 1), "cpu_ms": round(1e3 * cpu / count, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=5000)
    parser.add_argument("--side", type=int, default=1000, help="of the cube, pixels")
    parser.add_argument("--seasons", action="store_true", help="also the season dates of all fields")
    parser.add_argument("--points", type=int, help="instead: fusion of a table of so many points")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.seasons)))
        return
    if arguments.points:
        print(json.dumps(measure_points(arguments.points)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_random_cube(Path(folder, "cube.zarr"), arguments.side)
        write_fields(Path(folder, "fields.parquet"), arguments.fields, arguments.side)
        command = [sys.executable, "-m", "benchmarks.bench_fields", "--measure", folder]
        text = subprocess.run(
            command + ["--seasons"] * arguments.seasons, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    result = json.loads(text.splitlines()[-1])
    print(json.dumps(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
