"""Simulated protocol of season dates: known truth, five kinds of input, the default method and plain Savitzky-Golay.

``python benchmarks/phenology_protocol.py [--seeds 20 21 22 23]`` prints a table and every missed target of every seed
and writes ``benchmarks/results/phenology_protocol.json``. It exits 0 also where a target is missed.

Truth: 1024 double-logistic pixels, 5-daily, SOS at 25 % and EOS at 15 % of the amplitude above the mean of both
minima, read from the noise-free curve on a 0.1-day grid. Inputs: clean; fused = AR(1) errors of rho 0.7 with their
sigma given; Sentinel-2 = clouds as a Markov chain, noise 0.03, 8 % of the observations lowered by undetected cloud, no
sigma. The distributions of curve and cloud parameters (``PIXELS``) were chosen once so that plain Savitzky-Golay (91
days, order 3, on the linearly bridged daily series) reproduces published errors of that method (``PLAIN_PUBLISHED``);
no parameter of the season method was involved.

Use of the seeds: the weights of the detection curve (``FUSED_LAMBDA``, ``OBS_LAMBDA``) were chosen on
seed 20 among five variants, so 20 is not a hold-out; 21 and 22 were evaluated while the fit was made faster (first
guesses, end of the iteration), without choosing a setting; 23 was run once, after the last change of the method.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.signal import savgol_filter

from fusion.phenology.seasons import seasons

SEED = 20
SEEDS = (20, 21, 22, 23)
COUNT = 1024
STEP = 5
START, END = 0.25, 0.15
RHO = 0.7
OBS_NOISE = 0.03
UNDETECTED = 0.08
PLAIN_PUBLISHED = {
    "clean": (3.3, 2.9),
    "fused 0.02": (5.0, 7.2),
    "fused 0.04": (8.4, 16.5),
    "S2 60 % clear": (11.1, 18.8),
    "S2 35 % clear": (20.8, 26.8),
}
TARGETS = {
    "clean": (0.5, 0.5),
    "fused 0.02": (3.5, 5.0),
    "fused 0.04": (7.0, 11.0),
    "S2 60 % clear": (7.0, 9.0),
    "S2 35 % clear": (19.0, 19.0),
}


@dataclass(frozen=True)
class PixelRanges:
    """Uniform ranges of the curve parameters (NDVI, days) and of clouds."""

    base: tuple[float, float] = (0.12, 0.30)
    rise: tuple[float, float] = (0.33, 0.65)
    t1: tuple[float, float] = (97, 152)
    k1: tuple[float, float] = (7.0, 13.0)
    t2: tuple[float, float] = (235, 290)
    k2: tuple[float, float] = (9.5, 18.0)
    cloud_share: tuple[float, float] = (0.4, 0.95)  # mixing of an undetected cloud of NDVI 0.05 into an observation
    cloud_memory: float = 0.5  # probability that cloud cover is that of 5 days before


PIXELS = PixelRanges()


@dataclass(frozen=True)
class Score:
    """Errors of one row, days; coverage of the 68 and 95 % intervals; share of missed dates."""

    rmse: tuple[float, float]
    bias: tuple[float, float]
    cover68: tuple[float, float]
    cover95: tuple[float, float]
    missed: float


def curve_of(t: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Double-logistic NDVI at days ``t``, (len(t), pixels)."""
    t = t[:, None]
    up, down = (1 / (1 + np.exp(-(t - p[f"t{i}"]) / p[f"k{i}"])) for i in (1, 2))
    return p["base"] + p["rise"] * (up - down)


def draw_pixels(rng: np.random.Generator, count: int, ranges: PixelRanges = PIXELS) -> dict[str, np.ndarray]:
    """Parameters of ``count`` pixels."""
    return {name: rng.uniform(*getattr(ranges, name), count) for name in ("base", "rise", "t1", "k1", "t2", "k2")}


def true_dates(curve: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SOS and EOS of one season on a curve (T, pixels), going outward from its maximum; NaN where it is not crossed."""
    index, columns = np.arange(len(t))[:, None], np.arange(curve.shape[1])
    top = curve.argmax(0)
    left = np.where(index <= top, curve, np.inf).min(0)
    right = np.where(index >= top, curve, np.inf).min(0)
    low, high = 0.5 * (left + right), curve.max(0)
    dates = []
    for share, side in ((START, -1), (END, 1)):
        level = low + share * (high - low)
        under = (curve < level) & ((index < top) if side < 0 else (index > top))
        found = under.any(0)
        j = len(t) - 1 - under[::-1].argmax(0) if side < 0 else under.argmax(0)
        j = np.where(found, j, top)
        inner = np.clip(j - side, 0, len(t) - 1)
        part = (level - curve[j, columns]) / np.where(found, curve[inner, columns] - curve[j, columns], 1.0)
        dates.append(np.where(found, t[j] - side * part * (t[1] - t[0]), np.nan))
    return dates[0], dates[1]


def autocorrelated(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """AR(1) errors of the given standard deviation."""
    out = np.empty(shape)
    out[0] = rng.normal(size=shape[1])
    for i in range(1, shape[0]):
        out[i] = RHO * out[i - 1] + np.sqrt(1 - RHO**2) * rng.normal(size=shape[1])
    return sigma * out


def cloudy_observations(
    rng: np.random.Generator, curve: np.ndarray, clear: float, ranges: PixelRanges = PIXELS
) -> np.ndarray:
    """Sentinel-2 observations: noise, undetected clouds, NaN under detected ones."""
    sky = np.empty(curve.shape, bool)
    sky[0] = rng.random(curve.shape[1]) < clear
    for i in range(1, len(curve)):
        stays = rng.random(curve.shape[1]) < ranges.cloud_memory
        sky[i] = np.where(stays, sky[i - 1], rng.random(curve.shape[1]) < clear)
    share = np.where(rng.random(curve.shape) < UNDETECTED, rng.uniform(*ranges.cloud_share, curve.shape), 0.0)
    obs = (1 - share) * curve + share * 0.05 + OBS_NOISE * rng.normal(size=curve.shape)
    return np.where(sky, obs, np.nan)


def inputs_of(rng: np.random.Generator, curve: np.ndarray) -> dict[str, tuple[np.ndarray, float | None]]:
    """The five inputs: (values, sigma given or None)."""
    return {
        "clean": (curve, None),
        "fused 0.02": (curve + autocorrelated(rng, curve.shape, 0.02), 0.02),
        "fused 0.04": (curve + autocorrelated(rng, curve.shape, 0.04), 0.04),
        "S2 60 % clear": (cloudy_observations(rng, curve, 0.60), None),
        "S2 35 % clear": (cloudy_observations(rng, curve, 0.35), None),
    }


def as_cube(values: np.ndarray, first: str, step: int = STEP) -> xr.DataArray:
    """(T, pixels) as a cube (t, y, x) of 32 columns."""
    dates = np.datetime64(first, "ns") + np.arange(len(values)) * np.timedelta64(step, "D")
    cube = values.reshape(len(values), -1, min(32, values.shape[1])).astype(np.float32)
    return xr.DataArray(cube, dims=("t", "y", "x"), coords={"t": dates})


def default_dates(values: np.ndarray, sigma: float | None, first: str, **options) -> dict[str, np.ndarray]:
    """SOS, EOS and their sigmas by the default method, (seasons, pixels), days since ``first``; count (pixels,)."""
    data = seasons(as_cube(values, first), sigma=sigma, **options)
    if "year" not in data.dims:
        data = data.expand_dims("year")
    shift = np.array([(np.datetime64(f"{y}-01-01") - np.datetime64(first)).astype(int) for y in data.year.values])
    out = {}
    for name in ("SOSD", "EOSD", "MAXD", "SOSD_SIGMA", "EOSD_SIGMA"):
        layer = data[name].transpose("year", "season", "y", "x").values.reshape(*data[name].shape[:2], -1)
        if not name.endswith("SIGMA"):
            layer = layer + shift[:, None, None]
        out[name] = layer.reshape(-1, layer.shape[-1])
    out["COUNT"] = data.COUNT.values.reshape(len(shift), -1).sum(0)
    return out


def plain_dates(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SOS and EOS of plain Savitzky-Golay, 91 days, order 3, on the linearly bridged daily series."""
    days = np.arange(0, STEP * len(values), STEP)
    grid = np.arange(days[-1] + 1)
    daily = np.empty((len(grid), values.shape[1]))
    for n in range(values.shape[1]):
        seen = np.isfinite(values[:, n])
        daily[:, n] = np.interp(grid, days[seen], values[seen, n])
    return true_dates(savgol_filter(daily, 91, 3, axis=0), grid.astype(float))


def nearest_season(found: dict[str, np.ndarray], maximum: np.ndarray) -> dict[str, np.ndarray]:
    """For every pixel the season whose maximum is nearest to the true one, within 60 days; NaN where there is none."""
    distance = np.abs(found["MAXD"] - maximum)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    best, columns = distance.argmin(0), np.arange(len(maximum))
    near = distance[best, columns] <= 60
    return {k: np.where(near, v[best, columns], np.nan) for k, v in found.items() if k != "COUNT"}


def score(found: dict[str, np.ndarray], truth: tuple[np.ndarray, np.ndarray]) -> Score:
    """Errors over the pixels that have a true date."""
    rmse, bias, c68, c95 = [], [], [], []
    missed = np.zeros(len(truth[0]), bool)
    for name, true in zip(("SOSD", "EOSD"), truth, strict=True):
        error = found[name] - true
        missed |= np.isnan(error) & np.isfinite(true)
        error_in_sigma = np.abs(error) / found.get(f"{name}_SIGMA", np.nan * error)
        known = np.isfinite(error_in_sigma)
        rmse.append(float(np.sqrt(np.nanmean(error**2))))
        bias.append(float(np.nanmean(error)))
        c68.append(float((error_in_sigma[known] < 1).mean()) if known.any() else float("nan"))
        c95.append(float((error_in_sigma[known] < 1.96).mean()) if known.any() else float("nan"))
    return Score(tuple(rmse), tuple(bias), tuple(c68), tuple(c95), float(missed.mean()))


def main_rows(seed: int = SEED, count: int = COUNT) -> dict[str, dict[str, Score]]:
    """The five rows of the protocol: default method and plain Savitzky-Golay."""
    rng = np.random.default_rng(seed)
    pixels = draw_pixels(rng, count)
    fine = np.arange(0, 365, 0.1)
    noiseless = curve_of(fine, pixels)
    truth, maximum = true_dates(noiseless, fine), fine[noiseless.argmax(0)]
    rows = {}
    for name, (values, sigma) in inputs_of(rng, curve_of(np.arange(0, 365, STEP), pixels)).items():
        found = nearest_season(default_dates(values, sigma, "2019-01-01"), maximum)
        plain = plain_dates(values)
        rows[name] = {"default": score(found, truth), "plain": score({"SOSD": plain[0], "EOSD": plain[1]}, truth)}
    return rows


def special_rows(seed: int = SEED, count: int = COUNT) -> dict[str, dict[str, Score]]:
    """Double crops, seasons across New Year and southern seasons, each clean, fused and as Sentinel-2 observations."""
    rows = {}
    for label, days, shift, first in (
        ("across New Year", 730, 170.0, "2018-01-01"),
        ("southern", 730, 182.5, "2018-01-01"),
    ):
        rng = np.random.default_rng([seed, len(label)])
        pixels = draw_pixels(rng, count)
        pixels["t1"], pixels["t2"] = pixels["t1"] + shift, pixels["t2"] + shift
        rows |= season_rows(rng, label, [pixels], days, first)
    rng = np.random.default_rng([seed, 99])
    first_crop, second_crop = draw_pixels(rng, count), draw_pixels(rng, count)
    first_crop["t1"], first_crop["t2"] = rng.uniform(70, 95, count), rng.uniform(150, 170, count)
    second_crop["t1"], second_crop["t2"] = rng.uniform(215, 235, count), rng.uniform(290, 310, count)
    for crop in (first_crop, second_crop):
        crop["k1"], crop["k2"] = rng.uniform(5, 9, count), rng.uniform(4, 8, count)
    second_crop["base"] = 0 * second_crop["base"]
    return rows | season_rows(rng, "double crop", [first_crop, second_crop], 365, "2019-01-01")


def season_rows(rng, label: str, crops: list[dict], days: int, first: str) -> dict[str, dict[str, Score]]:
    """Rows of one land use; each of two crops is scored on its part of the year, split at the trough between them."""
    fine = np.arange(0, days, 0.1)
    noiseless = sum(curve_of(fine, crop) for crop in crops)
    obs = sum(curve_of(np.arange(0, days, STEP), crop) for crop in crops)
    split = [0.0, *(0.5 * (a["t2"].mean() + b["t1"].mean()) for a, b in pairwise(crops)), days]
    rows = {}
    for name, (values, sigma) in inputs_of(rng, obs).items():
        if name in ("fused 0.04", "S2 35 % clear"):
            continue
        found = default_dates(values, sigma, first)
        for n in range(len(crops)):
            part = (fine >= split[n]) & (fine < split[n + 1])
            own = noiseless[part]
            truth, maximum = true_dates(own, fine[part]), fine[part][own.argmax(0)]
            key = f"{label}{f', crop {n + 1}' if len(crops) > 1 else ''}, {name}"
            rows[key] = {"default": score(nearest_season(found, maximum), truth)}
    return rows


def table(rows: dict[str, dict[str, Score]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| row | RMSE SOS/EOS | bias | 68 % cover | 95 % cover | missed | plain SG 91 d RMSE | published | off |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        d = row["default"]
        cells = [
            f"{d.rmse[0]:.2f} / {d.rmse[1]:.2f}", f"{d.bias[0]:+.2f} / {d.bias[1]:+.2f}",
            f"{100 * d.cover68[0]:.1f} / {100 * d.cover68[1]:.1f}",
            f"{100 * d.cover95[0]:.1f} / {100 * d.cover95[1]:.1f}",
            f"{100 * d.missed:.2f} %",
        ]  # fmt: skip
        if "plain" in row:
            p, known = row["plain"].rmse, PLAIN_PUBLISHED[name]
            off = max(abs(a / b - 1) for a, b in zip(p, known, strict=True))
            cells += [f"{p[0]:.1f} / {p[1]:.1f}", f"{known[0]} / {known[1]}", f"{100 * off:.0f} %"]
        else:
            cells += ["", "", ""]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missed_targets(rows: dict[str, dict[str, Score]]) -> list[str]:
    """A sentence for every missed target of the five rows."""
    out = []
    for name, target in TARGETS.items():
        d, plain = rows[name]["default"], rows[name]["plain"]
        covered = name.startswith("fused") or name == "S2 60 % clear"
        for k, date in enumerate(("SOS", "EOS")):
            checks = [
                (d.rmse[k] <= target[k], f"RMSE {d.rmse[k]:.2f} d, target {target[k]}"),
                (abs(d.bias[k]) <= 1 or name == "S2 35 % clear", f"bias {d.bias[k]:+.2f} d, target 1"),
                (not covered or 0.63 <= d.cover68[k] <= 0.73, f"68 % interval covers {100 * d.cover68[k]:.1f} %"),
                (not covered or 0.92 <= d.cover95[k] <= 0.97, f"95 % interval covers {100 * d.cover95[k]:.1f} %"),
                (
                    abs(plain.rmse[k] / PLAIN_PUBLISHED[name][k] - 1) <= 0.15,
                    f"plain Savitzky-Golay {plain.rmse[k]:.1f} d, published {PLAIN_PUBLISHED[name][k]}",
                ),
            ]
            out += [f"{name}, {date}: {text}" for met, text in checks if not met]
        if not d.missed < 0.01:
            out.append(f"{name}: {100 * d.missed:.2f} % missed, target below 1 %")
    return out


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/phenology_protocol.json"))
    arguments = parser.parse_args()
    content = {}
    for seed in arguments.seeds:
        main_part, special = main_rows(seed), special_rows(seed)
        missed = missed_targets(main_part)
        print(f"\nseed {seed}\n\n{table(main_part | special)}\n")
        print("all targets met" if not missed else "missed: " + "; ".join(missed))
        rows = {name: {k: asdict(v) for k, v in row.items()} for name, row in (main_part | special).items()}
        content[str(seed)] = {"rows": rows, "missed_targets": missed}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
