"""Stored numbers of a band to physical values: fill values, scale, offset and valid range by its attributes."""

from typing import Any

import numpy as np
import xarray as xr

from data_prep.raw.bands import sample
from data_prep.raw.cubes import SourceError


def decode(variable: xr.DataArray) -> tuple[xr.DataArray, np.dtype, bool]:
    """Decode a band by its attributes: ``_Unsigned``, fill values to NaN, scale and offset.

    Returns float32 values, the stored type with ``_Unsigned`` applied, and True if a scale or an offset was applied.
    A fill value of NaN on an integer band means that the band has no fill value.
    """
    attrs, dtype = variable.attrs, variable.dtype
    if str(attrs.get("_Unsigned", "false")).lower() == "true" and dtype.kind == "i":
        dtype = np.dtype(f"u{dtype.itemsize}")
        variable = variable.astype(dtype)
    values = variable.astype(np.float32 if dtype.itemsize <= 2 or dtype.kind == "f" else np.float64)
    for key in ("_FillValue", "missing_value"):
        fill = attrs.get(key, variable.encoding.get(key))
        if fill is not None and np.all(np.isfinite(np.asarray(fill, np.float64))):
            fills = np.atleast_1d(np.asarray(fill, np.float64))
            if dtype.kind == "u":
                fills = fills % 2.0 ** (8 * dtype.itemsize)
            for one in fills:
                values = values.where(values != one)
    scale, offset = (_numbers(attrs, key, [plain])[0] for key, plain in (("scale_factor", 1.0), ("add_offset", 0.0)))
    scaled = scale != 1.0 or offset != 0.0
    physical = (values * scale + offset if scaled else values).astype(np.float32)
    return _in_valid_range(physical, values, attrs, dtype, scaled), dtype, scaled


def _numbers(attrs: dict[str, Any], key: str, plain: list[float]) -> list[float]:
    try:
        return [float(number) for number in np.ravel(attrs.get(key, plain))]
    except ValueError:
        raise SourceError(f"its attribute {key} is {attrs[key]!r}; expected a number with a decimal point") from None


def _in_valid_range(
    physical: xr.DataArray, stored: xr.DataArray, attrs: dict[str, Any], dtype: np.dtype, scaled: bool
) -> xr.DataArray:
    """NaN outside the attributes valid_min, valid_max and valid_range, which are in stored numbers, as CF says, unless
    they are fractions beside scaled integers.

    Raises
    ------
    SourceError
        Most values lie outside: the attributes contradict the numbers.
    """
    both = _numbers(attrs, "valid_range", [-np.inf, np.inf])
    if len(both) != 2:
        raise SourceError(f"its attribute valid_range is {attrs['valid_range']!r}; expected two numbers")
    low, high = _numbers(attrs, "valid_min", both[:1])[0], _numbers(attrs, "valid_max", both[1:])[0]
    if dtype.kind == "u":
        low, high = (v % 2.0 ** (8 * dtype.itemsize) if -np.inf < v < 0 else v for v in (low, high))
    if low == -np.inf and high == np.inf:
        return physical
    fractions = scaled and dtype.kind in "iu" and any(np.isfinite(v) and v != round(v) for v in (low, high))
    judged = physical if fractions else stored
    outside = (judged < low) | (judged > high)
    found, out = sample(judged), sample(outside)
    if (out & np.isfinite(found)).sum() * 2 > np.isfinite(found).sum():
        seen = found[np.isfinite(found)]
        raise SourceError(
            f"its values from {seen.min():.6g} to {seen.max():.6g} lie outside its valid range {low:g} to {high:g}; "
            "correct or remove the attributes valid_range, valid_min and valid_max"
        )
    return physical.where(~outside)
