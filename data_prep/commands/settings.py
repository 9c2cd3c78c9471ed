"""Settings of the commands of this package; the modules beside this one run them. Imports no library that computes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_prep.settings import CubePatches, CutSettings, PrepareSettings, SimulatedPatches, SplitSettings, TablePatches
from data_prep.simulator.settings import SceneSettings
from data_prep.sources.settings import Source

PatchSource = Annotated[CubePatches | SimulatedPatches | TablePatches, Field(discriminator="kind")]


class SimulateSettings(BaseModel):
    """Write simulated scenes to files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder to write; with count > 1 one sub-folder scene_SEED per scene")
    seed: int = Field(0, ge=0, description="seed of the first scene; further scenes use the following seeds")
    count: int = Field(1, ge=1, description="number of scenes")
    overwrite: bool = Field(False, description="replace existing scenes; otherwise they are kept")
    scene: SceneSettings = Field(SceneSettings(), description="size, period and randomised ranges of a scene")


class CubeSettings(PrepareSettings):
    """Build a merged cube from raw data of one area."""

    input: Path | None = Field(None, description="folder of raw files; short for source=files source.folder=...")
    source: Source = Field(description="source of the raw data: files, stac, openeo or simulated")
    out: Path = Field(description="merged cube to write, .nc or .zarr; must include {area} if there are several areas")
    region: int | None = Field(
        None,
        ge=32,
        description="side in pixels of the regions of a large area; 512, or less for many dates, when empty",
    )
    workers: int = Field(
        1,
        ge=1,
        description="processes that prepare regions side by side, each with its share of the CPU threads; the same "
        "command started again, also on another machine, takes regions as well",
    )
    scheduler: str | None = Field(
        None, description="address of a running Dask scheduler whose workers prepare the regions"
    )
    overwrite: bool = Field(False, description="replace an existing output")

    @field_validator("out")
    @classmethod
    def _known_format(cls, out: Path) -> Path:
        if out.suffix not in (".nc", ".zarr"):
            raise ValueError(f"out={out} ends in {out.suffix!r}; expected .nc or .zarr")
        return out


class PatchesSettings(BaseModel):
    """Make a patch store of merged cubes, simulated scenes or tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: PatchSource = Field(
        description="source=scenes (simulated), source=cubes (merged cubes) or source=table (points and fields)"
    )
    out: Path = Field(description="patch store to write, .zarr; an interrupted run is resumed")
    cut: CutSettings = Field(CutSettings(), description="size of patches and criteria for keeping them")
    split: SplitSettings = Field(SplitSettings(), description="assignment to train, calibration and test")
    workers: int = Field(2, ge=0, le=512, description="number of local processes; 0: run in this process")
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, tcp://...")
    on_error: Literal["stop", "skip"] = Field("stop", description="stop at a cube or scene that fails, or skip it")
    overwrite: bool = Field(False, description="delete an existing store first")

    @field_validator("out")
    @classmethod
    def _is_zarr(cls, out: Path) -> Path:
        if out.suffix != ".zarr":
            raise ValueError(f"out={out} ends in {out.suffix!r}; expected .zarr")
        return out


class InspectSettings(BaseModel):
    """Validate a patch store or a merged cube and summarise its content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Path = Field(description="a patch store, or a merged cube (.nc, .zarr)")
    verify: bool = Field(True, description="read all patches and compare their hashes; false: headers only")
    sheet: Path | None = Field(None, description="contact sheet to write, .png; patch stores only")
    sheet_patches: int = Field(3, ge=1, le=20, description="patches on the contact sheet")
