"""Settings of the evaluation's protocols. Imports no library that computes."""

from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fusion.date_settings import OneDate

MODEL = "model"  # name of the scored model in tables and figures
Target = Literal["observation", "ndvi"]  # sigma: standard deviation of one observation, or of the NDVI itself


class Rules(BaseModel):
    """Immutable settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LeaveGapOut(Rules):
    """Rules of the leave-gap-out protocol, for real or simulated observations."""

    gaps_days: tuple[int, ...] = Field((2, 10, 20, 30), min_length=1, description="withheld days on each side")
    min_clear: float = Field(0.8, ge=0, le=1, description="smallest clear share of the pixels that are ever observed")
    edge_days: int = Field(45, ge=0, description="smallest distance of a scored date to the first and last date")
    dates: tuple[OneDate, ...] | None = Field(None, description="score exactly these dates (YYYY-MM-DD) instead")
    max_dates: int | None = Field(None, ge=1, description="largest number of scored dates, evenly spread")

    @field_validator("gaps_days")
    @classmethod
    def _not_negative(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        if min(gaps) < 0 or len(set(gaps)) != len(gaps):
            raise ValueError(f"gaps_days is {list(gaps)}; expected different whole numbers of days, 0 or more")
        return gaps


class Holdout(Rules):
    """Rules of the hold-out: S2 observations in some windows are withheld; unobserved pixels are scored."""

    lengths_days: tuple[int, ...] = Field(
        (20, 40, 60, 90, 120, 180, 240), min_length=1, description="lengths of withheld windows, drawn at random"
    )
    windows: int = Field(2, ge=0, description="withheld windows per scene")
    frames: int = Field(6, ge=0, description="dates per scene with image metrics, in withheld windows")
    seed: int = Field(0, description="seed of the positions of the windows")


class NearRealTime(Rules):
    """Rules of near real time: dates are predicted from data up to a lag after them, and from all data (hindcast).

    A lag of 0 includes the date itself. A composite is available after its last day. The same pixels are scored at
    every lag: those without an observation on the date.
    """

    lags_days: tuple[int, ...] = Field((0, 5, 10, 20, 30, 45, 60, 90), min_length=1, description="lags to score")
    dates: int = Field(3, ge=1, description="dates per scene")
    scenes: int = Field(8, ge=0, description="largest number of scenes scored (0: none)")


class PhenologyRules(Rules):
    """Rules for dates of the main season of the truth, with all S2 observations around the event withheld."""

    gaps_days: tuple[int, ...] = Field((0, 30, 60, 90), min_length=1, description="length of the gap around the event")
    scenes: int = Field(6, ge=0, description="largest number of scenes scored (0: none)")
    pixels: int = Field(256, ge=1, description="largest number of pixels per scene, evenly spread")
    sigma: Target = Field(
        "ndvi", description="NDVI_SIGMA given to the extractor: of the NDVI itself (ndvi) or of one observation"
    )


class Bootstrap(Rules):
    """Settings of the bootstrap intervals of means."""

    level: float = Field(0.9, gt=0, lt=1, description="probability inside an interval")
    draws: int = Field(2000, ge=10, description="resamples")

    @property
    def arguments(self) -> dict:
        """Keyword arguments of the functions in :mod:`fusion.evaluation.bootstrap`."""
        return self.model_dump()


class Tracking(Rules):
    """Settings of MLflow tracking."""

    enabled: bool | None = Field(None, description="record the run with MLflow; null: if MLflow is installed")
    uri: str | None = Field(
        None, description="MLflow tracking URI; MLFLOW_TRACKING_URI or outputs/mlflow.db when empty"
    )
    experiment: str = Field("evaluation", description="MLflow experiment")
    run_name: str | None = Field(None, description="name of the run; the name of the output folder when empty")

    @property
    def active(self) -> bool:
        """Whether the run is recorded."""
        return find_spec("mlflow") is not None if self.enabled is None else self.enabled
