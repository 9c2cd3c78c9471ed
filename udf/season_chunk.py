"""Smoothing and phenology of one chunk as a back-end hands it over. Bundled into the phenology UDF."""

import numpy as np
import xarray as xr

from fusion.contract import ContractError
from fusion.series.reference import REFERENCE_BANDS, reference_phenology, reference_smoothing
from udf.chunk import chunk_by_day, chunk_in_order
from udf.context import check_context


def season_bands(context: dict | None) -> tuple[str, ...] | None:
    """Band labels of the answer, None where they stay those of the input."""
    options = check_context(context)
    if options["output"] == "smoothed":
        return None
    return REFERENCE_BANDS


def season_chunk(cube: xr.DataArray, context: dict | None) -> xr.DataArray:
    """Season maps (t, bands, y, x), t = 1 January of the year, or the smoothed series of every band.

    Raises
    ------
    ContractError
        One sentence that names the value seen, what was expected, and the fix.
    """
    options = check_context(context)
    series = chunk_by_day(chunk_in_order(cube))
    if series.sizes["t"] < 2:
        raise ContractError(f"the series holds {series.sizes['t']} date; seasons need a series; widen the temporal extent")
    smoothed = reference_smoothing(series)
    if options["output"] == "smoothed":
        return smoothed.astype(np.float32)
    return reference_phenology(smoothed)
