"""The series of one pixel or one field, read for a click: observations, fused curve, standard deviation, seasons."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, OBS_COUNT, ContractError
from fusion.fields.series import field_series as means_of_fields
from fusion.phenology.seasons import seasons
from fusion.viewer.layers import Content, Stack, pixel_size

if TYPE_CHECKING:
    import geopandas

PARAMETERS = ("SOSD", "MAXD", "EOSD")


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
    """What a click shows."""

    title: str
    fused: Curve
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
        return np.asarray(band.isel(y=row, x=column).values, np.float64)

    def curve(stack: Stack) -> Curve:
        ndvi = read(stack.ndvi)
        sigma = np.full(ndvi.shape, np.nan) if stack.sigma is None else read(stack.sigma)
        return Curve(stack.ndvi.t.values.astype("datetime64[ns]"), ndvi, sigma)

    counts = read(content.result.bands[OBS_COUNT]) if OBS_COUNT in content.result.bands else None
    return _clicked(content, f"Pixel, row {row}, column {column}", curve, counts, (row, column))


def field_at(content: Content, x: float, y: float) -> int | None:
    """Number of the first field that holds a point; None outside."""
    from shapely.geometry import Point

    assert content.fields is not None
    hits = np.flatnonzero(content.fields.contains(Point(x, y)).to_numpy())
    return int(hits[0]) if hits.size else None


def field_series(content: Content, number: int) -> Clicked | None:
    """The series of a field as :func:`fusion.fields.series.field_series` has it; None where the field has no pixel.

    Of the files only the window around the field is read.
    """
    assert content.fields is not None
    field, window = content.fields.iloc[[number]], _window(content.fields.geometry.iloc[number], content.result.ndvi)
    try:
        means = {id(s): _means(s, field, window) for s in (content.result, content.observations, content.other) if s}
    except ContractError:  # no pixel under the field
        return None
    found = means[id(content.result)]

    def curve(stack: Stack) -> Curve:
        one = means[id(stack)]
        ndvi = one.sel(bands=stack.series_band).values.astype(np.float64)
        sigma = one.sel(bands=NDVI_SIGMA).values if stack.sigma is not None else np.full(ndvi.shape, np.nan)
        return Curve(one.t.values.astype("datetime64[ns]"), ndvi, sigma.astype(np.float64))

    counts = found[OBS_COUNT].values if OBS_COUNT in found.coords else None
    title = f"Field {field.index[0]}, mean of {float(found.pixels):.4g} pixels"
    return _clicked(content, title, curve, counts, None)


def _window(shape: Any, grid: xr.DataArray) -> dict[str, slice]:
    """Pixels around a polygon, one more on each side."""
    west, south, east, north = shape.bounds
    window = {}
    for axis, low, high in (("y", south, north), ("x", west, east)):
        side = pixel_size(grid[axis])
        at = np.flatnonzero((grid[axis].values > low - 1.5 * side) & (grid[axis].values < high + 1.5 * side))
        window[axis] = slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)
    return window


def _means(stack: Stack, field: "geopandas.GeoDataFrame", window: dict[str, slice]) -> xr.DataArray:
    """The series of one field (t, bands)."""
    names = [name for name in (stack.series_band, NDVI_SIGMA) if name in stack.bands]
    parts = [stack.bands[name].isel(window).drop_vars("spatial_ref", errors="ignore") for name in names]
    cube = xr.concat(parts, xr.Variable("bands", names), coords="minimal", compat="override").rio.write_crs(stack.crs)
    if OBS_COUNT in stack.bands:
        cube = cube.assign_coords({OBS_COUNT: (("t", "y", "x"), stack.bands[OBS_COUNT].isel(window).values)})
    return means_of_fields(cube, field).isel(field=0)


def _clicked(
    content: Content,
    title: str,
    curve: Callable[[Stack], Curve],
    counts: np.ndarray | None,
    pixel: tuple[int, int] | None,
) -> Clicked:
    fused = curve(content.result)
    seen = curve(content.observations) if content.observations is not None else None
    other = curve(content.other) if content.other is not None else None
    if content.seasons is not None and pixel is not None:
        found = _season_dates(content.seasons.isel(y=pixel[0], x=pixel[1]))
    else:
        found = _season_dates(_seasons_of(fused, seen if content.observations is not content.result else None, counts))
    return Clicked(title, fused, seen, other, found)


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
