"""The estimate of ``workflow estimate=true`` beside the CPU seconds of the same run on this machine.

``python benchmarks/bench_cost.py [sizes=200,400] [days=365,180] [output=seasons] [out=FILE.json]`` writes raw files of
each size and period, estimates, runs the graph in a process of its own on one worker, and prints both. ``graph_cpu_s``
is what :data:`udf.cost.GRAPH_CPU_S` has to be: CPU seconds per pixel and Sentinel-2 date of everything but the UDFs.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_openeo_local import START, write_scene


def run_both(request: dict) -> dict:
    """Estimate, then run the graph; CPU seconds of this process for both."""
    import dask
    import rioxarray  # noqa: F401  (the .rio accessor)

    from fusion.inference.locate import locate_model
    from udf.cost import GRAPH_CPU_S, START_CPU_S, estimate
    from udf.local_backend import execute_graph
    from udf.targets import load_target
    from udf.workflow import WorkflowOptions, build_workflow

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
    begin = time.process_time()
    with dask.config.set(scheduler="threads", num_workers=1):
        execute_graph(build_workflow(target, options), folder / "out")
    spent = time.process_time() - begin
    pixels, s2_dates = request["pixels"] ** 2, len(range(0, request["days"], 5))
    graph = START_CPU_S + GRAPH_CPU_S * pixels * s2_dates
    return {
        "pixels": request["pixels"], "days": request["days"], "output": request["output"],
        "estimated_cpu_s": round(found.cpu_s, 1), "cpu_s": round(spent, 1), "ratio": round(found.cpu_s / spent, 2),
        "graph_cpu_s": (spent - START_CPU_S - (found.cpu_s - graph)) / pixels / s2_dates,
    }  # fmt: skip


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
