"""``ndvi-fusion phenology``: NDVI series -> season dates and parameters as NetCDF, GeoTIFF and maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fusion.contract import NDVI, STEP_DAYS, ContractError
from fusion.extras import can_draw, needs_all
from fusion.phenology.settings import SeasonSettings
from fusion.progress import Progress
from fusion.whole_file import refuse_earlier, whole_set

if TYPE_CHECKING:
    import xarray as xr

SEASON_FILE = "seasons.nc"
SMOOTHED_FILE = "smoothed.nc"
LEAST_REGION_PX = 128  # smaller cubes are computed at once, without the libraries of regions
TABLE_FILES = {"csv": "seasons.csv", "parquet": "seasons.parquet"}
RESULTS = (
    SEASON_FILE, SMOOTHED_FILE, *TABLE_FILES.values(), "seasons_*_s*.tif", "seasons_*_main.tif",
    *(f"{name}_*_{of}.png" for name in ("SOSD", "EOSD", "LENGTH", "MAXV") for of in ("main", "s1")),
)  # fmt: skip
Method = Literal[
    "relative_amplitude", "absolute", "first_derivative", "max_curvature", "gu", "zhang", "median_slope",
    "reference", "phenolopy",
]  # fmt: skip
Curve = Literal["double_logistic", "whittaker", "savitzky_golay", "spline", "hants", "none"]


class PhenologySettings(BaseModel):
    """``ndvi-fusion phenology``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cube: Path = Field(description="NDVI series (.nc or .zarr), fused (NDVI, NDVI_SIGMA) or a merged cube (S2NDVI)")
    out: Path = Field(description="folder for seasons.nc, one GeoTIFF per year and season, and maps")
    observations: Path | None = Field(
        None, description="merged cube behind a fused series without OBS_COUNT: its observations give QFLAG and gaps"
    )
    method: Method = Field(
        SeasonSettings.method,  # type: ignore[arg-type]
        description="method that derives start and end of season from the curve",
    )
    start: float = Field(
        SeasonSettings.start, description="threshold of the start: share of the amplitude, or NDVI for absolute"
    )
    end: float = Field(SeasonSettings.end, description="threshold of the end")
    curve: Curve = Field(
        SeasonSettings.curve,  # type: ignore[arg-type]
        description="curve fitted to the observations",
    )
    year: int | list[int] | None = Field(
        None, description="calendar year(s) of the season's maximum; those that the series covers when empty"
    )
    max_seasons: int = Field(
        SeasonSettings.max_seasons, ge=1, le=10, description="seasons kept per year, the largest ones"
    )
    min_amplitude: float = Field(
        SeasonSettings.min_amplitude, gt=0, lt=1, description="NDVI; a smaller amplitude is not a season"
    )
    yydoy: bool = Field(False, description="add the dates as YYDOY, as HR-VPP writes them, and as YYYYDOY")
    sigma: float | None = Field(
        None, gt=0, description="NDVI error where the cube has no NDVI_SIGMA; estimated from residuals when empty"
    )
    smoother: Curve | None = Field(None, description="also write the smoothed series by this smoother")
    smooth_step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between the dates of the smoothed series")
    geotiff: bool | None = Field(None, description="write GeoTIFFs; when empty, where the cube has a CRS")
    maps: bool = Field(True, description="write maps of SOSD, EOSD, LENGTH and MAXV of the main season as PNG")
    table: Literal["csv", "parquet"] | None = Field(
        None, description="also write a table, one row per pixel, year and season: seasons.csv or seasons.parquet"
    )
    region: int | None = Field(
        None, ge=32, description="side in pixels of the regions of a large cube; 256, or 128 for many dates, when empty"
    )
    workers: int = Field(1, ge=1, description="processes that compute regions side by side")
    scheduler: str | None = Field(
        None, description="address of a running Dask scheduler whose workers compute the regions"
    )
    overwrite: bool = Field(False, description="replace all results of an earlier run in this folder")

    @field_validator("year", mode="before")
    @classmethod
    def _calendar_years(cls, year: Any) -> Any:
        given = year if isinstance(year, list | tuple) else [year]
        if year is not None and not all(re.fullmatch(r"\d{4}", str(one)) for one in given):
            raise ValueError("expected a calendar year such as 2019, or a list [2018,2019]")
        return year

    @model_validator(mode="after")
    def _valid_options(self) -> PhenologySettings:
        self.season_settings()
        return self

    def season_settings(self) -> SeasonSettings:
        """The settings of the season extraction, validated."""
        return SeasonSettings(
            method=self.method, start=self.start, end=self.end, curve=self.curve, max_seasons=self.max_seasons,
            min_amplitude=self.min_amplitude,
        )  # fmt: skip


def run(settings: PhenologySettings) -> str:
    """Compute and write all files together; returns a line for the terminal."""
    from fusion.data.cube_files import read_cube, side_px

    refuse_earlier(settings.out, RESULTS, overwrite=settings.overwrite)
    if settings.table == "parquet":
        needs_all(["pyarrow"], "table=parquet")
    if settings.workers > 1 or settings.scheduler is not None:
        from data_prep.regions.sharing import refuse_without_workers

        refuse_without_workers(settings.workers, settings.scheduler)

    def save(answer: xr.Dataset) -> str:
        with whole_set(settings.out, RESULTS, overwrite=settings.overwrite) as folder:
            return write_results(answer, settings, folder)

    with Progress("seasons") as report:
        if side_px(settings.cube) > (settings.region or LEAST_REGION_PX):
            from fusion.commands.phenology_regions import region_px, seasons_by_region

            if (px := region_px(settings.cube, settings.region)) is not None:
                return seasons_by_region(settings, px, save, report)
        cube = read_cube(settings.cube)
        observations = None if settings.observations is None else read_cube(settings.observations)
        return save(season_answer(cube, observations, settings))


def season_answer(
    cube: xr.DataArray,
    observations: xr.DataArray | None,
    settings: PhenologySettings,
    *,
    use_numba: bool | None = None,
) -> xr.Dataset:
    """The season parameters, and the smoothed series as variable ``NDVI`` (t, y, x) where one is wanted.

    Lazy where the cubes are. ``use_numba`` as in :func:`fusion.seasons`.

    Raises
    ------
    ContractError
        A GeoTIFF is wanted and the cube has no CRS, or the cube is refused by :func:`fusion.seasons`.
    """
    import rioxarray  # noqa: F401  (the .rio accessor)

    from fusion.phenology.seasons import seasons
    from fusion.phenology.smoothing import smooth

    crs = cube.rio.crs
    if settings.geotiff and crs is None:
        raise ContractError(
            f"{settings.cube} has no CRS, so a GeoTIFF cannot be placed; give it one with cube.rio.write_crs(...), or "
            "set geotiff=false"
        )
    if observations is not None:
        refuse_other_pixels(cube, observations, settings)
    data = seasons(
        cube, sigma=settings.sigma, observations=observations, method=settings.method, start=settings.start,
        end=settings.end, curve=settings.curve, year=settings.year, max_seasons=settings.max_seasons,
        min_amplitude=settings.min_amplitude, yydoy=settings.yydoy, use_numba=use_numba,
    )  # fmt: skip
    if settings.smoother is not None:
        curve = smooth(
            cube, method=settings.smoother, sigma=settings.sigma, step_days=settings.smooth_step_days,
            use_numba=use_numba,
        )  # fmt: skip
        data = data.assign({NDVI: curve.transpose("t", "y", "x")})
    if crs is not None:
        data = data.rio.write_crs(crs)
        for name in data.data_vars:  # as an attribute: the encoding given on writing would replace it
            data[name].encoding.pop("grid_mapping", None)
            data[name].attrs["grid_mapping"] = "spatial_ref"
    return data


def refuse_other_pixels(cube: xr.DataArray, observations: xr.DataArray, settings: PhenologySettings) -> None:
    """Refuse observations on another grid than the cube's.

    Raises
    ------
    ContractError
    """
    if not all(cube[axis].equals(observations[axis]) for axis in ("y", "x")):
        sizes = [f"{one.sizes['y']} x {one.sizes['x']} px" for one in (observations, cube)]
        raise ContractError(
            f"{settings.observations} ({sizes[0]}) lies on another grid than {settings.cube} ({sizes[1]}); give the "
            "merged cube from which the series was made"
        )


def write_results(answer: xr.Dataset, settings: PhenologySettings, folder: Path) -> str:
    """Write the files of :func:`season_answer` into ``folder``; returns a line for the terminal."""
    from fusion.commands import season_files
    from fusion.data.cube_files import write_cube

    data = answer.drop_dims("t", errors="ignore")
    unplaced = _unplaced(data)
    if settings.geotiff and unplaced:
        raise ContractError(
            f"{settings.cube}: {unplaced}, so a GeoTIFF cannot be placed; give the cube a transform with "
            "cube.rio.write_transform(...), or set geotiff=false"
        )
    outputs = [season_files.seasons_netcdf(data, folder / SEASON_FILE)]
    if settings.geotiff is not False and unplaced is None and "season" in data.dims:
        outputs.append(season_files.season_geotiffs(data, folder))
    if settings.table is not None:
        outputs.append(season_files.table_file(data, folder / TABLE_FILES[settings.table]))
    season_files.write_windows(data, outputs)
    if settings.maps and "season" in data.dims and can_draw("maps are"):
        season_files.write_season_maps(data, folder)
    if settings.smoother is not None:
        curve = answer[NDVI].expand_dims(bands=[NDVI]).transpose("t", "bands", "y", "x")
        write_cube(curve, folder / SMOOTHED_FILE, title="smoothed NDVI")
    files = len(list(folder.iterdir()))
    without = f" (no GeoTIFF: {unplaced})" if settings.geotiff is None and unplaced else ""
    return f"{files} files in {settings.out}{without}: {season_files.season_summary(data)}"


def _unplaced(grid: xr.DataArray | xr.Dataset) -> str | None:
    """Why a GeoTIFF of this grid could not be placed; None where it can."""
    from fusion.place import transform_of

    if grid.rio.crs is None:
        return "the cube has no CRS"
    try:
        transform_of(grid)
    except ContractError:
        return "the size of the only pixel is unknown"
    return None
