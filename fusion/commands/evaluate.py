"""The command ``ndvi-fusion evaluate``: any model against the baselines, on simulated truth or on a real cube."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.contract import ContractError
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.holdout import Holdout
from fusion.evaluation.leave_gap_out import LeaveGapOut
from fusion.evaluation.metrics import METRICS
from fusion.evaluation.near_real_time import NearRealTime
from fusion.evaluation.phenology import PhenologyRules
from fusion.evaluation.predictor import MODEL, ModelPredictor, Predictor, ablations
from fusion.evaluation.real import real_tables, score_cubes
from fusion.evaluation.report import Evaluation, show, write_report
from fusion.evaluation.scenes import TruthScene, truth_scenes
from fusion.evaluation.simulated import Scored, TruthProtocol, score_scenes, simulated_tables
from fusion.evaluation.summaries import Bootstrap
from fusion.evaluation.tracking import Tracking, open_experiment, record
from fusion.inference.locate import default_tracking_uri

log = logging.getLogger(__name__)

SHIPPED, NO_MODEL = "shipped", "none"


class EvaluateSettings(BaseModel):
    """``ndvi-fusion evaluate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder for scores.json, tables, rows and figures")
    model: str = Field(SHIPPED, description="shipped, none, a model file or folder, run:ID, or a registered name")
    others: dict[str, str] = Field({}, description="further models to score, name -> reference")
    ablations: tuple[Literal["s1", "coarse", "s2_only"], ...] = Field(
        ("s1", "coarse", "s2_only"), description="inputs removed from the model, one ablation each"
    )
    baselines: tuple[str, ...] = Field(
        ("linear", "whittaker", "savitzky_golay", "efast_like"), description="methods to compare with"
    )
    whittaker_lambdas: tuple[float, ...] = Field((1e3, 1e4), description="smoothness of each Whittaker, daily grid")

    cube: Path | tuple[Path, ...] | None = Field(None, description="real cube(s): files, folders of raw files, or CSVs")
    reader: dict[str, Any] = Field({}, description="how a cube is opened, a Hydra _target_ called with the path")
    leave_gap_out: LeaveGapOut = Field(LeaveGapOut(), description="protocol on real observations")

    store: Path | None = Field(None, description="patch store with truth, instead of scenes simulated for this run")
    split: str = Field("test", description="split of the store that is scored")
    open_store: dict[str, Any] = Field(
        {"_target_": "fusion.data.store.PatchStore.open"},
        description="how a store is opened, a Hydra _target_ called with the path",
    )
    truth: dict[str, Any] = Field({}, description="source of scenes with truth, a Hydra _target_")
    scenes: int = Field(24, ge=1, description="scenes scored, at most")
    holdout: Holdout = Field(Holdout(), description="withheld windows against the truth")
    near_real_time: NearRealTime = Field(NearRealTime(), description="error by lag")
    phenology: PhenologyRules = Field(PhenologyRules(), description="error of season dates")

    bootstrap: Bootstrap = Field(Bootstrap(), description="intervals over dates or scenes")
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; null: all")
    figures: bool = Field(True, description="draw the figures")
    figure_format: Literal["png", "pdf", "svg"] = Field("png", description="file format of the figures")
    tracking: Tracking = Field(Tracking(), description="record in MLflow")

    @model_validator(mode="after")
    def _one_input(self) -> "EvaluateSettings":
        if self.cube is not None and self.store is not None:
            raise ValueError("give either cube=PATH (real observations) or store=PATH (simulated truth), not both")
        if self.model == NO_MODEL and (self.others or not self.baselines):
            raise ValueError("model=none leaves nothing to compare; give a model, or baselines without others")
        known = [baseline.name for baseline in make_baselines(list(self.baselines), list(self.whittaker_lambdas))]
        taken = {MODEL, *known} & set(self.others)
        if taken:
            raise ValueError(f"others uses the names {sorted(taken)}, which mean something else; take other names")
        return self


def run(settings: EvaluateSettings) -> Any:
    """Score, write every output into ``settings.out``, record the run; returns the tables to show."""
    cube_paths(settings)  # before a model is loaded
    if settings.tracking.enabled:  # and before hours of work that could not be recorded
        open_experiment(settings.tracking.uri or default_tracking_uri(), settings.tracking.experiment)
    evaluation = evaluate(settings, load_models(settings))
    keep(evaluation, settings)
    return show(evaluation)


def keep(evaluation: Evaluation, settings: EvaluateSettings) -> None:
    """Write every output into ``settings.out`` and record the run."""
    files = write_report(evaluation, settings.out, figures=settings.figures, figure_format=settings.figure_format)
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
    with progress(count) as step:
        rows, gallery, left_out = score_cubes(open_cubes(settings), predictors, settings.leave_gap_out, step=step)
    tables = real_tables(rows, settings.bootstrap)
    dates = {site: sorted(set(group.date)) for site, group in rows.groupby("site")}
    known = facts(predictors) | {"scored_dates": dates, "left_out": left_out}
    return Evaluation("real", tables, {"leave_gap_out": rows}, [p.name for p in predictors], known, gallery)


def evaluate_truth(
    settings: EvaluateSettings, predictors: Sequence[Predictor], watch: Callable[[Scored], None]
) -> Evaluation:
    """The protocol on scenes with truth."""
    protocol = TruthProtocol(settings.holdout, settings.near_real_time, settings.phenology)
    with progress(settings.scenes * len(predictors)) as step:
        rows, gallery = score_scenes(open_scenes(settings), predictors, protocol, step=step, watch=watch)
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


@contextmanager
def progress(total: int) -> Iterator[Any]:
    """A progress bar on the shared console; yields a function that advances it by one and shows the given text."""
    from rich import get_console
    from rich.progress import Progress

    with Progress(console=get_console(), transient=True) as bar:
        task = bar.add_task("evaluate", total=total)
        yield lambda text: bar.update(task, advance=1, description=text)
