"""Output of every source: the raw cubes of one area, and the error raised when they cannot be provided."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

_WORTH_FREEING_BYTES = 16 * 2**20


class SourceError(ValueError):
    """The requested data cannot be provided; the message names item, value found, expected value and fix."""


class NotRawError(SourceError):
    """A file is readable and no raw data: an output of this program, or of no use to it. In a folder it is left out."""


@dataclass(frozen=True)
class RawCubes:
    """The raw series of one area, before masking and merging, each with its own dates and its own grid.

    Attributes
    ----------
    s2 : xarray.Dataset
        Dims ``(t, y, x)``: ``B04`` and ``B08`` float32 surface reflectance 0..1, NaN = nodata; ``SCL`` uint8 scene
        classes, 0 = nodata, on the same grid. ``attrs["scl_pixel_m"]`` is the original pixel size of SCL in metres:
        20 if each 20 m cell was copied to 2 x 2 pixels of 10 m, else the pixel size of the grid (the default when
        the attribute is absent).
    s1 : xarray.Dataset or None
        ``VV`` and ``VH``, float32, NaN = nodata, ``attrs["s1_units"]`` = "dB" or "linear"; optionally a coordinate
        ``orbit`` (t,) that identifies the pass (relative orbit number or "ascending"/"descending") and a coordinate
        ``platform`` (t,) that names the satellite ("S1A").
    coarse : xarray.Dataset or None
        ``NDVI`` float32 in physical units, NaN = nodata, on its native grid.
    origin : str
        Description and provenance of the data, for the manifest. Contains no credentials.
    notes : tuple of str
        Decisions of the reader and data left out, one sentence each.

    All three carry their CRS where ``rioxarray`` finds it. Dates may include the time of day; they may differ between
    sensors and need not be sorted.
    """

    s2: xr.Dataset
    s1: xr.Dataset | None = None
    coarse: xr.Dataset | None = None
    origin: str = "unknown"
    notes: tuple[str, ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """Bytes that all values take in memory."""
        return sum(cube.nbytes for cube in (self.s2, self.s1, self.coarse) if cube is not None)


def free_cycles(nbytes: int) -> None:
    """Free the arrays that xarray's accessors (``.rio``) hold in cycles, and give free memory back to the system;
    Python and the C library by themselves may keep both for long.

    ``nbytes``: size of one of them; small ones are left to Python.
    """
    if nbytes < _WORTH_FREEING_BYTES:
        return
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
