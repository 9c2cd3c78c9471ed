"""Looks that the fused series contradicts: undetected cloud, haze or shadow."""

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, S2NDVI, ContractError

THRESHOLD = 2.5  # standard deviations of a look below the fused NDVI


def suspect_looks(cube: xr.DataArray, fused: xr.DataArray, *, threshold: float = THRESHOLD) -> xr.DataArray:
    """Flag looks that lie far below the fused NDVI of their date.

    Cloud, haze and cloud shadow that the mask missed lower NDVI, so only one side is tested. Nothing is removed: the
    caller decides.

    Parameters
    ----------
    cube : xarray.DataArray
        Merged cube, as given to :func:`fusion.fuse`.
    fused : xarray.DataArray
        Its fused series with ``sigma="look"``, on a grid that covers the looks to be tested.
    threshold : float
        Standard deviations of a look.

    Returns
    -------
    xarray.DataArray
        bool, dims ``(t, y, x)`` on the cube's dates, True where a look is suspect. Dates outside the fused period and
        pixels without a look are False.

    Raises
    ------
    ContractError
        ``fused`` was made with the sigma of the clean signal, or on other pixels.
    """
    if fused.attrs.get("sigma_of", "look") != "look":
        raise ContractError(f"fused has sigma of {fused.attrs['sigma_of']!r}; fuse again with sigma='look'")
    for axis in ("y", "x"):
        if fused.sizes[axis] != cube.sizes[axis]:
            raise ContractError(
                f"fused has {axis}={fused.sizes[axis]}, the cube {cube.sizes[axis]}; use the same pixels"
            )
    looks = cube.sel(bands=S2NDVI, drop=True).transpose("t", "y", "x")
    at_looks = fused.interp(t=looks.t, method="linear")
    deviation = (looks - at_looks.sel(bands=NDVI, drop=True)) / at_looks.sel(bands=NDVI_SIGMA, drop=True)
    flags = (deviation < -threshold).fillna(False)
    return xr.DataArray(
        np.asarray(flags.transpose("t", "y", "x")),
        dims=("t", "y", "x"),
        coords=looks.coords,
        name="suspect_look",
        attrs={
            "long_name": f"look more than {threshold:g} sigma below the fused NDVI",
            "flag_meanings": "fine suspect",
        },
    )
