"""Settings of the merged cube and of patches. Imports no library that computes."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_prep.simulator.settings import SceneSettings
from fusion.cloud_mask import SCL_CLOUD, SCL_INVALID
from fusion.data.settings import SPLITS
from fusion.data.table_settings import TableSource
from fusion.date_settings import FirstDate, LastDate

OffsetSetting = Literal["auto", "by_date"] | int
OFFSET_HELP = "added to S2 digital numbers: 0, -1000, by_date (-1000 from 2022-01-25 on) or auto"
SatelliteRule = Literal["level", "report", "refuse", "off"]


class OpticalSettings(BaseModel):
    """Cloud mask and NDVI of Sentinel-2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask: Literal["gaussian", "disk", "square", "none"] = Field(
        "gaussian", description="gaussian: two smoothing kernels on SCL; disk, square: dilation; none: keep all pixels"
    )
    remove_classes: tuple[int, ...] = Field(SCL_CLOUD, description="SCL classes removed and dilated by disk and square")
    drop_classes: tuple[int, ...] = Field(
        SCL_INVALID, description="SCL classes removed without dilation by disk and square"
    )
    dilation_px: int = Field(5, ge=0, le=200, description="radius of disk and square, pixels of the S2 grid")
    user_mask: Path | None = Field(None, description="custom cloud mask: a file with one band, nonzero = cloud")
    user_mask_role: Literal["instead", "on_top"] = Field(
        "on_top", description="use user_mask instead of SCL, or in addition to it"
    )
    flag_dips: bool = Field(False, description="add band S2_SUSPECT: 1 = possible undetected cloud (NDVI dip)")
    dip_ndvi: float = Field(0.12, gt=0, description="NDVI decrease below both neighbours that counts as a dip")
    dip_window_d: int = Field(
        25, ge=2, description="largest distance to a neighbouring observation in the dip search, days"
    )


class RadarSettings(BaseModel):
    """Processing of Sentinel-1 before merging."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: Literal["dB", "linear"] = Field("dB", description="units of VV and VH in the merged cube")
    passes: Literal["merge", "most", "ascending", "descending"] = Field(
        "merge",
        description="merge: all passes, acquisitions of one day averaged; most: pass with most dates; else that pass",
    )
    orbit_offset: Literal["none", "scene", "pixel"] = Field(
        "scene", description="level passes to the one with most dates: none, one offset per band (scene), or per pixel"
    )
    satellite_steps: SatelliteRule = Field(
        "level", description="steps of level and place between satellites of one orbit: level, report, refuse, or off"
    )
    border_noise_db: float | None = Field(
        -27.0, description="VV below this at the swath edge is border noise, dB; null: keep"
    )
    speckle: Literal["none", "quegan"] = Field("none", description="multi-temporal speckle filter")
    speckle_window_px: int = Field(7, ge=3, le=51, description="width of the filter's spatial mean, odd, pixels")
    resampling: Literal["nearest", "bilinear", "cubic", "average"] = Field(
        "nearest", description="resampling to the S2 grid; nearest copies aligned cells exactly"
    )


class CoarseSettings(BaseModel):
    """Processing of the coarse series before merging."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resampling: Literal["nearest", "bilinear", "cubic"] = Field(
        "bilinear", description="resampling from 300 m to the S2 grid"
    )


class RegistrationSettings(BaseModel):
    """Limits of the shift between sensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Literal["off", "report", "refuse"] = Field(
        "report", description="off, report the shift, or refuse a shift beyond the limit"
    )
    max_shift_px: float = Field(1.5, gt=0, description="largest accepted shift of Sentinel-1, pixels of the S2 grid")
    max_coarse_shift_m: float = Field(150.0, gt=0, description="largest accepted shift of the coarse series, metres")
    agree_px: float = Field(
        0.5, gt=0, description="largest difference between parts of the series, else not measurable, pixels"
    )


class PrepareSettings(BaseModel):
    """Processing of raw cubes to a merged cube."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optical: OpticalSettings = Field(OpticalSettings(), description="cloud mask and NDVI of Sentinel-2")
    radar: RadarSettings = Field(RadarSettings(), description="processing of Sentinel-1")
    coarse: CoarseSettings = Field(CoarseSettings(), description="processing of the coarse NDVI (PROBA-V, CGLS)")
    registration: RegistrationSettings = Field(RegistrationSettings(), description="check of the shift between sensors")
    start: FirstDate | None = Field(None, description="first date kept; null: all")
    end: LastDate | None = Field(None, description="last date kept; null: all")


class CutSettings(BaseModel):
    """Size of patches and criteria for keeping them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch_px: int = Field(64, ge=8, le=1024, description="height and width, pixels")
    window_days: int = Field(480, ge=30, description="length of a patch in time, days; shorter cubes give one window")
    window_step_days: int = Field(365, ge=1, description="distance between the starts of windows, days")
    min_observations: int = Field(
        8, ge=1, description="least number of S2 dates with a clear share of min_clear or more"
    )
    min_clear: float = Field(0.2, gt=0, le=1, description="clear share of a patch for a date to count")
    truth_step_days: int = Field(5, ge=1, description="time step of the stored truth of simulated scenes, days")
    tile_px: int = Field(256, ge=8, description="size of the part of a cube read by one task, pixels per axis")


class SplitSettings(BaseModel):
    """Shares of the splits, size of the blocks, and exceptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: float = Field(0.8, ge=0, le=1, description="share of the blocks used for training")
    calibration: float = Field(
        0.1, ge=0, le=1, description="share of the blocks used for calibration; the rest is for testing"
    )
    block_deg: float = Field(0.05, gt=0, le=10, description="size of a spatial block, degrees")
    margin_m: float = Field(
        300.0, ge=0, description="distance kept free between splits, metres; covers the coarse footprint"
    )
    holdout_years: tuple[int, ...] = Field(
        (), description="years excluded from train and calibration; used for testing only"
    )
    sites: dict[str, str] = Field({}, description="site name -> split; overrides the blocks")
    seed: int = Field(0, description="seed of the random assignment of blocks")

    @model_validator(mode="after")
    def _consistent(self) -> "SplitSettings":
        if self.train + self.calibration > 1 + 1e-9:
            raise ValueError(f"train={self.train} and calibration={self.calibration} exceed 1 together; lower one")
        wrong = {site: split for site, split in self.sites.items() if split not in SPLITS}
        if wrong:
            raise ValueError(f"sites={wrong}; expected one of {SPLITS} for each site")
        return self


class CubePatches(BaseModel):
    """Patches from merged cube files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cubes"] = "cubes"
    cubes: tuple[str, ...] = Field(min_length=1, description="merged cubes (.nc, .zarr), or patterns such as area/*.nc")


class SimulatedPatches(BaseModel):
    """Patches from simulated scenes; each scene is a site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["simulated"] = "simulated"
    count: int = Field(64, ge=1, description="number of scenes")
    seed: int = Field(0, ge=0, description="seed of the first scene; scene k has seed + k")
    scene: SceneSettings = Field(SceneSettings(), description="the simulator's settings")


class TablePatches(TableSource):
    """Patches of one pixel from tables; a sample is a site."""

    kind: Literal["table"] = "table"
    name: str | None = Field(None, description="name of the set, part of every patch key; the file's when empty")
    group: str | None = Field(None, description="column of the unit (field, plot) that goes into one split as a whole")
    group_pattern: str | None = Field(
        None, description="or regular expression whose match in the sample's name is that unit; the sample when empty"
    )
