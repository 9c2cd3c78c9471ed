"""How this process handles its memory: Python's garbage collector, freed arrays of glibc, blocks of GDAL."""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

OLD_EVERY = 100  # collections of younger objects for one of all objects; Python's own number is 10
KEPT_BYTES = 256 * 2**20  # of freed memory
REUSED_BYTES = 128 * 2**20  # largest array that lies in such memory
LARGE_BYTES = 2**20
GDAL_CACHE_BYTES = 64 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h


def collect_rarely() -> None:
    """Look through all objects ten times less often, and not at the end of the process.

    The modules that a command imports hold 300,000 objects, all of which stay. Looking through them again and again,
    and once more at the end, takes a quarter of the time of a short command. Young objects are collected as before.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_EVERY)
    atexit.register(gc.freeze)


def keep_freed_memory() -> None:
    """Keep freed memory for the next arrays: for a process that computes one region after the other.

    Memory that was given back comes again zeroed, page by page. Dask has its workers keep 64 KiB; with that,
    ``predict`` takes 45 % more CPU time (benchmarks/bench_predict.py).
    """
    _set_glibc(_M_TRIM_THRESHOLD, KEPT_BYTES)
    _set_glibc(_M_MMAP_THRESHOLD, REUSED_BYTES)


def give_back_large_arrays() -> None:
    """Give freed arrays back at once: for threads that compute windows of a graph side by side.

    By default glibc keeps those below 32 MiB, scattered, for the process: 1,129 MiB of memory instead of 945 for a
    graph of four regions (docs/benchmarks.md).
    """
    _set_glibc(_M_MMAP_THRESHOLD, LARGE_BYTES)


@contextmanager
def bounded_gdal_cache() -> Iterator[None]:
    """Let GDAL keep 64 MiB of blocks of rasters that are read and written, unless ``GDAL_CACHEMAX`` is set.

    By default each process keeps up to 5 % of the machine's memory: more of a larger area, until that is full.
    """
    if "GDAL_CACHEMAX" in os.environ:
        yield
        return
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):  # in bytes; the variable is in MB
        yield


def _set_glibc(option: int, limit: int) -> None:
    """``mallopt`` of glibc; without effect on systems with another C library."""
    import ctypes  # takes time that a short command does not have

    try:
        ctypes.CDLL("libc.so.6").mallopt(option, limit)
    except (OSError, AttributeError):
        return
