"""Sentinel-2 products in the Zarr of EOPF (Earth Observation Processor Framework): one image, its bands in groups.

Layout, as of the sample service and of version 3 in 2026: uint16 ``measurements/reflectance/r10m/{b04,b08}`` and uint8
``conditions/mask/l2a_classification/r20m/scl`` with dims (y, x); 0 is no data (attribute ``fill_value``), reflectance
is number * ``scale_factor`` + ``add_offset`` (0.0001, -0.1); x and y are pixel centres in UTM, whose EPSG code stands
in ``proj:epsg`` of a band, or in ``stac_discovery`` or ``other_metadata`` of the root; ``stac_discovery`` also holds
the time of the image.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.raw.cubes import SourceError
from fusion.data.cube_files import is_zarr

REFLECTANCE = "measurements/reflectance/r10m"
CLASSES = "conditions/mask/l2a_classification/r20m"
_TIMES = ("datetime", "start_datetime")


def is_eopf(path: Path) -> bool:
    """Whether a folder is such a product of any level, told by its groups."""
    return is_zarr(path) and is_zarr(path / "measurements" / "reflectance")


def open_eopf(path: str | Path) -> list[xr.Dataset]:
    """Red and near infrared at 10 m, and the scene classification at 20 m, as stored, each with CRS and time.

    ``path`` is a folder, or an address that fsspec reads. ``_FillValue`` of each band is set from its ``fill_value``.

    Raises
    ------
    SourceError
        Level 1C, a missing band or classification, no CRS or two, x and y that are no centres of pixels.
    """
    root = _open(path, None)
    opened = []
    for group, names in ((REFLECTANCE, ["b04", "b08"]), (CLASSES, ["scl"])):
        try:
            found = _open(path, group)
        except FileNotFoundError:
            raise SourceError(
                f"{path} has no group {group}: it is of level 1C (top of the atmosphere) or incomplete; expected a "
                "Sentinel-2 product of level 2A"
            ) from None
        if lacking := [name for name in names if name not in found]:
            raise SourceError(f"{path} has no {group}/{lacking[0]}; it holds {sorted(map(str, found.data_vars))}")
        data = found[names]
        code = _epsg(path, [data[name].attrs for name in names], root.attrs)
        for variable in data.data_vars.values():
            variable.attrs.setdefault("_FillValue", variable.attrs.get("fill_value", 0))
        for axis in ("y", "x"):
            data = data.assign_coords({axis: _centres(data[axis].values, axis, f"{path}: {group}")})
        opened.append(data.assign_attrs(_time(root.attrs)).rio.write_crs(code))
    return opened


def _open(path: str | Path, group: str | None) -> xr.Dataset:
    remote = "://" in str(path)  # no server lists its folders
    return xr.open_zarr(path, group=group, mask_and_scale=False, chunks=None, consolidated=remote)


def _time(attrs: dict[str, Any]) -> dict[str, str]:
    properties = (attrs.get("stac_discovery") or {}).get("properties") or {}
    told = next((str(properties[key]) for key in _TIMES if properties.get(key) not in (None, "null", "")), None)
    return {} if told is None else {"datetime": told}


def _epsg(path: str | Path, bands: list[dict[str, Any]], attrs: dict[str, Any]) -> str:
    """The code that all metadata agree on, as ``EPSG:32631``."""
    found = set(_codes(bands, attrs))
    if len(found) != 1:
        raise SourceError(
            f"{path} names {'the CRS ' + ' and '.join(sorted(found)) if found else 'no CRS'}; expected one EPSG code "
            "in proj:epsg of its bands; copy the product again"
        )
    return found.pop()


def _codes(bands: list[dict[str, Any]], attrs: dict[str, Any]) -> Iterator[str]:
    properties = (attrs.get("stac_discovery") or {}).get("properties") or {}
    other = {key.lower(): value for key, value in (attrs.get("other_metadata") or {}).items()}
    told = [*(band.get("proj:epsg") for band in bands), properties.get("proj:epsg"), properties.get("proj:code")]
    for value in (*told, other.get("horizontal_crs_code")):
        digits = str(value or "").upper().removeprefix("EPSG:")
        if digits.isdigit():
            yield f"EPSG:{digits}"


def _centres(values: np.ndarray, axis: str, where: str) -> np.ndarray:
    """Pixel centres: edges of Sentinel-2 tiles lie on whole pixels of UTM, so centres lie on halves."""
    centres = np.asarray(values, np.float64)
    if len(centres) > 1:
        part = centres[0] / abs(centres[1] - centres[0]) % 1.0
        if not abs(part - 0.5) < 0.1:
            raise SourceError(
                f"{where}: {axis} begins with {centres[0]:.10g}, {part:.2f} of a pixel beside the tile's grid; "
                "expected pixel centres; copy the product again, or resample it to the grid of its tile"
            )
    return centres
