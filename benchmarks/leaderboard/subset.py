"""Methods that are fitted anew to every place: ``python -m benchmarks.leaderboard.subset STORES --out FILE``.

They take seconds a date, so only the first places of the leaderboard are scored, on its dates, with the network and the
baselines in the same run on the same withheld observations. ``--mogpr PYTHON`` names the Python of an environment with
``fusets`` and adds MOGPR on the sets of lone pixels. Sets that FILE already holds are kept.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.leaderboard.__main__ import Timed, score, table_of, with_models
from benchmarks.leaderboard.mogpr import Mogpr
from benchmarks.leaderboard.own_area import OwnAreaForest
from benchmarks.leaderboard.sets import SETS
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.predictor import ModelPredictor, Predictor
from fusion.whole_file import write_json

PLACES = {  # first places of four sets with radar; the dates are those of the leaderboard
    "grassland_slovakia": 6,
    "points_france_2023": 6,
    "points_flanders_2021": 11,
    "patches_vietnam_2022": 4,
}
MOGPR_SETS = ("grassland_slovakia", "points_france_2023")


def main() -> None:
    """Score the sets that the file does not hold yet, and write it after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, metavar="STORES")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write or to complete")
    parser.add_argument("--model", default=None, help="folder, run:ID or registered name; default: the shipped weights")
    parser.add_argument("--mogpr", default=None, metavar="PYTHON", help="Python of an environment with fusets")
    parser.add_argument("--sets", nargs="*", default=list(PLACES), help="names of sets; default: all")
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    network = ModelPredictor.load(arguments.model, name="network")
    results = with_models(results, [network], arguments.out)
    for wanted in SETS:
        if wanted.name in results or wanted.name not in arguments.sets:
            continue
        methods: list[Predictor] = [network, *make_baselines(["linear", "whittaker"], [1e3]), OwnAreaForest()]
        if arguments.mogpr is not None and wanted.name in MOGPR_SETS:
            methods.append(Mogpr(arguments.mogpr))
        timed = [Timed(method) for method in methods]
        chosen = replace(wanted, places=PLACES[wanted.name])
        table = table_of(score(arguments.stores / f"{wanted.name}.zarr", chosen, timed))
        speed = {m.name: round(1e3 * m.seconds / max(m.pixels, 1), 3) for m in timed}
        results[wanted.name] = {"scores": table, "milliseconds_per_pixel_date": speed}
        write_json(arguments.out, results)
        wide = pd.DataFrame(table).pivot(index="method", columns="gap_days", values="mae")
        print(f"\n{wanted.name}\n{wide.to_string()}", flush=True)


if __name__ == "__main__":
    main()
