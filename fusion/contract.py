"""The contract of a merged cube: bands, dimensions, units, value ranges, nodata and time step, each defined once.

Every module that names a band, a unit or a nodata value takes it from here. Imports no other module of this project.
"""

import logging
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr  # where a function needs it: settings take their numbers from here, and start without it

log = logging.getLogger(__name__)

DIMS = ("t", "bands", "y", "x")
DIM_NAMES = {  # what files and other programs call them
    "t": ("t", "time", "timestamp", "date", "dates", "valid_time"),
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
    "bands": ("bands", "band", "variable"),
}

# Bands of the merged cube, by role.
S2NDVI = "S2NDVI"  # Sentinel-2 L2A NDVI, cloud-masked, physical units
VV, VH = "VV", "VH"  # Sentinel-1 backscatter, linear power or dB (attribute ``s1_units``)
COARSE_NDVI = "COARSE_NDVI"  # PROBA-V S10 TOC or CGLS NDVI 300 m, on the 10 m grid
RADAR_BANDS = (VV, VH)
CUBE_BANDS = (S2NDVI, VV, VH, COARSE_NDVI)

# Bands of the fused cube.
NDVI, NDVI_SIGMA = "NDVI", "NDVI_SIGMA"
FUSED_BANDS = (NDVI, NDVI_SIGMA)
OBS_COUNT = "OBS_COUNT"  # coordinate of a fused cube, (t, y, x): Sentinel-2 observations nearest to each date

NDVI_MIN = -0.2  # lower limit of NDVI in a merged cube (land surfaces); lower values (water) are clipped
NDVI_MAX = 1.0
NDVI_CENTRE, NDVI_UNIT = 0.5, 0.2  # network input = (NDVI - centre) / unit
NDVI_TOLERANCE = 0.25  # values beyond the range by more than this are not NDVI (digital numbers, percent, ...)

S1_UNITS = ("dB", "linear")
S1_DB_MIN = -50.0  # backscatter of natural surfaces is higher in C-band (thermal noise floor about -30 dB)
S1_DB_MAX = 25.0  # strong corner reflectors in cities are lower

WINDOW_PX = 128  # default side of the windows in the process graph; any other size works too
FIRST_YEAR, LAST_YEAR = 1678, 2261  # whole years that datetime64[ns] holds
STEP_DAYS = 5  # native time step of the model, the revisit of the Sentinel-2 pair
CF_CONVENTIONS = "CF-1.11"  # of every NetCDF and Zarr file that is written
SEASON_METHOD = "relative_amplitude"  # default method for season dates

# PROBA-V NDVI digital numbers (PROBA-V Products User Manual v3.01, section on NDVI): physical = 0.004 * DN - 0.08
COARSE_SCALE = 0.004
COARSE_OFFSET = -0.08
COARSE_MAX_DN = 250  # higher numbers are flags, in PROBA-V and in Copernicus Global Land NDVI 300 m
COARSE_PIXEL_M = 300.0
COARSE_COMPOSITE_DAYS = 10

# NDVI files on disk: DN = (NDVI - offset) / scale, int16, nodata below
PACK_SCALE = 1e-4
PACK_OFFSET = 0.0
PACK_NODATA = -32768


class ContractError(ValueError):
    """Input breaks the contract; the message names the value seen, the expectation and the fix."""


# Numbers that files write for "no data" without saying so; infinite values and beyond 1e19 as well.
FILL_VALUES = (-99999.0, -32768.0, -32767.0, -9999.0, -999.0, 32767.0, 65534.0, 65535.0)
_FILL_BEYOND = 1e19


@dataclass(frozen=True)
class ValidRange:
    """What a sensor can measure: the one place for its limits, used on every path by which data come in.

    ``marks`` are numbers inside the limits that stand for no data. Comparisons work on numpy and on lazy xarray.
    """

    quantity: str
    low: float
    high: float
    advice: str
    marks: tuple[float, ...] = ()

    def fills(self, values: Any) -> Any:
        """True where a value is a known fill value; NaN is none."""
        found = abs(values) > _FILL_BEYOND
        for fill in (*FILL_VALUES, *self.marks):
            found = found | (values == np.float32(fill))
        return found

    def impossible(self, values: Any) -> Any:
        """True where a value is a fill value or outside the limits; NaN is neither."""
        found = (values < self.low) | (values > self.high)
        for mark in self.marks:
            found = found | (values == np.float32(mark))
        return found

    def refuse_majority(self, values: np.ndarray, name: str) -> None:
        """Refuse values of which more than half, fill values left aside, lie outside the limits.

        Raises
        ------
        ContractError
        """
        real = values[np.isfinite(values) & ~self.fills(values)]
        wrong = self.impossible(real)
        if wrong.sum() * 2 > real.size:
            raise ContractError(
                f"{name} ranges from {real.min():.4g} to {real.max():.4g}; expected {self.quantity} within "
                f"[{self.low:g}, {self.high:g}]; {self.advice}"
            )

    def keep(self, values: np.ndarray, name: str) -> np.ndarray:
        """The values with NaN for what cannot be a measurement, counted in a warning; the input stays.

        Raises
        ------
        ContractError
            Most values are outside the limits and are no known fill value: these are other units.
        """
        wrong = np.asarray(self.impossible(values))
        if not wrong.any():
            return values
        self.refuse_majority(values, name)
        seen = np.isfinite(values) | wrong
        told = np.unique(values[wrong])
        log.warning(
            "%s: %d of %d values cannot be %s (%.6g to %.6g) and count as missing",
            name, wrong.sum(), seen.sum(), self.quantity, told[0], told[-1],
        )  # fmt: skip
        return np.where(wrong, np.float32(np.nan), values)


MARK_APART = 0.1  # NDVI


def ndvi_marks(ndvi: np.ndarray) -> np.ndarray:
    """True where NDVI (t, ...), sorted, is exactly 0, or 1 and more, or -1 and less, unlike the observations around it.

    Files write 0, 1 and -1 for no data; water and dense crops come near them, and so do their other dates. A mark more
    than ``MARK_APART`` from the observations before and after, or without any, is no observation.
    """
    marks = np.asarray((ndvi == 0) | (abs(ndvi) >= 1))
    if not marks.any():
        return marks
    pixels = marks.any(axis=0)
    series, count = ndvi[:, pixels], len(ndvi)
    real = np.isfinite(series) & ~marks[:, pixels]
    index = np.arange(count)[:, None]
    before = np.maximum.accumulate(np.where(real, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(real, index, count)[::-1], axis=0)[::-1]
    known = np.concatenate([series, np.full_like(series[:1], np.nan)])  # at -1 and at count: none
    for at in (before, after):
        marks[:, pixels] &= ~(np.abs(series - np.take_along_axis(known, at, axis=0)) <= MARK_APART)
    return marks


NDVI_RANGE = ValidRange(
    "NDVI", -1.0 - NDVI_TOLERANCE, NDVI_MAX + NDVI_TOLERANCE,
    f"apply scale and offset first (PROBA-V: {COARSE_SCALE} * DN {COARSE_OFFSET:+}; packed files: decode with "
    "mask_and_scale)",
)  # fmt: skip
RADAR_DB_RANGE = ValidRange(  # a border filled with zeros is no echo of exactly 0 dB, and DN 1 no power of exactly 1
    "dB", S1_DB_MIN, S1_DB_MAX, "decode the file first, and say its units (s1_units)", marks=(0.0, 1.0, S1_DB_MIN)
)
RADAR_POWER_RANGE = ValidRange("linear power", 1e-5, 316.3, RADAR_DB_RANGE.advice, marks=(0.0, 1.0))
RADAR_ANY_RANGE = ValidRange("backscatter", S1_DB_MIN, 316.3, RADAR_DB_RANGE.advice, marks=(0.0, 1.0))
SCL_RANGE = ValidRange("scene classes", 0, 11, "give another encoding as optical.user_mask", marks=(255.0,))
# Offset of baseline 04.00: digital numbers 0 and 1 are -0.1 and -0.0999. Snow and cloud reach about 1.6.
REFLECTANCE_RANGE = ValidRange(
    "reflectance", -0.09985, 2.0, "set source.s2_scale to the reflectance of one digital number", marks=(0.0, 1e-4)
)


def measured_ndvi(ndvi: np.ndarray, name: str) -> np.ndarray:
    """NDVI (t, ...) with NaN for what is outside :data:`NDVI_RANGE` or found by :func:`ndvi_marks`, with a warning."""
    kept = NDVI_RANGE.keep(ndvi, name)
    gone = ndvi_marks(kept)
    if not gone.any():
        return kept
    if (ndvi > 1).sum() * 2 > np.isfinite(ndvi).sum():
        raise ContractError(f"{name} lies above 1 on most pixels; expected NDVI; {NDVI_RANGE.advice}")
    log.warning("%s: %d values of 0, or beyond -1 and 1, contradict their pixel and count as missing", name, gone.sum())
    return np.where(gone, np.float32(np.nan), kept)


@dataclass(frozen=True)
class TimeGrid:
    """A regular grid of dates ``start + k * step_days``; ``end`` is included where it lies on the step."""

    start: np.datetime64
    end: np.datetime64
    step_days: int = STEP_DAYS

    def __post_init__(self) -> None:
        start, end = (np.datetime64(day).astype("datetime64[D]") for day in (self.start, self.end))
        if not 1 <= int(self.step_days) <= 366:
            raise ContractError(f"step_days is {self.step_days}; expected a whole number of days from 1 to 366")
        if end < start:
            raise ContractError(f"the period ends ({end}) before it starts ({start}); swap start and end")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "step_days", int(self.step_days))

    @property
    def days(self) -> np.ndarray:
        """Days since 1970-01-01, int64, shape (T,)."""
        return np.arange(self.start.astype("int64"), self.end.astype("int64") + 1, self.step_days)

    @property
    def dates(self) -> np.ndarray:
        """datetime64[ns], shape (T,)."""
        return self.days.astype("datetime64[D]").astype("datetime64[ns]")


def dim_renaming(dims: Iterable[Hashable]) -> dict[Hashable, str]:
    """How dimensions are to be renamed to those of the contract; those that need none, or are unknown, are left out.

    >>> dim_renaming(("time", "lat", "lon"))
    {'time': 't', 'lat': 'y', 'lon': 'x'}
    """
    given = list(dims)
    found: dict[Hashable, str] = {}
    for plain, known in DIM_NAMES.items():
        same = [dim for dim in given if str(dim).lower() in known]
        if same and plain not in given:
            found[same[0]] = plain
    return found


def renaming_advice(dims: Iterable[Hashable]) -> str:
    """The call that renames them, as the end of a message; empty where nothing is to be renamed."""
    renaming = dim_renaming(dims)
    return f"; call cube.rename({renaming})" if renaming else ""


def check_cube(cube: "xr.DataArray") -> None:
    """Refuse a merged cube that breaks the contract.

    Checked: dims ``(t, bands, y, x)`` in any order, a datetime ``t`` that is sorted and free of duplicates, band
    labels that include ``S2NDVI``, a non-empty area, and NDVI bands inside their physical range. NaN is never an
    error.

    Raises
    ------
    ContractError
    """
    check_layout(cube)
    check_ranges(cube)


def check_layout(cube: "xr.DataArray") -> None:
    """Refuse wrong dimensions, band labels or dates. Reads no values, so a lazy cube is not computed."""
    import xarray as xr

    if not isinstance(cube, xr.DataArray):
        raise ContractError(f"the cube is a {type(cube).__name__}; expected an xarray.DataArray with dims {DIMS}")
    missing = [d for d in DIMS if d not in cube.dims]
    extra = [d for d in cube.dims if d not in DIMS]
    if missing or extra:
        advice = renaming_advice(cube.dims) or f"; rename or add {missing or extra}"
        raise ContractError(f"the cube has dims {tuple(cube.dims)}; expected {DIMS}{advice}")
    if "bands" not in cube.coords:
        raise ContractError(f"the cube has no band labels; assign coords 'bands' from {CUBE_BANDS}")
    bands = [str(b) for b in cube.bands.values]
    if S2NDVI not in bands:
        raise ContractError(f"the cube has bands {bands}; band {S2NDVI!r} is required; rename the NDVI band to it")
    if len(set(bands)) != len(bands):
        raise ContractError(f"the cube has bands {bands}; each label may occur once")
    if cube.sizes["y"] == 0 or cube.sizes["x"] == 0:
        raise ContractError(f"the cube covers no pixel (y={cube.sizes['y']}, x={cube.sizes['x']}); widen the area")
    check_time(cube)


def check_ranges(cube: "xr.DataArray") -> None:
    """Refuse NDVI bands that hold something else (digital numbers, percent); reads them."""
    bands = [str(b) for b in cube.bands.values]
    for band in (S2NDVI, COARSE_NDVI):
        if band in bands:
            NDVI_RANGE.refuse_majority(np.asarray(cube.sel(bands=band).values), band)


def check_latitude(latitude: object) -> float:
    """Degrees north as a Python float, from a Python or numpy number or an array with a single element.

    Raises
    ------
    ContractError
        Not a number (text, bool, several values), or outside -90 to 90.
    """
    single = getattr(latitude, "size", None) == 1 and hasattr(latitude, "item")  # an array of numpy or xarray
    number = latitude.item() if single else latitude  # type: ignore[attr-defined]
    wrong_type = isinstance(number, bool) or not isinstance(number, Real)
    degrees = float(number) if isinstance(number, Real) and not wrong_type else np.nan
    if not -90 <= degrees <= 90:
        seen = f"{latitude!r} ({type(latitude).__name__})" if wrong_type else f"{number}"
        raise ContractError(
            f"latitude is {seen}; expected degrees north, a number from -90 to 90; fix cube.attrs['latitude'] or the "
            "argument latitude"
        )
    return degrees


def check_time(cube: "xr.DataArray") -> None:
    """Refuse what :func:`check_dates` refuses, and days that occur twice."""
    check_dates(cube)
    days = cube.t.values.astype("datetime64[D]").astype("int64")
    if (np.diff(days) == 0).any():
        first = int(np.argmax(np.diff(days) == 0))
        raise ContractError(
            f"date {np.datetime64(int(days[first]), 'D')} occurs twice; merge the observations of one day, for example "
            "cube.groupby(cube.t.dt.floor('D')).first()"
        )


def check_dates(cube: "xr.DataArray") -> None:
    """Refuse a missing, non-datetime, empty or unsorted ``t`` coordinate, and years that nanoseconds do not hold."""
    if "t" not in cube.coords:
        raise ContractError("the cube has no time coordinate 't'; assign the acquisition dates as datetime64")
    t = cube.t.values
    if not np.issubdtype(t.dtype, np.datetime64):
        raise ContractError(
            f"coordinate 't' has dtype {t.dtype}; expected datetime64 without a time zone; decode the times first, "
            "text and time zones with cube.assign_coords("
            "t=pandas.to_datetime(cube.t.values, utc=True).tz_localize(None))"
        )
    if t.size == 0:
        raise ContractError("the cube has no date; widen the period")
    if np.isnat(t).any():
        raise ContractError("coordinate 't' holds NaT; drop the dates that could not be read")
    days = t.astype("datetime64[D]").astype("int64")
    if (np.diff(days) < 0).any():
        first = int(np.argmax(np.diff(days) < 0))
        raise ContractError(f"dates are not sorted ({t[first]} before {t[first + 1]}); call cube.sortby('t')")
    years = t[[0, -1]].astype("datetime64[Y]").astype("int64") + 1970
    if years[0] < FIRST_YEAR or years[-1] > LAST_YEAR:
        raise ContractError(
            f"coordinate 't' runs from {t[0]} to {t[-1]}; expected years from {FIRST_YEAR} to {LAST_YEAR}; correct the "
            "dates, or the unit in which they were decoded"
        )
