"""``ndvi-fusion phenology`` for cubes of any size: region by region, in several processes, with the memory of a few."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from data_prep.regions.sharing import compute_regions, threads_of_each
from data_prep.regions.store import (
    CHUNK_PX,
    Region,
    RegionStore,
    fingerprint,
    fitting_px,
    loaded,
    store_for,
)
from fusion.commands.phenology import PhenologySettings, refuse_other_pixels, season_answer
from fusion.contract import NDVI_SIGMA, OBS_COUNT
from fusion.data.cube_files import opened_cube
from fusion.data.provenance import code_hash
from fusion.features.measured import measured_cube
from fusion.phenology.layers import ndvi_band

OF_FILES = {"cube", "observations", "out", "geotiff", "maps", "table", "overwrite", "region", "workers", "scheduler"}


@dataclass(frozen=True)
class RegionSeasons:
    """What a process needs to compute the seasons of a region."""

    settings: PhenologySettings
    store: RegionStore
    threads: int

    def __call__(self, region: Region) -> dict[str, Any]:
        """Compute the seasons of a region and write them."""
        observations = self.settings.observations
        series = self.read(self.settings.cube, region)
        seen = None if observations is None else self.read(observations, region)
        with _without_warnings("fusion.phenology.seasons"):  # of the dates; said once, of the whole cube
            answer = season_answer(series, seen, self.settings)
        layers = {str(name): layer.transpose(..., "y", "x").values for name, layer in answer.data_vars.items()}
        self.store.write(region, layers)
        return {}

    def read(self, file: Path, region: Region) -> xr.DataArray:
        """Measured values (t, bands, y, x) of the bands that seasons need."""
        with opened_cube(file) as cube:
            rows, columns = region.window
            return measured_cube(loaded(_used(cube).isel(y=rows, x=columns), file, self.threads))


def region_px(cube: Path, wanted: int | None) -> int | None:
    """Side of the regions of a cube file; None where one region holds all of it."""
    with opened_cube(cube) as opened:
        return fitting_px(_used(opened).sizes, wanted, most=CHUNK_PX)


def seasons_by_region(
    settings: PhenologySettings,
    px: int,
    save: Callable[[xr.Dataset], str],
    report: Callable[[int, int], None],
) -> str:
    """Compute the seasons region by region, then ``save`` the whole, lazily given; returns what that returns.

    A run that was ended, in any way, resumes when it is called again with the same arguments and files.
    """
    files = [file for file in (settings.cube, settings.observations) if file is not None]
    template = _template(settings)
    of_run = settings.model_dump(mode="json", exclude=OF_FILES)
    of_run |= {"code": [code_hash(name) for name in ("fusion.features", "fusion.phenology")]}

    def made_of() -> dict[str, Any]:
        return {**of_run, "files": [[str(file.resolve()), fingerprint(file)] for file in files]}

    absolute = dict(zip(("cube", "observations"), (file.resolve() for file in files), strict=False))
    store = store_for(settings.out, px)
    threads = threads_of_each(settings.workers, settings.scheduler)
    task = RegionSeasons(settings.model_copy(update=absolute), store, threads)

    return compute_regions(
        store, template, made_of, task, workers=settings.workers, scheduler=settings.scheduler, save=save,
        report=report,
    )  # fmt: skip


def _template(settings: PhenologySettings) -> xr.Dataset:
    """The answer without its values, every check of the labels made: that of a pixel, as wide as the cube."""
    with ExitStack() as opened:

        def bands(file: Path) -> xr.DataArray:
            return _used(opened.enter_context(opened_cube(file)))

        cube = bands(settings.cube)
        seen = None if settings.observations is None else bands(settings.observations)
        if seen is not None:
            refuse_other_pixels(cube, seen, settings)
        blank = None if seen is None else _blank_pixel(seen)
        answer = season_answer(_blank_pixel(cube), blank, settings, use_numba=False)  # numba takes half a second
        wide = {name: c.load() for name, c in cube.coords.items() if name in answer.coords and {"y", "x"} & set(c.dims)}
    layers = {}
    for name, layer in answer.transpose(..., "y", "x").data_vars.items():
        shape = (*layer.shape[:-2], cube.sizes["y"], cube.sizes["x"])
        layers[name] = (layer.dims, da.zeros(shape, dtype=layer.dtype, chunks=-1), layer.attrs)
    return xr.Dataset(layers, answer.drop_dims(("y", "x")).coords, answer.attrs).assign_coords(wide)


def _blank_pixel(cube: xr.DataArray) -> xr.DataArray:
    """The first pixel of a cube, without values."""
    return xr.full_like(cube.isel(y=[0], x=[0]), np.nan).load()


def _used(cube: xr.DataArray) -> xr.DataArray:
    """The cube without bands that seasons do not need."""
    wanted = (ndvi_band(cube)[1], NDVI_SIGMA, OBS_COUNT)
    return cube.isel(bands=[k for k, band in enumerate(cube.bands.values) if str(band) in wanted])


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
