"""GeoTIFF: tiled, one band after the other, with overviews, laid out as a cloud-optimised GeoTIFF.

Before version 3.11, GDAL's own driver ``COG`` interleaves bands by pixel, so that reading one date of a series reads
all; the driver ``GTiff`` writes the same layout band by band.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusion.data.provenance import MADE_BY
from fusion.process_memory import bounded_gdal_cache
from fusion.whole_file import checksum, refuse_cut_off

BLOCK_PX = 256
Window = tuple[slice, slice]  # rows and columns
OVERVIEW_PX = 512  # the smallest overview has at most so many pixels on a side


def write_raster(partial: Path, file: Path, bands: np.ndarray, **options: Any) -> None:
    """Write ``bands`` (count, y, x), which may be lazy, to ``partial``, going to be ``file``, and read it back.

    See :func:`opened_raster` for the options and errors.
    """
    with opened_raster(partial, file, shape=bands.shape, dtype=bands.dtype, **options) as write:
        for rows, columns in windows(*bands.shape[1:]):
            write((rows, columns), np.asarray(bands[:, rows, columns]))


def windows(height: int, width: int, side: int = BLOCK_PX) -> Iterator[Window]:
    """Windows of at most ``side`` pixels a side, row by row."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


@contextmanager
def opened_raster(
    partial: Path,
    file: Path,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    crs: Any,
    transform: Any,
    nodata: float,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    scale_offset: tuple[float, float] | None = None,
    tags: dict[str, str] | None = None,
    average: bool = False,
) -> Iterator[Callable[[Window, np.ndarray], None]]:
    """Yield a call that writes a window of all bands to ``partial``, going to be ``file``; read it back at the end.

    Parameters
    ----------
    shape : (count, y, x)
        Of the whole; the windows are those of :func:`windows`.
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

    count, height, width = shape
    layout = {
        "tiled": True, "interleave": "band", "BIGTIFF": "IF_SAFER",
        **{f"block{side}size": min(BLOCK_PX, -(-px // 16) * 16) for side, px in (("y", height), ("x", width))},
    }  # fmt: skip
    kind = np.dtype(dtype)
    packed = {"compress": "deflate", "zlevel": 1, "predictor": 3 if kind.kind == "f" else 2}
    factors = [2**k for k in range(1, 16) if max(height, width) > OVERVIEW_PX * 2 ** (k - 1)]
    first = partial.with_suffix(".plain.tif")
    sums: dict[tuple[int, int], int] = {}
    with bounded_gdal_cache():
        try:
            with rasterio.open(
                first, "w", driver="GTiff", dtype=kind.name, count=count, height=height, width=width, crs=crs,
                transform=transform, nodata=nodata, compress="zstd", zstd_level=1, **layout,
            ) as out:  # fmt: skip

                def write(window: Window, values: np.ndarray) -> None:
                    out.write(values, window=rasterio.windows.Window.from_slices(*window))
                    sums[window[0].start, window[1].start] = checksum(values)

                yield write
                _describe(out, names, units, scale_offset, tags)
                if factors:
                    out.build_overviews(factors, Resampling.average if average else Resampling.nearest)
            copy(  # heads first, then overviews, then data
                first, partial, driver="GTiff", copy_src_overviews=True, **layout, **packed
            )
        finally:
            first.unlink(missing_ok=True)
        refuse_cut_off(partial, file, sums)


def _describe(
    out: Any,
    names: Sequence[str],
    units: Sequence[str] | None,
    scale_offset: tuple[float, float] | None,
    tags: dict[str, str] | None,
) -> None:
    """What an open file says of itself and its bands."""
    out.descriptions = tuple(names)
    if units is not None:
        out.units = tuple(units)
    if scale_offset is not None:
        out.scales, out.offsets = ((number,) * out.count for number in scale_offset)
    out.update_tags(**MADE_BY, **(tags or {}))
