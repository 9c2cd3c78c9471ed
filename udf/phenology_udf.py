"""The phenology UDF: chunk of an NDVI series in, season maps or the smoothed series out.

For ``apply_dimension`` over t. This is the entry shell; ``udf/dist/phenology_udf.py`` is this file with the modules
that it imports.
"""

from typing import cast

import xarray as xr
from openeo.metadata import CollectionMetadata


def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    """Band labels of the result."""
    from udf.season_chunk import season_bands

    bands = season_bands(context, metadata.band_names if metadata.has_band_dimension() else [])
    if not bands or not metadata.has_band_dimension():
        return metadata
    return cast(CollectionMetadata, metadata.rename_labels("bands", target=list(bands)))


def apply_datacube(cube: xr.DataArray, context: dict) -> xr.DataArray:
    """Season maps, one t label per year, or the smoothed series."""
    from udf.season_chunk import season_chunk

    return season_chunk(cube, context)
