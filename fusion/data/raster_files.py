"""GeoTIFF: tiled, one band after the other, with overviews, laid out as a cloud-optimised GeoTIFF.

Before version 3.11, GDAL's own driver ``COG`` interleaves bands by pixel, so that reading one date of a series reads
all; the driver ``GTiff`` writes the same layout band by band.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.data.provenance import MADE_BY
from fusion.whole_file import refuse_cut_off

BLOCK_PX = 256
OVERVIEW_PX = 512  # the smallest overview has at most so many pixels on a side


def write_raster(
    partial: Path,
    file: Path,
    bands: np.ndarray,
    *,
    crs: Any,
    transform: Any,
    nodata: float,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    scale_offset: tuple[float, float] | None = None,
    tags: dict[str, str] | None = None,
    average: bool = False,
) -> None:
    """Write ``bands`` (count, y, x), which may be lazy, to ``partial``, going to be ``file``, and read it back.

    Parameters
    ----------
    names, units : sequence of str
        Description and unit of every band.
    scale_offset : (float, float), optional
        Value = number * scale + offset, for every band.
    average : bool
        Overviews hold averages; else values of single pixels, as flags and dates need.

    Raises
    ------
    OSError
        The file is incomplete, as on a full disk.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.shutil import copy

    count, height, width = bands.shape
    tiles = {f"block{side}size": min(BLOCK_PX, -(-px // 16) * 16) for side, px in (("y", height), ("x", width))}
    layout = {
        "tiled": True, "interleave": "band", "compress": "deflate", "predictor": 3 if bands.dtype.kind == "f" else 2,
        "BIGTIFF": "IF_SAFER", **tiles,
    }  # fmt: skip
    factors = [2**k for k in range(1, 16) if max(height, width) > OVERVIEW_PX * 2 ** (k - 1)]
    first = partial.with_suffix(".plain.tif")
    try:
        with rasterio.open(
            first, "w", driver="GTiff", dtype=bands.dtype.name, count=count, height=height, width=width, crs=crs,
            transform=transform, nodata=nodata, **layout, zlevel=1,
        ) as out:  # fmt: skip
            for _, window in out.block_windows(1):
                rows, columns = window.toslices()
                out.write(np.asarray(bands[:, rows, columns]), window=window)
            out.descriptions = tuple(names)
            if units is not None:
                out.units = tuple(units)
            if scale_offset is not None:
                out.scales, out.offsets = ((number,) * count for number in scale_offset)
            out.update_tags(**MADE_BY, **(tags or {}))
            if factors:
                out.build_overviews(factors, Resampling.average if average else Resampling.nearest)
        copy(
            first, partial, driver="GTiff", copy_src_overviews=True, **layout
        )  # heads first, then overviews, then data
    finally:
        first.unlink(missing_ok=True)
    refuse_cut_off(partial, file, bands)
