"""Speed of seasons and of the Whittaker smoother, pixels per CPU second on one core, compared with other packages.

``python benchmarks/bench_phenology.py [--pixels 32768]``. Best of several runs each, CPU time of the process, one
thread, all in one run. ``vam.whittaker`` and ``whittaker-eilers`` are measured where they are installed.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import numpy as np  # noqa: E402

from fusion.phenology.extraction import extract_seasons  # noqa: E402
from fusion.phenology.settings import SeasonSettings  # noqa: E402
from fusion.phenology.whittaker import whittaker  # noqa: E402

DAYS = np.arange(0, 365, 5)
PERIODS = np.array([[0, 364, 0]])
LAMBDA = 20.0
CLEAR = 0.6


def series(count: int) -> np.ndarray:
    """Fused series of the protocol, (pixels, dates) float32: double logistic, AR(1) errors of 0.02."""
    rng = np.random.default_rng(1)
    t = DAYS[None, :]
    t1, t2 = rng.uniform(97, 152, (count, 1)), rng.uniform(235, 290, (count, 1))
    up, down = 1 / (1 + np.exp(-(t - t1) / 10)), 1 / (1 + np.exp(-(t - t2) / 13))
    noise = rng.normal(size=(count, len(DAYS)))
    for i in range(1, len(DAYS)):
        noise[:, i] = 0.7 * noise[:, i - 1] + np.sqrt(1 - 0.49) * noise[:, i]
    return (0.2 + 0.5 * (up - down) + 0.02 * noise).astype(np.float32)


def rate(count: int, work: Callable[[], object], repeats: int) -> float:
    """Pixels per CPU second, best of the repeats after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return count / min(times)


def season_rates(count: int, repeats: int) -> dict[str, float]:
    """All 13 parameters, flags, counts and sigmas of a 5-daily year."""
    fused = series(count)
    sigma = np.full(fused.shape, 0.02, np.float32)
    obs = np.where(np.random.default_rng(2).random(fused.shape) < CLEAR, fused, np.float32(np.nan))
    numba, numpy = SeasonSettings(), SeasonSettings(use_numba=False)
    few = min(count, 4096)
    return {
        "seasons, fused series, numba": rate(
            count, lambda: extract_seasons(fused, sigma, DAYS, PERIODS, numba), repeats
        ),
        "seasons, fused series, numpy": rate(
            few, lambda: extract_seasons(fused[:few], sigma[:few], DAYS, PERIODS, numpy), 2
        ),
        "seasons, 60 % clear observations, numba": rate(
            few, lambda: extract_seasons(obs[:few], None, DAYS, PERIODS, numba), repeats
        ),
        "seasons, 60 % clear observations, numpy": rate(
            few, lambda: extract_seasons(obs[:few], None, DAYS, PERIODS, numpy), 1
        ),
    }


def whittaker_rates(count: int, repeats: int) -> dict[str, float]:
    """Weighted Whittaker, second differences, 40 % of a 5-daily year missing."""
    y = series(count).T.astype(float)
    w = (np.random.default_rng(3).random(y.shape) < CLEAR).astype(float)
    gappy = np.where(w > 0, y, np.nan)
    rates = {
        "whittaker, numba": rate(count, lambda: whittaker(gappy, lam=LAMBDA), repeats),
        "whittaker, numpy": rate(count, lambda: whittaker(gappy, lam=LAMBDA, use_numba=False), 2),
    }
    rows, weights = np.ascontiguousarray(y.T), np.ascontiguousarray(w.T)
    expected = whittaker(gappy[:, :4], lam=LAMBDA)
    few = min(count, 4096)
    try:
        ws2d = import_module("vam.whittaker").ws2d
        np.testing.assert_allclose(np.array(ws2d(rows[0], LAMBDA, weights[0])), expected[:, 0], atol=1e-6)
        rates["vam.whittaker"] = rate(few, lambda: [ws2d(rows[n], LAMBDA, weights[n]) for n in range(few)], repeats)
    except ImportError as error:
        print(f"vam.whittaker is not measured: {error}")
    try:
        smoother = import_module("whittaker_eilers").WhittakerSmoother(LAMBDA, 2, len(DAYS))
        pairs = [(list(rows[n]), list(weights[n])) for n in range(few)]

        def eilers():
            for values, mask in pairs:
                smoother.update_weights(mask)
                smoother.smooth(values)

        def eilers_equal_weights():
            for values, _ in pairs:
                smoother.smooth(values)

        rates["whittaker-eilers"] = rate(few, eilers, repeats)
        np.testing.assert_allclose(smoother.smooth(pairs[few - 1][0])[0], whittaker(
            gappy[:, few - 1], lam=LAMBDA)[0], atol=1e-6)  # fmt: skip
        rates["whittaker-eilers, one set of weights for all"] = rate(few, eilers_equal_weights, repeats)
    except ImportError as error:
        print(f"whittaker-eilers is not measured: {error}")
    return rates


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=32768)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/phenology_speed.json"))
    arguments = parser.parse_args()
    rates = season_rates(arguments.pixels, arguments.repeats) | whittaker_rates(arguments.pixels, arguments.repeats)
    load = os.getloadavg()[0]
    print(f"load of the machine while measuring: {load:.1f} on {os.cpu_count()} cores\n")
    print("| method | pixels per CPU second | speed-up of whittaker (numba) |")
    print("|---|---|---|")
    for name, value in rates.items():
        own = name.startswith(("seasons", "whittaker, "))
        gain = "" if own else f"{rates['whittaker, numba'] / value:.1f} x"
        print(f"| {name} | {value / 1000:.1f}k | {gain} |")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"load": load, "cores": os.cpu_count()} | rates, indent=1) + "\n")


if __name__ == "__main__":
    main()
