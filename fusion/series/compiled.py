"""Numba where it is importable, plain numpy elsewhere: kernels are compiled on first use and never at import."""

import logging
from collections.abc import Callable

KERNELS: dict[tuple[str, str], Callable | None] = {}
COMPILED_LOGGER = logging.getLogger("fusion.series.compiled")


def compiled_kernel(function: Callable, *, use_numba: bool | None = None) -> Callable | None:
    """The numba-compiled twin of a loop kernel, or None where the caller takes its numpy path.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and scalars that numba's nopython mode understands.
    use_numba : bool, optional
        True demands numba, False forbids it, None (default) takes it when it is installed.

    Raises
    ------
    ImportError
        ``use_numba=True`` and numba is not installed.
    """
    if use_numba is False:
        return None
    key = (function.__module__, function.__qualname__)
    if key not in KERNELS:
        KERNELS[key] = jit_or_none(function)
    if KERNELS[key] is None and use_numba:
        raise ImportError("use_numba=True, but numba cannot be imported; install it or pass use_numba=None")
    return KERNELS[key]


def jit_or_none(function: Callable) -> Callable | None:
    """Compile lazily with numba; source that was exec'd (a UDF) has no file to cache beside and is not cached."""
    try:
        import numba
    except Exception as error:  # an ABI mismatch raises other errors than ImportError
        COMPILED_LOGGER.info("numba is not usable (%s); the numpy path is taken", error)
        return None
    options = {"nopython": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "arcp", "nsz"}}
    try:
        return numba.jit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": nowhere to cache
        return numba.jit(**options)(function)
