"""Observations that the fused series contradicts: undetected cloud, haze or shadow."""

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, S2NDVI, ContractError

THRESHOLD = 2.5  # standard deviations of one observation below the fused NDVI
TOLERANCE_PX = 0.05  # tolerance of coordinates, share of a pixel: float32 rounds UTM northings by up to 0.25 m


def suspect_observations(cube: xr.DataArray, fused: xr.DataArray, *, threshold: float = THRESHOLD) -> xr.DataArray:
    """Flag observations that lie far below the fused NDVI of their date.

    Undetected cloud, haze and cloud shadow lower NDVI, so only low values are tested. No observation is removed.

    Parameters
    ----------
    cube : xarray.DataArray
        Merged cube, as given to :func:`fusion.fuse`.
    fused : xarray.DataArray
        Its fused series with ``sigma="observation"``, on a grid that covers the observations to be tested.
    threshold : float
        Distance below the fused NDVI in standard deviations of one observation.

    Returns
    -------
    xarray.DataArray
        bool, dims ``(t, y, x)`` on the cube's dates, True where an observation is suspect. Dates outside the fused
        period and pixels without an observation are False. ``cube.where(~suspect | (cube.bands != "S2NDVI"))`` is the
        cube without them; ``cube.where(~suspect)`` would drop the radar of these days as well. Chunked (Dask) input
        stays chunked.

    Raises
    ------
    ContractError
        ``fused`` was made with ``sigma="ndvi"``, or has other pixels: coordinates may differ by 5 % of a pixel
        (rounding).
    """
    if fused.attrs.get("sigma_of", "observation") != "observation":
        seen = fused.attrs["sigma_of"]
        raise ContractError(f"fused was made with sigma={seen!r}; fuse again with sigma='observation'")
    for axis in ("y", "x"):
        fused = _on_pixels_of(cube, fused, axis)
    obs = cube.sel(bands=S2NDVI, drop=True).transpose("t", "y", "x")
    at_obs = fused.interp(t=obs.t, method="linear")
    deviation = (obs - at_obs.sel(bands=NDVI, drop=True)) / at_obs.sel(bands=NDVI_SIGMA, drop=True)
    flags = (deviation < -threshold).fillna(False)
    return xr.DataArray(
        flags.transpose("t", "y", "x").data,
        dims=("t", "y", "x"),
        coords=obs.coords,
        name="suspect_observation",
        attrs={
            "long_name": f"observation more than {threshold:g} sigma below the fused NDVI",
            "flag_meanings": "fine suspect",
        },
    )


def _on_pixels_of(cube: xr.DataArray, fused: xr.DataArray, axis: str) -> xr.DataArray:
    """``fused`` with exactly the coordinates of ``cube`` along an axis, since xarray joins by equality."""
    if fused.sizes[axis] != cube.sizes[axis]:
        raise ContractError(f"fused has {axis}={fused.sizes[axis]}, the cube {cube.sizes[axis]}; use the same pixels")
    if axis not in cube.coords:
        return fused.drop_vars(axis, errors="ignore")
    if axis in fused.coords:
        here, there = (np.asarray(array[axis].values, np.float64) for array in (cube, fused))
        allowed = TOLERANCE_PX * abs(here[1] - here[0]) if len(here) > 1 else 1e-7 * abs(here[0])
        apart = float(np.abs(there - here).max())
        if not apart <= allowed:
            raise ContractError(
                f"fused runs from {axis}={there[0]:.10g} to {there[-1]:.10g}, the cube from {here[0]:.10g} to "
                f"{here[-1]:.10g}; at most {allowed:.3g} apart are the same pixels; fuse this very cube, or sort and "
                "align both in the same way"
            )
    return fused.assign_coords({axis: cube[axis].values})
