"""Leaderboard of real places: ``python -m benchmarks.leaderboard STORES --out FILE [--model M] [--earlier FOLDER]``.

STORES is the folder that ``python -m benchmarks.real_sets DATA STORES`` makes. Each clear date of the held quarter is
predicted with all observations within 5, 10, 20 and 30 days withheld, by every method from the same cube. Sets that
FILE already holds are kept, so that a run can be resumed; delete FILE to start again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.leaderboard.boosting import learn
from benchmarks.leaderboard.sets import SETS, RealSet, held_cubes, scored_dates
from fusion.contract import ContractError
from fusion.data.store import PatchStore
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.bootstrap import bootstrap_ratio
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.predictor import ModelPredictor, Predictor, ablations
from fusion.progress import tracked
from fusion.whole_file import write_json

GAPS_DAYS = (5, 10, 20, 30)
BASELINES = ["linear", "whittaker", "savitzky_golay", "efast_like"]
WHITTAKER_LAMBDAS = [1e3, 1e4]


class Timed:
    """A predictor that counts its seconds and pixel-dates."""

    def __init__(self, inner: Predictor) -> None:
        self.inner, self.name = inner, inner.name
        self.seconds, self.pixels = 0.0, 0

    def predict(self, cube, dates, *, target="ndvi"):
        """Predict as the inner method does."""
        start = time.perf_counter()
        found = self.inner.predict(cube, dates, target=target)
        self.seconds += time.perf_counter() - start
        self.pixels += found.ndvi[0].size
        return found


def score(store: Path, wanted: RealSet, methods: list[Timed]) -> pd.DataFrame:
    """Rows of leave-gap-out of every held place."""
    rows = []
    for name, cube in tracked(held_cubes(store, wanted), wanted.name, wanted.places):
        dates = scored_dates(cube, wanted)
        if not dates:
            continue
        try:
            rows.append(leave_gap_out(cube, methods, LeaveGapOut(gaps_days=GAPS_DAYS, dates=dates), site=name))
        except ContractError as error:
            print(f"{name} is left out: {error}")
    return pd.concat(rows, ignore_index=True)


def table_of(rows: pd.DataFrame) -> list[dict]:
    """MAE, its interval over places, bias and coverage of every method by gap.

    Only pixels' dates count for which every method has a value.
    """
    complete = rows.groupby(["site", "date", "gap_days"])["n"].transform("min") > 0
    columns = ["n", "absolute_error", "error", "n_sigma", "inside_90"]
    by_place = rows[complete].groupby(["predictor", "gap_days", "site"])[columns].sum()
    table = []
    for (name, gap), part in by_place.groupby(level=["predictor", "gap_days"]):
        mae = bootstrap_ratio(part.absolute_error.to_numpy(), part.n.to_numpy())
        total = part.sum()
        table.append(
            {
                "method": str(name),
                "gap_days": int(gap),
                "mae": round(mae.mean, 5),
                "mae_90": [round(mae.low, 5), round(mae.high, 5)],
                "bias": round(float(total.error / total.n), 5),
                "covered_90": round(float(total.inside_90 / total.n_sigma), 3) if total.n_sigma else None,
                "n": int(total.n),
                "places": mae.units,
            }
        )
    return table


def methods_for(store: Path, model: str | None, earlier: str | None) -> list[Timed]:
    """The network with and without radar, the earlier weights, the baselines and gradient boosting."""
    network = ModelPredictor.load(model, name="network")
    methods: list[Predictor] = [network, *ablations(network, ["s1"])]
    if earlier is not None:
        old = ModelPredictor.load(earlier, name="network, earlier weights")
        methods += [old, *ablations(old, ["s1"])]
    methods += [*make_baselines(BASELINES, WHITTAKER_LAMBDAS), learn(PatchStore.open(store))]
    return [Timed(method) for method in methods]


def with_models(results: dict, methods: Sequence[Predictor], file: Path) -> dict:
    """Results that name the networks behind them, ``models_sha256``; scores of other networks are not completed."""
    networks = {m.name: m.session.manifest.sha256 for m in methods if isinstance(m, ModelPredictor)}
    if results.get("models_sha256", networks) != networks:
        raise SystemExit(f"{file} holds scores of {results['models_sha256']}, not of {networks}; name another file")
    return {"models_sha256": networks, **results}


def main() -> None:
    """Score the sets that the file does not hold yet, and write it after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, metavar="STORES")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write or to complete")
    parser.add_argument("--model", default=None, help="folder, run:ID or registered name; default: the shipped weights")
    parser.add_argument("--earlier", default=None, help="model folder of earlier weights, scored beside")
    parser.add_argument("--sets", nargs="*", default=None, help="names of sets; default: all")
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for wanted in SETS:
        if wanted.name in results or (arguments.sets is not None and wanted.name not in arguments.sets):
            continue
        store = arguments.stores / f"{wanted.name}.zarr"
        methods = methods_for(store, arguments.model, arguments.earlier)
        results = with_models(results, [method.inner for method in methods], arguments.out)
        table = table_of(score(store, wanted, methods))
        speed = {m.name: round(1e3 * m.seconds / max(m.pixels, 1), 3) for m in methods}
        results[wanted.name] = {"scores": table, "milliseconds_per_pixel_date": speed}
        write_json(arguments.out, results)
        wide = pd.DataFrame(table).pivot(index="method", columns="gap_days", values=["mae", "covered_90"])
        print(f"\n{wanted.name}\n{wide.to_string()}", flush=True)


if __name__ == "__main__":
    main()
