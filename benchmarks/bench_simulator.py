"""How fast scenes are made, and how much memory they take.

    python benchmarks/bench_simulator.py [--scenes 20] [--out FILE]

Prints one JSON line a size: wall and CPU seconds a scene on one core, scenes per CPU second, megabytes of arrays a
second, peak memory of the process. ``--out`` keeps the lines in a JSON file.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from memory import peak_mib

from data_prep.simulator.scene import SimulatedScene, simulate_observations
from data_prep.simulator.settings import SceneSettings

SIZES = ((64, 480), (128, 475))  # pixels a side, days; 475 days are 1.3 years


def megabytes(scene: SimulatedScene) -> float:
    """Arrays that a scene hands over."""
    arrays = [v for v in (*vars(scene.observations).values(), scene.truth) if isinstance(v, np.ndarray)]
    return sum(a.nbytes for a in arrays) / 2**20


def measure(size: int, days: int, scenes: int) -> dict:
    """Seconds and megabytes a scene, after one scene to compile."""
    settings = SceneSettings(height=size, width=size, n_days=days)
    start = time.perf_counter()
    simulate_observations(settings, 0)
    first = time.perf_counter() - start
    wall, cpu, volume = time.perf_counter(), time.process_time(), 0.0
    for seed in range(1, scenes + 1):
        volume += megabytes(simulate_observations(settings, seed))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "pixels": f"{size} x {size}",
        "days": days,
        "first_scene_s": round(first, 2),
        "wall_s_a_scene": round(wall / scenes, 3),
        "cpu_s_a_scene": round(cpu / scenes, 3),
        "scenes_a_cpu_s": round(scenes / cpu, 2),
        "MB_a_cpu_s": round(volume / cpu, 1),
        "peak_memory_MB": round(peak_mib()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for size, days in SIZES:
        rows.append(measure(size, days, options.scenes))
        print(json.dumps(rows[-1]), flush=True)
    if options.out is not None:
        command = f"python benchmarks/bench_simulator.py --scenes {options.scenes}"
        options.out.write_text(json.dumps({"command": command, "cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")
