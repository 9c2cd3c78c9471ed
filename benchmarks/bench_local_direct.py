"""``workflow target=local`` beside the direct way, in turns, on the same raw simulated files.

``python benchmarks/bench_local_direct.py [sizes=256,512] [days=365] [repeats=1] [out=FILE.json]`` simulates a scene of
each size (16 months), then runs, each command in a process of its own, start-up included:

- fused: ``workflow output=fused`` against ``cube`` and ``predict``;
- seasons: ``workflow output=seasons`` against ``cube``, ``predict`` (with the lead of the graph) and ``phenology``.

CPU seconds and peak memory are those that the system counts for these processes. ``ratio_cpu`` is graph over direct,
the least of the repeats each.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from udf.settings import LEAD_DAYS

START_DAY = 130  # of the scene; what lies before is loaded as lead and margin


def run(*words: str) -> dict[str, float]:
    """One command in a process of its own: CPU and wall seconds, peak MiB."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "fusion", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    text = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{words[0]} failed: {text.decode()[-2000:]}")
    wall = time.perf_counter() - begin
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall, "peak_mib": usage.ru_maxrss / 1024}


def together(parts: list[dict[str, float]]) -> dict[str, float]:
    """Commands one after another: sums of seconds, the largest peak."""
    total = {name: round(sum(p[name] for p in parts), 1) for name in ("cpu_s", "wall_s")}
    return {**total, "peak_mib": round(max(p["peak_mib"] for p in parts))}


def both_ways(folder: Path, output: str, days: int) -> dict[str, dict[str, float]]:
    """One turn: the graph, then the direct way."""
    first = datetime.date.fromisoformat((folder / "first").read_text())
    start = first + datetime.timedelta(days=START_DAY)
    end = start + datetime.timedelta(days=days - 1)
    period = (f"start={start}", f"end={end}")
    graph = run("workflow", "target=local", f"source={folder / 'scene'}", f"output={output}", *period,
                f"out={folder / output}", "overwrite=true")  # fmt: skip
    lead = 0 if output == "fused" else -(-LEAD_DAYS // 5) * 5
    parts = [
        run("cube", f"input={folder / 'scene'}", f"out={folder / 'cube.nc'}", "overwrite=true"),
        run("predict", f"cube={folder / 'cube.nc'}", f"start={start - datetime.timedelta(days=lead)}", f"end={end}",
            f"out={folder / 'fused.nc'}", "overwrite=true"),
    ]  # fmt: skip
    if output == "seasons":
        parts.append(run("phenology", f"cube={folder / 'fused.nc'}", f"out={folder / 'maps'}", "maps=false",
                         "geotiff=false", "overwrite=true"))  # fmt: skip
    return {"graph": together([graph]), "direct": together(parts)}


def main(arguments: list[str]) -> None:
    """Print one line per size and output."""
    given = {"sizes": "256,512", "days": "365", "repeats": "1", "outputs": "fused,seasons"}
    given |= dict(a.split("=", 1) for a in arguments)
    found = []
    for pixels in map(int, given["sizes"].split(",")):
        with tempfile.TemporaryDirectory(prefix="ndvi-fusion-bench-") as scratch:
            folder, days = Path(scratch), int(given["days"])
            run("simulate", f"out={folder / 'scene'}", f"scene.height={pixels}", f"scene.width={pixels}",
                f"scene.n_days={days + 180}", "seed=3")  # fmt: skip
            first = min((folder / "scene").glob("s1.nc"))
            import xarray as xr

            with xr.open_dataset(first) as radar:
                (folder / "first").write_text(str(radar.t.values[0])[:10])
            for output in given["outputs"].split(","):
                turns = [both_ways(folder, output, days) for _ in range(int(given["repeats"]))]
                best = {way: min((t[way] for t in turns), key=lambda p: p["cpu_s"]) for way in ("graph", "direct")}
                ratio = {f"ratio_{k}": round(best["graph"][k] / best["direct"][k], 2) for k in best["graph"]}
                found.append({"pixels": pixels, "days": days, "output": output, **best, **ratio})
                print(json.dumps(found[-1]), flush=True)
                if "out" in given:
                    Path(given["out"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
