"""Do intervals hold where they were not fitted: ``python -m benchmarks.leaderboard.coverage STORES --out FILE``.

The held places and dates of the leaderboard are predicted again by the shipped weights. Beside the coverage as it is
stand two others: ``left out``, with one factor per gap fitted on all other sets, and ``one factor``, with one factor
fitted on half of the set's places and scored on the other half, as ``ndvi-fusion adapt`` does on an area (mean of
``SPLITS`` random halves).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.leaderboard.__main__ import GAPS_DAYS
from benchmarks.leaderboard.sets import SETS, RealSet, held_cubes, scored_dates
from fusion.contract import S2NDVI
from fusion.evaluation.predictor import ModelPredictor, to_days
from fusion.evaluation.withholding import withhold_window
from fusion.features.calibration import NORMAL_90, covering_factor
from fusion.features.measured import measured_cube
from fusion.progress import tracked
from fusion.whole_file import write_json

PIXELS = 24  # of one image, so that patches do not outweigh lone pixels
SPLITS = 50
KINDS = ("as_is", "left_out", "one_factor")
COMMAND = "python -m benchmarks.leaderboard.coverage STORES --out FILE"


def ratios(store: Path, wanted: RealSet, network: ModelPredictor, seed: int = 0) -> pd.DataFrame:
    """Error over standard deviation of single observations: ``place``, ``gap_days``, ``ratio`` >= 0."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, whole in tracked(held_cubes(store, wanted), wanted.name, wanted.places):
        cube = measured_cube(whole.transpose("t", "bands", "y", "x").compute())
        for date in scored_dates(cube, wanted):
            days = to_days(np.array([date], "datetime64[D]"))
            observed = cube.sel(bands=S2NDVI).sel(t=date).values.reshape(-1)
            pixels = np.flatnonzero(np.isfinite(observed))
            pixels = rng.choice(pixels, min(PIXELS, len(pixels)), replace=False)
            for gap in GAPS_DAYS:
                visible = withhold_window(cube, int(days[0]) - gap, int(days[0]) + gap)
                ndvi, sigma = network.predict(visible, days.astype("datetime64[D]"), target="observation")
                assert sigma is not None
                found = np.abs(ndvi[0].reshape(-1) - observed)[pixels] / sigma[0].reshape(-1)[pixels]
                rows += [(place, gap, ratio) for ratio in found if np.isfinite(ratio)]
    return pd.DataFrame(rows, columns=["place", "gap_days", "ratio"])


def covered(ratio: np.ndarray, factor: float = 1.0) -> float:
    """Share of the errors inside the 90 % interval whose width is multiplied by ``factor``, per cent."""
    return 100 * float(np.mean(ratio <= NORMAL_90 * factor))


def left_out(tables: dict[str, pd.DataFrame], name: str, gap: int) -> float:
    """Coverage with the factor that covers 90 % of the other sets, each of which counts the same."""
    levels = np.linspace(0.0005, 0.9995, 1000)
    others = [np.quantile(of_gap(table, gap), levels) for key, table in tables.items() if key != name]
    pooled = np.concatenate(others)
    return covered(of_gap(tables[name], gap), covering_factor(pooled, np.ones_like(pooled)))


def one_factor(table: pd.DataFrame, seed: int = 0) -> dict[int, float]:
    """Coverage by gap of half of the places, with the factor that covers 90 % of the other half."""
    rng = np.random.default_rng(seed)
    places = table.place.unique()
    found: dict[int, list[float]] = {gap: [] for gap in GAPS_DAYS}
    for _ in range(SPLITS):
        fitted = table.place.isin(rng.permutation(places)[: len(places) // 2])
        errors = table.ratio[fitted].to_numpy()
        factor = covering_factor(errors, np.ones_like(errors))
        for gap in GAPS_DAYS:
            found[gap].append(covered(of_gap(table[~fitted], gap), factor))
    return {gap: float(np.mean(values)) for gap, values in found.items()}


def of_gap(table: pd.DataFrame, gap: int) -> np.ndarray:
    """Ratios of one gap."""
    return table.ratio[table.gap_days == gap].to_numpy()


def summary(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """One row per set and gap: coverage as it is, left out, with one factor; per cent."""
    rows = []
    for name, table in tables.items():
        scaled = one_factor(table)
        for gap in GAPS_DAYS:
            cover = {"as_is": covered(of_gap(table, gap)), "left_out": left_out(tables, name, gap)}
            values = {key: round(value, 1) for key, value in {**cover, "one_factor": scaled[gap]}.items()}
            rows.append({"set": name, "gap_days": gap, **values})
    return rows


def deviations(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Mean and largest deviation from 90, per cent points, and the share of cells from 88 to 92."""
    out = {}
    for kind in KINDS:
        off = np.abs(np.array([row[kind] for row in rows]) - 90)
        out[kind] = {
            "mean": round(float(off.mean()), 2), "largest": round(float(off.max()), 1),
            "share_88_to_92": round(float(np.mean(off <= 2)), 2),
        }  # fmt: skip
    return out


def main() -> None:
    """Predict, and write coverage by set and gap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, metavar="STORES")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", default=None, help="folder, run:ID or registered name; default: the shipped weights")
    arguments = parser.parse_args()
    network = ModelPredictor.load(arguments.model, name="network")
    tables = {wanted.name: ratios(arguments.stores / f"{wanted.name}.zarr", wanted, network) for wanted in SETS}
    rows = summary(tables)
    models = {"network": network.session.manifest.sha256}
    write_json(
        arguments.out, {"command": COMMAND, "models_sha256": models, "deviation": deviations(rows), "coverage": rows}
    )
    print(pd.DataFrame(rows).to_string(), f"\n{deviations(rows)}")


if __name__ == "__main__":
    main()
