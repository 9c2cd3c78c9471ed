"""A cube that is computed region by region into a Zarr store beside its output, so that a killed run can resume.

The folder ``.NAME.regions`` beside the output ``NAME`` holds the store, what it is computed from (``made_of.json``),
and a marker for every finished region. A run with the same input and settings computes the regions without a marker.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from data_prep.farm import pending, write_marker
from fusion.contract import OBS_COUNT
from fusion.data.cube_files import CubeFileError, to_dataset, write_zarr
from fusion.whole_file import only_run, write_json

log = logging.getLogger(__name__)

CHUNK_PX = 256
CHUNK_DATES = 16


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

    def prepare(self, cube: xr.DataArray, made_of: dict[str, Any], title: str) -> tuple[list[Region], int]:
        """Regions that are still to be computed, and the number of all; ``cube`` holds labels and no values.

        What an earlier run left is kept if it is made of the same.
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
            sides = (min(n, CHUNK_PX, self.px) for n in cube.shape[2:])
            write_zarr(to_dataset(cube, title), self.zarr, chunks=(min(CHUNK_DATES, cube.sizes["t"]), *sides))
            write_json(note, made_of)
        regions = list(cut_regions(cube.shape[2:], self.px, identity))
        return pending(regions, self.markers), len(regions)

    def write(self, region: Region, bands: dict[str, np.ndarray]) -> None:
        """Write bands (T, h, w) of a region, then its marker."""
        group = zarr.open_group(self.zarr, mode="r+")
        for name, values in bands.items():
            group[name][:, *region.window] = values  # type: ignore[index, call-overload]
        write_marker(self.markers, region, {})

    def filled(self, labels: xr.DataArray) -> xr.DataArray:
        """``labels`` with the values of the store, lazily."""
        bands = [da.from_zarr(self.zarr, component=str(band)) for band in labels.bands.values]
        counts = labels[OBS_COUNT].copy(data=da.from_zarr(self.zarr, component=OBS_COUNT))
        return labels.copy(data=da.stack(bands, axis=1)).assign_coords({OBS_COUNT: counts.variable})

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
