"""Numba where it is importable, plain numpy elsewhere: kernels are compiled on first use and never at import."""

import logging
from collections.abc import Callable
from functools import partial
from types import FunctionType

KERNELS: dict[tuple[str, str], Callable | None] = {}
_log = logging.getLogger(__name__)


def compiled_kernel(function: Callable, *, helpers: tuple = (), use_numba: bool | None = None) -> Callable | None:
    """The numba-compiled twin of a loop kernel, or None where the caller takes its numpy path.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and scalars that numba's nopython mode understands.
    helpers : tuple
        Functions that it calls, of the same module; those called by other helpers first. A pair (name, function)
        replaces the function of that name by a scalar twin.
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
        KERNELS[key] = _jit_or_none(function, helpers)
    if KERNELS[key] is None and use_numba:
        raise ImportError("use_numba=True, but numba cannot be imported; install it or pass use_numba=None")
    return KERNELS[key]


def _jit_or_none(function: Callable, helpers: tuple) -> Callable | None:
    """Compile lazily with numba; source that was exec'd (a UDF) has no file to cache beside and is not cached."""
    try:
        import numba
    except Exception as error:  # an ABI mismatch raises other errors than ImportError
        _log.info("numba is not usable (%s); the numpy path is taken", error)
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
    except RuntimeError:  # "no locator available": nowhere to cache
        return compiled(function)


def _with_globals(function: Callable, names: dict) -> Callable:
    """The same function looking up its globals elsewhere, so that compiled helpers stand in for plain ones."""
    twin = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__module__, twin.__qualname__ = function.__module__, function.__qualname__
    return twin
