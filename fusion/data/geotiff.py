"""A fused series as GeoTIFF: one band per date, with the date as description, packed to int16 with scale and offset."""

from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, PACK_NODATA, PACK_OFFSET, PACK_SCALE, ContractError
from fusion.data.provenance import MADE_BY
from fusion.whole_file import refuse_cut_off, whole_set


def write_series_geotiff(fused: xr.DataArray, path: Path) -> list[Path]:
    """Write ``NDVI`` to ``path`` and ``NDVI_SIGMA`` beside it as ``<stem>_sigma.tif``.

    Values are int16 digital numbers, NDVI = DN * 1e-4 (stored as the band's scale and offset), nodata -32768; each
    band's description is its date. Both files replace earlier ones together.

    Raises
    ------
    ContractError
        The cube has no CRS.
    """
    import rioxarray  # noqa: F401  (the .rio accessor)

    path = Path(path)
    if fused.rio.crs is None:
        raise ContractError(
            f"the cube has no CRS, so {path.name} cannot be georeferenced; call cube.rio.write_crs(...)"
        )
    files = {NDVI: path, NDVI_SIGMA: path.with_name(f"{path.stem}_sigma{path.suffix}")}
    with whole_set(path.parent) as partial:
        for band, file in files.items():
            _write_band(fused.sel(bands=band), partial / file.name, file, band)
    return list(files.values())


def _write_band(series: xr.DataArray, partial: Path, file: Path, name: str) -> None:
    import rasterio

    values = series.transpose("t", "y", "x").values
    packed = np.full(values.shape, PACK_NODATA, np.int16)
    known = np.isfinite(values)
    packed[known] = np.rint((values[known] - PACK_OFFSET) / PACK_SCALE).clip(-32767, 32767).astype(np.int16)
    count, height, width = (series.sizes[dim] for dim in ("t", "y", "x"))
    profile = {
        "driver": "GTiff",
        "dtype": "int16",
        "count": count,
        "height": height,
        "width": width,
        "crs": series.rio.crs,
        "transform": series.rio.transform(recalc=True),
        "nodata": PACK_NODATA,
        "compress": "deflate",
        "predictor": 2,
        "tiled": height >= 256 and width >= 256,
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(partial, "w", **profile) as out:
        out.write(packed)
        out.scales = (PACK_SCALE,) * count
        out.offsets = (PACK_OFFSET,) * count
        out.update_tags(name=name, units="1", **MADE_BY)
        for i, day in enumerate(series.t.values.astype("datetime64[D]"), start=1):
            out.set_band_description(i, f"{name} {day}")
    refuse_cut_off(partial, file, packed)
