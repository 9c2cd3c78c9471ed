"""Calls at the same moment."""

import threading
from collections.abc import Callable


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Results, or errors, of calls that begin at the same moment."""
    gate, out = threading.Barrier(len(calls)), [None] * len(calls)

    def one(k: int) -> None:
        gate.wait()
        try:
            out[k] = calls[k]()
        except Exception as error:
            out[k] = error

    threads = [threading.Thread(target=one, args=(k,)) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out
