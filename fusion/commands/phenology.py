"""``ndvi-fusion phenology``: NDVI series -> season dates and parameters as NetCDF, GeoTIFF and maps."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fusion.contract import NDVI, STEP_DAYS, ContractError
from fusion.data.provenance import MADE_BY
from fusion.phenology.settings import VARIABLES, SeasonSettings
from fusion.whole_file import refuse_cut_off, whole_file, whole_set

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)
SEASON_FILE = "seasons.nc"
SMOOTHED_FILE = "smoothed.nc"
MAPPED = ("SOSD", "EOSD", "LENGTH", "MAXV")
RESULTS = (SEASON_FILE, SMOOTHED_FILE, "seasons_*_s*.tif", *(f"{name}_*_s1.png" for name in MAPPED))
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
        None, description="year(s) of the season's maximum; derived from the dates when empty"
    )
    max_seasons: int = Field(
        SeasonSettings.max_seasons, ge=1, le=10, description="seasons kept per year, the largest ones"
    )
    min_amplitude: float = Field(
        SeasonSettings.min_amplitude, gt=0, lt=1, description="NDVI; a smaller amplitude is not a season"
    )
    yydoy: bool = Field(False, description="add the dates as YYDOY, as HR-VPP writes them")
    sigma: float | None = Field(
        None, gt=0, description="NDVI error where the cube has no NDVI_SIGMA; estimated from residuals when empty"
    )
    smoother: Curve | None = Field(None, description="also write the smoothed series by this smoother")
    smooth_step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between the dates of the smoothed series")
    geotiff: bool = Field(True, description="write GeoTIFFs")
    maps: bool = Field(True, description="write maps of SOSD, EOSD, LENGTH and MAXV as PNG")
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
    return f"{len(files)} files in {settings.out}: {season_summary(data)}"


def write_results(settings: PhenologySettings, folder: Path) -> tuple[xr.Dataset, list[Path]]:
    """Compute and write into ``folder``; returns the season parameters and the files."""
    from fusion.data.cube_files import read_cube, write_cube
    from fusion.phenology.seasons import seasons
    from fusion.phenology.smoothing import smooth

    cube = read_cube(settings.cube)
    data = seasons(
        cube, sigma=settings.sigma, method=settings.method, start=settings.start, end=settings.end,
        curve=settings.curve, year=settings.year, max_seasons=settings.max_seasons,
        min_amplitude=settings.min_amplitude, yydoy=settings.yydoy,
    )  # fmt: skip
    if cube.rio.crs is not None:
        data = data.rio.write_crs(cube.rio.crs)
        for name in data.data_vars:  # as an attribute: the encoding given on writing would replace it
            data[name].encoding.pop("grid_mapping", None)
            data[name].attrs["grid_mapping"] = "spatial_ref"
    files = [write_seasons(data, folder / SEASON_FILE)]
    if settings.geotiff and "season" in data.dims:
        files += write_season_geotiffs(data, folder)
    if settings.maps and "season" in data.dims:
        files += write_season_maps(data, folder)
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
    first = data.SOSD.isel(season=0)
    parts = [f"{100 * float(np.isfinite(first).mean()):.0f} % of the pixels have a dated first season"]
    for name in ("SOSD", "EOSD"):
        middle = float(data[name].isel(season=0).median())
        if np.isfinite(middle):
            parts.append(f"median {name} day {middle:.0f}")
    return ", ".join(parts)


def write_seasons(data: xr.Dataset, file: Path) -> Path:
    """NetCDF, compressed, whole or not at all."""
    encoding = {name: {"zlib": True, "complevel": 4} for name in data.data_vars if data[name].ndim > 1}
    try:
        with whole_file(file) as partial:
            data.assign_attrs(MADE_BY).to_netcdf(partial, engine="netcdf4", encoding=encoding)
    except (OSError, RuntimeError) as error:
        raise ContractError(
            f"{file.name} could not be written ({error}); check the permission and the free space"
        ) from error
    return file


def write_season_geotiffs(data: xr.Dataset, folder: Path) -> list[Path]:
    """One float32 GeoTIFF per year and season, ``seasons_2019_s1.tif``; band descriptions are the parameters' names."""
    if data.rio.crs is None:
        log.warning("the cube has no CRS, so no GeoTIFF is written; call cube.rio.write_crs(...)")
        return []
    files = []
    names = [n for n in (*VARIABLES, "COUNT") if n in data]
    by_year = data if "year" in data.dims else data.expand_dims("year")
    for y, year in enumerate(by_year.year.values):
        for k, season in enumerate(by_year.season.values):
            one = by_year.isel(year=y, season=k)
            layers = [one[n].transpose("y", "x").values.astype(np.float32) for n in names]
            units = [str(data[n].attrs.get("units", "1")) for n in names]
            file = folder / f"seasons_{int(year)}_s{int(season)}.tif"
            _write_layers(np.stack(layers), names, units, data, file)
            files.append(file)
    return files


def _write_layers(layers: np.ndarray, names: list[str], units: list[str], data: xr.Dataset, file: Path) -> None:
    import rasterio

    count, height, width = layers.shape
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": count, "height": height, "width": width, "crs": data.rio.crs,
        "transform": data.rio.transform(recalc=True), "nodata": float("nan"), "compress": "deflate", "predictor": 3,
        "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with whole_file(file) as partial:
        with rasterio.open(partial, "w", **profile) as out:
            out.write(layers)
            out.units = tuple(units)
            out.update_tags(**MADE_BY)
            for i, name in enumerate(names, start=1):
                out.set_band_description(i, name)
        refuse_cut_off(partial, Path(file.name), layers)


def write_season_maps(data: xr.Dataset, folder: Path) -> list[Path]:
    """PNG maps of the first season of every year."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from fusion.phenology.plots import plot_parameter

    files = []
    by_year = data if "year" in data.dims else data.expand_dims("year")
    for y, year in enumerate(by_year.year.values):
        for name in MAPPED:
            if name not in data or not np.isfinite(by_year[name].isel(year=y, season=0)).any():
                continue
            figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
            plot_parameter(by_year.isel(year=y), name, ax=axes)
            file = folder / f"{name}_{int(year)}_s1.png"
            with whole_file(file) as partial:
                figure.savefig(partial, dpi=110)
            files.append(file)
            plt.close(figure)
    return files
