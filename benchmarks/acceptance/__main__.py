"""Score trained networks with ``ndvi-fusion evaluate`` and compare the scores with the limits of acceptance.

``python -m benchmarks.acceptance [options] out=FOLDER [key=value ...]``: the settings are those of
``ndvi-fusion evaluate``; the options give further networks, and the number of scenes of the costly parts. Writes the
outputs of ``evaluate`` with further tables (``checks`` holds the value and limit of every requirement).
"""

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.acceptance.checks import gate_table, real_checks, seed_table, simulated_checks
from benchmarks.acceptance.figures import WITHOUT_ADVERSARIAL
from benchmarks.acceptance.further import FurtherScores
from fusion.cli.settings import SettingsError, load_settings
from fusion.commands.evaluate import EvaluateSettings, evaluate, facts, keep, load_models
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.predictor import MODEL, OTHER_SENSORS, Predictor, Without
from fusion.evaluation.report import Evaluation, flat, plain, show

S2_ONLY_NETWORK = "S2-only network"
FLAT = ("coarse_consistency", "radar_level", "suspect_observations", "against_observations", "seeds", "gate", "checks")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the options and the settings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.acceptance", description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of ndvi-fusion evaluate")
    parser.add_argument(
        "--without-adversarial", metavar="NETWORK", help="the network before the adversarial stage, for the gate"
    )
    parser.add_argument(
        "--seed",
        action="append",
        default=[],
        metavar="NETWORK",
        help="a network trained with the same settings and another seed; repeatable",
    )
    parser.add_argument("--s2-only-net", metavar="NETWORK", help="a network trained on S2 alone, scored on S2 alone")
    parser.add_argument("--radar-scenes", type=int, default=4, help="scenes scored with shifted radar level")
    parser.add_argument("--suspect-scenes", type=int, default=6, help="scenes on which suspect flags are scored")
    parser.add_argument("--observation-scenes", type=int, default=8, help="scenes scored against their observations")
    parser.add_argument("--results", type=Path, help="JSON file for the command and its tables, five digits")
    return parser


def accept(options: argparse.Namespace, settings: EvaluateSettings) -> Evaluation:
    """Evaluate, compute the further scores, compare with the limits; write every output into ``settings.out``."""
    seeds = {
        f"seed {number}": network for number, network in enumerate(options.seed, 2)
    }  # the model itself counts as seed 1
    named = {WITHOUT_ADVERSARIAL: options.without_adversarial, S2_ONLY_NETWORK: options.s2_only_net}
    others = seeds | settings.others | {name: network for name, network in named.items() if network}
    settings = settings.model_copy(update={"others": others})
    networks = load_models(settings)
    hashes = facts(networks)["models_sha256"]
    networks = [Without(n, OTHER_SENSORS, n.name) if n.name == S2_ONLY_NETWORK else n for n in networks]
    further = FurtherScores(
        settings.holdout,
        settings.leave_gap_out,
        radar_scenes=options.radar_scenes,
        suspect_scenes=options.suspect_scenes,
        observation_scenes=options.observation_scenes,
    )
    evaluation = evaluate(settings, networks, watch=further)
    evaluation.facts["models_sha256"] = hashes
    further.add_tables(evaluation.tables, settings.bootstrap)
    evaluation.tables |= compared(evaluation, networks, settings, [MODEL, *seeds] if seeds else [])
    keep(evaluation, settings)
    if settings.figures:
        further.draw(settings.out / "figures", evaluation.predictors, settings.figure_format)
    return evaluation


def compared(
    evaluation: Evaluation, networks: Sequence[Predictor], settings: EvaluateSettings, seeds: list[str]
) -> dict[str, pd.DataFrame]:
    """The spread over seeds, every check whose tables exist, and the adversarial gate."""
    tables, found = evaluation.tables, {}
    real = evaluation.kind == "real"
    if seeds:
        main = tables["by_gap"] if real else pd.concat([tables["overall"].assign(bin="all"), tables["by_bin"]])
        found["seeds"] = seed_table(main, evaluation.main[1], seeds)
    names = {network.name for network in networks}
    baselines = [b.name for b in make_baselines(list(settings.baselines), list(settings.whittaker_lambdas))]
    if MODEL in names:
        rows = evaluation.rows
        found["checks"] = (
            real_checks(tables, MODEL, baselines) if real else simulated_checks(tables, rows, MODEL, baselines)
        )
    if {MODEL, WITHOUT_ADVERSARIAL} <= names and "images" in tables:
        found["gate"] = gate_table(tables["overall"], tables["images"], MODEL, WITHOUT_ADVERSARIAL)
    return found


def results(evaluation: Evaluation, command: str) -> dict[str, Any]:
    """The command, the hashes of the networks and all tables, as in the files of ``benchmarks/results``."""
    tables = {name: plain(table.round(5).to_dict(orient="records")) for name, table in evaluation.tables.items()}
    return {"command": command, "models_sha256": evaluation.facts["models_sha256"], **tables}


def main(arguments: list[str]) -> None:
    """Run, print the tables, and write them where requested."""
    parser = make_parser()
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = load_settings("evaluate", EvaluateSettings, options.settings)
    except SettingsError as error:
        parser.error(str(error))
    evaluation = accept(options, settings)
    console = Console()
    console.print(show(evaluation), *[flat(evaluation.tables[n], n) for n in FLAT if n in evaluation.tables], sep="\n")
    if options.results is not None:
        command = f"python -m benchmarks.acceptance {shlex.join(arguments)}"
        options.results.write_text(json.dumps(results(evaluation, command), indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
