"""Cost of fusion: seconds per square kilometre and year of the whole call, its parts, and the matrix-product rate.

    python benchmarks/bench_fuse.py [--against CHECKOUT] [--threads 2] [--rounds 5] [--out FILE]

Simulated cube of one square kilometre (100 x 100 px, 10 m), three sensors, shipped model. One year at 5-day steps
(73 dates) is requested; the cube begins 80 days earlier and ends 75 days later, which the network uses (104 dates are
computed). ``--against`` measures another checkout of this repository too, in turns with this one, each in a process of
its own: shared cores change their speed from minute to minute.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent
DAYS, FIRST_DAY, YEAR = 520, 80, 365
PARTS = ("features_s", "network_s", "whole_s", "whole_cpu_s", "gemm_gflops")


def gemm_rate() -> float:
    """GFLOP/s of a 1536 x 1536 float32 product with numpy's threads, the best of three."""
    a = np.random.default_rng(0).standard_normal((1536, 1536)).astype(np.float32)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 1536**3 / min(times) / 1e9


def serve(threads: int, answer: Path) -> None:
    """Measure once for every line on standard input; the fused values go to ``answer`` at the end."""
    import fusion
    from data_prep.simulator.scene import simulate_observations
    from data_prep.simulator.settings import SceneSettings
    from fusion.evaluation.scenes import cube_from_observations
    from fusion.features.features import compute_features
    from fusion.inference.locate import SHIPPED
    from fusion.inference.session import load_session

    obs = simulate_observations(SceneSettings(height=100, width=100, n_days=DAYS), seed=1).observations
    cube = cube_from_observations(obs)
    start = cube.t.values[0].astype("datetime64[D]") + FIRST_DAY
    grid = int(start.astype(int)) + 5 * np.arange(-16, 88)
    session = load_session(SHIPPED, threads=threads)
    fused = fusion.fuse(cube, start=start, end=start + YEAR - 1, threads=threads)
    for _ in sys.stdin:
        marks = [time.perf_counter()]
        features = compute_features(obs, grid)
        marks.append(time.perf_counter())
        session.run(features.stack)
        marks.append(time.perf_counter())
        cpu = time.process_time()
        fused = fusion.fuse(cube, start=start, end=start + YEAR - 1, threads=threads)
        cpu = time.process_time() - cpu
        marks.append(time.perf_counter())
        print(json.dumps([*np.diff(marks).tolist(), cpu, gemm_rate()]), flush=True)
    np.save(answer, fused.values)


def worker(checkout: Path, threads: int, answer: Path) -> subprocess.Popen:
    """A process that measures one checkout."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--serve",
        "--threads",
        str(threads),
        "--out",
        str(answer),
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    )


def measure(checkouts: dict[str, Path], threads: int, rounds: int, folder: Path) -> dict:
    """Medians of all rounds of every checkout, and the largest difference between their answers."""
    workers = {name: worker(path, threads, folder / f"{name}.npy") for name, path in checkouts.items()}
    rows: dict[str, list[list[float]]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, process in workers.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            rows[name].append(json.loads(process.stdout.readline()))
    for process in workers.values():
        process.communicate()
    result: dict = {"threads": threads, "rounds": rounds}
    for name in workers:
        table = np.array(rows[name])
        result[name] = {
            "median": dict(zip(PARTS, np.median(table, axis=0).round(3).tolist(), strict=True)),
            "least": dict(zip(PARTS[:-1], table.min(axis=0)[:-1].round(3).tolist(), strict=True)),
        }
    if len(workers) == 2:
        result["median_ratio"] = {
            part: round(float(np.median([a[i] / b[i] for a, b in zip(*rows.values(), strict=True)])), 3)
            for i, part in enumerate(PARTS)
        }
        answers = [np.load(folder / f"{name}.npy") for name in workers]
        result["largest_difference"] = {
            band: float(np.nanmax(np.abs(answers[0] - answers[1])[:, i]))
            for i, band in enumerate(("NDVI", "NDVI_SIGMA"))
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.threads, arguments.out)
        return
    import tempfile

    checkouts = {"this": HERE}
    if arguments.against:
        checkouts["against"] = arguments.against.resolve()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(checkouts, arguments.threads, arguments.rounds, Path(folder)), indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
