"""``ndvi-fusion predict``: merged cube or raw data -> dense NDVI as NetCDF, Zarr or GeoTIFF."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from data_prep.settings import PrepareSettings
from data_prep.sources.settings import FilesSource, StacSource
from fusion.contract import STEP_DAYS
from fusion.date_settings import FirstDate, LastDate
from fusion.place import Bounds, check_lonlat
from fusion.progress import Progress
from fusion.whole_file import refuse_existing

if TYPE_CHECKING:
    import xarray as xr

    from data_prep.regions.inputs import RegionInput

log = logging.getLogger(__name__)
SUFFIXES = (".nc", ".zarr", ".tif")


class PredictSettings(PrepareSettings):
    """``ndvi-fusion predict``. What it has from ``cube`` applies to raw data only."""

    cube: Path | None = Field(None, description="merged cube (.nc or .zarr), or a folder of raw S2, S1, coarse files")
    source: Annotated[FilesSource | StacSource, Field(discriminator="kind")] | None = Field(
        None, description="raw data instead of cube: files or stac, as for the command cube"
    )
    area: Bounds | Path | None = Field(
        None, description="part of cube: west, south, east, north in degrees, or a GeoJSON file, whose bounds count"
    )
    out: Path = Field(description="file to write: .nc, .zarr or .tif (one band per date, sigma in a second file)")
    start: FirstDate | None = Field(None, description="first date of the output; the cube's first date when empty")
    end: LastDate | None = Field(None, description="last date of the output; the cube's last date when empty")
    step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between the dates of the output")
    model: str | None = Field(None, description="model folder, archive, run:ID or registered name; shipped when empty")
    s1_units: Literal["dB", "linear"] | None = Field(
        None, description="radar units, where the cube does not state them"
    )
    latitude: float | None = Field(
        None, ge=-90, le=90, description="degrees north, where neither the cube nor its CRS gives it; sets the season"
    )
    sigma: Literal["observation", "ndvi"] = Field(
        "observation", description="NDVI_SIGMA: standard deviation of one observation, or of the NDVI itself"
    )
    tile: int | None = Field(None, ge=8, description="tile side in pixels; chosen by available memory when empty")
    threads: int | None = Field(None, ge=1, description="CPU threads; all cores when empty")
    region: int | None = Field(
        None,
        ge=32,
        description="side in pixels of the regions of a large cube; 512, or less for many dates, when empty",
    )
    workers: int = Field(
        1,
        ge=1,
        description="processes that compute regions side by side, each with its share of the CPU threads; the same "
        "command started again, also on another machine, takes regions as well",
    )
    scheduler: str | None = Field(
        None, description="address of a running Dask scheduler whose workers compute the regions"
    )
    overwrite: bool = Field(False, description="replace an existing output")

    @field_validator("out")
    @classmethod
    def _known_suffix(cls, out: Path) -> Path:
        if out.suffix not in SUFFIXES:
            raise ValueError(f"{out} ends in {out.suffix!r}; expected one of {SUFFIXES}")
        return out

    @field_validator("area")
    @classmethod
    def _on_earth(cls, area: Bounds | Path | None) -> Bounds | Path | None:
        return check_lonlat(area, "area") if isinstance(area, tuple) else area

    @model_validator(mode="after")
    def _ordered(self) -> PredictSettings:
        if (self.cube is None) == (self.source is None):
            raise ValueError("give cube=FILE or cube=FOLDER, or source=stac (and source.*) in its place")
        if self.source is not None and self.area is not None:
            raise ValueError("area belongs to cube; give source.bbox for source=stac, source.area for source=files")
        if self.cube is not None and self.out.resolve() == self.cube.resolve():
            raise ValueError(f"out={self.out} would replace the input cube; name another file")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"the period ends ({self.end}) before it starts ({self.start}); swap start and end")
        return self


def run(settings: PredictSettings) -> str:
    """Fuse and write; returns a line for the terminal."""
    from xarray import DataArray

    from data_prep.regions.sharing import refuse_without_workers
    from fusion.api import fuse
    from fusion.commands.predict_regions import fuse_regions, region_px
    from fusion.data.cube_files import write_cube
    from fusion.data.geotiff import sigma_file

    files = [settings.out, sigma_file(settings.out)] if settings.out.suffix == ".tif" else [settings.out]
    refuse_existing(files, overwrite=settings.overwrite)
    refuse_without_workers(settings.workers, settings.scheduler)
    names = ("start", "end", "model", "step_days", "s1_units", "latitude", "sigma", "tile", "threads")
    options = {name: getattr(settings, name) for name in names}
    with Progress("fusing") as report:
        source, cube = open_input(settings)
        px = region_px(source, settings.region)
        if px is not None:
            del cube  # in memory as a whole, where it is small
            gc.collect()  # xarray holds it in a cycle
        if px is None:
            fused = fuse(cube(), progress=report, **options)
            assert isinstance(fused, DataArray)
            text = _save(fused, settings, write_cube)
        else:
            text = fuse_regions(
                source, settings.out, px, options, workers=settings.workers, scheduler=settings.scheduler,
                save=lambda fused, store: _save(fused, settings, store.save_cube), report=report,
            )  # fmt: skip
    return f"{', '.join(map(str, files))}: {text}"


def open_input(settings: PredictSettings) -> tuple[RegionInput, Callable[[], xr.DataArray]]:
    """What is fused, to be read by regions, and a function that reads all of it.

    Raises
    ------
    data_prep.raw.cubes.SourceError
        The input is missing, unreadable or contradicts itself, or settings for raw data are given for a merged cube.
    """
    from data_prep.cube import open_cube
    from data_prep.raw.cubes import SourceError
    from data_prep.raw.extent import extent_of_area
    from data_prep.regions.inputs import CubeFile, RawArea
    from data_prep.windows import plan_area
    from fusion.commands.predict_regions import RAW_REGION_PX
    from fusion.data.cube_files import is_zarr

    area, source = settings.area, settings.source
    if isinstance(area, Path):
        from udf.polygon import polygon_of, read_geojson

        area = polygon_of(read_geojson(area), f"area {area}").bounds
    if settings.cube is not None and settings.cube.is_dir() and not is_zarr(settings.cube):
        source = FilesSource(folder=settings.cube, area=area)
    steps = {name: getattr(settings, name) for name in ("optical", "radar", "coarse", "registration")}
    if source is not None:
        log.info("looking at the whole area, before its regions")
        plan, cube = plan_area(source, PrepareSettings(**steps), used_px=settings.region or RAW_REGION_PX)
        return RawArea(plan), cube.load
    assert settings.cube is not None
    changed = [name for name, value in steps.items() if value != getattr(PrepareSettings(), name)]
    if changed:
        raise SourceError(
            f"{settings.cube} is prepared already; {changed[0]} is for raw data; leave {changed[0]}.* out"
        )
    file = CubeFile(settings.cube.resolve(), None if area is None else extent_of_area(area))
    open_cube(settings.cube, lazy=True)  # refuses what is no merged cube
    return file, file.whole


def _save(fused: xr.DataArray, settings: PredictSettings, write: Callable[..., object]) -> str:
    """Write a fused cube, with ``write`` where the format is NetCDF or Zarr; returns its summary."""
    from fusion.data.geotiff import write_series_geotiff

    text = summary(fused)
    if settings.out.suffix == ".tif":
        write_series_geotiff(fused, settings.out, overwrite=settings.overwrite)
    else:
        write(fused, settings.out, title="fused NDVI", overwrite=settings.overwrite)
    return text


def summary(fused: xr.DataArray) -> str:
    """Dates, size, filled share and mean NDVI of a fused cube, one line for the terminal."""
    ndvi = fused.sel(bands="NDVI")
    share = float(ndvi.notnull().mean())
    dates = fused.t.values.astype("datetime64[D]")
    return (
        f"{fused.sizes['t']} dates {dates[0]}..{dates[-1]}, {fused.sizes['y']} x {fused.sizes['x']} px, "
        f"{100 * share:.1f} % filled, mean NDVI {float(ndvi.mean()):.3f}"
    )
