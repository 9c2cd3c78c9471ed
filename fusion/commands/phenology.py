"""``ndvi-fusion phenology``: NDVI series -> season dates and parameters as NetCDF, GeoTIFF and maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fusion.contract import NDVI, STEP_DAYS, ContractError
from fusion.data.provenance import MADE_BY, history
from fusion.extras import can_draw
from fusion.phenology.settings import MAIN_SUFFIX, VARIABLES, SeasonSettings
from fusion.whole_file import whole_file, whole_set

if TYPE_CHECKING:
    import xarray as xr

SEASON_FILE = "seasons.nc"
SMOOTHED_FILE = "smoothed.nc"
TABLE_FILES = {"csv": "seasons.csv", "parquet": "seasons.parquet"}
MAPPED = ("SOSD", "EOSD", "LENGTH", "MAXV")
RESULTS = (
    SEASON_FILE, SMOOTHED_FILE, *TABLE_FILES.values(), "seasons_*_s*.tif", "seasons_*_main.tif",
    *(f"{name}_*_{of}.png" for name in MAPPED for of in ("main", "s1")),
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
    with whole_set(settings.out, RESULTS, overwrite=settings.overwrite) as folder:
        data, files = write_results(settings, folder)
    no_crs = " (no GeoTIFF: the cube has no CRS)" if settings.geotiff is None and data.rio.crs is None else ""
    return f"{len(files)} files in {settings.out}{no_crs}: {season_summary(data)}"


def write_results(settings: PhenologySettings, folder: Path) -> tuple[xr.Dataset, list[Path]]:
    """Compute and write into ``folder``; returns the season parameters and the files."""
    from fusion.data.cube_files import read_cube, write_cube
    from fusion.phenology.seasons import seasons
    from fusion.phenology.smoothing import smooth

    cube = read_cube(settings.cube)
    if settings.geotiff and cube.rio.crs is None:
        raise ContractError(
            f"{settings.cube} has no CRS, so a GeoTIFF cannot be placed; give it one with cube.rio.write_crs(...), or "
            "set geotiff=false"
        )
    observations = None if settings.observations is None else read_cube(settings.observations)
    data = seasons(
        cube, sigma=settings.sigma, observations=observations, method=settings.method, start=settings.start,
        end=settings.end, curve=settings.curve, year=settings.year, max_seasons=settings.max_seasons,
        min_amplitude=settings.min_amplitude, yydoy=settings.yydoy,
    )  # fmt: skip
    if cube.rio.crs is not None:
        data = data.rio.write_crs(cube.rio.crs)
        for name in data.data_vars:  # as an attribute: the encoding given on writing would replace it
            data[name].encoding.pop("grid_mapping", None)
            data[name].attrs["grid_mapping"] = "spatial_ref"
    files = [write_seasons(data, folder / SEASON_FILE)]
    if settings.geotiff is not False and data.rio.crs is not None and "season" in data.dims:
        files += write_season_geotiffs(data, folder)
    if settings.maps and "season" in data.dims and can_draw("maps are"):
        files += write_season_maps(data, folder)
    if settings.table is not None:
        files.append(write_table(data, folder / TABLE_FILES[settings.table]))
    if settings.smoother is not None:
        curve = smooth(cube, method=settings.smoother, sigma=settings.sigma, step_days=settings.smooth_step_days)
        curve = curve.expand_dims(bands=[NDVI]).transpose("t", "bands", "y", "x")
        curve = curve if cube.rio.crs is None else curve.rio.write_crs(cube.rio.crs)
        files.append(write_cube(curve, folder / SMOOTHED_FILE, title="smoothed NDVI"))
    return data, files


def season_summary(data: xr.Dataset) -> str:
    """Share of pixels with a season and median dates, one line for the terminal."""
    if "SOSD" not in data:
        return f"{len(data.data_vars)} metrics"
    years = data if "year" in data.dims else data.expand_dims("year")
    parts = []
    for one in (years.isel(year=k) for k in range(years.sizes["year"])):
        share = 100 * float(np.isfinite(one[f"SOSD{MAIN_SUFFIX}"]).mean())
        parts.append(f"{int(one.year)}: {share:.0f} % of the pixels have a start of the main season")
        for name in ("SOSD", "EOSD"):
            middle = float(one[f"{name}{MAIN_SUFFIX}"].median())
            if np.isfinite(middle):
                parts[-1] += f", median {name} {np.datetime64(f'{int(one.year):04d}-01-01') + int(np.floor(middle))}"
    return "; ".join(parts)


def write_seasons(data: xr.Dataset, file: Path) -> Path:
    """NetCDF, compressed, whole or not at all."""
    from fusion.place import described_axes

    encoding: dict[str, dict[str, Any]] = {
        str(name): {"zlib": True, "complevel": 4} for name in data.data_vars if data[name].ndim > 1
    }
    encoding |= {str(name): {"_FillValue": None} for name, coord in data.coords.items() if coord.dtype.kind == "f"}
    described = described_axes(data).assign_attrs(MADE_BY, history=history("season dates and parameters"))
    try:
        with whole_file(file) as partial:
            described.to_netcdf(partial, engine="netcdf4", encoding=encoding)
    except (OSError, RuntimeError) as error:
        raise ContractError(
            f"{file.name} could not be written ({error}); check the permission and the free space"
        ) from error
    return file


def write_table(data: xr.Dataset, file: Path) -> Path:
    """One row per pixel, year and season, as CSV or Parquet."""
    from fusion.phenology.season_table import season_table

    if "season" not in data.dims:
        raise ContractError(f"method {data.attrs.get('method')!r} has no seasons; leave table empty")
    table = season_table(data)
    with whole_file(file) as partial:
        if file.suffix == ".csv":
            table.to_csv(partial, index=False)
        else:
            table.to_parquet(partial, index=False)
    return file


def write_season_geotiffs(data: xr.Dataset, folder: Path) -> list[Path]:
    """One float32 GeoTIFF per year for the main season, and one per season; band descriptions are parameters' names.

    ``seasons_2019_main.tif``, ``seasons_2019_s1.tif``, ...
    """
    from fusion.data.raster_files import write_raster

    files = []
    names = [n for n in (*VARIABLES, "COUNT") if n in data]
    by_year = data if "year" in data.dims else data.expand_dims("year")
    for y, year in enumerate(by_year.year.values):
        one_year = by_year.isel(year=y)
        sets = {"main": {n: one_year.get(f"{n}{MAIN_SUFFIX}", one_year[n]) for n in names}}
        for k, season in enumerate(by_year.season.values):
            one = one_year.isel(season=k)
            sets[f"s{int(season)}"] = {n: one[n] for n in names}
        for of, layers in sets.items():
            file = folder / f"seasons_{int(year)}_{of}.tif"
            values = np.stack([layer.transpose("y", "x").values.astype(np.float32) for layer in layers.values()])
            with whole_file(file) as partial:
                write_raster(
                    partial, Path(file.name), values, crs=data.rio.crs, transform=data.rio.transform(recalc=True),
                    nodata=float("nan"), names=names, units=[str(data[n].attrs.get("units", "1")) for n in names],
                    tags={"year": str(int(year)), "dates": f"days since {int(year)}-01-01, 0 = 1 January"},
                )  # fmt: skip
            files.append(file)
    return files


def write_season_maps(data: xr.Dataset, folder: Path) -> list[Path]:
    """PNG maps of the main season of every year."""
    from matplotlib.figure import Figure

    from fusion.phenology.plots import plot_parameter

    files = []
    by_year = data if "year" in data.dims else data.expand_dims("year")
    for y, year in enumerate(by_year.year.values):
        for name in MAPPED:
            layer = f"{name}{MAIN_SUFFIX}"
            if layer not in data or not np.isfinite(by_year[layer].isel(year=y)).any():
                continue
            figure = Figure(figsize=(6, 5))  # fixed margins: a layout engine takes as long as all the rest
            figure.subplots_adjust(left=0.16, right=0.86, bottom=0.1, top=0.92)
            plot_parameter(by_year.isel(year=y), layer, ax=figure.subplots())
            file = folder / f"{name}_{int(year)}_main.png"
            with whole_file(file) as partial:
                figure.savefig(partial, dpi=110)
            files.append(file)
    return files
