"""`ndvi-fusion simulate`: simulated scenes with known truth as raw georeferenced NetCDF files."""

import logging
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from data_prep.commands.settings import SimulateSettings
from data_prep.simulator.raw import RawScene, simulate_raw
from fusion.contract import NDVI, PACK_NODATA, PACK_SCALE
from fusion.netcdf import write_netcdf
from fusion.whole_file import OutputExistsError, whole_set

log = logging.getLogger(__name__)

_REFLECTANCE = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": 0}
_BACKSCATTER = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 0.0, "_FillValue": -32768}
_NDVI = {"dtype": "int16", "scale_factor": PACK_SCALE, "add_offset": 0.0, "_FillValue": PACK_NODATA}
_CF = {
    "B04": {"long_name": "Sentinel-2 surface reflectance, red", "units": "1"},
    "B08": {"long_name": "Sentinel-2 surface reflectance, near infrared", "units": "1"},
    "SCL": {"long_name": "Sentinel-2 scene classification", "units": "1"},
    "VV": {"long_name": "Sentinel-1 backscatter VV", "units": "dB"},
    "VH": {"long_name": "Sentinel-1 backscatter VH", "units": "dB"},
    NDVI: {"long_name": "NDVI", "standard_name": "normalized_difference_vegetation_index", "units": "1"},
    "cover": {"long_name": "land cover, index into data_prep.simulator.crops.COVERS", "units": "1"},
    "parcel": {"long_name": "parcel number", "units": "1"},
}
_ENCODING = {"B04": _REFLECTANCE, "B08": _REFLECTANCE, "VV": _BACKSCATTER, "VH": _BACKSCATTER, NDVI: _NDVI}


def run(settings: SimulateSettings) -> None:
    """Write s2.nc, s1.nc, coarse.nc and truth.nc of each scene; existing scenes are kept unless ``overwrite``."""
    for seed in range(settings.seed, settings.seed + settings.count):
        folder = settings.out if settings.count == 1 else settings.out / f"scene_{seed:08d}"
        if (folder / "truth.nc").exists() and not settings.overwrite:
            log.warning("%s exists and is kept (overwrite=true replaces it)", folder)
            continue
        scene = simulate_raw(settings.scene, seed)
        write_scene(scene, folder, overwrite=settings.overwrite)
        log.info(
            "%s: %d S2, %d S1, %d coarse dates; mask as in training: optical.mask=%s optical.dilation_px=%d",
            folder, scene.raw.s2.sizes["t"], 0 if scene.raw.s1 is None else scene.raw.s1.sizes["t"],
            0 if scene.raw.coarse is None else scene.raw.coarse.sizes["t"], scene.cloud_mask, scene.dilation_px,
        )  # fmt: skip


def write_scene(scene: RawScene, folder: Path, *, overwrite: bool = True) -> None:
    """Write the files of one scene to ``folder``; they replace those of an earlier scene together.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    cubes = {"s2": scene.raw.s2, "s1": scene.raw.s1, "coarse": scene.raw.coarse, "truth": scene.truth}
    try:
        with whole_set(folder, [f"{name}.nc" for name in cubes], overwrite=overwrite) as partial:
            for name, cube in cubes.items():
                if cube is not None:
                    write_netcdf(_described(cube, scene.raw.origin), partial / f"{name}.nc")
    except OutputExistsError:
        raise
    except OSError as error:
        raise OSError(f"{folder} could not be written ({error}); check permissions and free space") from error


def _described(cube: xr.Dataset, origin: str) -> xr.Dataset:
    """Add CF attributes, CRS and packing; reflectance is at least 2e-4, since digital numbers 0 and 1 are no data."""
    crs, cube = cube.rio.crs, cube.copy()
    for name in cube.variables:
        if str(name) in _CF:
            cube[name].attrs.update(_CF[str(name)])
    for band in ("B04", "B08"):
        if band in cube:
            cube[band] = cube[band].clip(2e-4, 6.5).assign_attrs(_CF[band])
    for axis in ("x", "y"):
        cube[axis].attrs = {"standard_name": f"projection_{axis}_coordinate", "axis": axis.upper(), "units": "m"}
    cube.t.attrs = {"standard_name": "time", "axis": "T"}
    cube.attrs = {"Conventions": "CF-1.10", "title": origin, **{k: v for k, v in cube.attrs.items() if v is not None}}
    cube = cube.rio.write_crs(crs)
    for name in cube.data_vars:  # keeps the grid mapping, which to_netcdf(encoding=...) would drop
        cube[name].encoding.update({**_ENCODING.get(str(name), {}), "zlib": True, "complevel": 1})
    cube.t.encoding = {"units": "days since 1970-01-01", "dtype": np.dtype("int32")}
    return cube
