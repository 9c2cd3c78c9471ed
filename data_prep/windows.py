"""A merged cube window by window: an area of any size from raw files or a catalogue, prepared as it is read.

:func:`plan_area` looks at the whole area once and decides what its values decide (units, offsets, levels). Each window
is then prepared with the pixels around it that its masks and filters depend on, and equals its part of
:func:`data_prep.cube.build_cube` of the whole.
"""

import logging
import math
from dataclasses import dataclass
from functools import cached_property

import dask
import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.coregistration import MAX_PIXELS
from data_prep.cube import build_cube
from data_prep.grid import bounds
from data_prep.raw.cubes import SourceError, free_cycles
from data_prep.raw.decisions import Decisions, recorded, replayed
from data_prep.raw.extent import Extent
from data_prep.settings import OpticalSettings, PrepareSettings, RegistrationSettings
from data_prep.sources.settings import DownloadedArea, FilesSource, StacSource
from fusion.cloud_mask import MASK_KERNELS
from fusion.features.tiling import grown, inside
from fusion.place import pixel_sides_m, pixel_size_m

log = logging.getLogger(__name__)

WindowedSource = FilesSource | StacSource | DownloadedArea
UNCHECKED = RegistrationSettings(check="off")
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
        cube, (rows, columns) = self._prepared(window, UNCHECKED, threads)
        core = self.labels.isel(y=window[0], x=window[1])
        return core.copy(data=cube.values[:, :, rows, columns])

    def registration(self) -> str | None:
        """Result of the shift check, made on the middle of the area.

        Raises
        ------
        SourceError
            A shift beyond the limit, with ``registration.check=refuse``.
        """
        middle = []
        for size in (self.labels.sizes["y"], self.labels.sizes["x"]):
            first = max(0, size - MAX_PIXELS) // 2
            middle.append(slice(first, size - first))
        cube, _ = self._prepared((middle[0], middle[1]), self.settings.registration, threads=1)
        return cube.attrs.get("registration")

    def _prepared(
        self, window: tuple[slice, slice], registration: RegistrationSettings, threads: int
    ) -> tuple[xr.DataArray, tuple[slice, slice]]:
        """A window with its surroundings, in memory, and where in them it lies."""
        shape = self.labels.sizes["y"], self.labels.sizes["x"]
        rows, columns = (
            slice(part.start // self.scl_px * self.scl_px, part.stop) for part in grown(window, shape, self.around_px)
        )
        place = self.labels.isel(y=rows, x=columns)
        extent = Extent(bounds(place), place.rio.crs.to_wkt())
        settings = self.settings.model_copy(update={"registration": registration})
        # threads, also in a process of Dask, where others would wait for this one
        with replayed(self.decisions), dask.config.set(scheduler="threads", num_workers=threads):
            cube = build_cube(self.source.load(extent), settings).load()
        free_cycles(cube.nbytes)
        if not np.array_equal(cube.t.values, self.labels.t.values) or cube.shape != place.shape:
            raise SourceError(
                f"a window of source={self.source.kind} has the shape {cube.shape}; expected {place.shape} (t, "
                "bands, y, x) and the dates of the whole area; the input has changed, start again"
            )
        return cube, inside(window, (rows, columns))

    @cached_property
    def around_px(self) -> int:
        """Pixels around a window that its masks and filters depend on."""
        optical, radar = self.settings.optical, self.settings.radar
        speckle = radar.speckle_window_px // 2 + 1 if radar.speckle == "quegan" else 0
        return max(_mask_reach_px(optical, self.labels), speckle) + _FILTERS_PX


def plan_area(source: WindowedSource, settings: PrepareSettings) -> tuple[PlannedArea, xr.DataArray]:
    """Look at a whole area: the dates, grid and labels of its merged cube, and what its values decide; and that cube.

    The cube is lazy where the raw cubes exceed 512 MiB; every image is then read a few times.

    Raises
    ------
    SourceError
        As :func:`data_prep.cube.build_cube` of the whole area.
    """
    with recorded() as decisions:
        raw = source.load()
        for note in raw.notes:
            log.info(note)
        small = max(raw.s2.sizes["y"], raw.s2.sizes["x"]) <= MAX_PIXELS
        cube = build_cube(raw, settings if small else settings.model_copy(update={"registration": UNCHECKED}))
    free_cycles(cube.nbytes)
    pixel_m = pixel_size_m(raw.s2)
    scl_px = max(1, round(float(raw.s2.attrs.get("scl_pixel_m", pixel_m)) / pixel_m))
    labels = cube.copy(data=da.full(cube.shape, np.nan, dtype=np.float32, chunks=-1))
    plan = PlannedArea(source, settings, decisions, labels, scl_px)
    if not small and settings.registration.check != "off" and (shifts := plan.registration()):
        labels.attrs["registration"] = shifts
    for note in str(labels.attrs["notes"]).splitlines():
        if note not in raw.notes:
            log.info(note)
    return plan, cube


def _mask_reach_px(settings: OpticalSettings, grid: xr.DataArray) -> int:
    if settings.mask == "gaussian":
        return max(math.ceil(kernel.reach_m / side) for kernel in MASK_KERNELS for side in pixel_sides_m(grid)) + 2
    return settings.dilation_px + 1 if settings.mask in ("disk", "square") else 0
