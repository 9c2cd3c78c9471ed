"""The command ``ndvi-fusion evaluate``: any model against the baselines, on simulated truth or on a real cube."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from fusion.commands.settings import NO_MODEL, SHIPPED, EvaluateSettings
from fusion.contract import ContractError
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.metrics import METRICS
from fusion.evaluation.predictor import ModelPredictor, Predictor, ablations
from fusion.evaluation.real import real_tables, score_cubes
from fusion.evaluation.report import Evaluation, show, write_report
from fusion.evaluation.scenes import TruthScene, truth_scenes
from fusion.evaluation.simulated import Scored, TruthProtocol, score_scenes, simulated_tables
from fusion.evaluation.tracking import open_experiment, record
from fusion.extras import can_draw
from fusion.inference.locate import default_tracking_uri
from fusion.progress import tracked

__all__ = ["EvaluateSettings", "run"]

log = logging.getLogger(__name__)


def run(settings: EvaluateSettings) -> Any:
    """Score, write every output into ``settings.out``, record the run; returns the tables to show."""
    cube_paths(settings)  # before a model is loaded
    if settings.tracking.active:  # and before hours of work that could not be recorded
        open_experiment(settings.tracking.uri or default_tracking_uri(), settings.tracking.experiment)
    evaluation = evaluate(settings, load_models(settings))
    keep(evaluation, settings)
    return show(evaluation)


def keep(evaluation: Evaluation, settings: EvaluateSettings) -> None:
    """Write every output into ``settings.out`` and record the run."""
    figures = settings.figures and can_draw("figures are")
    files = write_report(evaluation, settings.out, figures=figures, figure_format=settings.figure_format)
    record(evaluation, settings.model_dump(mode="json"), settings.tracking, settings.out)
    log.info("%d files in %s", len(files), settings.out)


def load_models(settings: EvaluateSettings) -> list[Predictor]:
    """The model, its ablations, then the further models."""
    models: list[Predictor] = []
    threads = settings.threads or os.cpu_count() or 1
    if settings.model != NO_MODEL:
        model = ModelPredictor.load(None if settings.model == SHIPPED else settings.model, threads=threads)
        models += [model, *ablations(model, settings.ablations)]
    others = settings.others.items()
    return models + [ModelPredictor.load(reference, name=name, threads=threads) for name, reference in others]


def evaluate(
    settings: EvaluateSettings, models: Sequence[Predictor], *, watch: Callable[[Scored], None] = lambda _: None
) -> Evaluation:
    """Score the models and the baselines on real cubes, or on scenes with truth.

    ``watch`` is called with the result of every predictor on every scene with truth.
    """
    predictors = [*models, *make_baselines(list(settings.baselines), list(settings.whittaker_lambdas))]
    if settings.cube is not None:
        return evaluate_cubes(settings, predictors)
    return evaluate_truth(settings, predictors, watch)


def facts(predictors: Sequence[Predictor]) -> dict[str, Any]:
    """Hashes of the models, and unit and source of every metric, for ``scores.json``."""
    return {
        "models_sha256": {p.name: p.session.manifest.sha256 for p in predictors if isinstance(p, ModelPredictor)},
        "metrics": {metric.name: {"unit": metric.unit, "source": metric.source} for metric in METRICS},
    }


def evaluate_cubes(settings: EvaluateSettings, predictors: Sequence[Predictor]) -> Evaluation:
    """Leave-gap-out on every cube of the settings."""
    count = len(cube_paths(settings))
    log.info("%d real cube(s)", count)
    cubes = tracked(open_cubes(settings), "evaluate", count)
    rows, gallery, left_out = score_cubes(cubes, predictors, settings.leave_gap_out)
    tables = real_tables(rows, settings.bootstrap)
    dates = {site: sorted(set(group.date)) for site, group in rows.groupby("site")}
    known = facts(predictors) | {"scored_dates": dates, "left_out": left_out}
    return Evaluation("real", tables, {"leave_gap_out": rows}, [p.name for p in predictors], known, gallery)


def evaluate_truth(
    settings: EvaluateSettings, predictors: Sequence[Predictor], watch: Callable[[Scored], None]
) -> Evaluation:
    """The protocol on scenes with truth."""
    protocol = TruthProtocol(settings.holdout, settings.near_real_time, settings.phenology)
    scenes = tracked(open_scenes(settings), "evaluate", settings.scenes)
    rows, gallery = score_scenes(scenes, predictors, protocol, watch=watch)
    tables = simulated_tables(rows, settings.bootstrap)
    known = facts(predictors) | {"scenes": list(dict.fromkeys(rows["holdout"].scene))}
    return Evaluation("simulated", tables, rows, [p.name for p in predictors], known, gallery)


def cube_paths(settings: EvaluateSettings) -> list[Path]:
    """The cubes to score; a folder of CSV files stands for all of them.

    Raises
    ------
    ContractError
        A path does not exist.
    """
    if settings.cube is None:
        return []
    paths = [settings.cube] if isinstance(settings.cube, Path) else list(settings.cube)
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ContractError(f"{path} does not exist; name a cube file, a folder of raw files, or a CSV")
        series = sorted(path.glob("*.csv")) if path.is_dir() else []
        found += series or [path]
    return found


def open_cubes(settings: EvaluateSettings) -> Iterator[tuple[str, xr.DataArray]]:
    """Name and merged cube of every path, opened by the configured reader, one at a time."""
    from hydra.utils import instantiate

    for path in cube_paths(settings):
        yield path.stem, instantiate(settings.reader, path, _convert_="all")


def open_scenes(settings: EvaluateSettings) -> Iterator[TruthScene]:
    """Scenes with truth: from the split of the store, or from the configured source."""
    from hydra.utils import instantiate

    source: Iterable[Any]
    if settings.store is not None:
        store = instantiate(settings.open_store, settings.store, _convert_="all")
        source = (store[i] for i in store.indices(settings.split))
    else:
        source = instantiate(settings.truth, _convert_="all")
    return truth_scenes(source, settings.scenes)
