"""Data that are computed region by region into a Zarr store beside their output, so that a killed run can resume.

The folder ``.NAME.regions`` beside the output ``NAME`` holds the store, what it is computed from (``made_of.json``),
and a marker for every finished region. A run with the same input and settings computes the regions without a marker.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from data_prep.farm import pending, run_all, write_marker
from fusion.data.cube_files import CubeFileError, write_zarr
from fusion.whole_file import only_run, write_json

log = logging.getLogger(__name__)

CHUNK_PX = 256
CHUNK_DATES = 16
REGION_PX = (512, 256, 128)
INPUT_BYTES = 512 * 2**20  # of a region with its surroundings
Result = TypeVar("Result")


@dataclass(frozen=True)
class Region:
    """Rows and columns of a cube, one task of :func:`data_prep.farm.run_all`; ``identity`` is that of its store."""

    rows: slice
    columns: slice
    identity: str

    @property
    def name(self) -> str:
        """Unique in the cube."""
        return f"{self.rows.start}_{self.columns.start}"

    @property
    def window(self) -> tuple[slice, slice]:
        """As (rows, columns)."""
        return self.rows, self.columns


@dataclass(frozen=True)
class RegionStore:
    """The store of one output, on its way; ``px`` is the side of a region."""

    folder: Path
    px: int

    @property
    def zarr(self) -> Path:
        """The Zarr store with all regions that are finished."""
        return self.folder / "cube.zarr"

    @property
    def markers(self) -> Path:
        """Folder of a file per finished region."""
        return self.folder / "finished"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one run alone, with its folder made; an empty one is removed again on an error.

        Raises
        ------
        CubeFileError
            Another run writes this output, or an error in writing; finished regions stay.
        """
        output = self.folder.with_name(self.folder.name.removeprefix(".").removesuffix(".regions"))
        try:
            with only_run(self.markers, CubeFileError):
                try:
                    yield
                except BaseException:
                    self._settle_failure()
                    raise
        except OSError as error:
            raise CubeFileError(
                f"{output} could not be written ({type(error).__name__}: {error}); check the folder's permission and "
                "the free space"
            ) from error

    def _settle_failure(self) -> None:
        finished = len(list(self.markers.glob("[!.]*.json"))) if self.markers.is_dir() else 0
        if finished == 0:
            self.remove()
            return
        log.warning(
            "%d finished regions are kept in %s: the same command resumes; delete the folder to give them up",
            finished, self.folder,
        )  # fmt: skip

    def prepare(self, template: xr.Dataset, made_of: dict[str, Any]) -> tuple[list[Region], int]:
        """Regions that are still to be computed, and the number of all.

        What an earlier run left is kept if it is made of the same. ``template`` is the data set to come, its variables
        lazy and without values; their last dims are (y, x), and those of a cube begin with ``t``.
        """
        made_of = json.loads(json.dumps({**made_of, "region_px": self.px}))
        identity = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        note = self.folder / "made_of.json"
        earlier = json.loads(note.read_text()) if note.exists() else None
        if earlier != made_of:
            if earlier is not None:
                changed = sorted(key for key in made_of if earlier.get(key) != made_of[key])
                log.info("an unfinished run had another %s; its regions are computed again", ", ".join(changed))
            note.unlink(missing_ok=True)  # first, so that no moment has this note and another store
            for old in (self.zarr, self.markers):
                shutil.rmtree(old, ignore_errors=True)
            self.markers.mkdir()
            at_most = {"t": CHUNK_DATES, "y": min(CHUNK_PX, self.px), "x": min(CHUNK_PX, self.px)}
            write_zarr(template, self.zarr, chunks=at_most)
            write_json(note, made_of)
        regions = list(cut_regions((template.sizes["y"], template.sizes["x"]), self.px, identity))
        return pending(regions, self.markers), len(regions)

    def write(self, region: Region, layers: dict[str, np.ndarray]) -> None:
        """Write variables (..., h, w) of a region, then its marker."""
        group = zarr.open_group(self.zarr, mode="r+")
        for name, values in layers.items():
            group[name][..., *region.window] = values  # type: ignore[index, call-overload]
        write_marker(self.markers, region, {})

    def filled(self, template: xr.Dataset) -> xr.Dataset:
        """``template`` with the values of the store, lazily."""
        stored = {name: da.from_zarr(self.zarr, component=str(name)) for name in template.data_vars}
        return template.assign({name: template[name].copy(data=data) for name, data in stored.items()})

    def finish(self) -> Path:
        """The store, without what a killed process left in it."""
        for left in self.zarr.rglob("*.partial"):
            left.unlink()
        return self.zarr

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def store_for(out: Path, px: int) -> RegionStore:
    """The store on the way to ``out``; ``px`` above ``CHUNK_PX`` is rounded up to whole chunks."""
    out = out.resolve()
    px = px if px <= CHUNK_PX else -(-px // CHUNK_PX) * CHUNK_PX
    return RegionStore(out.with_name(f".{out.name}.regions"), px)


def compute_regions(
    store: RegionStore,
    template: xr.Dataset,
    made_of: dict[str, Any],
    task: Callable[[Region], dict[str, Any]],
    *,
    workers: int,
    scheduler: str | None,
    save: Callable[[xr.Dataset], Result],
    report: Callable[[int, int], None],
) -> Result:
    """Compute the regions that are not finished, ``save`` the whole, lazily given, and remove the store.

    Parameters
    ----------
    template, made_of
        See :meth:`RegionStore.prepare`; with another ``made_of`` than an unfinished run, all begins anew.
    task : callable
        Computes a region and gives it to :meth:`RegionStore.write`; importable, with plain data, for other processes.
    workers : int
        Processes; 1 = this one.
    report : callable
        Called with (finished regions, all regions).
    """
    alone = workers == 1 and scheduler is None
    with store.locked():
        left, total = store.prepare(template, made_of)
        finished = [total - len(left)]
        report(finished[0], total)

        def count(region: Region, result: dict[str, Any]) -> None:
            finished[0] += 1
            report(finished[0], total)

        run_all(left, task, workers=0 if alone else workers, scheduler=scheduler, on_done=count)
        result = save(store.filled(template))
        store.remove()
    return result


def fitting_px(sizes: Mapping[Hashable, int], wanted: int | None, around: int = 0) -> int | None:
    """Side of the regions of a cube of these ``sizes``, read with ``around`` more pixels; None where one holds all."""
    per_pixel = 4 * sizes["t"] * sizes["bands"]
    fitting = (px for px in REGION_PX if (px + 2 * around) ** 2 * per_pixel <= INPUT_BYTES)
    px = wanted or next(fitting, REGION_PX[-1])
    return px if max(sizes["y"], sizes["x"]) > px else None


def cut_regions(shape: tuple[int, ...], px: int, identity: str) -> Iterator[Region]:
    """Regions of ``px`` pixels a side, smaller at the right and bottom, row by row."""
    for top in range(0, shape[0], px):
        for left in range(0, shape[1], px):
            yield Region(slice(top, min(top + px, shape[0])), slice(left, min(left + px, shape[1])), identity)


def fingerprint(path: Path) -> str:
    """Changes when a file, or any file of a folder, is written again: names, sizes and times of writing."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        state = os.stat(file)
        digest.update(f"{file.relative_to(path.parent)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
