"""``ndvi-fusion predict``: merged cube (or folder of raw files) -> dense NDVI as NetCDF, Zarr or GeoTIFF."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fusion.commands.progress import Progress
from fusion.contract import STEP_DAYS
from fusion.date_settings import FirstDate, LastDate
from fusion.whole_file import refuse_existing, whole_file

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)
SUFFIXES = (".nc", ".zarr", ".tif")


class PredictSettings(BaseModel):
    """``ndvi-fusion predict``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cube: Path = Field(description="merged cube (.nc or .zarr), or a folder of raw S2, S1 and coarse files")
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

    @model_validator(mode="after")
    def _ordered(self) -> PredictSettings:
        if self.out.resolve() == self.cube.resolve():
            raise ValueError(f"out={self.out} would replace the input cube; name another file")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"the period ends ({self.end}) before it starts ({self.start}); swap start and end")
        return self


def run(settings: PredictSettings) -> str:
    """Fuse and write; returns a line for the terminal."""
    from xarray import DataArray

    from data_prep.cube import open_cube
    from fusion.api import fuse
    from fusion.commands.predict_regions import fuse_regions, region_px
    from fusion.data.geotiff import sigma_file

    files = [settings.out, sigma_file(settings.out)] if settings.out.suffix == ".tif" else [settings.out]
    refuse_existing(files, overwrite=settings.overwrite)
    names = ("start", "end", "model", "step_days", "s1_units", "latitude", "sigma", "tile", "threads")
    options = {name: getattr(settings, name) for name in names}
    px = region_px(settings.cube, settings.region)
    with Progress("fusing") as report:
        if px is None:
            fused = fuse(open_cube(settings.cube), progress=report, **options)
            assert isinstance(fused, DataArray)
            text = _save(fused, settings)
        else:
            text = fuse_regions(
                settings.cube, settings.out, px, options, workers=settings.workers, scheduler=settings.scheduler,
                save=lambda fused, store: _save(fused, settings, store.finish()), report=report,
            )  # fmt: skip
    return f"{', '.join(map(str, files))}: {text}"


def _save(fused: xr.DataArray, settings: PredictSettings, store: Path | None = None) -> str:
    """Write a fused cube, the values of ``store`` if that is given; returns its summary."""
    import dask

    from fusion.data.cube_files import write_cube
    from fusion.data.geotiff import write_series_geotiff

    text = summary(fused)
    if settings.out.suffix == ".tif":
        write_series_geotiff(fused, settings.out, overwrite=settings.overwrite)
    elif settings.out.suffix == ".zarr" and store is not None:
        with whole_file(settings.out, replace=settings.overwrite) as partial:
            store.rename(partial)
    else:
        with dask.config.set(scheduler="synchronous"):  # NetCDF writes one chunk at a time; so in the same order
            write_cube(fused, settings.out, title="fused NDVI", overwrite=settings.overwrite)
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
