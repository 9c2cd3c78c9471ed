"""openEO comparisons and logic on arrays, in as few passes as they need.

The library's versions make up to ten passes in float64; on a long series they took longer than the fusion's features.
Results are bool, or float32 with NaN where an operand has no data (openEO's null). What is no array of numbers goes to
the library.
"""

import operator
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import elemwise
from openeo_processes_dask.process_implementations import comparison, logic


def eq(x: Any, y: Any, delta: float | None = None, case_sensitive: bool | None = True) -> Any:
    """openEO ``eq``."""
    if delta or not _numbers(x, y) or _is_bool(x) != _is_bool(y):
        return comparison.eq(x, y, delta=delta, case_sensitive=case_sensitive)
    return _elementwise(_known(operator.eq), x, y)


def neq(x: Any, y: Any, delta: float | None = None, case_sensitive: bool | None = True) -> Any:
    """openEO ``neq``."""
    if delta or not _numbers(x, y) or _is_bool(x) != _is_bool(y):
        return comparison.neq(x, y, delta=delta, case_sensitive=case_sensitive)
    return _elementwise(_known(operator.ne), x, y)


def gt(x: Any, y: Any) -> Any:
    """openEO ``gt``."""
    return _elementwise(_known(operator.gt), x, y) if _numbers(x, y) else comparison.gt(x, y)


def lt(x: Any, y: Any) -> Any:
    """openEO ``lt``."""
    return _elementwise(_known(operator.lt), x, y) if _numbers(x, y) else comparison.lt(x, y)


def and_(x: Any, y: Any) -> Any:
    """openEO ``and``: false where either is false, no data where that depends on no data."""
    return _elementwise(_both, x, y) if _numbers(x, y) else logic._and(x, y)


def or_(x: Any, y: Any) -> Any:
    """openEO ``or``: true where either is true, no data where that depends on no data."""
    return _elementwise(_either, x, y) if _numbers(x, y) else logic._or(x, y)


def is_true(values: Any) -> Any:
    """Where ``values`` (numpy or Dask) are true: neither 0 nor no data; bool."""
    return _elementwise(_true, values)


def _numbers(*operands: Any) -> bool:
    """At least one array, and nothing but arrays and scalars of numbers or bool."""
    arrays = [o for o in operands if isinstance(o, (np.ndarray, da.Array))]
    scalars = [o for o in operands if isinstance(o, (bool, int, float, np.number, np.bool_))]
    plain = all(array.dtype.kind in "fiub" for array in arrays)
    return bool(arrays) and plain and len(arrays) + len(scalars) == len(operands)


def _is_bool(operand: Any) -> bool:
    """A boolean never equals a number in openEO."""
    return np.result_type(operand).kind == "b"


def _elementwise(function: Callable, *operands: Any) -> Any:
    if not any(isinstance(o, da.Array) for o in operands):
        return function(*operands)
    small = [np.ones((1,) * o.ndim, o.dtype) if hasattr(o, "dtype") else o for o in operands]
    return elemwise(function, *operands, dtype=function(*small).dtype)


def _known(compare: Callable[[Any, Any], np.ndarray]) -> Callable[[Any, Any], np.ndarray]:
    def compared(x: Any, y: Any) -> np.ndarray:
        return _where_unknown(compare(x, y), [_unknown(o) for o in (x, y)])

    return compared


def _both(x: Any, y: Any) -> np.ndarray:
    both = np.logical_and(x, y)  # NaN counts as true
    return _where_unknown(both, [None if (u := _unknown(o)) is None else u & both for o in (x, y)])


def _either(x: Any, y: Any) -> np.ndarray:
    either = _true(x) | _true(y)
    return _where_unknown(either, [None if (u := _unknown(o)) is None else u & ~either for o in (x, y)])


def _true(x: Any) -> Any:
    """Neither 0 nor NaN."""
    known = np.asarray(x, bool)
    return known if (unknown := _unknown(x)) is None else known & ~unknown


def _unknown(x: Any) -> Any:
    """Where ``x`` is NaN; None where it cannot be."""
    return np.isnan(x) if np.asarray(x).dtype.kind == "f" else None


def _where_unknown(result: np.ndarray, unknown: list) -> np.ndarray:
    """``result``, float32 with NaN where any of ``unknown`` holds; bool where nothing can be unknown."""
    parts = [u for u in unknown if np.ndim(u)]
    if not parts:
        return result
    out = result.astype(np.float32)
    for part in parts:
        out[np.broadcast_to(part, out.shape)] = np.nan
    return out
