"""`ndvi-fusion cube`: raw Sentinel-2, Sentinel-1 and coarse NDVI of an area to one merged cube."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field, field_validator

from data_prep.cube import PrepareSettings, build_cube
from data_prep.sources.files import FilesSource
from fusion.contract import S2NDVI
from fusion.data.cube_files import read_cube, write_cube

log = logging.getLogger(__name__)

Source = Annotated[FilesSource, Field(description="where the raw data are: files, stac, openeo or simulated")]


class CubeSettings(PrepareSettings):
    """Raw data of one area to a merged cube."""

    input: Path | None = Field(None, description="folder of raw files; the short way of source=files source.folder=...")
    source: Source
    out: Path = Field(description="the merged cube to write, .nc (NetCDF) or .zarr (Zarr)")
    overwrite: bool = Field(False, description="replace an existing output")

    @field_validator("out")
    @classmethod
    def _known_format(cls, out: Path) -> Path:
        if out.suffix not in (".nc", ".zarr"):
            raise ValueError(f"out={out} ends in {out.suffix!r}; expected .nc or .zarr")
        return out


def run(settings: CubeSettings) -> None:
    """Load, prepare, merge, write; the output appears under its name only when it is whole."""
    if settings.out.exists() and not settings.overwrite:
        raise FileExistsError(f"{settings.out} exists; name another file or set overwrite=true")
    raw = settings.source.load()
    for note in raw.notes:
        log.info(note)
    cube = build_cube(raw, settings)
    for note in str(cube.attrs["notes"]).splitlines():
        if note not in raw.notes:
            log.info(note)
    write_cube(cube, settings.out, title="Merged cube: Sentinel-2 NDVI, Sentinel-1, coarse NDVI", overwrite=True)
    days = cube.t.values.astype("datetime64[D]")
    log.info(
        "%s: %d dates %s..%s, bands %s, %d x %d px, %s",
        settings.out, cube.sizes["t"], days[0], days[-1], list(map(str, cube.bands.values)), cube.sizes["y"],
        cube.sizes["x"], cube.rio.crs,
    )  # fmt: skip
    log.info("clear Sentinel-2 pixel-dates: %.1f %%", 100 * clear_share(read_cube(settings.out, lazy=True)))


def clear_share(cube: xr.DataArray) -> float:
    """Share of pixels with a Sentinel-2 look, over the dates that have any."""
    seen = np.isfinite(cube.sel(bands=S2NDVI)).mean(("y", "x")).values
    return float(seen[seen > 0].mean()) if (seen > 0).any() else 0.0
