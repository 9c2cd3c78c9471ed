"""Settings of the demo."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.contract import STEP_DAYS


class DemoSettings(BaseModel):
    """``ndvi-fusion demo``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(Path("outputs/demo"), description="output folder; the report is report.html in it")
    cube: Path | None = Field(
        None,
        description="a real cube instead of the simulated scene: a folder of raw Sentinel files, or a merged cube "
        "(.nc, .zarr); then no model is trained",
    )
    model: str | None = Field(
        None,
        description="model to use: a folder or file, an MLflow run or a registry name; none: train one on simulated "
        "scenes, or with cube=... use the shipped one",
    )
    seed: int = Field(7, ge=0, description="seed of the simulated scenes and of training")
    year: int = Field(2019, ge=2015, le=2100, description="year of the simulated season")
    size_px: int = Field(128, ge=64, le=1024, multiple_of=16, description="edge of the simulated scene, pixels of 10 m")
    train_minutes: float = Field(2.5, gt=0, le=600, description="duration of training, minutes")
    scenes: int = Field(48, ge=4, description="simulated scenes from which training patches are cut")
    evaluation_scenes: int = Field(4, ge=1, description="simulated scenes on which the model is scored")
    step_days: int = Field(STEP_DAYS, ge=1, le=30, description="time step of the dense series, days")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="units of VV and VH of a real cube; none: as stated in the files"
    )
    resume: bool = Field(True, description="keep the steps finished by an earlier run with the same settings")

    @model_validator(mode="after")
    def _cube_is_there(self) -> "DemoSettings":
        if self.cube is not None and not self.cube.exists():
            raise ValueError(f"cube: {self.cube} does not exist; give a folder of raw files or a merged cube")
        return self
