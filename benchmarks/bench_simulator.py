"""Speed and memory of the simulator.

    python benchmarks/bench_simulator.py [--scenes 20] [--out FILE]

Prints one JSON line per size: wall and CPU seconds per scene on one core, scenes per CPU second, megabytes of arrays
per CPU second, peak memory of the process. ``--out`` writes the lines to a JSON file.
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

SIZES = ((64, 480), (128, 475))  # pixels per side, days; 475 days are 1.3 years


def megabytes(scene: SimulatedScene) -> float:
    """Size of the arrays of a scene, MiB."""
    arrays = [v for v in (*vars(scene.observations).values(), scene.truth) if isinstance(v, np.ndarray)]
    return sum(a.nbytes for a in arrays) / 2**20


def measure(size: int, days: int, scenes: int) -> dict:
    """Seconds and megabytes per scene, after one scene to compile."""
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
        "wall_s_per_scene": round(wall / scenes, 3),
        "cpu_s_per_scene": round(cpu / scenes, 3),
        "scenes_per_cpu_s": round(scenes / cpu, 2),
        "MB_per_cpu_s": round(volume / cpu, 1),
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
