"""Orientation of a cube: rows from north to south and columns from west to east, as the network learned them."""

from typing import TypeVar

import numpy as np
import xarray as xr

Cube = TypeVar("Cube", xr.DataArray, xr.Dataset)


def reversed_axes(cube: xr.DataArray | xr.Dataset) -> tuple[str, ...]:
    """Those of ``y`` and ``x`` that run from south to north, or from east to west; none where there are no labels."""
    return tuple(
        axis
        for axis, sign in (("y", -1), ("x", 1))
        if axis in cube.dims
        and axis in cube.coords
        and bool((np.diff(cube[axis].values) * sign < 0).all())
        and cube.sizes[axis] > 1
    )


def turned(cube: Cube, axes: tuple[str, ...]) -> Cube:
    """The cube with these axes the other way round, labels included; itself where there are none."""
    return cube.isel({axis: slice(None, None, -1) for axis in axes}) if axes else cube
