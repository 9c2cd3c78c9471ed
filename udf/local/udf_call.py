"""Calls a UDF as a back-end does: labelled float32 chunks in, a checked labelled cube out."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from openeo.udf import UdfData, XarrayDataCube
from openeo.udf.run_code import load_module_from_string, run_udf_code

_log = logging.getLogger(__name__)
_LOAD_LOCK = threading.Lock()


class UdfError(RuntimeError):
    """A UDF cannot be run here, or its result breaks the UDF contract of the back-ends."""


class _UdfProbe:
    """Placeholder for the data, used to find the UDF of a callback."""


@dataclass(frozen=True)
class UdfCall:
    """Source code and context of one ``run_udf`` node; calling it runs the UDF on one labelled chunk."""

    code: str
    context: dict

    def __call__(self, chunk: xr.DataArray) -> xr.DataArray:
        """Run the UDF on ``chunk`` (any of the dims t, bands, y, x; float32, as on a back-end)."""
        with _LOAD_LOCK:  # the module is cached by source: load it once, not once per thread
            load_module_from_string(self.code)
        data = UdfData(datacube_list=[XarrayDataCube(chunk)], user_context=dict(self.context))
        cubes = run_udf_code(self.code, data).get_datacube_list() or []
        if len(cubes) != 1:
            raise UdfError(f"the UDF returned {len(cubes)} cubes; expected exactly one")
        return cubes[0].get_array()


def run_udf(
    data: Any, udf: str, runtime: str, version: str | None = None, context: dict | None = None
) -> "UdfCall | xr.DataArray":
    """openEO ``run_udf``: run inline Python source (or a local file) on a labelled cube."""
    if str(runtime).lower() not in ("python", "python-jep"):
        raise UdfError(f"UDF runtime is {runtime!r}; only 'Python' runs here")
    call = UdfCall(code=_source(udf), context=dict(context or {}))
    if isinstance(data, _UdfProbe):
        return call
    if not isinstance(data, xr.DataArray):
        raise UdfError(
            f"run_udf was given a {type(data).__name__}; call it inside apply_neighborhood or apply_dimension"
        )
    return call(data.astype("float32"))


def _source(udf: str) -> str:
    if "\n" in udf:
        return udf
    if udf.startswith(("http://", "https://")):
        raise UdfError(f"the UDF is the URL {udf}; on this machine pass its source code or a local path")
    path = Path(udf)
    if not path.is_file():
        raise UdfError(f"the UDF {udf!r} is neither source code (no line break) nor an existing file")
    return path.read_text(encoding="utf-8")


def callback_process_id(process: Callable) -> str | None:
    """Process id of the result node of a callback that openeo-pg-parser-networkx built; None when unknown."""
    function = getattr(process, "func", process)
    names = getattr(function, "__code__", None)
    cells = getattr(function, "__closure__", None)
    if names is None or cells is None:
        return None
    scope = dict(zip(names.co_freevars, cells))
    if "node_with_data" not in scope:
        return None
    return scope["node_with_data"].cell_contents.get("process_id")


def udf_of(process: Callable, context: dict | None) -> UdfCall | None:
    """The UDF that a callback runs, with its context resolved, or None when the callback runs something else.

    The graph parser caches the result of every node, so a callback may be called once only: it is called with a
    placeholder for the data and returns the call for every chunk.
    """
    if callback_process_id(process) != "run_udf":
        return None
    return process(_UdfProbe(), positional_parameters={"data": 0}, named_parameters={"context": plain(context)})


def plain(value: Any) -> Any:
    """A context without the parser's pydantic wrappers."""
    if hasattr(value, "root"):
        return plain(value.root)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


@dataclass(frozen=True)
class Answer:
    """Labels and type of the result of a UDF: dims in order, ``t`` labels (None without t), band labels, dtype."""

    dims: tuple[str, ...]
    t: np.ndarray | None
    bands: np.ndarray | None
    dtype: np.dtype

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the dims before y and x."""
        labels = {"t": self.t, "bands": self.bands}
        return tuple(len(known) for d in self.dims if (known := labels.get(d)) is not None)


def answer_of(result: xr.DataArray, chunk: xr.DataArray) -> Answer:
    """Check one result against the UDF contract and return its labels and type.

    Raises
    ------
    UdfError
        Dims other than (t,) bands, y, x in that order, another y/x shape, or t/bands without usable labels.
    """
    expected = tuple(d for d in ("t", "bands", "y", "x") if d in result.dims)
    if tuple(result.dims) != expected or not {"y", "x"} <= set(expected):
        raise UdfError(f"the UDF returned dims {tuple(result.dims)}; back-ends expect (t,) bands, y, x in this order")
    shape, wanted = (result.sizes["y"], result.sizes["x"]), (chunk.sizes["y"], chunk.sizes["x"])
    if shape != wanted:
        raise UdfError(f"the UDF returned {shape} pixels for a chunk of {wanted}; keep y and x, overlap included")
    t = bands = None
    if "t" in expected:
        if "t" not in result.coords or not np.issubdtype(result.t.dtype, np.datetime64):
            raise UdfError("the UDF returned a t dimension without datetime labels; a back-end would stamp it 1970")
        t = result.t.values.astype("datetime64[ns]")
        if len(np.unique(t)) != len(t):
            raise UdfError("the UDF returned a date twice; a back-end would keep only the first")
    if "bands" in expected:
        bands = result.bands.values if "bands" in result.coords else np.arange(result.sizes["bands"]).astype(str)
    return Answer(expected, t, bands, result.dtype)


def probe_answer(call: UdfCall, chunk_of: Callable[[int], xr.DataArray], real: Callable[[], xr.DataArray]) -> Answer:
    """Labels of the result of a UDF, from a call on a small no-data chunk, or on the first real chunk if that fails."""
    empty = chunk_of(8)
    try:
        return answer_of(call(empty), empty)
    except UdfError:
        raise
    except Exception as error:
        _log.info("the UDF fails on an empty chunk (%s); trying the first real one", error)
    chunk = real()
    return answer_of(call(chunk), chunk)


def checked_values(call: UdfCall, chunk: xr.DataArray, answer: Answer) -> np.ndarray:
    """Values of the UDF on ``chunk``; its labels must equal those of the first call."""
    result = call(chunk)
    got = answer_of(result, chunk)
    if got.dims != answer.dims or not _same(got.t, answer.t) or not _same(got.bands, answer.bands):
        raise UdfError(
            f"the UDF returns different labels for different chunks: dims {got.dims} against {answer.dims}, dates "
            f"{_span(got.t)} against {_span(answer.t)}, bands {got.bands} against {answer.bands}; fix the labels "
            "through the context (start, end, step_days)"
        )
    return np.asarray(result.values, dtype=answer.dtype)


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and bool(np.all(a == b))


def _span(t: np.ndarray | None) -> str:
    return "none" if t is None or not len(t) else f"{len(t)} from {str(t[0])[:10]} to {str(t[-1])[:10]}"
