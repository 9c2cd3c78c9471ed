"""NetCDF files: one thread of a process and one handle of a file at a time, with the content that it has now.

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

    An array of earlier content opens the file again when it is used, as one of a Zarr store does.
    """
    with one_thread:
        return xr.open_dataset(_opened_store(path), engine="store", **options)


def groups_with_variables(path: str | Path) -> list[str]:
    """Paths of the groups of a file that hold more than labels."""

    def found(group: Any) -> list[str]:
        inner = [name for one in group.groups.values() for name in found(one)]
        return ([group.path] if set(group.variables) - set(group.dimensions) else []) + inner

    with VALUES_LOCK:
        store = _opened_store(path)
        try:
            return found(store.ds)
        finally:
            store.close()


def _opened_store(path: str | Path) -> Any:
    """A file as xarray reads it, by the same handle as all others of this process that read its present content."""
    from xarray.backends import CachingFileManager, NetCDF4DataStore

    state = os.stat(path)
    content = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    manager = CachingFileManager(_only_handle, os.path.realpath(path), lock=VALUES_LOCK, manager_id=content)
    return NetCDF4DataStore(manager, mode="r", lock=VALUES_LOCK)


def _only_handle(path: str) -> Any:
    """A new handle; ``VALUES_LOCK`` is held. xarray's other handles of the file are closed before.

    HDF5 keeps one state for all handles of a file: its content as it was when the first was opened, and, of text, a
    pointer to one of the handles, which it follows after that was closed (it ends the process, or calls the file
    damaged; https://github.com/Unidata/netcdf-c/issues/2510).
    """
    import netCDF4
    from xarray.backends.file_manager import FILE_CACHE

    for key in list(FILE_CACHE):
        ours = key[0] is _only_handle and key[1] == (path,)
        theirs = key[0] is netCDF4.Dataset and os.path.realpath(key[1][0]) == path
        if (ours or theirs) and (handle := FILE_CACHE.pop(key, None)):
            handle.close()
    return netCDF4.Dataset(path)


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
