"""The series of one pixel or one field, read for a click: observations, fused curve, standard deviation, seasons."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, OBS_COUNT
from fusion.phenology.seasons import seasons
from fusion.viewer.layers import Content, Stack, pixel_size

CLEAR_SHARE = 0.5  # of a field's pixels that a date needs, to be drawn as an observation of the field
PARAMETERS = ("SOSD", "MAXD", "EOSD")
Reader = Callable[[xr.DataArray], np.ndarray]  # from images (t, y, x) to the values of what was clicked (t,)


@dataclass(frozen=True)
class Curve:
    """Dates (datetime64), NDVI and its standard deviation (NaN where unknown), arrays of equal length."""

    dates: np.ndarray
    ndvi: np.ndarray
    sigma: np.ndarray

    def at(self, date: np.datetime64) -> tuple[float, float]:
        """NDVI and sigma on the nearest date."""
        k = int(np.argmin(np.abs(self.dates - date)))
        return float(self.ndvi[k]), float(self.sigma[k])


@dataclass(frozen=True)
class SeasonDates:
    """One season as dates (datetime64[D], NaT = none) and their standard deviation in days (NaN = unknown)."""

    dates: dict[str, np.datetime64]
    sigma_days: dict[str, float]
    amplitude: float
    qflag: float


@dataclass(frozen=True)
class Clicked:
    """What a click shows; ``pixels`` is the number of pixels behind it."""

    title: str
    fused: Curve
    pixels: int = 1
    observations: Curve | None = None
    other: Curve | None = None
    seasons: list[SeasonDates] = field(default_factory=list)


def pixel_at(content: Content, x: float, y: float) -> tuple[int, int] | None:
    """Row and column of the pixel that holds a point; None outside."""
    grid = content.result.ndvi
    row, column = (int(np.argmin(np.abs(grid[axis].values - at))) for axis, at in (("y", y), ("x", x)))
    inside = all(
        abs(float(grid[axis].values[k]) - at) <= pixel_size(grid[axis]) / 2
        for axis, k, at in (("y", row, y), ("x", column, x))
    )
    return (row, column) if inside else None


def pixel_series(content: Content, row: int, column: int) -> Clicked:
    """The series of one pixel; of the files only this pixel is read."""

    def read(band: xr.DataArray) -> np.ndarray:
        return band.isel(y=row, x=column).values

    return _clicked(content, f"Pixel, row {row}, column {column}", read, 1, (row, column))


def field_at(content: Content, x: float, y: float) -> int | None:
    """Number of the first field that holds a point; None outside."""
    from shapely.geometry import Point

    assert content.fields is not None
    hits = np.flatnonzero(content.fields.contains(Point(x, y)).to_numpy())
    return int(hits[0]) if hits.size else None


def field_series(content: Content, number: int) -> Clicked | None:
    """Mean series of the pixels whose centre lies in a field; None for a field without one.

    An observation is drawn where half of these pixels are clear. The standard deviation is the pixels' mean, as if
    their errors were fully correlated.
    """
    assert content.fields is not None
    shape, grid = content.fields.geometry.iloc[number], content.result.ndvi
    window, inside = _pixels_in(shape, grid)
    count = int(inside.sum())
    if count == 0:
        return None

    def read(band: xr.DataArray) -> np.ndarray:
        return _mean(band.isel(window).values[:, inside])

    return _clicked(content, f"Field {number + 1}, mean of {count} pixels", read, count, None)


def _pixels_in(shape, grid: xr.DataArray) -> tuple[dict[str, slice], np.ndarray]:
    """The smallest window around a polygon, and which of its pixels have their centre inside."""
    import shapely

    west, south, east, north = shape.bounds
    window = {}
    for axis, low, high in (("y", south, north), ("x", west, east)):
        at = np.flatnonzero((grid[axis].values >= low) & (grid[axis].values <= high))
        window[axis] = slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)
    x, y = np.meshgrid(grid.x.values[window["x"]], grid.y.values[window["y"]])
    return window, shapely.contains_xy(shape, x, y)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the pixels (t, n) on the dates on which enough of them have a value; NaN elsewhere."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(known.mean(axis=1) >= CLEAR_SHARE, total / np.maximum(known.sum(axis=1), 1), np.nan)


def _curve(stack: Stack, read: Reader) -> Curve:
    ndvi = np.asarray(read(stack.ndvi), np.float64)
    sigma = np.full(ndvi.shape, np.nan) if stack.sigma is None else np.asarray(read(stack.sigma), np.float64)
    return Curve(stack.ndvi.t.values.astype("datetime64[ns]"), ndvi, sigma)


def _clicked(content: Content, title: str, read: Reader, pixels: int, pixel: tuple[int, int] | None) -> Clicked:
    fused = _curve(content.result, read)
    seen = _curve(content.observations, read) if content.observations is not None else None
    other = _curve(content.other, read) if content.other is not None else None
    if content.seasons is not None and pixel is not None:
        found = _season_dates(content.seasons.isel(y=pixel[0], x=pixel[1]))
    else:
        counts = read(content.result.bands[OBS_COUNT]) if OBS_COUNT in content.result.bands else None
        found = _season_dates(_seasons_of(fused, seen if content.observations is not content.result else None, counts))
    return Clicked(title, fused, pixels, seen, other, found)


def _seasons_of(fused: Curve, seen: Curve | None, counts: np.ndarray | None) -> xr.Dataset:
    """Seasons of one series, recommended method; ``counts`` of observations serve where these are absent."""
    known = bool(np.isfinite(fused.sigma).any())
    bands = {NDVI: fused.ndvi, NDVI_SIGMA: fused.sigma} if known else {NDVI: fused.ndvi}
    values = np.stack(list(bands.values()), axis=1)[..., None, None].astype(np.float32)
    coords = {"bands": list(bands), "t": fused.dates}
    cube = xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords)
    if counts is not None:
        cube = cube.assign_coords({OBS_COUNT: (("t", "y", "x"), np.round(counts)[:, None, None])})
    observations = None
    if seen is not None:
        ndvi = seen.ndvi[:, None, None].astype(np.float32)
        observations = xr.DataArray(ndvi, dims=("t", "y", "x"), coords={"t": seen.dates})
    return seasons(cube, observations=observations, use_numba=False).isel(y=0, x=0)


def _season_dates(data: xr.Dataset) -> list[SeasonDates]:
    """Every season with a maximum, in order of time."""
    by_year = data.load() if "year" in data.dims else data.load().expand_dims("year")
    found = []
    for y, year in enumerate(by_year.year.values):
        zero = np.datetime64(f"{int(year):04d}-01-01", "D")
        for k in range(by_year.sizes["season"]):
            one = by_year.isel(year=y, season=k)
            days = {name: float(one[name]) for name in PARAMETERS if name in one}
            if not any(np.isfinite(day) for day in days.values()):
                continue
            dates: dict[str, np.datetime64] = {
                n: zero + np.timedelta64(round(d), "D") if np.isfinite(d) else np.datetime64("NaT")
                for n, d in days.items()
            }
            sigma = {n: float(one[f"{n}_SIGMA"]) if f"{n}_SIGMA" in one else np.nan for n in days}
            amplitude, qflag = (float(one[n]) if n in one else np.nan for n in ("AMPL", "QFLAG"))
            found.append(SeasonDates(dates, sigma, amplitude, qflag))
    return sorted(found, key=lambda season: min(d for d in season.dates.values() if not np.isnat(d)))
