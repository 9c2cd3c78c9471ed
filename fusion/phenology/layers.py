"""Season layers of an NDVI cube: input checks, years, lazy computation, conversion to an openEO cube."""

from functools import partial

import numpy as np
import xarray as xr

from fusion.contract import (
    NDVI,
    NDVI_SIGMA,
    OBS_COUNT,
    S2NDVI,
    ContractError,
    check_dates,
    measured_ndvi,
    renaming_advice,
)
from fusion.phenology.extraction import LAYERS, extract_seasons
from fusion.phenology.settings import HRVPP_VARIABLES, MAIN_SUFFIX, SeasonSettings

SPAN_DAYS = 550  # of a longer series every calendar year is given
HALF_YEAR = 180  # days; of a shorter one, the years of which it covers so many
# a year's seasons are those of the series from 1 September before it to 30 June after it, so that they are the same
# whatever else the series covers
DAYS_BEFORE, DAYS_AFTER = 122, 181
EPOCH = np.datetime64("1970-01-01", "D")


def season_layers(
    cube: xr.DataArray,
    settings: SeasonSettings,
    *,
    sigma: xr.DataArray | float | None = None,
    obs: xr.DataArray | None = None,
    year: int | list[int] | None = None,
    period: tuple[str, str] | None = None,
) -> tuple[xr.DataArray, np.ndarray | int]:
    """All season layers, dims (layer, year, season, ...), and the year label(s); lazy if the cube is lazy.

    Arguments as in :func:`fusion.phenology.seasons.seasons`; ``layer`` is in the order of ``LAYERS``. ``period`` gives
    the default of ``year`` where the series is longer than the period that was requested.
    """
    ndvi, spread = ndvi_and_sigma(cube, sigma)
    days = ndvi.t.values.astype("datetime64[D]").astype("int64")
    first, last = (days[0], days[-1]) if period is None else np.array(period, "datetime64[D]").astype("int64")
    years = season_years(int(first), int(last), year)
    begins = [_first_day(int(y)) for y in np.atleast_1d(years)]
    periods = np.array([(b, _first_day(int(y) + 1) - 1, b) for b, y in zip(begins, np.atleast_1d(years), strict=True)])
    return _compute(ndvi, spread, obs_counts(cube) if obs is None else obs, periods, settings), years


def obs_counts(cube: xr.DataArray) -> xr.DataArray | None:
    """Observations behind each date of a fused cube: its coordinate or band ``OBS_COUNT``; None without either."""
    if OBS_COUNT in cube.coords:
        return cube[OBS_COUNT].drop_vars(OBS_COUNT)
    if "bands" in cube.dims and "bands" in cube.coords and OBS_COUNT in [str(b) for b in cube.bands.values]:
        return cube.sel(bands=OBS_COUNT, drop=True).rename(OBS_COUNT)
    return None


def ndvi_and_sigma(cube: xr.DataArray, sigma) -> tuple[xr.DataArray, xr.DataArray | None]:
    """NDVI and sigma of a cube without a bands dim, checked; sigma is None where there is none."""
    if not isinstance(cube, xr.DataArray):
        raise ContractError(f"the cube is a {type(cube).__name__}; expected an xarray.DataArray with dims t, y, x")
    if "t" not in cube.dims or "t" not in cube.coords:
        raise ContractError(
            f"the cube has dims {cube.dims} and coords {tuple(cube.coords)}; expected dim and coord 't'"
            + renaming_advice(cube.dims)
        )
    check_dates(cube)
    cube = cube.drop_vars(OBS_COUNT, errors="ignore")
    ndvi, band = ndvi_band(cube)
    ndvi = measured(ndvi, band)
    if sigma is None and "bands" in cube.dims and NDVI_SIGMA in [str(b) for b in cube.bands.values]:
        sigma = cube.sel(bands=NDVI_SIGMA, drop=True)
    if sigma is None:
        return ndvi, None
    if isinstance(sigma, xr.DataArray):
        if "bands" in sigma.dims:
            sigma = sigma.isel(bands=0, drop=True)
        if sigma.sizes.get("t") != ndvi.sizes["t"]:
            raise ContractError(f"sigma has {sigma.sizes.get('t')} dates; expected the cube's {ndvi.sizes['t']}")
        return ndvi, sigma
    if not np.isfinite(sigma) or sigma <= 0:
        raise ContractError(f"sigma is {sigma}; expected a positive standard deviation of NDVI")
    return ndvi, xr.full_like(ndvi, float(sigma), dtype=np.float32)


def ndvi_band(cube: xr.DataArray) -> tuple[xr.DataArray, str]:
    """The NDVI band of a cube, without the bands dim, and its name."""
    if "bands" not in cube.dims:
        return cube, str(cube.name or NDVI)
    bands = [str(b) for b in cube.bands.values] if "bands" in cube.coords else []
    for name in (NDVI, S2NDVI, "ndvi"):
        if name in bands:
            return cube.isel(bands=bands.index(name), drop=True), name
    if cube.sizes["bands"] == 1:
        return cube.isel(bands=0, drop=True), bands[0] if bands else NDVI
    raise ContractError(f"the cube has bands {bands}; expected one band, or one of them named {NDVI!r} or {S2NDVI!r}")


def measured(ndvi: xr.DataArray, name: str) -> xr.DataArray:
    """NDVI, dims in any order, with NaN for what cannot be NDVI; lazy where it is lazy."""
    series = ndvi.transpose("t", ...)
    if is_lazy(series):
        series = series.chunk({"t": -1})
        kept = series.copy(data=series.data.map_blocks(measured_ndvi, name, dtype=series.dtype))
    else:
        kept = series.copy(data=measured_ndvi(series.values, name))
    return kept.transpose(*ndvi.dims)


def is_lazy(array: xr.DataArray) -> bool:
    """Whether the array is backed by Dask."""
    return array.chunks is not None


def season_years(first: int, last: int, year: int | list[int] | None) -> np.ndarray | int:
    """Calendar years of the result, a number where there is no year dim; ``first``, ``last``: days since 1970-01-01."""
    covered = np.arange(_year_of(first), _year_of(last) + 1)
    if year is None and last - first > SPAN_DAYS:
        return covered
    if year is None:
        within = [min(last, _first_day(int(y) + 1) - 1) - max(first, _first_day(int(y))) + 1 for y in covered]
        half = [int(y) for y, days in zip(covered, within, strict=True) if days >= HALF_YEAR]
        return np.array(half) if len(half) > 1 else half[0] if half else int(covered[np.argmax(within)])
    years = np.atleast_1d(np.asarray(year))
    if not np.issubdtype(years.dtype, np.integer) or len(np.unique(years)) != len(years) or len(years) == 0:
        raise ContractError(f"year is {year!r}; expected a calendar year such as 2019 or a list of different ones")
    if (years < covered[0]).any() or (years > covered[-1]).any():
        raise ContractError(f"year is {year}; the cube covers {covered[0]} to {covered[-1]}")
    return int(years[0]) if isinstance(year, int | np.integer) else years


def _year_of(day: int) -> int:
    """Calendar year of a day since 1970-01-01."""
    return int((EPOCH + int(day)).astype("datetime64[Y]").astype("int64")) + 1970


def _first_day(year: int) -> int:
    """1 January as days since 1970-01-01."""
    return int(np.datetime64(f"{year:04d}-01-01", "D").astype("int64"))


def _compute(ndvi, spread, obs, periods, settings) -> xr.DataArray:
    """All layers; lazy if the input is lazy."""
    inputs, core = [ndvi], [["t"]]
    days = ndvi.t.values.astype("datetime64[D]").astype("int64")
    if spread is not None:
        inputs.append(spread.drop_vars("t", errors="ignore"))
        core.append(["t"])
        inputs[0] = ndvi.drop_vars("t")
    obs_days = None
    if obs is not None:
        check_dates(obs)
        seen = obs if obs.name == OBS_COUNT else xr.apply_ufunc(np.isfinite, measured(*ndvi_band(obs)), dask="allowed")
        obs_days = seen.t.values.astype("datetime64[D]").astype("int64")
        inputs.append(seen.rename(t="t_obs").drop_vars("t_obs"))
        core.append(["t_obs"])
    inputs = [a.chunk({d[0]: -1}) if is_lazy(a) else a for a, d in zip(inputs, core, strict=True)]
    run = partial(
        _extract_chunk, days=days, periods=periods, settings=settings, has_sigma=spread is not None, obs_days=obs_days
    )
    sizes = {"layer": len(LAYERS), "year": len(periods), "season": settings.max_seasons}
    out = xr.apply_ufunc(
        run, *inputs, input_core_dims=core, output_core_dims=[list(sizes)], dask="parallelized",
        output_dtypes=[np.float32], dask_gufunc_kwargs={"output_sizes": sizes},
    )  # fmt: skip
    return out.transpose(*sizes, *[d for d in ndvi.dims if d != "t"])


def _extract_chunk(ndvi, *others, days, periods, settings, has_sigma, obs_days) -> np.ndarray:
    """Layers of one chunk: input (..., t), output (..., layer, year, season)."""
    shape = ndvi.shape[:-1]
    flat = np.asarray(ndvi).reshape(-1, ndvi.shape[-1])
    sigma = np.asarray(others[0]).reshape(flat.shape) if has_sigma else None
    obs = None
    if obs_days is not None:
        obs = obs_days, np.nan_to_num(np.asarray(others[-1]).reshape(len(flat), -1)).astype(np.uint8)
    layers = np.concatenate(
        [_extract_year(flat, sigma, days, period, settings, obs) for period in periods[:, None]], axis=1
    )
    return np.moveaxis(layers, -1, 0).reshape(*shape, *layers.shape[:-1])


def _extract_year(flat, sigma, days, period, settings, obs) -> np.ndarray:
    """Layers of one year, (layer, 1, season, N), from the part of the series around it."""
    around = period[0, 0] - DAYS_BEFORE, period[0, 1] + DAYS_AFTER + 1
    part = slice(*np.searchsorted(days, around))
    if part.start == part.stop:  # a gap of years
        return extract_seasons(np.full((len(flat), 1), np.nan), None, period[0, :1], period, settings)
    if obs is not None:
        of_obs = slice(*np.searchsorted(obs[0], around))
        obs = obs[0][of_obs], obs[1][:, of_obs]
    spread = None if sigma is None else sigma[:, part]
    return extract_seasons(flat[:, part], spread, days[part], period, settings, obs)


def main_layers(layers: xr.DataArray) -> xr.DataArray:
    """Layers of the main season of each year, without the dim ``season``; where there is none, those of slot 1."""
    main = layers.isel(layer=LAYERS.index("MAIN"), season=0, drop=True)
    out = layers.isel(season=0, drop=True)
    for k in range(1, layers.sizes["season"]):
        out = xr.where(main == k + 1, layers.isel(season=k, drop=True), out)
    return out.transpose(*[d for d in layers.dims if d != "season"])


def season_cube(
    layers: xr.DataArray, years: np.ndarray | int, variables: tuple[str, ...] = HRVPP_VARIABLES
) -> xr.DataArray:
    """Layers as an openEO cube (t, bands, ...): ``t`` = 1 January of each year, bands ``SOSD_s1`` ... ``SOSD_main``.

    Band labels depend only on the variables and the number of seasons (:func:`season_cube_bands`), and dates only on
    the years, so that all chunks of a job have the same labels.
    """
    at = [LAYERS.index(name) for name in variables]
    slots = layers.sizes["season"]
    parts = [layers.isel(season=k, layer=at) for k in range(slots)]
    parts.append(layers.isel(season=0, layer=[LAYERS.index("COUNT")]))
    parts.append(main_layers(layers).isel(layer=at))
    cube = xr.concat([part.rename(layer="bands") for part in parts], dim="bands").rename(year="t")
    labels = np.array([f"{int(y):04d}-01-01" for y in np.atleast_1d(years)], "datetime64[ns]")
    cube = cube.assign_coords(bands=season_cube_bands(slots, variables), t=labels)
    return cube.transpose("t", "bands", *[d for d in cube.dims if d not in ("t", "bands")])


def season_cube_bands(max_seasons: int = 2, variables: tuple[str, ...] = HRVPP_VARIABLES) -> list[str]:
    """Band labels of :func:`season_cube`: ``SOSD_s1``, ..., ``SOSD_s2``, ..., ``COUNT``, ``SOSD_main``, ..."""
    by_season = [f"{name}_s{k}" for k in range(1, max_seasons + 1) for name in variables]
    return [*by_season, "COUNT", *(f"{name}{MAIN_SUFFIX}" for name in variables)]
