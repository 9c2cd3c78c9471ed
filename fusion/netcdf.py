"""NetCDF files with the content that they have now, also where this process has opened them before."""

import os
from pathlib import Path
from typing import Any

import xarray as xr

_STATES: dict[str, tuple[int, ...]] = {}  # inode, size and time of change of each file when it was last opened here


def open_netcdf(path: str | Path, **options: Any) -> xr.Dataset:
    """``xarray.open_dataset`` of a file; one that was overwritten in place (``cp``, a download) is read anew.

    HDF5 would read it as it was as long as an earlier, lazy array of this process keeps it open. xarray's handles of
    such a file are closed; an earlier array opens the file again when it is used, as one of a Zarr store does.
    """
    from xarray.backends.file_manager import FILE_CACHE
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    name, found = os.path.abspath(path), os.stat(path)
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if _STATES.get(name) != state:
        with NETCDF4_PYTHON_LOCK:  # under it xarray reads
            for key in list(FILE_CACHE):
                if key[1] == (name,) and (handle := FILE_CACHE.pop(key, None)) is not None:
                    handle.close()
        _STATES[name] = state
    return xr.open_dataset(path, **options)
