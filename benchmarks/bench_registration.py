"""Accuracy of measured shifts between images: python benchmarks/bench_registration.py [--pairs 20] [--out FILE].

Similar images (96 x 96 px, shifted by up to 3 px in eighths of a pixel, noise as a share of the signal), and the coarse
series against Sentinel-2 (areas of 3 and 4.8 km, shifted by up to 200 m). Prints one JSON line per case.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data_prep.coregistration import RegistrationSettings, check_registration, measure_shift
from tests.unit.data_prep.test_coregistration import FINE, countryside, shifted_pair

SHIFT = re.compile(r"lies ([-+.0-9]+) px right and ([-+.0-9]+) px down")


def like_images(noise: float, pairs: int) -> dict[str, float | int | str]:
    """Length of the error of similar images, pixels."""
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(pairs):
        rows, columns = (int(v) for v in rng.integers(-3 * FINE, 3 * FINE + 1, 2))
        a, b = (i + noise * i.std() * rng.normal(size=i.shape) for i in shifted_pair(rng, rows, columns))
        got = measure_shift(a, b)
        errors.append(np.hypot(got.rows - rows / FINE, got.columns - columns / FINE))
    case = f"like images, noise {noise:g} of the signal"
    return {"case": case, "pairs": pairs, "mean_px": round(np.mean(errors), 4), "max_px": round(np.max(errors), 4)}


def coarse_series(size: int, pairs: int) -> dict[str, float | int | str]:
    """Error of the coarse series along either axis, metres; a coarse pixel has 300 m."""
    rng = np.random.default_rng(4)
    errors: list[float] = []
    for seed in range(pairs):
        right, down = rng.uniform(-200, 200, 2)
        (line,) = check_registration(countryside(right, down, size=size, seed=seed), RegistrationSettings())
        if (found := SHIFT.search(line)) is not None:
            errors += [float(found[1]) * 10 - right, float(found[2]) * 10 - down]
    rms, worst = np.sqrt(np.mean(np.square(errors))), np.abs(errors).max()
    case = f"coarse series, area of {size / 100:g} km"
    head = {"case": case, "pairs": pairs, "measurable": len(errors) // 2}
    return {**head, "rms_m": round(float(rms), 1), "max_m": round(float(worst), 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for measure, cases in ((like_images, (0.0, 0.3, 1.0)), (coarse_series, (300, 480))):
        for case in cases:
            rows.append(measure(case, options.pairs))
            print(json.dumps(rows[-1]), flush=True)
    if options.out is not None:
        content = {"command": f"python benchmarks/bench_registration.py --pairs {options.pairs}", "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
