"""``ndvi-fusion predict`` for cubes of any size: region by region, in several processes, with the memory of a few."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from data_prep.raw.cubes import free_cycles
from data_prep.regions.inputs import RegionInput
from data_prep.regions.sharing import compute_regions, threads_of_each
from data_prep.regions.store import Region, RegionStore, fitting_px, stacked, store_for
from fusion.api import fuse
from fusion.contract import FUSED_BANDS, OBS_COUNT, TimeGrid
from fusion.data.cube_files import to_dataset
from fusion.data.geotiff import refuse_without_crs
from fusion.data.provenance import code_hash
from fusion.features.measured import measured_cube
from fusion.features.tiling import grown, inside
from fusion.inference.blas import one_blas_thread
from fusion.inference.fuse import fuse_window, reach_px
from fusion.inference.locate import locate_model
from fusion.inference.session import open_session
from fusion.place import latitude_of

RAW_REGION_PX = 256
RAW_TILE_PX = 48  # less memory than the tiles that are chosen by themselves, beside that of raw windows


@dataclass(frozen=True)
class RegionFusion:
    """What a process needs to fuse a region: input, dates, options of :func:`fusion.inference.fuse.fuse_window`."""

    source: RegionInput
    shape: tuple[int, int]
    store: RegionStore
    model: Path
    sha256: str
    grid: TimeGrid
    threads: int
    s1_units: str | None
    options: dict[str, Any]

    def __call__(self, region: Region) -> dict[str, Any]:
        """Fuse a region and write it."""
        # a session of its own: onnxruntime keeps the memory of a tile for each thread as long as its session lives
        session = open_session(self.model, threads=1, expected_sha256=self.sha256)
        part, window = self.read(region, reach_px(session))
        with one_blas_thread():
            values, counts = fuse_window(
                part, window, session, self.grid, s1_units=self.s1_units, workers=self.threads, measured=True,
                **self.options,
            )  # fmt: skip
        bands = {name: values[:, k] for k, name in enumerate(FUSED_BANDS)}
        self.store.write(region, {**bands, OBS_COUNT: counts})
        del session
        free_cycles(part.nbytes)
        return {}

    def read(self, region: Region, around: int) -> tuple[xr.DataArray, tuple[slice, slice]]:
        """Measured values (t, bands, y, x) of a region and ``around`` pixels more, and where in them the region lies.

        Raises
        ------
        CubeFileError, data_prep.raw.cubes.SourceError, fusion.contract.ContractError
            The input cannot be read, or the values contradict their names or units.
        """
        reach = grown(region.window, self.shape, around)
        part = self.source.read(reach, self.threads)
        measured = measured_cube(part, self.s1_units)
        del part
        free_cycles(measured.nbytes)
        return measured, inside(region.window, reach)


def region_px(source: RegionInput, wanted: int | None, around: int = 20) -> int | None:
    """Side of the regions of a cube; None where one region holds all of it."""
    if source.around_px:  # raw data: smaller regions would mostly prepare surroundings, larger ones take gigabytes
        wanted = wanted or RAW_REGION_PX
    return fitting_px(source.labels().sizes, wanted, around=around)


def fuse_regions(
    source: RegionInput,
    out: Path,
    px: int,
    options: dict[str, Any],
    *,
    workers: int,
    scheduler: str | None,
    save: Callable[[xr.DataArray, RegionStore], str],
    report: Callable[[int, int], None],
) -> str:
    """Fuse a cube region by region, then ``save`` the whole, lazily given; returns what that returns.

    A run that was ended, in any way, resumes when it is called again with the same arguments and files.

    Parameters
    ----------
    options : dict
        Arguments of :func:`fusion.api.fuse`.
    workers : int
        Processes; 1 = this one.
    report : callable
        Called with (finished regions, all regions).
    """
    store = store_for(out, px)
    labels, latitude = labelled(source.labels(), options)
    if out.suffix == ".tif":
        refuse_without_crs(labels, out)
    model = locate_model(options["model"])
    grid = TimeGrid(labels.t.values[0], labels.t.values[-1], options["step_days"])
    tile = options["tile"] or (RAW_TILE_PX if source.around_px else None)
    kept = {"latitude": latitude, "sigma": options["sigma"], "tile": tile}
    threads = options["threads"] or threads_of_each(workers, scheduler)
    task = RegionFusion(
        source, (labels.sizes["y"], labels.sizes["x"]), store, model.resolve(), labels.attrs["model_sha256"], grid,
        threads, options["s1_units"], kept,
    )  # fmt: skip
    of_run = {
        "model": task.sha256, "s1_units": task.s1_units, **kept,
        "dates": [str(grid.start), str(grid.end), grid.step_days],
        "code": [code_hash(name) for name in ("fusion.features", "fusion.inference")],
    }  # fmt: skip

    def made_of() -> dict[str, Any]:
        return {**source.made_of(), **of_run}

    return compute_regions(
        store, to_dataset(labels, "fused NDVI"), made_of, task,
        workers=workers, scheduler=scheduler, report=report,
        save=lambda filled: save(stacked(labels, filled), store),
    )  # fmt: skip


def labelled(blank: xr.DataArray, options: dict[str, Any]) -> tuple[xr.DataArray, float | None]:
    """The answer of :func:`fusion.api.fuse` without its values, every check of the cube's labels made; its latitude."""
    fused = fuse(blank, **options)
    assert isinstance(fused, xr.DataArray)
    return fused, latitude_of(blank) if options["latitude"] is None else options["latitude"]
