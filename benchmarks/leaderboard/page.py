"""The page of the leaderboard: ``python -m benchmarks.leaderboard.page FILE SUBSET COVERAGE``: page and figure."""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.leaderboard.coverage import KINDS
from benchmarks.leaderboard.sets import SETS

PAGE, FIGURE = Path("docs/leaderboard.md"), Path("docs/pictures/leaderboard.png")
LABELS = {
    "grassland_slovakia": "Grassland, Slovakia",
    "points_france_2023": "Cropland pixels, France",
    "points_flanders_2021": "Pixels, Flanders",
    "patches_vietnam_2022": "Rice and others, Mekong",
    "no_red_flanders": "Patch, Flanders *",
    "no_red_tanzania": "Patch, Tanzania *",
    "fields_bavaria_2018": "Fields, Bavaria (no radar)",
    "fields_central_asia_2016": "Fields, Central Asia (no radar)",
}
STYLES = {  # method: colour, dashes, marker
    "network": ("#1b7837", "-", "o"),
    "network, minus S1": ("#1b7837", "--", "o"),
    "network, earlier weights": ("#9970ab", "-", "s"),
    "network, earlier weights, minus S1": ("#9970ab", "--", "s"),
    "linear": ("#444444", "-", "^"),
    "whittaker 1e3": ("#e08214", "-", "v"),
    "whittaker 1e4": ("#fdb863", "-", "v"),
    "gradient boosting, same set": ("#2166ac", "-", "D"),
}
HEAD = """# Leaderboard of real places

Each method predicts single clear Sentinel-2 observations from the rest of the series, with all observations within
5, 10, 20 or 30 days of the date withheld. The places are the quarter of each set that no weights and no boosted trees
learned from; the uncertainty of the network was calibrated on them, and its recipe was chosen on them. Values are the
mean absolute error of NDVI with its 90 % bootstrap interval over places. An observation has an error of its own, which
no method can predict. Sets marked * have no red band: their NDVI is an estimate from B05, B06 and B8A.

`python -m benchmarks.real_sets DATA STORES`, `python -m benchmarks.leaderboard STORES --out
benchmarks/results/leaderboard.json --earlier FOLDER`; this page: `python -m benchmarks.leaderboard.page` with
`leaderboard.json`, `leaderboard_subset.json` and `coverage.json` of `benchmarks/results`. Gradient boosting
(scikit-learn, 250 trees of 15 leaves, the package's features) learned on the other three quarters of the set that it is
scored on. "Earlier weights" (of `272f845`) were trained on simulated scenes only. Methods that are fitted to each place
stand [below](#methods-fitted-to-each-place-a-subset).

![Mean absolute error by withheld days, one panel per set](pictures/leaderboard.png)
"""
SUBSET = """
## Methods fitted to each place: a subset

Two peers are fitted anew for every prediction, so only the first places of four sets with radar were scored, on the
same dates, with all methods of these tables on the same withheld observations. **The figures cannot be compared with
those of the whole sets above** (Flanders is whole), their intervals are wide, and the times are of a very busy machine.
One place alone teaches little: the forest is nowhere better than linear interpolation.
`python -m benchmarks.leaderboard.subset STORES --out benchmarks/results/leaderboard_subset.json --mogpr PYTHON`.

- Random forest, own area (scikit-learn, 100 trees): what a scientist would write in an afternoon. It learns from the
  place's own clear dates, each with the observations within 5 to 30 days hidden, what linear interpolation misses, from
  NDVI before and after, VV and VH-VV on the day, smoothed and as change, and the time of year. No other place is used.
- MOGPR (`fusets` 2.0.1, `mogpr_1D` with GPy 1.15.0 and numpy 2.4.6): Gaussian processes of NDVI and the radar
  vegetation index of the pixel alone, on two sets of lone pixels. `fusets` asks for numpy 1.23.5 and `vam.whittaker`
  2.0.2, which did not install here; MOGPR does not use the latter, so an empty module stood in for it. On the
  10-daily series of France the fits that were looked at (three places) stayed at the starting length scale of one day,
  so that the prediction is nearly the mean of the series.
"""
INTERVALS = """
## Intervals of the network on other places

Coverage of the 90 % interval of single observations at +-5, +-10, +-20 and +-30 days, per cent, up to 24 pixels per
image. *As it is*: calibrated on the held places of all sets together, so not an independent test. *Left out*: the width
is fitted, by gap, on the other seven sets, which says what a new set may bring. *One factor*: a single factor for the
whole set, fitted on half of its places and scored on the other half, mean of 50 random halves; `ndvi-fusion adapt` fits
such a factor on an area of your own. `python -m benchmarks.leaderboard.coverage STORES --out
benchmarks/results/coverage.json`.

| set | as it is | left out | one factor |
|---|---|---|---|
"""
NOT_RUN = """
## Not run

SenRVM, U-TILISE and the networks of Tsardanidis et al., whose weights are not published for these inputs. MOGPR on the
other sets and dates.
"""


def table_of_set(content: dict) -> str:
    """Markdown table: a method per row, MAE by gap, coverage of the 90 % interval, bias, time."""
    scores = content["scores"]
    gaps = sorted({row["gap_days"] for row in scores})
    by = {(row["method"], row["gap_days"]): row for row in scores}
    methods = [m for m in STYLES if (m, gaps[0]) in by]
    methods += sorted({row["method"] for row in scores} - set(methods))
    head = " | ".join(f"+-{gap} d" for gap in gaps)
    lines = [f"| method | {head} | covered by 90 % | bias at +-{gaps[-1]} | ms per pixel-date |"]
    lines += ["|---" * (len(gaps) + 4) + "|"]
    for method in methods:
        rows = [by[method, gap] for gap in gaps]
        values = " | ".join(f"{row['mae']:.4f} ({row['mae_90'][0]:.3f}-{row['mae_90'][1]:.3f})" for row in rows)
        covered = [row["covered_90"] for row in rows]
        cover = " ".join(f"{100 * c:.0f}" for c in covered) if covered[0] is not None else "-"
        speed = content["milliseconds_per_pixel_date"][method]
        lines.append(f"| {method} | {values} | {cover} | {rows[-1]['bias']:+.3f} | {speed:.2f} |")
    return "\n".join(lines) + "\n"


def section(name: str, content: dict) -> str:
    """The table of a whole set under its heading."""
    places = max(row["places"] for row in content["scores"])
    return f"\n## {LABELS[name]}\n\n{places} places, `{name}`.\n\n{table_of_set(content)}"


def subset_section(name: str, content: dict) -> str:
    """The table of a part of a set."""
    places, pixel_dates = (max(row[what] for row in content["scores"]) for what in ("places", "n"))
    size = f"{places} places, {pixel_dates} pixel-dates per gap, `{name}`"
    return f"\n### {LABELS[name]}, subset\n\n{size}.\n\n{table_of_set(content)}"


def intervals_section(coverage: dict) -> str:
    """Table of the coverage: as it is, without the set, with one factor of the set."""
    lines = []
    for wanted in SETS:
        rows = [row for row in coverage["coverage"] if row["set"] == wanted.name]
        cells = [" ".join(f"{row[kind]:.0f}" for row in rows) for kind in KINDS]
        lines.append(f"| {LABELS[wanted.name]} | {' | '.join(cells)} |")
    off = [coverage["deviation"][kind] for kind in KINDS]
    lines.append(f"| mean deviation from 90 | {' | '.join(format(kind['mean'], '.1f') for kind in off)} |")
    share = (f"{100 * kind['share_88_to_92']:.0f} %" for kind in off)
    lines.append(f"| share of the cells from 88 to 92 | {' | '.join(share)} |")
    return INTERVALS + "\n".join(lines) + "\n"


def page_of(results: dict, subset: dict, coverage: dict) -> str:
    """The whole page, from the contents of the three files."""
    tables = [section(wanted.name, results[wanted.name]) for wanted in SETS]
    parts = [subset_section(wanted.name, subset[wanted.name]) for wanted in SETS if wanted.name in subset]
    return HEAD + "".join(tables) + intervals_section(coverage) + SUBSET + "".join(parts) + NOT_RUN


def draw(results: dict) -> None:
    """One panel per set: MAE against the withheld days, a line per method."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained", sharex=True)
    for axis, wanted in zip(axes.flat, SETS, strict=True):
        rows = results[wanted.name]["scores"]
        for method, (colour, dashes, marker) in STYLES.items():
            line = sorted((r["gap_days"], r["mae"]) for r in rows if r["method"] == method)
            if line and not ("minus S1" in method and "no radar" in LABELS[wanted.name]):
                axis.plot(*zip(*line, strict=True), dashes, color=colour, marker=marker, ms=4, label=method)
        axis.set_title(LABELS[wanted.name], fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("withheld, days on each side", fontsize=9)
    figure.supylabel("mean absolute error of NDVI", fontsize=10)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    """Write page and figure from the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, metavar="FILE")
    parser.add_argument("subset", type=Path, metavar="SUBSET", help="file of benchmarks.leaderboard.subset")
    parser.add_argument("coverage", type=Path, metavar="COVERAGE", help="file of benchmarks.leaderboard.coverage")
    arguments = parser.parse_args()
    files = arguments.results, arguments.subset, arguments.coverage
    results, subset, coverage = (json.loads(path.read_text()) for path in files)
    draw(results)
    PAGE.write_text(page_of(results, subset, coverage))


if __name__ == "__main__":
    main()
