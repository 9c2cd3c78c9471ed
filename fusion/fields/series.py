"""The public function :func:`field_series`: the cube of pixels becomes a series per field."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from fusion.contract import (
    NDVI_SIGMA,
    OBS_COUNT,
    RADAR_BANDS,
    S2NDVI,
    ContractError,
    check_dates,
    measured_ndvi,
)
from fusion.data.cube_files import opened_cube
from fusion.features.measured import measured_radar
from fusion.features.observations import resolve_s1_units, to_db
from fusion.features.orientation import reversed_axes, turned
from fusion.fields.coverage import Sums, field_sums, grid_of
from fusion.fields.polygons import FIELD, on_cube, place_flags, read_polygons
from fusion.fields.rules import FIELD_FLAGS, FieldRules
from fusion.layout import plain_names
from fusion.phenology.layers import ndvi_band, obs_counts

if TYPE_CHECKING:
    import geopandas as gpd

SPREAD, SHARE = "NDVI_SPREAD", "SHARE_OBSERVED"
FACTS = {  # coordinates of the dimension ``field``: long name, units
    "area_ha": ("area of the field", "ha"),
    "pixels": ("area that is averaged, in pixels", "1"),
    "lat": ("latitude of a point in the field", "degrees_north"),
    "lon": ("longitude of that point", "degrees_east"),
    "field_flag": ("sum of field flags", "1"),
}


def field_series(
    cube: xr.DataArray | xr.Dataset | str | os.PathLike,
    polygons: "str | os.PathLike | gpd.GeoDataFrame",
    *,
    id: str | None = None,
    layer: str | None = None,
    inner_buffer_m: float = FieldRules.inner_buffer_m,
    min_pixels: float = FieldRules.min_pixels,
    min_share: float = FieldRules.min_share,
    correlation: float = FieldRules.correlation,
    s1_units: Literal["dB", "linear"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Mean of every field on every date, with standard deviation, spread and share observed.

    Parameters
    ----------
    cube : DataArray, Dataset or path
        Fused cube (bands ``NDVI``, ``NDVI_SIGMA``) or merged cube (``S2NDVI``, ``VV``, ``VH``), dims
        ``(t, bands, y, x)``, with a CRS; NetCDF and Zarr files and lazy cubes are read window by window.
    polygons : GeoDataFrame or path
        GeoJSON, GeoPackage, GeoParquet and others, in any CRS (:func:`fusion.fields.polygons.read_polygons`).
    id, layer : str, optional
        Column with the unique names of the fields; layer of a file with several.
    inner_buffer_m, min_pixels, min_share, correlation
        See :class:`fusion.fields.rules.FieldRules`.
    s1_units : {"dB", "linear"}, optional
        Radar units of a merged cube where ``cube.attrs["s1_units"]`` is missing.
    progress : callable, optional
        Called with (windows done, total number of windows).

    Returns
    -------
    xarray.DataArray
        float32, dims ``(t, bands, field)``, as :func:`fusion.seasons` and :func:`fusion.fuse` take it. Bands:
        the cube's NDVI band, area-weighted mean; ``NDVI_SIGMA`` where the cube has it, the standard deviation of that
        mean; ``NDVI_SPREAD``, area-weighted standard deviation within the field; ``SHARE_OBSERVED``, from 0 to 1;
        ``VV`` and ``VH`` where the cube has them, means of power in dB. NaN where less than ``min_share`` of the field
        is observed. Coordinates of ``field``: ``area_ha``, ``pixels``, ``lat``, ``lon`` and
        ``field_flag`` (:data:`fusion.fields.rules.FIELD_FLAGS`). ``OBS_COUNT`` (t, field) of a fused cube: the mean
        count of the pixels, rounded, from which :func:`fusion.seasons` has QFLAG and gaps.

    Raises
    ------
    fusion.contract.ContractError
        The cube has no CRS or breaks the contract, the polygons cannot be used, or no field lies on the cube.

    Notes
    -----
    With w the covered share of a pixel, s its sigma and c the correlation, the variance of the mean is
    ``(c (sum w s)^2 + (1 - c) sum w^2 s^2) / (sum w)^2``: errors of equal correlation within a cluster (Kish 1965,
    Survey Sampling, chapter 5).
    """
    rules = FieldRules(inner_buffer_m, min_pixels, min_share, correlation)
    table = read_polygons(polygons, id, layer)
    with opened_cube(Path(cube)) if isinstance(cube, str | os.PathLike) else nullcontext(cube) as given:
        return _series_of(plain_names(given)[0], table, rules, s1_units, progress)


def _series_of(
    cube: xr.DataArray,
    table: "gpd.GeoDataFrame",
    rules: FieldRules,
    s1_units: str | None,
    progress: Callable[[int, int], None] | None,
) -> xr.DataArray:
    """The series of a cube with the contract's dimensions and polygons from ``read_polygons``."""
    bands, name, units = _bands(cube, s1_units)
    grid = grid_of(bands)
    fields = on_cube(table, cube.rio.crs, grid.dx * grid.dy, rules)

    def clean(values: np.ndarray, band: str) -> np.ndarray:
        if band in (NDVI_SIGMA, OBS_COUNT):
            return values
        if band in RADAR_BANDS:
            power = to_db(measured_radar(values, units, band), str(units))
            return 10 ** (power / 10)
        return measured_ndvi(values, band)

    sums, on_grid = field_sums(bands, fields.geometry, clean, progress)
    if not (on_grid > 0).any():
        raise ContractError(_nowhere(fields, cube))
    flag = fields.field_flag.to_numpy() | place_flags(fields.pixels.to_numpy(), on_grid)
    return _labelled(sums, fields.assign(field_flag=flag), bands.t.values, name, rules)


def _bands(cube: xr.DataArray, s1_units: str | None) -> tuple[xr.Dataset, str, str | None]:
    """The bands to average as variables (t, y, x) with descending y, the name of the NDVI band, the radar units."""
    import rioxarray  # noqa: F401  (the .rio accessor)

    if not {"t", "y", "x"} <= set(cube.dims) or set(cube.dims) - {"t", "bands", "y", "x"}:
        raise ContractError(f"the cube has dims {cube.dims}; expected t, y, x and bands")
    check_dates(cube)
    if cube.rio.crs is None:
        raise ContractError("the cube has no CRS, so no field can be placed; call cube.rio.write_crs('EPSG:...')")
    cube = turned(cube, reversed_axes(cube))
    ndvi, name = ndvi_band(cube)
    labels = [str(b) for b in cube.bands.values] if "bands" in cube.coords else []
    more = [b for b in ((*RADAR_BANDS,) if name == S2NDVI else (NDVI_SIGMA,)) if b in labels]
    units = resolve_s1_units(cube, s1_units) if any(b in RADAR_BANDS for b in more) else None
    layers = {name: ndvi, **{b: cube.isel(bands=labels.index(b), drop=True) for b in more}}
    counts = obs_counts(cube)
    if counts is not None:
        layers[OBS_COUNT] = counts
    bare = {k: v.drop_vars(OBS_COUNT, errors="ignore").drop_attrs(deep=False) for k, v in layers.items()}
    return xr.Dataset(bare), name, units


def _nowhere(fields: "gpd.GeoDataFrame", cube: xr.DataArray) -> str:
    seen = ", ".join(f"{v:.0f}" for v in fields.geometry[~fields.geometry.is_empty].total_bounds)
    have = ", ".join(f"{v:.0f}" for v in (cube.x.min(), cube.y.min(), cube.x.max(), cube.y.max()))
    return (
        f"no field lies on the cube: in {cube.rio.crs}, the fields cover {seen} and the cube {have} (west, "
        "south, east, north); check the CRS of both, and that they belong together"
    )


def _labelled(
    sums: dict[str, Sums], fields: "gpd.GeoDataFrame", t: np.ndarray, name: str, rules: FieldRules
) -> xr.DataArray:
    """The series (t, bands, field) of the sums."""
    pixels = np.where(fields.pixels > 0, fields.pixels, np.nan)[:, None]

    def share(one: Sums) -> np.ndarray:
        return np.minimum(one.weight / pixels, 1.0)

    def enough(one: Sums) -> np.ndarray:
        return (one.weight > 0) & (share(one) >= rules.min_share - 1e-9)

    with np.errstate(divide="ignore", invalid="ignore"):
        ndvi = sums[name]
        mean = ndvi.first / ndvi.weight
        layers = {name: np.where(enough(ndvi), mean, np.nan)}
        if NDVI_SIGMA in sums:
            layers[NDVI_SIGMA] = np.where(enough(ndvi), mean_sigma(sums[NDVI_SIGMA], rules.correlation), np.nan)
        spread = np.sqrt(np.maximum(ndvi.second / ndvi.weight - mean**2, 0.0))
        layers[SPREAD] = np.where(enough(ndvi), spread, np.nan)
        layers[SHARE] = np.where(np.isfinite(pixels), share(ndvi), np.nan)
        for band in RADAR_BANDS:
            if band in sums:
                power = sums[band].first / sums[band].weight
                layers[band] = np.where(enough(sums[band]), 10 * np.log10(power), np.nan)
    out = xr.DataArray(
        np.stack(list(layers.values())).transpose(2, 0, 1).astype(np.float32),
        dims=("t", "bands", FIELD),
        coords={"t": t, "bands": list(layers), FIELD: fields.index.to_numpy()},
        name="fields",
        attrs={"long_name": "means of fields", **vars(rules)},
    )
    if RADAR_BANDS[0] in layers or RADAR_BANDS[1] in layers:
        out.attrs["s1_units"] = "dB"
    if OBS_COUNT in sums:
        with np.errstate(invalid="ignore"):
            count = sums[OBS_COUNT].first / sums[OBS_COUNT].weight
        out = out.assign_coords({OBS_COUNT: (("t", FIELD), np.rint(np.nan_to_num(count)).astype(np.uint8).T)})
    facts = {k: (FIELD, fields[k].to_numpy(), {"long_name": n, "units": u}) for k, (n, u) in FACTS.items()}
    out = out.assign_coords(facts)
    out.field_flag.attrs |= {"flag_masks": list(FIELD_FLAGS.values()), "flag_meanings": " ".join(FIELD_FLAGS)}
    return out


def mean_sigma(sigma: Sums, correlation: float) -> np.ndarray:
    """Standard deviation of the mean of errors that all have the same correlation; see :func:`field_series`."""
    variance = correlation * sigma.first**2 + (1 - correlation) * sigma.squared
    return np.sqrt(variance) / sigma.weight
