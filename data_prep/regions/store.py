"""Data that are computed region by region into a Zarr store beside their output, so that a killed run can resume.

The folder ``.NAME.regions`` beside the output ``NAME`` holds the store, what it is computed from (``made_of.json``),
and a marker for every finished region. A run with the same input and settings computes the regions without a marker.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
import zarr

from data_prep.farm import write_marker
from fusion.contract import OBS_COUNT
from fusion.data.cube_files import CubeFileError, write_cube, write_zarr
from fusion.whole_file import whole_file, write_json

log = logging.getLogger(__name__)

CHUNK_PX = 256
CHUNK_DATES = 16
REGION_PX = (512, 256, 128)
INPUT_BYTES = 512 * 2**20  # of a region with its surroundings


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
    def output(self) -> Path:
        """The file or folder that the store becomes."""
        return self.folder.with_name(self.folder.name.removeprefix(".").removesuffix(".regions"))

    @property
    def zarr(self) -> Path:
        """The Zarr store with all regions that are finished."""
        return self.folder / "cube.zarr"

    @property
    def markers(self) -> Path:
        """Folder of a file per finished region."""
        return self.folder / "finished"

    @property
    def note(self) -> Path:
        """File that says what the store is made of; the store is there as long as this file."""
        return self.folder / "made_of.json"

    def prepare(self, template: xr.Dataset, made_of: dict[str, Any], *, shared: bool) -> list[Region]:
        """All regions, their store made; what an earlier run left is kept if it is made of the same.

        Parameters
        ----------
        template
            The data set to come, its variables lazy and without values; their last dims are (y, x), and those of a
            cube begin with ``t``.
        shared
            Another process works in the store.

        Raises
        ------
        CubeFileError
            The other process makes something else.
        """
        made_of = json.loads(json.dumps({**made_of, "region_px": self.px}))
        identity = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        whole = self.note.exists() and (shared or self.zarr.exists())  # a run may be killed as it moves the store
        earlier = json.loads(self.note.read_text()) if whole else None
        if earlier != made_of:
            changed = sorted(key for key in made_of if (earlier or {}).get(key) != made_of[key])
            if shared:
                raise CubeFileError(
                    f"another run is writing to {self.output}, with another {', '.join(changed)}; wait for it or use "
                    "another output"
                )
            if earlier is not None:
                log.info("an unfinished run had another %s; its regions are computed again", ", ".join(changed))
            self.note.unlink(missing_ok=True)  # first, so that no moment has this note and another store
            for old in (self.zarr, self.markers):
                shutil.rmtree(old, ignore_errors=True)
            self.markers.mkdir()
            at_most = {"t": CHUNK_DATES, "y": min(CHUNK_PX, self.px), "x": min(CHUNK_PX, self.px)}
            write_zarr(template, self.zarr, chunks=at_most)
            write_json(self.note, made_of)
        return list(cut_regions((template.sizes["y"], template.sizes["x"]), self.px, identity))

    def write(self, region: Region, layers: dict[str, np.ndarray]) -> None:
        """Write variables (..., h, w) of a region, then its marker."""
        group = zarr.open_group(self.zarr, mode="r+")
        for name, values in layers.items():
            group[name][..., *region.window] = values  # type: ignore[index, call-overload]
        write_marker(self.markers, region, {})

    def filled(self, template: xr.Dataset) -> xr.Dataset:
        """``template`` with the values of the store: of cubes (with ``t``) by Dask, others when they are indexed."""
        stored = xr.open_zarr(self.zarr, chunks=None, decode_cf=False)
        layers = {}
        for name, layer in template.data_vars.items():
            if "t" in layer.dims:
                lazy = da.from_zarr(self.zarr, component=str(name))
                native = lazy.map_blocks(np.asarray, dtype=layer.dtype, meta=layer.data._meta)  # netCDF4 warns of "<f4"
                layers[name] = layer.copy(data=native).variable
            else:
                layers[name] = stored[name].variable.copy(deep=False)
                layers[name].attrs = layer.attrs
        return template.assign(layers)

    def finished(self) -> int:
        """Number of finished regions."""
        return len(list(self.markers.glob("[!.]*.json")))

    def finish(self) -> Path:
        """The store, without what a killed process left in it."""
        for left in self.zarr.rglob("*.partial"):
            left.unlink()
        return self.zarr

    def save_cube(self, cube: xr.DataArray, out: Path, *, title: str, overwrite: bool) -> None:
        """Write the whole ``cube``, as :func:`stacked` gives it; for Zarr this store itself gets the name ``out``."""
        if out.suffix != ".zarr":
            with dask.config.set(scheduler="synchronous"):  # chunks in the same order, so the same bytes
                write_cube(cube, out, title=title, overwrite=overwrite)
            return
        with whole_file(out, replace=overwrite) as partial:
            self.finish().rename(partial)

    def remove(self) -> None:
        """Remove the folder and all in it, the note first."""
        self.note.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def stacked(labels: xr.DataArray, filled: xr.Dataset) -> xr.DataArray:
    """``labels`` (t, bands, y, x) with the values of a data set of its bands, lazily."""
    values = da.stack([filled[str(band)].data for band in labels.bands.values], axis=1)
    counts = {OBS_COUNT: labels[OBS_COUNT].copy(data=filled[OBS_COUNT].data)} if OBS_COUNT in labels.coords else {}
    return labels.copy(data=values).assign_coords(counts)


def store_for(out: Path, px: int) -> RegionStore:
    """The store on the way to ``out``; ``px`` above ``CHUNK_PX`` is rounded up to whole chunks."""
    out = out.resolve()
    px = px if px <= CHUNK_PX else -(-px // CHUNK_PX) * CHUNK_PX
    return RegionStore(out.with_name(f".{out.name}.regions"), px)


def fitting_px(
    sizes: Mapping[Hashable, int], wanted: int | None, *, around: int = 0, most: int = REGION_PX[0]
) -> int | None:
    """Side of the regions of a cube of these ``sizes``, at ``most`` so many pixels; None where one holds all.

    Each is read with ``around`` more pixels on every side.
    """
    per_pixel = 4 * sizes["t"] * sizes["bands"]
    fitting = (px for px in REGION_PX if px <= most and (px + 2 * around) ** 2 * per_pixel <= INPUT_BYTES)
    px = wanted or next(fitting, REGION_PX[-1])
    return px if max(sizes["y"], sizes["x"]) > px else None


def loaded(part: xr.DataArray, file: Path, threads: int) -> xr.DataArray:
    """A part of a cube file in memory.

    Raises
    ------
    CubeFileError
        The file is broken.
    """
    try:  # threads, also in a process of Dask, where others would wait for this one
        return part.load(scheduler="threads", num_workers=threads)
    except (OSError, RuntimeError) as error:
        raise CubeFileError(
            f"{file} cannot be read to its end ({error}); it may be incomplete, download it again"
        ) from error


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
