"""The command ``ndvi-fusion evaluate``: any model beside the baselines, on simulated truth or on a real cube."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.contract import ContractError
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.checks import gate_table, real_checks, simulated_checks
from fusion.evaluation.holdout import Holdout
from fusion.evaluation.leave_gap_out import LeaveGapOut
from fusion.evaluation.metrics import METRICS
from fusion.evaluation.near_real_time import NearRealTime
from fusion.evaluation.phenology import PhenologyRules
from fusion.evaluation.predictor import (
    MODEL,
    OTHER_SENSORS,
    WITHOUT_ADVERSARIAL,
    ModelPredictor,
    Predictor,
    Without,
    ablations,
)
from fusion.evaluation.radar_level import RadarLevel
from fusion.evaluation.real import real_tables, score_cubes
from fusion.evaluation.report import Evaluation, show, write_report
from fusion.evaluation.scenes import TruthScene, truth_scenes
from fusion.evaluation.simulated import TruthProtocol, score_scenes, simulated_tables
from fusion.evaluation.summaries import Bootstrap, seed_table
from fusion.evaluation.suspects import SuspectRules
from fusion.evaluation.tracking import Tracking, record

log = logging.getLogger(__name__)

SHIPPED, NO_MODEL = "shipped", "none"
S2_ONLY_NET = "S2-only net"


class EvaluateSettings(BaseModel):
    """``ndvi-fusion evaluate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder for scores.json, tables, rows and figures")
    model: str = Field(SHIPPED, description="shipped, none, a model file or folder, run:ID, or a registered name")
    without_adversarial: str | None = Field(None, description="the net without its adversarial part, for the gate")
    seeds: tuple[str, ...] = Field((), description="nets trained alike from other seeds, for the spread over seeds")
    s2_only_net: str | None = Field(None, description="a net trained on S2 alone; it is shown S2 alone")
    others: dict[str, str] = Field({}, description="further nets to score beside it, name -> reference")
    ablations: tuple[Literal["s1", "coarse", "s2_only"], ...] = Field(
        ("s1", "coarse", "s2_only"), description="what the model loses"
    )
    baselines: tuple[str, ...] = Field(
        ("linear", "whittaker", "savitzky_golay", "efast_like"), description="methods to compare with"
    )
    whittaker_lambdas: tuple[float, ...] = Field((1e3, 1e4), description="smoothness of each Whittaker, daily grid")

    cube: Path | tuple[Path, ...] | None = Field(None, description="real cube(s): files, folders of raw files, or CSVs")
    reader: dict[str, Any] = Field({}, description="how a cube is opened, a Hydra _target_ called with the path")
    leave_gap_out: LeaveGapOut = Field(LeaveGapOut(), description="protocol on real observations")

    store: Path | None = Field(None, description="patch store with truth, instead of scenes made here")
    split: str = Field("test", description="split of the store that is scored")
    open_store: dict[str, Any] = Field(
        {"_target_": "fusion.data.store.PatchStore.open"},
        description="how a store is opened, a Hydra _target_ called with the path",
    )
    truth: dict[str, Any] = Field({}, description="where scenes with truth come from, a Hydra _target_")
    scenes: int = Field(24, ge=1, description="scenes scored, at most")
    holdout: Holdout = Field(Holdout(), description="withheld windows against the truth")
    near_real_time: NearRealTime = Field(NearRealTime(), description="error by lag")
    phenology: PhenologyRules = Field(PhenologyRules(), description="error of season dates")
    radar_level: RadarLevel = Field(RadarLevel(), description="what a constant shift of the radar changes")
    suspects: SuspectRules = Field(SuspectRules(), description="finding observations that the cloud mask missed")
    observation_scenes: int = Field(
        8, ge=0, description="scenes also scored against their own observations (leave-gap-out)"
    )
    observation_linear: dict[int, float] = Field(
        {2: 0.0704, 10: 0.0977, 20: 0.1149, 30: 0.1370},
        description="MAE of linear on real observations by gap, to compare scenes with",
    )

    distribution: Literal["gaussian", "laplace"] = Field("gaussian", description="shape of the predictive distribution")
    bootstrap: Bootstrap = Field(Bootstrap(), description="intervals over dates or scenes")
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; null: all")
    figures: bool = Field(True, description="draw the figures")
    figure_format: Literal["png", "pdf", "svg"] = Field("png", description="file format of the figures")
    tracking: Tracking = Field(Tracking(), description="record in MLflow")

    @model_validator(mode="after")
    def _one_input(self) -> "EvaluateSettings":
        if self.cube is not None and self.store is not None:
            raise ValueError("give either cube=PATH (real observations) or store=PATH (simulated truth), not both")
        nets = self.without_adversarial or self.others or self.seeds or self.s2_only_net
        if self.model == NO_MODEL and (nets or not self.baselines):
            raise ValueError("model=none leaves nothing to compare; give a model, or baselines only")
        if self.without_adversarial and self.cube is not None:
            raise ValueError("the adversarial gate needs truth; leave out cube")
        known = [baseline.name for baseline in make_baselines(list(self.baselines), list(self.whittaker_lambdas))]
        seeds = seed_names(self.seeds)
        taken = {MODEL, WITHOUT_ADVERSARIAL, S2_ONLY_NET, *known, *seeds} & set(self.others)
        if taken:
            raise ValueError(f"others uses the names {sorted(taken)}, which mean something else; take other names")
        return self


def run(settings: EvaluateSettings) -> Any:
    """Score, write every output into ``settings.out``, record the run; returns the tables to show."""
    names = [str(path) for path in cube_paths(settings)]
    predictors, baselines = make_predictors(settings)
    if settings.cube is None:
        evaluation = evaluate_truth(settings, predictors, baselines)
    else:
        log.info("%d real cube(s)", len(names))
        evaluation = evaluate_cubes(settings, predictors, baselines)
    files = write_report(evaluation, settings.out, figures=settings.figures, figure_format=settings.figure_format)
    record(evaluation, settings.model_dump(mode="json"), settings.tracking, settings.out)
    log.info("%d files in %s", len(files), settings.out)
    return show(evaluation)


def make_predictors(settings: EvaluateSettings) -> tuple[list[Predictor], list[str]]:
    """Every method of the run, the model first, and the names of the baselines."""
    baselines = make_baselines(list(settings.baselines), list(settings.whittaker_lambdas))
    predictors: list[Predictor] = []
    threads = settings.threads or os.cpu_count() or 1
    if settings.model != NO_MODEL:
        model = ModelPredictor.load(None if settings.model == SHIPPED else settings.model, threads=threads)
        predictors += [model, *ablations(model, settings.ablations)]
    others = dict(zip(seed_names(settings.seeds), settings.seeds, strict=True)) | settings.others
    if settings.without_adversarial:
        others[WITHOUT_ADVERSARIAL] = settings.without_adversarial
    predictors += [ModelPredictor.load(reference, name=name, threads=threads) for name, reference in others.items()]
    if settings.s2_only_net:
        net = ModelPredictor.load(settings.s2_only_net, name=S2_ONLY_NET, threads=threads)
        predictors.append(Without(net, OTHER_SENSORS, S2_ONLY_NET))
    return [*predictors, *baselines], [baseline.name for baseline in baselines]


def seed_names(seeds: tuple[str, ...]) -> list[str]:
    """What the further seeds are called: the model itself is the first."""
    return [f"seed {number}" for number in range(2, len(seeds) + 2)]


def seed_spread(settings: EvaluateSettings, table: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    """The table of the spread over seeds, where more than one was given."""
    return {"seeds": seed_table(table, by, [MODEL, *seed_names(settings.seeds)])} if settings.seeds else {}


def facts(settings: EvaluateSettings, predictors: list[Predictor]) -> dict[str, Any]:
    """What a reader of ``scores.json`` has to know beside the tables."""
    nets = [p.inner if p.name == S2_ONLY_NET and isinstance(p, Without) else p for p in predictors]
    hashes = {net.name: net.session.manifest.sha256 for net in nets if isinstance(net, ModelPredictor)}
    return {
        "models_sha256": hashes,
        "distribution": settings.distribution,
        "metrics": {metric.name: {"unit": metric.unit, "source": metric.source} for metric in METRICS},
    }


def evaluate_cubes(settings: EvaluateSettings, predictors: list[Predictor], baselines: list[str]) -> Evaluation:
    """Leave-gap-out on every cube named."""
    with progress(len(cube_paths(settings))) as step:
        rows, gallery, left_out = score_cubes(
            open_cubes(settings), predictors, settings.leave_gap_out, distribution=settings.distribution, step=step
        )
    tables = real_tables(rows, settings.bootstrap)
    tables |= seed_spread(settings, tables["by_gap"], "gap_days")
    if settings.model != NO_MODEL:
        tables["checks"] = real_checks(tables, MODEL, baselines)
    dates = {site: sorted(set(group.date)) for site, group in rows.groupby("site")}
    known = facts(settings, predictors) | {"scored_dates": dates, "left_out": left_out}
    names = [predictor.name for predictor in predictors]
    return Evaluation("real", tables, {"leave_gap_out": rows}, names, known, gallery)


def evaluate_truth(settings: EvaluateSettings, predictors: list[Predictor], baselines: list[str]) -> Evaluation:
    """The protocol on scenes with truth."""
    protocol = TruthProtocol(
        holdout=settings.holdout,
        near_real_time=settings.near_real_time,
        phenology=settings.phenology,
        radar_level=settings.radar_level,
        suspects=settings.suspects,
        observations=settings.leave_gap_out,
        observation_scenes=settings.observation_scenes,
        distribution=settings.distribution,
    )
    with progress(settings.scenes * len(predictors)) as step:
        rows, gallery = score_scenes(open_scenes(settings), predictors, protocol, step=step)
    tables = simulated_tables(rows, settings.bootstrap)
    tables |= seed_spread(settings, pd.concat([tables["overall"].assign(bin="all"), tables["by_bin"]]), "bin")
    if settings.model != NO_MODEL:
        tables["checks"] = simulated_checks(tables, rows, MODEL, baselines, settings.observation_linear)
    if settings.without_adversarial and "images" in tables:
        tables["gate"] = gate_table(tables["overall"], tables["images"], MODEL, WITHOUT_ADVERSARIAL)
    known = facts(settings, predictors) | {"scenes": list(dict.fromkeys(rows["holdout"].scene))}
    return Evaluation("simulated", tables, rows, [predictor.name for predictor in predictors], known, gallery)


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
    """Scenes with truth: of the store's split, or made by the configured source."""
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
    """A progress bar on the shared console; yields a function that takes what is being done now."""
    from rich import get_console
    from rich.progress import Progress

    with Progress(console=get_console(), transient=True) as bar:
        task = bar.add_task("evaluate", total=total)
        yield lambda text: bar.update(task, advance=1, description=text)
