"""The fusion UDF: chunk of the merged cube in, NDVI and NDVI_SIGMA on the context's grid of dates out.

For ``apply_neighborhood`` with a size in x and y only. This is the entry shell; ``udf/dist/fusion_udf.py`` is this file
with the modules that it imports.
"""

from typing import cast

import xarray as xr
from openeo.metadata import CollectionMetadata


def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    """Band labels of the result."""
    from udf.fuse_chunk import fused_bands

    bands = fused_bands(context)
    if not metadata.has_band_dimension():
        return metadata
    return cast(CollectionMetadata, metadata.rename_labels("bands", target=list(bands)))


def apply_datacube(cube: xr.DataArray, context: dict) -> xr.DataArray:
    """Dense NDVI with its standard deviation."""
    from udf.fuse_chunk import fuse_chunk

    return fuse_chunk(cube, context)
