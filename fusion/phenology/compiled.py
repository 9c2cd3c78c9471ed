"""Optional numba: kernels are compiled on first use, never at import; callers use numpy where numba is missing."""

import logging
from collections.abc import Callable
from functools import partial
from types import FunctionType

KERNELS: dict[tuple[str, str], Callable | None] = {}
_log = logging.getLogger(__name__)


def compiled_kernel(function: Callable, *, helpers: tuple = (), use_numba: bool | None = None) -> Callable | None:
    """The numba-compiled version of a loop kernel, or None where the caller is to use its numpy version.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and scalars that numba's nopython mode understands.
    helpers : tuple
        Functions of the same module that it calls; those called by other helpers first. A pair (name, function)
        replaces the function of that name by a scalar version.
    use_numba : bool, optional
        True requires numba, False disables it, None (default) uses it if it is installed.

    Raises
    ------
    ImportError
        ``use_numba=True`` and numba cannot be imported.
    """
    if use_numba is False:
        return None
    key = (function.__module__, function.__qualname__)
    if key not in KERNELS:
        KERNELS[key] = _jit_or_none(function, helpers)
    if KERNELS[key] is None and use_numba:
        raise ImportError("use_numba=True, but numba cannot be imported; install it or pass use_numba=None")
    return KERNELS[key]


def _jit_or_none(function: Callable, helpers: tuple) -> Callable | None:
    """Compile with numba on first call; code without a source file (a UDF) is not cached on disk."""
    try:
        import numba
    except Exception as error:  # an ABI mismatch raises errors other than ImportError
        _log.info("numba cannot be used (%s); falling back to numpy", error)
        return None
    compiled = partial(
        numba.jit, nopython=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"}
    )
    names = dict(function.__globals__)
    for helper in helpers:
        name, helper = helper if isinstance(helper, tuple) else (helper.__name__, helper)
        names[name] = compiled(_with_globals(helper, names))
    function = _with_globals(function, names)
    try:
        return compiled(function, cache=True)
    except RuntimeError:  # "no locator available": no place for the cache
        return compiled(function)


def _with_globals(function: Callable, names: dict) -> Callable:
    """A copy of the function with other globals, so that it calls the compiled helpers."""
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy
