"""Fusion of series of points and fields, each on its own."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr

from fusion.contract import (
    FUSED_BANDS,
    NDVI_MAX,
    NDVI_MIN,
    S2NDVI,
    VH,
    VV,
    ContractError,
    TimeGrid,
    check_latitude,
    check_time,
    measured_ndvi,
)
from fusion.features.measured import measured_radar
from fusion.features.observations import Observations, resolve_s1_units, to_db
from fusion.fields.polygons import FIELD
from fusion.inference.fuse import SIGMA_KINDS, plan_passes, predict_window
from fusion.inference.session import ModelSession


def fuse_series(
    series: xr.DataArray,
    session: ModelSession,
    grid: TimeGrid,
    *,
    s1_units: Literal["dB", "linear"] | None = None,
    latitude: float | None = None,
    sigma: str = "observation",
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Dense NDVI of points and fields, each as :func:`fusion.inference.fuse.fuse_cube` gives it for a lone pixel.

    Parameters
    ----------
    series : xarray.DataArray
        Dims ``(t, bands, field)``, bands ``S2NDVI`` and, where there is radar, ``VV`` and ``VH``; NaN = no
        observation. From :func:`fusion.read_table`, or :func:`fusion.field_series` of a merged cube.
    session, grid, s1_units, sigma
        As in ``fuse_cube``.
    latitude : float, optional
        Degrees north of all fields; without it the coordinate ``lat`` of each field, else unknown.
    progress : callable, optional
        Called with (fields done, total).

    Returns
    -------
    xarray.DataArray
        float32, dims ``(t, bands, field)``, bands ``NDVI`` and ``NDVI_SIGMA``; coordinates of ``field`` are kept; NaN
        for fields without an observation.

    Raises
    ------
    fusion.contract.ContractError
        Other dims or bands, values that cannot be NDVI or backscatter, unknown radar units.
    """
    if sigma not in SIGMA_KINDS:
        raise ContractError(f"sigma is {sigma!r}; expected one of {SIGMA_KINDS}")
    series = _checked(series)
    days = series.t.values.astype("datetime64[D]").astype("int64")
    ndvi, vv, vh = _values(series, s1_units)
    north = _latitudes(series, latitude)
    out = np.full((len(grid.days), len(FUSED_BANDS), series.sizes[FIELD]), np.nan, np.float32)
    pixel = slice(0, 1), slice(0, 1)
    for k in range(series.sizes[FIELD]):
        obs = _observations(days, ndvi[:, k], vv[:, k], vh[:, k], north[k])
        if len(obs.s2_days):
            seen = np.union1d(obs.s2_days, obs.s1_days)
            for pass_days, picked, rows in plan_passes(seen, grid, session):
                out[rows, :, k] = predict_window(obs, session, pass_days, pixel, sigma)[picked, :, 0, 0]
        if progress is not None:
            progress(k + 1, series.sizes[FIELD])
    coords = {name: c for name, c in series.coords.items() if set(c.dims) <= {FIELD}}
    return xr.DataArray(
        out, dims=("t", "bands", FIELD), coords={**coords, "t": grid.dates, "bands": list(FUSED_BANDS)},
        name="fused_ndvi", attrs={"sigma_of": sigma, "model_sha256": session.manifest.sha256},
    )  # fmt: skip


def _checked(series: xr.DataArray) -> xr.DataArray:
    """The series as (t, bands, field)."""
    dims = ("t", "bands", FIELD)
    if not isinstance(series, xr.DataArray) or set(series.dims) != set(dims) or "bands" not in series.coords:
        seen = series.dims if isinstance(series, xr.DataArray) else type(series).__name__
        raise ContractError(
            f"the series has dims {seen}; expected {dims} with band labels, as fusion.read_table and "
            "fusion.field_series give them (a cube with y and x: fusion.fuse)"
        )
    labels = [str(b) for b in series.bands.values]
    if S2NDVI not in labels:
        raise ContractError(f"the series has bands {labels}; band {S2NDVI!r} is required; rename the NDVI band to it")
    check_time(series)
    return series.transpose(*dims)


def _values(series: xr.DataArray, s1_units: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NDVI, VV and VH in dB, float32 (t, field), NaN for what cannot be a measurement."""
    labels = [str(b) for b in series.bands.values]

    def band(name: str) -> np.ndarray:
        if name not in labels:
            return np.full((series.sizes["t"], series.sizes[FIELD]), np.nan, np.float32)
        return np.asarray(series.isel(bands=labels.index(name)).values, np.float32)

    ndvi = np.clip(measured_ndvi(band(S2NDVI), S2NDVI), NDVI_MIN, NDVI_MAX)
    vv, vh = band(VV), band(VH)
    if np.isfinite(vv).any() or np.isfinite(vh).any():
        units = resolve_s1_units(series, s1_units)
        vv, vh = (to_db(measured_radar(v, units, n), units) for v, n in ((vv, VV), (vh, VH)))
    return ndvi, vv, vh


def _latitudes(series: xr.DataArray, latitude: float | None) -> list[float | None]:
    if latitude is not None:
        return [check_latitude(latitude)] * series.sizes[FIELD]
    if "lat" not in series.coords:
        return [None] * series.sizes[FIELD]
    return [check_latitude(v) if np.isfinite(v) else None for v in series.lat.values.astype(float)]


def _observations(
    days: np.ndarray, ndvi: np.ndarray, vv: np.ndarray, vh: np.ndarray, latitude: float | None
) -> Observations:
    """The observations of one field as an area of one pixel."""
    optical, radar = np.isfinite(ndvi), np.isfinite(vv) | np.isfinite(vh)
    images = [v[keep, None, None] for v, keep in ((ndvi, optical), (vv, radar), (vh, radar))]
    none = np.zeros(0, np.int64), np.zeros((0, 1, 1), np.float32)
    return Observations(days[optical], images[0], days[radar], images[1], images[2], *none, latitude)
