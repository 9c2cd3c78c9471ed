"""What every source gives: the three raw cubes of one area; and the error of a source that cannot."""

from dataclasses import dataclass, field

import xarray as xr


class SourceError(ValueError):
    """A source cannot give what was asked; the message names the item, what was seen, what was expected and the fix."""


class NotRawError(SourceError):
    """A file is readable and no raw data: an output of this program, or of no use to it. In a folder it is left out."""


@dataclass(frozen=True)
class RawCubes:
    """The raw series of one area, before masking and merging, each with its own dates and its own grid.

    Attributes
    ----------
    s2 : xarray.Dataset
        Dims ``(t, y, x)``: ``B04`` and ``B08`` float32 surface reflectance 0..1, NaN = nodata; ``SCL`` uint8 scene
        classes, 0 = nodata, on the same grid. ``attrs["scl_pixel_m"]`` says the pixel size in which SCL was made
        known to us: 20 when each 20 m cell was copied to 2 x 2 cells of 10 m, else the pixel size of the grid
        (the default when the attribute is absent).
    s1 : xarray.Dataset or None
        ``VV`` and ``VH``, float32, NaN = nodata, ``attrs["s1_units"]`` = "dB" or "linear"; optionally a coordinate
        ``orbit`` (t,) that tells passes apart (relative orbit number or "ascending"/"descending").
    coarse : xarray.Dataset or None
        ``NDVI`` float32 in physical units, NaN = nodata, on its native grid.
    origin : str
        What the data are and where they came from, for the manifest. No credentials.
    notes : tuple of str
        What the reader had to decide or to drop, one sentence each.

    All three carry their CRS where ``rioxarray`` finds it. Dates may hold hours; they need not be equal or sorted.
    """

    s2: xr.Dataset
    s1: xr.Dataset | None = None
    coarse: xr.Dataset | None = None
    origin: str = "unknown"
    notes: tuple[str, ...] = field(default=())
