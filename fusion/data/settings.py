"""Splits of patches, and settings of training samples. Imports no library that computes."""

from pydantic import BaseModel, ConfigDict, Field

SPLITS = ("train", "calibration", "test")


class WithholdingSettings(BaseModel):
    """Random withholding of observations and sensors, so that the network learns to work without them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    windows: tuple[int, int] = Field((1, 6), description="number of withheld windows per sample, inclusive range")
    window_days: tuple[int, int] = Field((5, 65), description="length of a withheld window, days, inclusive range")
    long_share: float = Field(0.2, ge=0, le=1, description="share of samples with one long gap")
    long_days: tuple[int, int] = Field((60, 140), description="length of a long gap, days, inclusive range")
    trailing_share: float = Field(0.2, ge=0, le=1, description="share of samples whose last 5-90 days are withheld")
    thinning_share: float = Field(
        0.3, ge=0, le=1, description="share of samples that lose observations at random dates"
    )
    borrowed_share: float = Field(
        0.25, ge=0, le=1, description="share of samples to which the clouds of another scene are added"
    )
    no_radar_share: float = Field(0.2, ge=0, le=1, description="share of crops without any radar")
    foreign_radar_share: float = Field(
        0.1, ge=0, le=1, description="share of samples with the radar of another scene of the same source"
    )
    radar_noise_share: float = Field(0.3, ge=0, le=1, description="share of samples with noise added to the radar")
    radar_noise_db: tuple[float, float] = Field(
        (0.2, 1.8), description="standard deviation of that noise, dB, range of a sample"
    )
    no_coarse_share: float = Field(0.5, ge=0, le=1, description="share of samples without the coarse series")
    no_latitude_share: float = Field(
        0.15, ge=0, le=1, description="share of samples without latitude, hence without season"
    )
    wrong_season_share: float = Field(0.1, ge=0, le=1, description="share of samples with a random season")
    season_shift_days: float = Field(40.0, ge=0, description="largest error of the season in the other samples, days")


class SampleSettings(BaseModel):
    """Shape and mixture of training samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = Field(96, ge=8, description="dates of a sample, STEP_DAYS apart")
    crop_px: int = Field(8, ge=4, description="side of a crop")
    crops_a_side: int = Field(3, ge=1, description="adjacent crops cut per scene visit, at most, along each axis")
    visits: int = Field(6, ge=1, description="times a scene is used, each time with other withheld observations")
    scenes_in_memory: int = Field(16, ge=1, description="scenes of each source kept in memory at a time")
    crops_in_memory: int = Field(192, ge=1, description="crops mixed before they are returned")
    points_in_memory: int = Field(4096, ge=1, description="lone pixels mixed before they are returned")
    point_uses: int = Field(4, ge=1, description="times a lone pixel is returned before another one replaces it")
    observation_target_share: float = Field(
        0.3, ge=0, le=1, description="share of samples scored against withheld noisy observations"
    )
    screened_share: float = Field(0.2, ge=0, le=1, description="share of visits without undetected cloud or shadow")
    withholding: WithholdingSettings = Field(default_factory=WithholdingSettings)
