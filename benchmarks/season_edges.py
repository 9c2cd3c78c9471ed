"""Season dates of series that begin or end within the season: share of dates wrong by more than three sigma.

``python benchmarks/season_edges.py`` prints a table and writes ``benchmarks/results/season_edges.json``.

Truth: 512 simulated pixels of two kinds over three years, dates read from the noise-free curve of all three years
(SOS 25 %, EOS 15 % of the amplitude above the mean of both minima). ``summer``: the double logistic of
``phenology_protocol.py``, with minima that differ from year to year (standard deviation 0.05 NDVI). ``winter``:
a cereal that emerges in autumn, stays on a shelf in winter, and grows on in spring. Inputs: fused = AR(1) errors with
their sigma; Sentinel-2 = clouds and noise without a sigma. A date counts where it is given for the season of the true
maximum.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.phenology_protocol import as_cube, autocorrelated, cloudy_observations, draw_pixels, true_dates
from fusion.phenology.seasons import seasons

COUNT = 512
FIRST, LAST, STEP = -365, 730, 5  # days since 1 January of the season's year
BEGINS = (-60, 0, 30, 60, 90, 110, 130, 150, 170)
ENDS = (190, 210, 230, 250, 270, 290, 310, 330, 364)
WHOLE = (-180, 540)


def logistic(t: np.ndarray, middle: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Logistic steps, (len(t), pixels)."""
    return 1 / (1 + np.exp(-(t[:, None] - middle) / k))


def summer(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """One season a year, (len(t), pixels)."""
    p = draw_pixels(rng, COUNT)
    lows = p["base"] + 0.05 * rng.normal(size=(4, COUNT))
    y = np.tile(lows[0], (len(t), 1))
    for k, year in enumerate((-365, 0, 365)):
        top = p["base"] + p["rise"]
        y += (top - lows[k]) * logistic(t, p["t1"] + year, p["k1"]) - (top - lows[k + 1]) * logistic(
            t, p["t2"] + year, p["k2"]
        )
    return y


def winter(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """A winter cereal a year: bare in autumn, a shelf in winter, ripe in July, (len(t), pixels)."""
    base, shelf, top = (rng.uniform(*r, COUNT) for r in ((0.12, 0.25), (0.1, 0.45), (0.75, 0.9)))
    sown, spring, ripe = (rng.uniform(*r, COUNT) for r in ((-75, -35), (70, 100), (175, 200)))
    k = [rng.uniform(*r, COUNT) for r in ((8, 14), (9, 14), (7, 13))]
    y = np.tile(base, (len(t), 1))
    for year in (-365, 0, 365, 730):
        y += shelf * logistic(t, sown + year, k[0]) + (top - base - shelf) * logistic(t, spring + year, k[1])
        y -= (top - base) * logistic(t, ripe + year, k[2])
    return np.maximum(y, base)


def truth(curve: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """SOS, EOS and maximum of the season of year 0, between the minima on either side."""
    inner = (t > 30) & (t < 330)
    peak = t[inner][curve[inner].argmax(0)]
    early = (t[:, None] < peak) & (t[:, None] > peak - 270)
    late = (t[:, None] > peak) & (t[:, None] < peak + 270)
    left, right = (t[np.where(side, curve, np.inf).argmin(0)] for side in (early, late))
    inside = (t[:, None] >= left) & (t[:, None] <= right)
    low = np.where(inside, curve, np.inf).min(0) - 1e-9
    # outside the season the curve is replaced by its own minimum on that side
    sides = [curve[np.searchsorted(t, at), np.arange(curve.shape[1])] for at in (left, right)]
    season = np.where(inside, curve, np.where(t[:, None] < left, sides[0], sides[1]))
    start, end = true_dates(np.maximum(season, low), t)
    return {"SOSD": start, "EOSD": end, "MAXD": peak.astype(float)}


def judged(values: np.ndarray, sigma: float | None, t: np.ndarray, true: dict, begin: int, end: int) -> dict:
    """Counts of dates given, and of those wrong by more than three sigma, for a series from ``begin`` to ``end``."""
    kept = (t >= begin) & (t <= end)
    first = str(np.datetime64("2019-01-01") + int(t[kept][0]))
    data = seasons(as_cube(values[kept], first, STEP), sigma=sigma, year=2019)
    near = np.abs(data.MAXD.values.reshape(2, -1) - true["MAXD"])
    slot = np.where(np.isfinite(near), near, np.inf).argmin(0)
    of_season = np.take_along_axis(near, slot[None], 0)[0] < 60
    out = {}
    for name in ("SOSD", "EOSD"):
        date, spread = (
            np.take_along_axis(data[v].values.reshape(2, -1), slot[None], 0)[0] for v in (name, f"{name}_SIGMA")
        )
        error = np.abs(date - true[name])
        given = np.isfinite(error) & of_season
        out[name] = {
            "given": int(given.sum()),
            "wrong": int((given & (error > 3 * spread)).sum()),
            "rmse_days": float(np.sqrt(np.mean(error[given] ** 2))) if given.any() else None,
            "sigma_days": float(np.median(spread[given])) if given.any() else None,
        }
    return out


def measured(seed: int) -> list[dict]:
    """One row per kind, input and cut."""
    rng = np.random.default_rng(seed)
    fine, t = np.arange(FIRST, LAST, 0.5), np.arange(FIRST, LAST, STEP)
    rows = []
    for kind, draw in (("summer", summer), ("winter", winter)):
        state = rng.bit_generator.state
        true = truth(draw(rng, fine), fine)
        rng.bit_generator.state = state
        curve = draw(rng, t)
        inputs = {
            "fused 0.02": (curve + autocorrelated(rng, curve.shape, 0.02), 0.02),
            "S2 60 % clear": (cloudy_observations(rng, curve, 0.60), None),
        }
        cuts = [WHOLE, *((b, WHOLE[1]) for b in BEGINS), *((WHOLE[0], e) for e in ENDS), (0, 364)]
        for name, (values, sigma) in inputs.items():
            for begin, end in cuts:
                found = judged(np.clip(values, -0.2, 1), sigma, t, true, begin, end)
                rows.append({"kind": kind, "input": name, "begin": begin, "end": end, **found})
    return rows


def main() -> None:
    """Print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "season_edges.json")
    args = parser.parse_args()
    rows = measured(args.seed)
    print("kind    input          begin  end   SOSD given wrong% rmse sigma   EOSD given wrong% rmse sigma")
    for row in rows:
        cells = []
        for name in ("SOSD", "EOSD"):
            r = row[name]
            share = 100 * r["wrong"] / r["given"] if r["given"] else float("nan")
            cells.append(f"{r['given']:4d} {share:5.1f} {r['rmse_days'] or 0:5.1f} {r['sigma_days'] or 0:5.1f}")
        print(f"{row['kind']:7s} {row['input']:14s} {row['begin']:5d} {row['end']:5d}   {'   |   '.join(cells)}")
    summary = {}
    for kind in ("summer", "winter"):
        for name in ("SOSD", "EOSD"):
            for label in ("whole", "cut"):
                some = [
                    r[name]
                    for r in rows
                    if r["kind"] == kind and ((r["begin"], r["end"]) == WHOLE) == (label == "whole")
                ]
                given, wrong = (sum(r[what] for r in some) for what in ("given", "wrong"))
                summary[f"{kind} {name} {label}"] = {
                    "given": given, "wrong": wrong, "wrong_percent": round(100 * wrong / given, 1)
                }  # fmt: skip
    for label, found in summary.items():
        print(label, found)
    args.out.write_text(json.dumps({"seed": args.seed, "summary": summary, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
