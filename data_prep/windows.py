"""A merged cube window by window: an area of any size from raw files or a catalogue, prepared as it is read.

:func:`plan_area` looks at the whole area once and decides what its values decide (units, offsets, levels). Each window
is then prepared with the pixels around it that its masks and filters depend on, and equals its part of
:func:`data_prep.cube.build_cube` of the whole.
"""

import logging
import math
import os
from dataclasses import dataclass
from functools import cached_property

import dask
import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.coregistration import MAX_PIXELS
from data_prep.cube import build_cube, compare_sensors, merged, prepared_bands
from data_prep.grid import bounds
from data_prep.raw.cubes import SourceError, free_cycles
from data_prep.raw.decisions import Decisions, recorded, replayed
from data_prep.raw.extent import Extent
from data_prep.settings import OpticalSettings, PrepareSettings
from data_prep.sources.settings import DownloadedArea, FilesSource, StacSource
from fusion.cloud_mask import MASK_KERNELS
from fusion.features.tiling import grown, inside
from fusion.place import pixel_sides_m, pixel_size_m
from fusion.process_memory import bounded_gdal_cache

log = logging.getLogger(__name__)

WindowedSource = FilesSource | StacSource | DownloadedArea
_LOOKING_THREADS = 4
_LOOKING_BYTES = 96 * 2**20  # of raw values in memory where windows are read afterwards
_USED_BYTES = 256 * 2**20  # where the cube itself is used
_FILTERS_PX = 16  # border noise, shifts between satellites, resampling


@dataclass(frozen=True)
class PlannedArea:
    """An area that was looked at; :meth:`read` gives any part of its merged cube.

    ``labels``: the merged cube of the whole area without its values (lazy NaN). ``scl_px``: pixels along a cell of SCL.
    """

    source: WindowedSource
    settings: PrepareSettings
    decisions: Decisions
    labels: xr.DataArray
    scl_px: int

    def read(self, window: tuple[slice, slice], threads: int = 1) -> xr.DataArray:
        """The merged cube (t, bands, y, x) of rows and columns, float32, in memory; NaN where no file reaches.

        Raises
        ------
        SourceError
            The input cannot be read, or is another one than :func:`plan_area` saw.
        """
        core = self.labels.isel(y=window[0], x=window[1])
        # threads, also in a process of Dask, where others would wait for this one
        with dask.config.set(scheduler="threads", num_workers=threads):
            bands, s2, inner = self._prepared(window)
            part = merged(bands, s2, inner)
        if not np.array_equal(part.t.values, core.t.values) or part.shape != core.shape:
            raise self._changed((part.shape, core.shape))
        del bands, s2
        free_cycles(part.nbytes)
        return core.copy(data=part.values)

    def compared(self) -> tuple[str | None, list[str]]:
        """What :func:`data_prep.cube.compare_sensors` tells of the area, of which its middle is read.

        Raises
        ------
        SourceError
            A shift beyond the limit, with ``registration.check=refuse``.
        """
        middle = []
        for size in (self.labels.sizes["y"], self.labels.sizes["x"]):
            first = max(0, size - MAX_PIXELS) // 2
            middle.append(slice(first, size - first))
        bands, _, (rows, columns) = self._prepared((middle[0], middle[1]))
        bands = {name: band.isel(y=rows, x=columns) for name, band in bands.items()}
        return compare_sensors(bands, self.settings.registration)

    def _prepared(self, window: tuple[slice, slice]) -> tuple[dict[str, xr.DataArray], xr.Dataset, tuple[slice, slice]]:
        """Bands of a window with its surroundings, lazy, their grid, and where in it the window lies."""
        shape = self.labels.sizes["y"], self.labels.sizes["x"]
        rows, columns = (
            slice(part.start // self.scl_px * self.scl_px, part.stop) for part in grown(window, shape, self.around_px)
        )
        place = self.labels.isel(y=rows, x=columns)
        extent = Extent(bounds(place), place.rio.crs.to_wkt())
        with replayed(self.decisions):
            bands, s2, _ = prepared_bands(self.source.load(extent), self.settings, [])
        if s2.B04.shape[1:] != place.shape[2:]:
            raise self._changed((s2.B04.shape, place.shape))
        return bands, s2, inside(window, (rows, columns))

    def _changed(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> SourceError:
        return SourceError(
            f"a window of source={self.source.kind} has the shape {shapes[0]}; expected {shapes[1]} (t, bands, y, x) "
            "and the dates of the whole area; the input has changed, start again"
        )

    @cached_property
    def around_px(self) -> int:
        """Pixels around a window that its masks and filters depend on."""
        optical, radar = self.settings.optical, self.settings.radar
        speckle = radar.speckle_window_px // 2 + 1 if radar.speckle == "quegan" else 0
        return max(_mask_reach_px(optical, self.labels), speckle) + _FILTERS_PX


@bounded_gdal_cache()
def plan_area(
    source: WindowedSource, settings: PrepareSettings, used_px: float = 0
) -> tuple[PlannedArea, xr.DataArray]:
    """Look at a whole area: the dates, grid and labels of its merged cube, and what its values decide; and that cube.

    The cube is lazy where the raw cubes exceed 96 MiB, or 256 MiB of an area of at most ``used_px`` pixels a side, of
    which the caller uses the cube itself and not windows. Images are then read some at a time by at most four threads,
    every one a few times, so that memory does not depend on the number of dates, and on the area only by what one
    image and the mean images of radar passes take.

    Raises
    ------
    SourceError
        As :func:`data_prep.cube.build_cube` of the whole area.
    """
    threads = min(_LOOKING_THREADS, os.cpu_count() or 1)
    with recorded() as decisions, dask.config.set(scheduler="threads", num_workers=threads):
        raw = source.load()
        for note in raw.notes:
            log.info(note)
        side = max(raw.s2.sizes["y"], raw.s2.sizes["x"])
        small, most = side <= MAX_PIXELS, _USED_BYTES if side <= used_px else _LOOKING_BYTES
        cube = build_cube(raw, settings, compare=small, in_memory_bytes=most)
    free_cycles(cube.nbytes)
    pixel_m = pixel_size_m(raw.s2)
    scl_px = max(1, round(float(raw.s2.attrs.get("scl_pixel_m", pixel_m)) / pixel_m))
    labels = cube.copy(data=da.full(cube.shape, np.nan, dtype=np.float32, chunks=-1))
    plan = PlannedArea(source, settings, decisions, labels, scl_px)
    if not small:
        with dask.config.set(scheduler="threads", num_workers=threads):
            level, shifts = plan.compared()
        labels.attrs["notes"] = "\n".join(filter(None, [labels.attrs["notes"], level]))
        labels.attrs |= {"registration": "; ".join(shifts)} if shifts else {}
    for note in str(labels.attrs["notes"]).splitlines():
        if note not in raw.notes:
            log.info(note)
    return plan, cube


def _mask_reach_px(settings: OpticalSettings, grid: xr.DataArray) -> int:
    if settings.mask == "gaussian":
        return max(math.ceil(kernel.reach_m / side) for kernel in MASK_KERNELS for side in pixel_sides_m(grid)) + 2
    return settings.dilation_px + 1 if settings.mask in ("disk", "square") else 0
