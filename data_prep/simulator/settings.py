"""Settings of a simulated scene: all ranges that are randomised from scene to scene, with their units."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Range = Annotated[tuple[float, float], Field(description="lowest and highest value, drawn uniformly per scene")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _ordered(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            raise ValueError(f"{info.field_name} is {value}; expected (low, high) with low <= high; swap them")
        return value


class GeometrySettings(_Settings):
    """Geometry of parcels, roads, hedges and buildings."""

    parcel_ha: Range = Field((0.5, 10.0), description="typical parcel area of a scene, hectares, drawn log-uniformly")
    voronoi_probability: float = Field(0.35, ge=0, le=1, description="share of scenes with irregular parcels")
    road_probability: float = Field(
        0.35, ge=0, le=1, description="probability that a boundary between blocks is a road"
    )
    hedge_probability: float = Field(
        0.25, ge=0, le=1, description="probability that a boundary between blocks is a hedge"
    )
    buildings: Range = Field((0, 5), description="number of farm buildings or houses per square kilometre")
    variation_length_m: Range = Field(
        (30.0, 150.0), description="correlation length of the variation within fields, metres"
    )
    edge_blur_px: Range = Field((0.4, 0.9), description="standard deviation of the 10 m sensor blur, pixels")
    margin_px: int = Field(
        36, ge=0, le=200, description="surroundings simulated for the coarse sensor, pixels per side"
    )


class PhenologySettings(_Settings):
    """Land cover and phenology."""

    southern_probability: float = Field(0.15, ge=0, le=1, description="share of scenes in the southern hemisphere")
    latitude_deg: Range = Field((28.0, 60.0), description="absolute latitude, degrees")
    latitude_shift_d: Range = Field((0.8, 4.0), description="delay of spring per degree of latitude poleward, days")
    summer_dry_probability: float = Field(
        0.6, ge=0, le=1, description="share of scenes with dry summers at 38 degrees and below, falling to none at 50"
    )
    year_shift_d: float = Field(9.0, ge=0, description="standard deviation of the season shift of a year, days")
    field_shift_d: float = Field(7.0, ge=0, description="standard deviation of the season shift of a field, days")
    arable_share: Range = Field((0.3, 1.0), description="share of the parcels under crops")
    pulses_probability: float = Field(
        0.05, ge=0, le=1, description="share of parcels with green pulses at random dates"
    )
    smooth_probability: float = Field(
        0.05, ge=0, le=1, description="share of parcels that follow a smooth random curve"
    )
    cover_crop_probability: Range = Field((0.3, 0.95), description="probability of a cover crop between two main crops")
    drought_probability: float = Field(0.35, ge=0, le=1, description="probability of a dry summer per year")
    field_variation: Range = Field((0.03, 0.12), description="std of growth within fields, relative to the amplitude")
    field_timing_d: Range = Field((0.5, 3.0), description="std of timing within fields, days")
    winter_green: Range = Field((0.0, 0.28), description="NDVI of weeds and moss on bare fields in a mild winter")
    cold_spell: Range = Field((0.0, 0.35), description="largest share of green NDVI lost in a hard winter")
    wander: Range = Field((0.005, 0.03), description="std of the slow random deviation of a field from its curve, NDVI")


class OpticsSettings(_Settings):
    """Sentinel-2 observations."""

    orbits: tuple[int, int] = Field((1, 3), description="lowest and highest number of relative orbits over the scene")
    cloudiness: Range = Field((0.4, 0.8), description="mean cloudiness over the year, 0..1")
    cloud_season: Range = Field((0.0, 0.22), description="increase of cloudiness in mid-winter over the mean")
    dilation_px: tuple[int, int] = Field((2, 7), description="radius of the cloud mask dilation, pixels")
    gaussian_mask_probability: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of scenes masked by the default Gaussian kernels, else by square dilation",
    )
    missed_cloud_probability: Range = Field(
        (0.02, 0.08), description="probability that thin cloud on a date is not masked"
    )
    haze: Range = Field(
        (0.003, 0.014), description="scale of the additive reflectance of undetected haze, overhead sun"
    )
    band_bias: Range = Field(
        (0.001, 0.005), description="scale of the additive error per date and band, reflectance, overhead sun"
    )
    brdf: Range = Field((0.015, 0.05), description="std of the multiplicative error between bands per date")
    clean_air_probability: float = Field(0.2, ge=0, le=1, description="share of scenes with clean air")
    clean_air: Range = Field((0.2, 0.8), description="factor on haze, band_bias and brdf in clean air")
    pixel_noise: Range = Field((0.001, 0.004), description="std of the reflectance noise per pixel")
    shift_px: Range = Field((0.0, 0.5), description="std of the geolocation error per date, pixels")
    snow_missed: float = Field(
        0.2, ge=0, le=1, description="share of snowy dates on which the mask misses most of the snow"
    )


class RadarSettings(_Settings):
    """Sentinel-1 backscatter."""

    orbits: tuple[int, int] = Field((1, 2), description="lowest and highest number of relative orbits")
    revisit_d: tuple[int, ...] = Field(
        (6, 6, 12), description="revisit times of one orbit, drawn with equal probability, days"
    )
    enl: Range = Field((4.0, 50.0), description="equivalent number of looks, drawn log-uniformly")
    level_db: Range = Field((-2.0, 2.0), description="common level offset (sigma0 or gamma0, calibration), dB")
    orbit_db: Range = Field((0.0, 1.2), description="std of the level difference between orbits, dB")
    moisture_db: Range = Field((5.0, 14.0), description="increase of bare soil backscatter from dry to wet, dB")
    field_wetness: Range = Field((0.1, 0.6), description="std of the log moisture response between fields")
    wander_db: Range = Field((0.3, 1.6), description="std of the drift of a field common to VV and VH, dB")
    wander_ratio_db: Range = Field((0.1, 0.8), description="std of the drift of a field separate for VV and VH, dB")
    field_db: float = Field(1.1, ge=0, description="std of the static level of a field, dB")
    texture_db: Range = Field((0.2, 1.0), description="std of static texture within fields, dB")
    dropout: float = Field(0.0, ge=0, le=1, description="share of scenes without radar")


class CoarseSettings(_Settings):
    """PROBA-V 300 m composites."""

    psf_sigma_m: Range = Field(
        (70.0, 150.0), description="std of the Gaussian blur in addition to the 300 m box, metres"
    )
    noise: Range = Field((0.01, 0.03), description="std of one daily observation (angles, atmosphere), NDVI")
    bias: Range = Field((-0.04, 0.04), description="spectral band difference to Sentinel-2, NDVI offset")
    gain: Range = Field((0.92, 1.06), description="spectral band difference to Sentinel-2, factor")
    residual_cloud: Range = Field(
        (0.01, 0.06), description="probability that a composite pixel contains residual cloud"
    )
    missing: Range = Field((0.0, 0.06), description="probability that a composite pixel is missing")
    resample: Literal["nearest", "bilinear", "random"] = Field(
        "random", description="resampling of the composites to 10 m"
    )
    dropout: float = Field(0.0, ge=0, le=1, description="share of scenes without the coarse series")


class SceneSettings(_Settings):
    """One simulated scene; equal settings and seed give an equal scene."""

    height: int = Field(64, ge=8, le=2048, description="height, pixels")
    width: int = Field(64, ge=8, le=2048, description="width, pixels")
    n_days: int = Field(480, ge=30, le=3000, description="length of the simulated period, days")
    resolution_m: float = Field(10.0, gt=0, description="pixel size, metres")
    first_year: int = Field(2016, description="earliest year in which a scene starts")
    last_year: int = Field(2023, description="latest year in which a scene starts")
    start_day: tuple[int, int] = Field(
        (0, 364), description="first and last possible start of a scene, day of the year from 0"
    )
    geometry: GeometrySettings = GeometrySettings()
    phenology: PhenologySettings = PhenologySettings()
    optics: OpticsSettings = OpticsSettings()
    radar: RadarSettings = RadarSettings()
    coarse: CoarseSettings = CoarseSettings()
