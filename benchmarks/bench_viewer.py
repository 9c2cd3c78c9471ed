"""The viewer on a large Zarr: time and memory of opening, of a map, of a zoomed map and of a click.

``python benchmarks/bench_viewer.py [--px 2000] [--dates 73]`` writes a fused cube of random NDVI to a temporary folder.
"""

import argparse
import tempfile
import time
from pathlib import Path

import dask.array
import numpy as np
import psutil
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA
from fusion.data.cube_files import write_cube


def write(path: Path, px: int, dates: int) -> None:
    """A fused cube of random values, in the chunks that `predict` writes at this size."""
    rng = dask.array.random.default_rng(0)
    values = rng.uniform(0.1, 0.9, (dates, 2, px, px), chunks=(16, 1, 256, 256)).astype(np.float32)
    coords = {
        "t": np.datetime64("2019-01-01", "ns") + np.arange(dates) * np.timedelta64(5, "D"),
        "bands": [NDVI, NDVI_SIGMA],
        "y": 5_600_000.0 - 10 * np.arange(px),
        "x": 500_000.0 + 10 * np.arange(px),
    }
    write_cube(xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords).rio.write_crs("EPSG:32631"), path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--px", type=int, default=2000)
    parser.add_argument("--dates", type=int, default=73)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ndvi.zarr"
        write(path, options.px, options.dates)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        print(f"{options.px} x {options.px} px, {options.dates} dates, {size / 2**20:.0f} MiB on disk")
        from fusion.viewer.app import Viewer
        from fusion.viewer.layers import open_content

        process = psutil.Process()
        before = process.memory_info().rss
        opened: list = []
        steps = {
            "open, first map and first click": lambda: opened.append(Viewer(open_content(path))),
            "next date": lambda: setattr(opened[0].date, "value", opened[0].date.options[3]),
            "zoom to 200 x 200 px": lambda: opened[0].zoom((502_000.0, 5_596_000.0, 504_000.0, 5_598_000.0)),
            "click": lambda: opened[0].tap(510_000.0, 5_590_000.0),
        }
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            seconds, more = time.perf_counter() - begin, (process.memory_info().rss - before) / 2**20
            print(f"{name}: {seconds:.2f} s, {more:.0f} MiB above the start")


if __name__ == "__main__":
    main()
