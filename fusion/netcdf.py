"""NetCDF files: one thread of a process at a time, and with the content that they have now.

HDF5, in which they are stored, ends a process in which two threads call it at once. xarray takes a lock for values
only: not while it opens a file and reads its labels, or makes a new one.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import xarray as xr

_STATES: dict[str, tuple[int, ...]] = {}  # inode, size and time of change of each file when it was last opened here

one_thread = threading.RLock()  # held while a file is opened or made; values may be read and written inside


class _ValuesLock:
    """``one_thread``, then xarray's own lock: for values of files, also beside those that others opened by xarray.

    In this order always, and xarray's for no more than one access: inside it no other array can be read.
    """

    def __init__(self) -> None:
        self._depth = 0  # changed only by the thread that holds ``one_thread``

    def acquire(self, blocking: bool = True) -> bool:
        from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

        if not one_thread.acquire(blocking):
            return False
        if not self._depth and not NETCDF4_PYTHON_LOCK.acquire(blocking):
            one_thread.release()
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

        self._depth -= 1
        if not self._depth:
            NETCDF4_PYTHON_LOCK.release()
        one_thread.release()

    def locked(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> "_ValuesLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __reduce__(self) -> str:
        return "VALUES_LOCK"  # a lazy array that goes to another process takes the one there


VALUES_LOCK = _ValuesLock()


def open_netcdf(path: str | Path, **options: Any) -> xr.Dataset:
    """``xarray.open_dataset`` of a file, from any thread; one that was overwritten in place (``cp``) is read anew.

    HDF5 would read it as it was as long as an earlier, lazy array of this process keeps it open. xarray's handles of
    such a file are closed; an earlier array opens the file again when it is used, as one of a Zarr store does.
    """
    from xarray.backends.file_manager import FILE_CACHE

    name, found = os.path.abspath(path), os.stat(path)
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    with one_thread:
        if _STATES.get(name) != state:
            for key in list(FILE_CACHE):
                if key[1] == (name,) and (handle := FILE_CACHE.pop(key, None)) is not None:
                    with VALUES_LOCK:  # another thread may read it by xarray
                        handle.close()
            _STATES[name] = state
        return xr.open_dataset(path, lock=VALUES_LOCK, **options)


def write_netcdf(dataset: xr.Dataset, path: str | Path, encoding: dict[str, dict[str, Any]] | None = None) -> None:
    """``Dataset.to_netcdf``, as NetCDF 4 and from any thread; values of Dask are computed chunk by chunk."""
    from xarray.backends import NetCDF4DataStore
    from xarray.backends.common import ArrayWriter

    lazy = ArrayWriter()
    with one_thread, _in_this_thread(dataset):
        store = NetCDF4DataStore.open(path, mode="w", format="NETCDF4", lock=VALUES_LOCK)
        try:
            dataset.dump_to_store(store, writer=lazy, encoding=encoding or {})
        except BaseException:
            store.close()
            raise
    try:
        lazy.sync()  # without the lock, which the threads that compute need; each chunk is written under it
    finally:
        with one_thread:
            store.close()


def _in_this_thread(dataset: xr.Dataset) -> AbstractContextManager[object]:
    """What xarray computes of lazy text to find its type is computed here: other threads would wait for this one."""
    if not dataset.chunks:
        return nullcontext()
    import dask

    return dask.config.set(scheduler="synchronous")


@contextmanager
def netcdf_to_fill(path: str | Path, mode: Literal["w", "a"]) -> Iterator[Any]:
    """A ``netCDF4.Dataset`` within this block; hold ``VALUES_LOCK`` while you write values to it."""
    import netCDF4

    with VALUES_LOCK:
        opened = netCDF4.Dataset(path, mode)
    try:
        yield opened
    finally:
        with VALUES_LOCK:
            opened.close()
