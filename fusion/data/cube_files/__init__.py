"""Merged and fused cubes on disk: NetCDF or Zarr with CF attributes and a CRS, one variable per band.

QGIS, GDAL and the openEO back-ends read one variable per band, dims (t, y, x); in memory a cube is one array with dims
(t, bands, y, x).
"""

from fusion.data.cube_files.reading import (
    CubeFileError,
    is_cube_file,
    is_zarr,
    open_dataset,
    opened_cube,
    plain_dims,
    read_cube,
    side_px,
)
from fusion.data.cube_files.writing import to_dataset, write_cube, write_zarr

__all__ = [
    "CubeFileError",
    "is_cube_file",
    "is_zarr",
    "open_dataset",
    "opened_cube",
    "plain_dims",
    "read_cube",
    "side_px",
    "to_dataset",
    "write_cube",
    "write_zarr",
]
