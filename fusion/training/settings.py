"""Settings of a training run. Imports no library that computes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.data.settings import SampleSettings


class GeneratorSettings(BaseModel):
    """Architecture of the generator; stored in the checkpoint and in the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    width: int = Field(32, ge=4, description="channels of the residual blocks")
    dilations: tuple[int, ...] = Field((1, 2, 4, 8, 4, 1), description="one residual block each, in time steps")
    spatial_every: int = Field(2, ge=1, description="every n-th block also convolves over the 3 x 3 neighbours")


class LossSettings(BaseModel):
    """Weights of the losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    l1: float = Field(6.0, ge=0, description="weight of the mean absolute error")
    nll: float = Field(0.5, ge=0, description="weight of the Laplace likelihood, which trains the uncertainty")
    point_weight: float = Field(0.4, ge=0, le=1, description="weight of the lone pixels; the crops have the rest")
    no_radar_weight: float = Field(
        0.4, ge=0, le=1, description="weight, among the lone pixels, of their second pass without radar"
    )
    radar_harm: float = Field(
        0.5, ge=0, description="weight, relative to l1, of the error that radar adds to lone pixels"
    )
    gradient: float = Field(1.0, ge=0, description="weight of the error of spatial differences")
    adversarial: float = Field(0.0, ge=0, le=0.05, description="weight of the adversarial loss after its ramp; 0 = off")
    adversarial_ramp: int = Field(500, ge=1, description="steps over which that weight grows from 0")
    adversarial_warmup: int = Field(
        200, ge=0, description="steps before that ramp, in which the generator learns from its other losses only"
    )
    r1: float = Field(1.0, ge=0, description="weight of the R1 penalty")
    r1_every: int = Field(16, ge=1, description="the penalty is computed every n-th step (lazy R1)")


class OptimiserSettings(BaseModel):
    """Length and speed of training."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of the generator (AdamW)")
    discriminator_ratio: float = Field(
        2.0, gt=0, description="learning rate of the discriminator / that of the generator"
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay")
    warmup_steps: int = Field(200, ge=0, description="linear warm-up")
    max_steps: int = Field(20_000, ge=1, description="generator steps; the rate decays to 0 as a cosine")
    max_minutes: float | None = Field(None, gt=0, description="time limit, minutes; the cosine ends there too")
    clip: float = Field(1.0, gt=0, description="gradient norm is clipped to this")
    average_decay: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights, which are exported")


class TrackingSettings(BaseModel):
    """Recording of the run with MLflow."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    enabled: bool = Field(True, description="record the run with MLflow")
    uri: str | None = Field(
        None, description="MLflow tracking URI; MLFLOW_TRACKING_URI or outputs/mlflow.db when empty"
    )
    experiment: str = Field("ndvi-fusion", description="MLflow experiment")
    register_as: str | None = Field("ndvi-fusion", description="name in the model registry; empty = do not register")
    alias: str = Field("newest", description="alias given to the registered version")
    min_steps: int = Field(500, ge=0, description="a shorter training is registered without the alias")
    tags: dict[str, str] = Field(default_factory=dict, description="MLflow tags of the run, such as tags.area=north")


class TrainSettings(BaseModel):
    """``ndvi-fusion train``: scenes in, checkpoint and ONNX model out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    out: Path = Field(description="output folder; an interrupted run found there is resumed")
    store: Path | Annotated[tuple[Path, ...], Field(min_length=1)] | None = Field(
        None, description="patch store to train on, or several (their splits are kept)"
    )
    scenes: dict[str, Any] | None = Field(None, description="simulated scenes, alone or beside stores: a _target_")
    shares: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        None, description="share of each source in the samples, scenes first, then the stores; equal when empty"
    )
    seed: int = Field(20240, ge=0, description="seed of scenes, withholding and weights")
    samples: SampleSettings = Field(default_factory=lambda: SampleSettings(), description="crops and withholding")
    batch_size: int = Field(12, ge=1, description="crops per step")
    points_per_step: int = Field(48, ge=0, description="lone pixels per step, from all sources; 0 = none")
    workers: int = Field(1, ge=0, description="processes that prepare samples; 0 = in the training process")
    threads: int | None = Field(None, ge=1, description="CPU threads of the training process; all cores when empty")
    generator: GeneratorSettings = Field(default_factory=lambda: GeneratorSettings())
    loss: LossSettings = Field(default_factory=lambda: LossSettings())
    optimiser: OptimiserSettings = Field(default_factory=lambda: OptimiserSettings())
    tracking: TrackingSettings = Field(default_factory=lambda: TrackingSettings())
    start_from: Path | Annotated[tuple[Path, ...], Field(min_length=1)] | None = Field(
        None, description="generator.pt that starts this run, or shipped; of several, their mean (arXiv:2203.05482)"
    )
    resume: bool = Field(True, description="resume from the checkpoint in the output folder, if there is one")
    validate_every: int = Field(1000, ge=1, description="steps between validations")
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")
    validation_batches: int = Field(24, ge=1, description="batches of the fixed validation set")
    calibration_batches: int = Field(48, ge=1, description="batches on which the uncertainty is calibrated")
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="Lightning accelerator")
    devices: int | Literal["auto"] = Field("auto", description="number of devices")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Lightning precision")
    compile: bool = Field(False, description="torch.compile the generator")
    progress: bool = Field(True, description="show a progress bar")

    @property
    def stores(self) -> tuple[Path, ...]:
        """The patch stores, none, one or several."""
        return () if self.store is None else (self.store,) if isinstance(self.store, Path) else self.store

    @property
    def all_shares(self) -> tuple[float, ...]:
        """Share of every source, scenes first, then the stores."""
        return self.shares or (1.0,) * ((self.scenes is not None) + len(self.stores))

    @model_validator(mode="after")
    def _sources(self) -> "TrainSettings":
        if self.store is None and self.scenes is None:
            raise ValueError("'store' or 'scenes' must be given; add store=PATH or experiment=shipped_cpu")
        names = ["scenes"] * (self.scenes is not None) + [str(path) for path in self.stores]
        if len(set(names)) < len(names):
            raise ValueError(f"a store is given twice (seen: {', '.join(names)}); give it once, with a larger share")
        if self.shares is not None and (len(self.shares) != len(names) or sum(self.shares) <= 0):
            raise ValueError(
                f"shares={list(self.shares)}; expected {len(names)} numbers of 0 or more that are not all 0, one for "
                f"each of: {', '.join(names)}"
            )
        if self.loss.adversarial > 0 and self.samples.crop_px < 8:
            raise ValueError(f"the adversarial loss needs crops of 8 px or more (seen: crop_px={self.samples.crop_px})")
        return self
