"""Cost of fusion: seconds per square kilometre and year, and the matrix-product rate in the same run.

    python benchmarks/bench_fuse.py [--threads 2]

Simulated observations of one square kilometre (100 x 100 px, 10 m) over 365 days, three sensors, shipped model, 5-day
steps.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.contract import STEP_DAYS
from fusion.features.features import compute_features
from fusion.inference.locate import SHIPPED
from fusion.inference.session import load_session

REPEATS = 5


def gemm_rate() -> float:
    """GFLOP/s of a 1536 x 1536 float32 product with numpy's threads."""
    a = np.random.default_rng(0).standard_normal((1536, 1536)).astype(np.float32)
    a @ a
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 1536**3 / float(np.median(times)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    obs = simulate_observations(SceneSettings(height=100, width=100, n_days=365), seed=1).observations
    first = int(obs.s2_days[0])
    grid = first + STEP_DAYS * np.arange(73)
    session = load_session(SHIPPED, threads=arguments.threads)
    features_s, network_s = [], []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        features = compute_features(obs, grid)
        middle = time.perf_counter()
        session.run(features.stack)
        features_s.append(middle - start)
        network_s.append(time.perf_counter() - middle)
    f, n = (float(np.median(s[1:])) for s in (features_s, network_s))
    result = {
        "seconds_per_km2_year": round(f + n, 3),
        "features_s": round(f, 3),
        "network_s": round(n, 3),
        "threads": arguments.threads,
        "gemm_gflops": round(gemm_rate(), 1),
        "pixel_dates": (73 * 100 * 100),
    }
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
