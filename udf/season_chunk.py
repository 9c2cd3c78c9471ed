"""Smoothing and phenology of one chunk of a back-end. Bundled into the phenology UDF."""

from dataclasses import fields, replace

import numpy as np
import xarray as xr

from fusion.contract import FUSED_BANDS, NDVI, NDVI_SIGMA, OBS_COUNT, ContractError, measured_ndvi
from fusion.phenology.layers import season_cube, season_cube_bands, season_layers
from fusion.phenology.reference import BANDS as REFERENCE_BANDS
from fusion.phenology.reference import reference_phenology, reference_smoothing
from fusion.phenology.settings import HRVPP_VARIABLES, VARIABLES, SeasonSettings
from fusion.phenology.whittaker import DAILY_LAMBDA, whittaker
from fusion.same_day import one_image_per_day
from udf.chunk import in_order, in_time
from udf.context import check_context, unknown_word

NOT_IN_UDF = ("phenolopy",)  # other metrics, available in the package only
# the UDF has the Whittaker smoother only, to stay small; the others are in the package (fusion.smooth)
SMOOTHING = {"lam": DAILY_LAMBDA, "envelope_iterations": 0, "step_days": 1}
OBS_SIGMA = 0.03  # NDVI; an observation of this error has weight 1
# numba compiles a UDF anew in every process (code from a string has no cache file), about 6 s, and saves 15 to 27 us
# per pixel. It is therefore used only after this many pixels.
NUMBA_PIXELS = 225_000
PIXELS_SEEN = {"season maps": 0}  # pixels processed so far in this process


def season_bands(context: dict | None, labels: list[str]) -> tuple[str, ...] | None:
    """Band labels of the result for an input with ``labels``; None: those of the input."""
    options = check_context(context)
    _checked(options["smoothing"], tuple(SMOOTHING), "smoothing")
    if options["output"] == "fused":
        return tuple(b for b in labels if b != OBS_COUNT) or None
    if options["output"] == "smoothed":
        return tuple(b for b in labels if b != OBS_COUNT) if options["method"] == "reference" else (NDVI,)
    if options["method"] == "reference":
        return REFERENCE_BANDS
    settings, variables, _ = _options(options)
    return tuple(season_cube_bands(settings.max_seasons, variables))


def season_chunk(cube: xr.DataArray, context: dict | None) -> xr.DataArray:
    """Season maps (t, bands, y, x), t = 1 January of the year, the smoothed series, or the fused series as it came.

    Raises
    ------
    ContractError
        One sentence that names the value seen, what was expected, and the fix.
    """
    options = check_context(context)
    if options["output"] == "fused":
        fused = _named(in_order(cube)).sel(t=slice(options["start"], None))
        return fused.sel(bands=[b for b in fused.bands.values if b != OBS_COUNT])
    series = one_image_per_day(_measured(_named(in_time(in_order(cube)))))
    if options["method"] == "reference" or options["output"] == "smoothed":
        series = series.sel(t=slice(options["start"], None))  # only season maps need what comes before
    if series.sizes["t"] < 2:
        raise ContractError(
            f"the series holds {series.sizes['t']} date; seasons need a series; widen the temporal extent"
        )
    if options["method"] == "reference":
        smoothed = reference_smoothing(series.isel(bands=[str(b) != OBS_COUNT for b in series.bands.values]))
        return smoothed.astype(np.float32) if options["output"] == "smoothed" else reference_phenology(smoothed)
    if options["output"] == "smoothed":
        result = _smoothed(series, options["smoothing"])
    else:
        settings, variables, year = _options(options)
        settings = replace(settings, use_numba=takes_numba(series.sizes["y"] * series.sizes["x"], settings.use_numba))
        period = (options["start"], options["end"]) if options["start"] and options["end"] else None
        layers, years = season_layers(series, settings, year=year, period=period)
        result = season_cube(layers, years, variables)
    result = result.transpose("t", "bands", "y", "x")
    labels = {name: result[name].values for name in result.dims if name in result.coords}
    return xr.DataArray(np.asarray(result.values, np.float32), dims=result.dims, coords=labels)


def takes_numba(pixels: int, requested: bool | None) -> bool | None:
    """Whether to use numba for the next ``pixels``: as requested, else once this process has had NUMBA_PIXELS.

    Both implementations give equal results.
    """
    if requested is not None:
        return requested
    PIXELS_SEEN["season maps"] += pixels
    return None if PIXELS_SEEN["season maps"] > NUMBA_PIXELS else False


def _smoothed(series: xr.DataArray, smoothing: dict) -> xr.DataArray:
    """Whittaker-smoothed NDVI between first and last date, weighted by NDVI_SIGMA if present; NaN = no observation."""
    chosen = {**SMOOTHING, **_checked(smoothing, tuple(SMOOTHING), "smoothing")}
    bands = [str(b) for b in series.bands.values]
    values = series.isel(bands=bands.index(NDVI) if NDVI in bands else 0).values
    weights = None
    if NDVI_SIGMA in bands:
        spread = series.isel(bands=bands.index(NDVI_SIGMA)).values
        weights = np.where(spread > 0, (OBS_SIGMA / np.maximum(spread, 1e-4)) ** 2, 0.0)
    days = series.t.values.astype("datetime64[D]").astype("int64")
    grid = np.arange(days[0], days[-1] + 1, chosen["step_days"])
    curve = whittaker(
        values, weights, lam=chosen["lam"], days=days, grid_days=grid, envelope_iterations=chosen["envelope_iterations"]
    )
    coords = {name: series[name].values for name in ("y", "x") if name in series.coords}
    dates = grid.astype("datetime64[D]").astype("datetime64[ns]")
    return xr.DataArray(curve[:, None], dims=("t", "bands", "y", "x"), coords={**coords, "t": dates, "bands": [NDVI]})


def _named(series: xr.DataArray) -> xr.DataArray:
    """The series with its bands named: its own labels, or NDVI and NDVI_SIGMA where it has none."""
    if "bands" in series.coords:
        return series
    count, names = series.sizes["bands"], [*FUSED_BANDS, OBS_COUNT]
    if count > len(names):
        raise ContractError(f"the series has {count} bands without labels; expected the first of {', '.join(names)}")
    return series.assign_coords(bands=names[:count])


def _measured(series: xr.DataArray) -> xr.DataArray:
    """The series with NaN for what cannot be NDVI, for every method and output."""
    values = series.values
    for k, band in enumerate(str(b) for b in series.bands.values):
        if band not in (NDVI_SIGMA, OBS_COUNT):
            values[:, k] = measured_ndvi(values[:, k], band)
    return series


def _options(options: dict) -> tuple[SeasonSettings, tuple[str, ...], int | None]:
    """Settings, variables and year from the context; an error for an unknown option names the nearest one."""
    known = tuple(f.name for f in fields(SeasonSettings) if f.name != "method")
    given = _checked(options["phenology"], (*known, "variables", "year"), "phenology")
    if options["method"] in NOT_IN_UDF:
        raise ContractError(
            f"method {options['method']!r} does not run inside a UDF; call fusion.seasons on the saved series"
        )
    variables = tuple(given.pop("variables", None) or HRVPP_VARIABLES)
    for name in variables:
        if name not in VARIABLES:
            raise ContractError(unknown_word(f"context phenology: variable {name!r}", str(name), tuple(VARIABLES)))
    year = given.pop("year", None)
    return SeasonSettings(method=options["method"], **given), variables, year


def _checked(given: dict, known: tuple[str, ...], what: str) -> dict:
    """A copy of the options after refusing unknown names."""
    for name in given:
        if name not in known:
            raise ContractError(unknown_word(f"context {what}: option {name!r}", str(name), known))
    return dict(given)
