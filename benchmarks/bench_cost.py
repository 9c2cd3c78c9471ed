"""The estimate of ``workflow estimate=true`` beside the CPU seconds of the same run on this machine.

``python benchmarks/bench_cost.py [sizes=200,400] [days=365,180] [output=seasons] [out=FILE.json]`` writes raw files of
each size and period, estimates, runs the graph in a process of its own on one worker, and prints both. Beside it stand
what :data:`udf.cost.START_CPU_S`, ``GRAPH_CPU_S`` and ``SAVE_CPU_S`` have to be, measured by parts of the same run:
building the graph, computing the merged cube alone, and writing the finished result once more.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_openeo_local import START, write_scene


def run_both(request: dict) -> dict:
    """Estimate, then run the graph; CPU seconds of this process for both."""
    import dask
    import rioxarray  # noqa: F401  (the .rio accessor)
    import xarray as xr

    from fusion.inference.locate import locate_model
    from udf.cost import estimate, loaded_dates
    from udf.local.regions import Output, cuts
    from udf.local.saving import output_folder, save_result
    from udf.local_backend import execute_graph
    from udf.targets import load_target
    from udf.workflow import WorkflowOptions, build_workflow, merged_cube

    folder = Path(request["folder"])
    target = load_target("local")
    coarse = tuple(c.model_copy(update={"collection": "coarse.zarr"}) for c in target.coarse)
    changes = {"s2_collection": "s2.zarr", "scl_collection": "s2.zarr", "s1_collection": "s1.zarr", "coarse": coarse}
    target = target.model_copy(update=changes)
    options = WorkflowOptions(
        start=START, end=START + datetime.timedelta(days=request["days"] - 1), source=folder, output=request["output"],
        context={"model_dir": str(locate_model()), "phenology": {"use_numba": False}},
    )  # fmt: skip
    found = estimate(target, options)
    with dask.config.set(scheduler="threads", num_workers=1):
        whole, spent = timed(lambda: execute_graph(build_workflow(target, options), folder / "out"))
        cube, build = timed(lambda: execute_graph(merged_cube(target, options)))
        _, merging = timed(lambda: [cube.isel(y=y, x=x).compute() for y in cuts(cube, "y") for x in cuts(cube, "x")])
        again = Output(folder / "again")
        with xr.open_dataset(whole.files[0], decode_coords="all") as result, output_folder(again):
            again.folder.mkdir()
            values = result.to_array("bands").transpose("t", "bands", "y", "x").load()
            _, saving = timed(lambda: save_result(values.chunk(), "NetCDF"))
    pixels, dates = request["pixels"] ** 2, sum(map(len, loaded_dates(target, options)))
    return {
        "pixels": request["pixels"], "days": request["days"], "output": request["output"],
        "estimated_cpu_s": round(found.cpu_s, 1), "cpu_s": round(spent, 1), "ratio": round(found.cpu_s / spent, 2),
        "start_cpu_s": round(build, 2), "graph_cpu_s": merging / pixels / dates, "save_cpu_s": saving / values.size,
    }  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` returns, and the CPU seconds of this process for it."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def main(arguments: list[str]) -> None:
    """Print one line per size and period."""
    given = {"sizes": "200,400", "days": "365,180", "output": "seasons"} | dict(a.split("=", 1) for a in arguments)
    found = []
    for pixels, days in ((int(p), int(d)) for p in given["sizes"].split(",") for d in given["days"].split(",")):
        with tempfile.TemporaryDirectory(prefix="ndvi-fusion-bench-") as scratch:
            write_scene(Path(scratch), pixels, days)
            request = {"folder": scratch, "pixels": pixels, "days": days, "output": given["output"]}
            command = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps(request)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the graph failed: {done.stderr[-3000:]}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    if "out" in given:
        Path(given["out"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run_both(json.loads(sys.argv[2]))))
    else:
        main(sys.argv[1:])
