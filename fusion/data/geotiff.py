"""A fused series as GeoTIFF: one band per date, with the date as description, packed to int16 with scale and offset."""

from pathlib import Path

import numpy as np
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA, PACK_NODATA, PACK_OFFSET, PACK_SCALE, ContractError
from fusion.data.raster_files import write_raster
from fusion.place import transform_of
from fusion.whole_file import whole_set


def sigma_file(path: Path) -> Path:
    """The file of ``NDVI_SIGMA`` beside ``path``."""
    return path.with_name(f"{path.stem}_sigma{path.suffix}")


def refuse_without_crs(fused: xr.DataArray, path: Path) -> None:
    """Refuse a cube that cannot be georeferenced.

    Raises
    ------
    ContractError
    """
    import rioxarray  # noqa: F401  (the .rio accessor)

    if fused.rio.crs is None:
        raise ContractError(
            f"the cube has no CRS, so {path.name} cannot be georeferenced; call cube.rio.write_crs(...)"
        )


def write_series_geotiff(fused: xr.DataArray, path: Path, *, overwrite: bool = True) -> list[Path]:
    """Write ``NDVI`` to ``path`` and ``NDVI_SIGMA`` beside it as ``<stem>_sigma.tif``.

    Values are int16 digital numbers, NDVI = DN * 1e-4 (stored as the band's scale and offset), nodata -32768; each
    band's description is its date. Both files replace earlier ones together. A lazy cube is computed window by window.

    Raises
    ------
    ContractError
        The cube has no CRS.
    OutputExistsError
        ``overwrite`` is False, and one of the files exists.
    """
    path = Path(path)
    refuse_without_crs(fused, path)
    files = {NDVI: path, NDVI_SIGMA: sigma_file(path)}
    with whole_set(path.parent, overwrite=overwrite) as partial:
        for band, file in files.items():
            _write_band(fused.sel(bands=band), partial / file.name, file, band)
    return list(files.values())


def _write_band(series: xr.DataArray, partial: Path, file: Path, name: str) -> None:
    values = series.transpose("t", "y", "x").data
    packed = _packed(values) if series.chunks is None else values.map_blocks(_packed, dtype=np.int16)
    days = series.t.values.astype("datetime64[D]")
    write_raster(
        partial, file, packed, crs=series.rio.crs, transform=transform_of(series), nodata=PACK_NODATA,
        names=[f"{name} {day}" for day in days], scale_offset=(PACK_SCALE, PACK_OFFSET),
        tags={"name": name, "units": "1"}, average=True,
    )  # fmt: skip


def _packed(values: np.ndarray) -> np.ndarray:
    packed = np.full(values.shape, PACK_NODATA, np.int16)
    known = np.isfinite(values)
    packed[known] = np.rint((values[known] - PACK_OFFSET) / PACK_SCALE).clip(-32767, 32767).astype(np.int16)
    return packed
