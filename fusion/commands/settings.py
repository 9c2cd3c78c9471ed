"""Settings of ``ndvi-fusion evaluate``; the module beside this one runs it. Imports no library that computes."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.evaluation.settings import (
    MODEL,
    Bootstrap,
    Holdout,
    LeaveGapOut,
    NearRealTime,
    PhenologyRules,
    Tracking,
)

SHIPPED, NO_MODEL = "shipped", "none"
Baseline = Literal["linear", "whittaker", "savitzky_golay", "efast_like"]


class EvaluateSettings(BaseModel):
    """``ndvi-fusion evaluate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder for scores.json, tables, rows and figures")
    model: str = Field(SHIPPED, description="shipped, none, a model file or folder, run:ID, or a registered name")
    others: dict[str, str] = Field({}, description="further models to score, name -> reference")
    ablations: tuple[Literal["s1", "coarse", "s2_only"], ...] = Field(
        ("s1", "coarse", "s2_only"), description="inputs removed from the model, one ablation each"
    )
    baselines: tuple[Baseline, ...] = Field(
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
        return self

    @model_validator(mode="after")
    def _other_names(self) -> "EvaluateSettings":
        if not self.others:
            return self
        from fusion.evaluation.baselines import make_baselines

        known = [baseline.name for baseline in make_baselines(list(self.baselines), list(self.whittaker_lambdas))]
        taken = {MODEL, *known} & set(self.others)
        if taken:
            raise ValueError(f"others uses the names {sorted(taken)}, which mean something else; take other names")
        return self
