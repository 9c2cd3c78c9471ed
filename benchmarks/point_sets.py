"""Leave-gap-out on single pixels of real fields: the shipped weights with and without Sentinel-1, and linear.

``python -m benchmarks.point_sets DATA [--samples N] [--out FILE]``, where DATA holds ``grassland_slovakia`` and
``points_france_2023`` (long tables of public extractions: sample, date, ndvi, vv_db, vh_db). A fixed quarter of the
plots, drawn by a hash of their names, is scored; a training on these sets has to leave it out.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from data_prep.split import held_quarter
from fusion.contract import DIMS, NDVI_MAX, NDVI_MIN, S2NDVI, VH, VV, ContractError
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.predictor import ModelPredictor, ablations
from fusion.whole_file import write_json

GAPS_DAYS = (5, 10, 20, 30)
DATES_PER_PIXEL = 8
GROWING_MONTHS = (4, 10)  # April to October: unmasked snow counts as clear in winter
SNOW_NDVI = 0.25  # in November to March clear observations below are taken as snow


@dataclass(frozen=True)
class PointSet:
    """One table: which observations are clear, and what is scored.

    ``shift_days`` moves a date to where its content lies: dekad medians are dated by the first day. ``plot`` gives the
    unit that belongs to one part of the data as a whole.
    """

    name: str
    clear: Callable[[pd.DataFrame], pd.Series]
    plot: Callable[[str], str] = str
    shift_days: int = 0
    months: tuple[int, int] = (1, 12)


def without_snow(table: pd.DataFrame) -> pd.Series:
    """Clear by the cloud score, and no snow."""
    winter = ~table.date.dt.month.between(*GROWING_MONTHS)
    return (table.cloud_score > 0.75) & ~(winter & (table.ndvi < SNOW_NDVI))


SETS = (
    PointSet("grassland_slovakia", without_snow, lambda name: name.split("_")[0], months=GROWING_MONTHS),
    PointSet("points_france_2023", lambda table: table.red < 0.3, shift_days=5),  # red above is residual cloud
)


def pixel_cubes(folder: Path, source: PointSet, samples: int) -> Iterator[tuple[str, xr.DataArray]]:
    """Name and merged cube (t, bands, 1, 1) of the first held-out samples in the order of their hashes."""
    table = pd.read_parquet(folder / source.name / "series.parquet")
    names = [name for name in table["sample"].unique() if held_quarter(source.name + source.plot(name))]
    names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    for name in names[:samples]:
        yield name, pixel_cube(table[table["sample"] == name], source)


def pixel_cube(rows: pd.DataFrame, source: PointSet) -> xr.DataArray:
    """The merged cube of one sample; values of one day are averaged."""
    seen = source.clear(rows) & rows.ndvi.between(NDVI_MIN, NDVI_MAX)
    columns = {S2NDVI: rows.ndvi.where(seen), VV: rows.vv_db, VH: rows.vh_db}
    days = rows.date.dt.floor("D") + pd.Timedelta(days=source.shift_days)
    daily = pd.DataFrame(columns).groupby(days).mean().dropna(how="all")
    values = daily.to_numpy(np.float32)[:, :, None, None]
    coords = {"t": daily.index.to_numpy("datetime64[ns]"), "bands": list(columns), "y": [0.0], "x": [0.0]}
    attrs = {"s1_units": "dB", "latitude": float(rows.lat.iloc[0])}
    return xr.DataArray(values, dims=DIMS, coords=coords, attrs=attrs)


def scored_dates(cube: xr.DataArray, source: PointSet) -> tuple[str, ...]:
    """Up to ``DATES_PER_PIXEL`` clear dates in the scored months, away from both ends, evenly spread."""
    seen = cube.sel(bands=S2NDVI).dropna("t").t[2:-2]
    inside = seen[seen.dt.month.isin(range(source.months[0], source.months[1] + 1))]
    picks = np.unique(np.linspace(0, len(inside) - 1, DATES_PER_PIXEL).astype(int)) if len(inside) else []
    return tuple(str(day)[:10] for day in inside.values[picks]) if len(picks) else ()


def score(folder: Path, source: PointSet, samples: int, model: str | None) -> pd.DataFrame:
    """Rows of leave-gap-out for every pixel."""
    network = ModelPredictor.load(model)
    predictors = [network, *ablations(network, ["s1"]), *make_baselines(["linear"], [])]
    rows = []
    for name, cube in tqdm(pixel_cubes(folder, source, samples), total=samples, desc=source.name):
        rules = LeaveGapOut(gaps_days=GAPS_DAYS, dates=scored_dates(cube, source))
        try:
            rows.append(leave_gap_out(cube, predictors, rules, site=name))
        except ContractError as error:
            tqdm.write(f"{name} is left out: {error}")
    return pd.concat(rows, ignore_index=True)


def table_of(rows: pd.DataFrame) -> list[dict]:
    """MAE of every method by gap, its ratio to linear interpolation, and the share that its 90 % interval covers."""
    complete = rows.groupby(["site", "date", "gap_days"])["n"].transform("min") > 0  # every method has a value
    sums = rows[complete].groupby(["predictor", "gap_days"])[["n", "absolute_error", "n_sigma", "inside_90"]].sum()
    mae = sums.absolute_error / sums.n
    return [
        {
            "predictor": name,
            "gap_days": int(gap),
            "n": int(sums.n[name, gap]),
            "mae": round(float(mae[name, gap]), 5),
            "to_linear": round(float(mae[name, gap] / mae["linear", gap]), 3),
            "covered_90": round(float(sums.inside_90[name, gap] / sums.n_sigma[name, gap]), 3)
            if sums.n_sigma[name, gap]
            else None,
        }
        for name, gap in sums.index
    ]


def main() -> None:
    """Score both sets, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--samples", type=int, default=80, help="pixels of each set")
    parser.add_argument("--model", default=None, help="folder, run:ID or registered name; default: the shipped weights")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    arguments = parser.parse_args()
    results = {}
    for source in SETS:
        results[source.name] = table_of(score(arguments.data, source, arguments.samples, arguments.model))
        wide = pd.DataFrame(results[source.name]).pivot(
            index="predictor", columns="gap_days", values=["mae", "to_linear", "covered_90"]
        )
        print(f"\n{source.name}\n{wide.to_string()}")
    if arguments.out is not None:
        command = f"python -m benchmarks.point_sets DATA --samples {arguments.samples}"
        write_json(arguments.out, {"command": command, "results": results})


if __name__ == "__main__":
    main()
