"""The Sentinel-1 satellite and the relative orbit of an image, from names and tags."""

import re
from typing import Any

import numpy as np
import xarray as xr

_SATELLITE = re.compile(r"(?<![A-Za-z0-9])S(?:entinel)?[-_ ]?1[-_ ]?([A-D])(?![A-Za-z0-9])", re.IGNORECASE)
_PRODUCT = re.compile(r"S1([A-D])_(?:IW|EW|S\d|WV)_.*?_\d{8}T\d{6}_\d{8}T\d{6}_(\d{6})_", re.IGNORECASE)
_ORBITS = 175  # of a repeat cycle
_FIRST_ORBIT = {"A": 73, "B": 27, "C": 172}  # absolute orbit minus this, modulo 175, plus 1 is the relative orbit
_NAMES = ("platform", "satellite", "spacecraft", "mission")


def satellite_in(text: object) -> str:
    """The satellite that a text names, "S1A" to "S1D", else "unknown".

    >>> satellite_in("sentinel-1a"), satellite_in("S1C_IW_GRDH"), satellite_in("2021-06-01.tif")
    ('S1A', 'S1C', 'unknown')
    """
    found = _SATELLITE.search(str(text).replace("_", " ")) or _SATELLITE.search(str(text))
    return f"S1{found.group(1).upper()}" if found else "unknown"


def satellite_labels(dataset: xr.Dataset) -> np.ndarray | None:
    """Satellite of each image, (t,), from a variable along t; None if there is none."""
    for name, variable in dataset.variables.items():
        if str(name).lower() in _NAMES and variable.dims == ("t",):
            return np.array([satellite_in(value) for value in variable.values.astype(str)])
    return None


def satellite_of_file(name: str, attrs: dict[str, Any]) -> str:
    """The satellite that a file's name or tags tell, else "unknown"; the name counts more."""
    told = [name, *(value for key, value in attrs.items() if str(key).lower() in _NAMES)]
    return next((found for text in told if (found := satellite_in(text)) != "unknown"), "unknown")


def relative_orbit_of_file(name: str) -> str | None:
    """The relative orbit by the absolute one in a product's name; None where there is none.

    >>> relative_orbit_of_file("S1A_IW_GRDH_1SDV_20190302T173151_20190302T173216_026161_02EB9D_AB12")
    '14'
    """
    found = _PRODUCT.search(name)
    first = _FIRST_ORBIT.get(found.group(1).upper()) if found else None
    return None if found is None or first is None else str((int(found.group(2)) - first) % _ORBITS + 1)
