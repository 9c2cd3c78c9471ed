"""``ndvi-fusion predict`` for cubes of any size: region by region, in several processes, with the memory of a few."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from data_prep.cube import open_cube
from fusion.api import fuse
from fusion.commands.region_sharing import compute_regions
from fusion.commands.region_store import (
    Region,
    RegionStore,
    fingerprint,
    fitting_px,
    loaded,
    store_for,
)
from fusion.contract import DIMS, FUSED_BANDS, OBS_COUNT, ContractError, TimeGrid
from fusion.data.cube_files import is_zarr, opened_cube, to_dataset
from fusion.data.geotiff import refuse_without_crs
from fusion.data.provenance import code_hash
from fusion.extras import needs
from fusion.features.measured import measured_cube
from fusion.features.tiling import grown
from fusion.inference.blas import one_blas_thread
from fusion.inference.fuse import fuse_window, reach_px
from fusion.inference.locate import locate_model
from fusion.inference.session import load_session
from fusion.layout import with_roles
from fusion.place import latitude_of


@dataclass(frozen=True)
class RegionFusion:
    """What a process needs to fuse a region: files, dates and options of :func:`fusion.inference.fuse.fuse_window`."""

    cube: Path
    store: RegionStore
    model: Path
    sha256: str
    grid: TimeGrid
    threads: int
    s1_units: str | None
    options: dict[str, Any]

    def __call__(self, region: Region) -> dict[str, Any]:
        """Fuse a region and write it."""
        session = load_session(self.model, expected_sha256=self.sha256)
        part, window = self.read(region, reach_px(session))
        with one_blas_thread():
            values, counts = fuse_window(
                part, window, session, self.grid, s1_units=self.s1_units, workers=self.threads, measured=True,
                **self.options,
            )  # fmt: skip
        bands = {name: values[:, k] for k, name in enumerate(FUSED_BANDS)}
        self.store.write(region, {**bands, OBS_COUNT: counts})
        return {}

    def read(self, region: Region, around: int) -> tuple[xr.DataArray, tuple[slice, slice]]:
        """Measured values (t, bands, y, x) of a region and ``around`` pixels more, and where in them the region lies.

        Raises
        ------
        CubeFileError, fusion.contract.ContractError
            The file cannot be read, or the values contradict their names or units.
        """
        with opened_cube(self.cube) as cube:
            reach = grown(region.window, (cube.sizes["y"], cube.sizes["x"]), around)
            part = loaded(with_roles(cube).transpose(*DIMS).isel(y=reach[0], x=reach[1]), self.cube, self.threads)
        rows, columns = (
            slice(own.start - wide.start, own.stop - wide.start) for own, wide in zip(region.window, reach, strict=True)
        )
        return measured_cube(part, self.s1_units), (rows, columns)


def region_px(cube: Path, wanted: int | None, around: int = 20) -> int | None:
    """Side of the regions of a cube file; None where one region holds all of it, and for a folder of raw files."""
    if cube.is_dir() and not is_zarr(cube):
        return None
    return fitting_px(open_cube(cube, lazy=True).sizes, wanted, around=around)


def fuse_regions(
    cube: Path,
    out: Path,
    px: int,
    options: dict[str, Any],
    *,
    workers: int,
    scheduler: str | None,
    save: Callable[[xr.DataArray, RegionStore], str],
    report: Callable[[int, int], None],
) -> str:
    """Fuse a cube file region by region, then ``save`` the whole, lazily given; returns what that returns.

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
    labels, latitude = labelled(cube, options)
    if out.suffix == ".tif":
        refuse_without_crs(labels, out)
    model = locate_model(options["model"])
    grid = TimeGrid(labels.t.values[0], labels.t.values[-1], options["step_days"])
    kept = {"latitude": latitude, "sigma": options["sigma"], "tile": options["tile"]}
    threads = options["threads"] or (1 if scheduler else max(1, (os.cpu_count() or 1) // workers))
    task = RegionFusion(
        cube.resolve(), store, model.resolve(), labels.attrs["model_sha256"], grid, threads, options["s1_units"], kept
    )
    made_of = {
        "cube": [str(task.cube), fingerprint(cube)], "model": task.sha256, "s1_units": task.s1_units, **kept,
        "dates": [str(grid.start), str(grid.end), grid.step_days],
        "code": [code_hash(name) for name in ("fusion.features", "fusion.inference")],
    }  # fmt: skip
    if scheduler is not None:
        refuse_unreachable(scheduler)
    return compute_regions(
        store, to_dataset(labels, "fused NDVI"), made_of, task, workers=workers, scheduler=scheduler, report=report,
        save=lambda filled: save(_stacked(labels, filled), store),
    )  # fmt: skip


def _stacked(labels: xr.DataArray, filled: xr.Dataset) -> xr.DataArray:
    """``labels`` with the values of a data set of its bands."""
    values = da.stack([filled[str(band)].data for band in labels.bands.values], axis=1)
    return labels.copy(data=values).assign_coords({OBS_COUNT: labels[OBS_COUNT].copy(data=filled[OBS_COUNT].data)})


def labelled(cube: Path, options: dict[str, Any]) -> tuple[xr.DataArray, float | None]:
    """The answer of :func:`fusion.api.fuse` without its values, every check of the cube's labels made; its latitude."""
    with opened_cube(cube) as opened:
        seen = with_roles(opened).transpose(*DIMS)
        fixed = {name: c.load() for name, c in seen.coords.items() if not {"t", "bands"} & set(c.dims)}
        blank = seen.copy(data=da.full(seen.shape, np.nan, dtype=np.float32, chunks=-1)).assign_coords(fixed)
        fused = fuse(blank, **options)
        latitude = latitude_of(blank) if options["latitude"] is None else options["latitude"]
    assert isinstance(fused, xr.DataArray)
    return fused, latitude


def refuse_unreachable(scheduler: str) -> None:
    """Connect to a Dask scheduler once, before any work; its own client tries for half a minute.

    Raises
    ------
    fusion.contract.ContractError
        None answers at this address.
    fusion.extras.MissingLibraryError
    """
    comm = needs("distributed.comm", "scheduler=ADDRESS")
    try:
        socket.create_connection(comm.get_address_host_port(scheduler, strict=True), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ContractError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` and give the address "
            "that it prints, such as tcp://127.0.0.1:8786, or set workers=2 without a scheduler"
        ) from error
