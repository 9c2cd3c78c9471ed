"""The workflow's graph on this machine through Dask: wall time and peak memory for scenes of several sizes.

``python benchmarks/bench_openeo_local.py [sizes=500,2000] [days=365] [output=seasons] [window=256] [workers=2]
[out=FILE.json]`` writes raw files of each size (cheap synthetic observations; the values do not affect the speed), runs
the graph in a separate process, and prints time and memory. Peak memory is that of the process and must not grow with
the area.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
from memory import peak_mib

ORIGIN_X, ORIGIN_Y, CRS = 600_000.0, 5_700_000.0, "EPSG:32631"
START = datetime.date(2019, 1, 1)


def write_scene(folder: Path, pixels: int, days: int) -> None:
    """s2.zarr, s1.zarr, coarse.zarr, chunked in space, written date by date in blocks that fit in memory."""
    rng = np.random.default_rng(0)
    first = np.datetime64(START)
    _write(folder / "s2.zarr", {"B04": 0.05, "B08": 0.35, "SCL": 4}, first + np.arange(0, days, 5), pixels, 10.0, rng)
    _write(folder / "s1.zarr", {"VV": -12.0, "VH": -19.0}, first + np.arange(1, days, 6), pixels, 10.0, rng)
    _write(folder / "coarse.zarr", {"NDVI": 0.6}, first + np.arange(0, days, 10), pixels // 30 + 2, 300.0, rng)


def _write(path: Path, levels: dict, dates: np.ndarray, pixels: int, pixel_m: float, rng: np.random.Generator) -> None:
    import dask.array as da
    import rioxarray  # noqa: F401  (the .rio accessor)

    axis = pixel_m * (np.arange(pixels) + 0.5)
    coords = {"t": dates.astype("datetime64[ns]"), "y": ORIGIN_Y - axis, "x": ORIGIN_X + axis}
    edge = min(pixels, 256)
    bands = {}
    for name, level in levels.items():
        kind = "uint8" if name == "SCL" else "float32"
        state = da.random.default_rng(int(rng.integers(1 << 30)))
        noise = state.random((len(dates), pixels, pixels), chunks=(len(dates), edge, edge), dtype="float32")
        cloudy = (np.arange(len(dates)) % 2 == 1)[:, None, None]  # every second date is overcast
        values = da.where(cloudy, 9, 4) + 0 * noise if name == "SCL" else level * (0.95 + 0.1 * noise)
        values = values * _growing(dates)[:, None, None] if name == "B08" else values
        bands[name] = (("t", "y", "x"), values.astype(kind))
    data = xr.Dataset(bands, coords=coords, attrs={"s1_units": "dB"} if "VV" in levels else {})
    data.rio.write_crs(CRS).to_zarr(path, mode="w")


def _growing(dates: np.ndarray) -> np.ndarray:
    """One season a year, since the time that season dates take depends on there being any; 0.2 to 1, (T,)."""
    day = (dates - dates.astype("datetime64[Y]")).astype("timedelta64[D]").astype(int)
    return np.float32(0.6 - 0.4 * np.cos(2 * np.pi * day / 365))


def run_graph(request: dict) -> dict:
    """Build and run the graph; returns seconds and memory of this process."""
    import dask
    import rioxarray  # noqa: F401  (the .rio accessor)

    from fusion.inference.locate import locate_model
    from udf.local_backend import execute_graph
    from udf.targets import load_target
    from udf.workflow import WorkflowOptions, build_workflow

    folder = Path(request["folder"])
    target = load_target("local")
    coarse = tuple(c.model_copy(update={"collection": "coarse.zarr"}) for c in target.coarse)
    changes = {"s2_collection": "s2.zarr", "scl_collection": "s2.zarr", "s1_collection": "s1.zarr", "coarse": coarse}
    options = WorkflowOptions(
        start=START, end=START + datetime.timedelta(days=request["days"] - 1), source=folder, output=request["output"],
        method="reference", window_px=request["window"], context={"model_dir": str(locate_model())},
    )  # fmt: skip
    graph = build_workflow(target.model_copy(update=changes), options)
    base = peak_mib()
    begin, cpu = time.perf_counter(), time.process_time()
    with dask.config.set(scheduler="threads", num_workers=request["workers"]):
        saved = execute_graph(graph, folder / "out")
    return {
        "pixels": request["pixels"],
        "wall_s": round(time.perf_counter() - begin, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "memory_before_mib": round(base),
        "peak_mib": round(peak_mib()),
        "output_mb": round(sum(f.stat().st_size for f in saved.files) / 1e6, 1),
    }


def main(arguments: list[str]) -> None:
    """Print one line per size."""
    given = {"sizes": "500,2000", "days": "365", "output": "seasons", "window": "256", "workers": "2"}
    given |= dict(a.split("=", 1) for a in arguments)
    found = []
    for pixels in map(int, given["sizes"].split(",")):
        with tempfile.TemporaryDirectory(prefix="ndvi-fusion-bench-") as scratch:
            write_scene(Path(scratch), pixels, int(given["days"]))
            request = {k: int(given[k]) for k in ("days", "window", "workers")}
            request |= {"folder": scratch, "pixels": pixels, "output": given["output"]}
            command = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps(request)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the graph failed: {done.stderr[-3000:]}")
            found.append(
                {**json.loads(done.stdout.splitlines()[-1]), "days": request["days"], "window": request["window"]}
            )
            print(found[-1], flush=True)
            if "out" in given:
                Path(given["out"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run_graph(json.loads(sys.argv[2]))))
    else:
        import rioxarray  # noqa: F401  (the .rio accessor)

        main(sys.argv[1:])
