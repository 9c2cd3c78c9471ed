"""Which files of a folder are rasters: each real file once, whatever links lead to it."""

import os
import re
from pathlib import Path

from data_prep.raw.cubes import SourceError
from fusion.data.cube_files import is_zarr

NETCDF = (".nc", ".nc4", ".h5", ".hdf5", ".cdf")
GEOTIFF = (".tif", ".tiff", ".jp2")
_SAFE_BANDS = re.compile(r"_(?:B04|B08|SCL)(?:_(?:B04|B08|SCL))?(?:_[12]0m)?\.jp2$", re.IGNORECASE)
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def find_files(folder: Path) -> list[Path]:
    """Raster files of a folder and its sub-folders, sorted; a Zarr folder is one file; hidden names are left out.

    Links are followed, but each real folder and file counts once, under its own name where that lies in the folder:
    links that lead in a circle, or to a file that is there anyway, add nothing.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; name a folder with NetCDF, Zarr or GeoTIFF files")
    found: dict[object, Path] = {}
    entered: set[object] = set()
    waiting = [folder]  # real folders and files come first, links when these are through
    links: list[Path] = []
    while waiting or links:
        path = waiting.pop() if waiting else links.pop(0)
        if _is_raster(path):
            found.setdefault(_identity(path), path)
        elif path.is_dir() and _identity(path) not in entered:
            entered.add(_identity(path))
            inside = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
            links += [entry for entry in inside if entry.is_symlink()]
            waiting += [entry for entry in inside if not entry.is_symlink()]
    if not found:
        packed = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PACKED)
        advice = f"unpack {packed[0]}" if packed else "check the path"
        raise SourceError(f"{folder} holds no NetCDF, Zarr or GeoTIFF file and no SAFE product; {advice}")
    return sorted(found.values())


def _is_raster(path: Path) -> bool:
    if path.suffix.lower() == ".jp2":  # of the many images of a SAFE product
        return _SAFE_BANDS.search(path.name) is not None
    return is_zarr(path) or path.suffix.lower() in (*NETCDF, *GEOTIFF, ".zarr")


def _identity(path: Path) -> object:
    """Equal for all names of one file or folder; a link that leads nowhere is itself."""
    try:
        status = path.stat()
    except OSError:
        return os.fspath(path)
    return status.st_dev, status.st_ino
