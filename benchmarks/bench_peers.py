"""Pixels per CPU second of the fusion, beside other tools on the same simulated pixels, one thread each.

    OMP_NUM_THREADS=1 python benchmarks/bench_peers.py [--peers PYTHON ...] [--px 64] [--rounds 3] [--out FILE]

``--peers`` names interpreters of environments with numpy and ``whittaker-eilers``, ``vam.whittaker`` (built from
source, ``pip install --no-binary vam.whittaker``: its wheel asks for symbols that glibc no longer has) or ``fusets``;
what none of them has is left out and said. The tools do different things: a Whittaker smoother draws a line through
one sensor's series, MOGPR fits two sensors pixel by pixel, the fusion uses three sensors and the neighbours, and gives
a standard deviation. So the mean absolute error against the simulated truth stands beside the speed.

Sentinel-2 observations are moved to the nearest date of the 5-day grid for the smoothers (104 dates, as the fusion
computes; 73 of them are scored). MOGPR is fitted to the first ``FITTED`` pixels with ten clear observations or more.
This file is also the program of the other environments, which have nothing of this project.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STEPS, LEAD = 104, 16  # dates of the grid, and those before the year that is scored
SCORED = slice(LEAD, LEAD + 73)
LAMBDA = 10.0
FITTED = 6


def clocked(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the answer."""
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def eilers(data: Any) -> np.ndarray:
    from whittaker_eilers import WhittakerSmoother

    smoother = WhittakerSmoother(LAMBDA, 2, STEPS)
    curves = []
    for values, weights in zip(data["values"], data["weights"]):
        smoother.update_weights(list(weights))
        curves.append(smoother.smooth(list(values)))
    return np.array(curves)


def vam(data: Any) -> np.ndarray:
    from vam.whittaker import ws2d

    if not callable(ws2d):
        raise ImportError("the module vam.whittaker is a stand-in")
    return np.array([ws2d(values, LAMBDA, weights) for values, weights in zip(data["values"], data["weights"])])


def mogpr(data: Any) -> np.ndarray:
    from fusets.mogpr import mogpr_1D

    curves = np.full((len(data["values"]), STEPS), np.nan)
    for k in data["fitted"]:
        seen = [np.isfinite(data[name][:, k]) for name in ("s2", "s1")]
        values = np.array([data[name][mask, k] for name, mask in zip(("s2", "s1"), seen)], object)
        days = np.array([data[name][mask] for name, mask in zip(("s2_days", "s1_days"), seen)], object)
        curves[k] = mogpr_1D(values, days, 0, data["grid"].astype(float), 1)[0][0].ravel()
    return curves


PEERS: dict[str, Callable[[Any], np.ndarray]] = {
    "whittaker-eilers": eilers,
    "vam.whittaker": vam,
    "fusets MOGPR": mogpr,
}


def serve(file: Path) -> None:
    """Every tool that is installed here: smoothers once to warm up, then all for every line on standard input."""
    data = dict(np.load(file, allow_pickle=False))
    tools, missing = {}, {}
    for name, tool in PEERS.items():
        few = data | {"values": data["values"][:2], "weights": data["weights"][:2], "fitted": data["fitted"][:0]}
        try:
            tool(few)
            tools[name] = tool
        except ImportError as error:
            missing[name] = str(error)
    print(json.dumps(missing), flush=True)
    for _ in sys.stdin:
        answers = {}
        for name, tool in tools.items():
            seconds, curves = clocked(lambda tool=tool: tool(data))
            answers[name] = [seconds, np.abs(curves[:, SCORED] - data["truth"]).mean(axis=1).tolist()]
        print(json.dumps(answers), flush=True)


def scene(px: int) -> tuple[Any, dict[str, np.ndarray]]:
    """A simulated cube of three sensors, and the same pixels as plain arrays (pixel, date) for the other tools."""
    from data_prep.simulator.scene import simulate_observations
    from data_prep.simulator.settings import SceneSettings
    from fusion.evaluation.scenes import cube_from_observations

    simulated = simulate_observations(SceneSettings(height=px, width=px, n_days=5 * STEPS), seed=1)
    obs, grid = simulated.observations, int(simulated.truth_days[0]) + 5 * np.arange(STEPS)
    values, weights = np.zeros((px * px, STEPS)), np.zeros((px * px, STEPS))
    for day, image in zip(obs.s2_days, obs.s2_ndvi, strict=True):
        clear, step = np.isfinite(image.ravel()), min((day - grid[0] + 2) // 5, STEPS - 1)
        values[clear, step], weights[clear, step] = image.ravel()[clear], 1.0
    vv, vh = (10 ** (band / 10) for band in (obs.vv_db, obs.vh_db))
    data = {
        "values": values, "weights": weights, "grid": grid, "s2_days": obs.s2_days.astype(float),
        "s1_days": obs.s1_days.astype(float), "s2": obs.s2_ndvi.reshape(len(obs.s2_days), -1).astype(float),
        "s1": (4 * vh / (vv + vh)).reshape(len(obs.s1_days), -1).astype(float),
        "truth": simulated.truth[5 * np.arange(STEPS)].reshape(STEPS, -1).T[:, SCORED],
    }  # fmt: skip
    data["fitted"] = np.flatnonzero(np.isfinite(data["s2"]).sum(axis=0) >= 10)[:FITTED]
    return cube_from_observations(obs), data


def ours(cube: Any, data: dict[str, np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    """The whole call of ``fusion.fuse``, and this project's own Whittaker smoother; curves (pixel, date)."""
    import fusion
    from fusion.phenology.smoothers import whittaker

    first, last = (str(np.datetime64(int(data["grid"][SCORED][k]), "D")) for k in (0, -1))
    gappy = np.where(data["weights"] > 0, data["values"], np.nan).T

    def fused() -> np.ndarray:
        ndvi = fusion.fuse(cube, start=first, end=last, threads=1).sel(bands="NDVI").values
        return ndvi.reshape(len(ndvi), -1).T

    return {"fusion.fuse": fused, "whittaker of this project": lambda: whittaker(gappy, lam=LAMBDA).T[:, SCORED]}


def measure(px: int, rounds: int, peers: list[str]) -> dict[str, Any]:
    """Least CPU seconds of all rounds, tools in turns, and mean absolute errors."""
    cube, data = scene(px)
    own = ours(cube, data)
    for call in own.values():
        call()  # compiles and loads
    found: dict[str, tuple[float, np.ndarray]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.npz"
        np.savez(file, **data)
        workers = [
            subprocess.Popen([python, str(Path(__file__).resolve()), "--serve", str(file)], text=True, cwd=folder,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONSAFEPATH": "1"})
            for python in peers
        ]  # fmt: skip
        for worker in workers:
            missing |= json.loads(worker.stdout.readline())  # type: ignore[union-attr]
        for _ in range(rounds):
            answers = {}
            for name, call in own.items():
                seconds, curves = clocked(call)
                answers[name] = [seconds, np.abs(curves - data["truth"]).mean(axis=1)]
            for worker in workers:
                worker.stdin.write("\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
                answers |= json.loads(worker.stdout.readline())  # type: ignore[union-attr]
            for name, (seconds, errors) in answers.items():
                least = min(seconds, found[name][0]) if name in found else seconds
                found[name] = (least, np.array(errors, float))
        for worker in workers:
            worker.communicate()
    fitted = data["fitted"]
    rows = {}
    for name, (seconds, errors) in found.items():
        pixels = int(np.isfinite(errors).sum())
        rows[name] = {
            "pixels": pixels, "cpu_s": round(seconds, 4), "pixels_per_cpu_s": round(pixels / seconds, 2),
            "mae": round(float(np.nanmean(errors)), 4), "mae_of_fitted": round(float(errors[fitted].mean()), 4),
        }  # fmt: skip
    return {"px": px, "rounds": rounds, "fitted": len(fitted), "tools": rows,
            "not_installed": {name: why for name, why in missing.items() if name not in rows}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="*", default=[], help="interpreters of environments with other tools")
    parser.add_argument("--px", type=int, default=64, help="side of the scene")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    found = measure(options.px, options.rounds, options.peers)
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
