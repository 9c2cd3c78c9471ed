"""One thread of linear algebra per thread of ours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOCK = threading.Lock()
_state: dict[str, Any] = {"inside": 0, "limits": None}


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products inside use the calling thread only, in the whole process, until the last one has left.

    numpy's products of a tile are small. With several threads each, tiles that are computed side by side would take
    the cores from each other, and threads that wait for the next product would keep them busy. Needs threadpoolctl,
    and does nothing without it.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with _LOCK:
        if _state["inside"] == 0:
            _state["limits"] = threadpool_limits(1, "blas")
        _state["inside"] += 1
    try:
        yield
    finally:
        with _LOCK:
            _state["inside"] -= 1
            if _state["inside"] == 0:
                _state["limits"].restore_original_limits()
