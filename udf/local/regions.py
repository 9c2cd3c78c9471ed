"""A result computed region by region, one after the other; a larger one in a store, so that a killed run goes on."""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.callbacks import Callback

from data_prep.regions.store import Region, RegionStore, fingerprint, store_for
from fusion.data.provenance import code_hash
from fusion.process_memory import give_back_large_arrays
from fusion.whole_file import claimed
from udf.context import KEYS

_log = logging.getLogger(__name__)
REGION_PX = 512  # a side, at most, where the chunks of the result are not larger
_VALUES = "values"  # the one variable of the store
_FOLDERS = ("model_dir", "deps_dir")  # of a UDF's context


@dataclass(frozen=True)
class Output:
    """Where a graph writes, and ``report``, which is told (done, all).

    ``unfinished`` is the folder of the store of finished regions, ``folder`` by default. ``made_of`` tells one run
    from another (:func:`made_of` of its graph); without it none is resumed.
    """

    folder: Path
    report: Callable[[int, int], None] = lambda done, whole: None
    unfinished: Path | None = None
    made_of: Callable[[], dict[str, Any]] | None = None


def made_of(graph: dict[str, Any]) -> dict[str, Any]:
    """What the result of a flat graph depends on: the graph, its files and folders, and this package's code."""
    named = sorted({name for name in _files_of(graph) if name and Path(name).exists()})
    return {
        "graph": hashlib.sha256(json.dumps(graph, sort_keys=True, default=str).encode()).hexdigest(),
        "files": [[str(Path(name).resolve()), fingerprint(Path(name))] for name in named],
        "code": [code_hash(name) for name in ("fusion", "udf.local")],
    }


def _files_of(node: Any) -> Iterator[str]:
    """Collections, models and UDFs that a graph names; the folders that a UDF's context has by default."""
    if isinstance(node, list):
        for value in node:
            yield from _files_of(value)
    if not isinstance(node, dict):
        return
    if str(node.get("process_id", "")).startswith("load_"):
        yield str(node["arguments"].get("id", ""))
    if node.get("process_id") == "run_udf":
        yield from (str(KEYS[key][1]) for key in _FOLDERS)
        yield from (text for text in [str(node["arguments"].get("udf", ""))] if "\n" not in text)
    for key, value in node.items():
        if key in _FOLDERS and isinstance(value, str):
            yield value
        yield from _files_of(value)


@contextmanager
def computed(data: xr.DataArray, name: str, kind: str, output: Output) -> Iterator[xr.DataArray]:
    """``data`` with its values, in memory where they are one region, else lazily from a store.

    The store is the hidden folder ``.NAME.regions``, removed when the block succeeds. After an error, or when the
    process is killed, finished regions stay in it, and the same run, of the same ``kind`` of file, computes the others.

    Raises
    ------
    ValueError
        Another process computes the same output.
    """
    rows, columns = cuts(data, "y"), cuts(data, "x")
    if len(rows) * len(columns) == 1:
        yield data.copy(data=_values(data, 0, 1, output.report))
        return
    data = data.transpose(..., "y", "x")
    store = store_for((output.unfinished or output.folder) / name, REGION_PX)
    with claimed(store.folder / "run.lock") as mine:
        if not mine:
            raise ValueError(
                f"another run is writing {name} to {store.output.parent}; wait for it or use another folder"
            )
        try:
            yield data.copy(data=_stored(data, rows, columns, store, kind, output))
        except BaseException:
            _settle_failure(store, resumable=output.made_of is not None)
            raise
        store.remove()


def cuts(data: xr.DataArray, axis: str) -> list[slice]:
    """Slices along y or x of whole chunks, each of ``REGION_PX`` at most unless one chunk is larger.

    A window of the graph is a chunk of its result; one that were cut would be computed for either region.
    """
    ends = np.cumsum(data.chunksizes.get(axis, (data.sizes[axis],))).tolist()
    found, start = [], 0
    for end, following in zip(ends, [*ends[1:], None], strict=True):
        if following is None or following - start > REGION_PX:
            found.append(slice(start, end))
            start = end
    return found


def _stored(
    data: xr.DataArray, rows: list[slice], columns: list[slice], store: RegionStore, kind: str, output: Output
) -> da.Array:
    """Compute the regions that the store lacks; the values of all, lazily."""
    parts = [(r, c) for r in rows for c in columns]
    blank = da.zeros(data.shape, dtype=data.dtype, chunks=-1)
    template = xr.Dataset({_VALUES: (data.dims, blank)})
    known = output.made_of() if output.made_of else {"run": uuid.uuid4().hex}
    of_data = {"kind": kind, "dims": list(map(str, data.dims)), "shape": list(data.shape), "dtype": data.dtype.str}
    edges = [[cut.stop for cut in side] for side in (rows, columns)]
    identity = store.prepare(template, {**known, **of_data, "edges": edges}, shared=False)[0].identity
    regions = [Region(r, c, identity) for r, c in parts]
    finished = {marker.stem for marker in store.markers.glob("[!.]*.json")}
    todo = [region for region in regions if region.name not in finished]
    if len(todo) < len(regions):
        _log.info("%d of %d regions are there from an unfinished run", len(regions) - len(todo), len(regions))
    give_back_large_arrays()
    for done, region in enumerate(todo, len(regions) - len(todo)):
        part = data.isel(y=region.rows, x=region.columns)
        store.write(region, {_VALUES: _values(part, done, len(regions), output.report)})
    return store.filled(template)[_VALUES].data


def _values(part: xr.DataArray, done: int, whole: int, report: Callable[[int, int], None]) -> np.ndarray:
    with _Share(done, whole, report):
        values = np.asarray(part.compute().values)
    report(100 * (done + 1), 100 * whole)
    return values


class _Share(Callback):
    """Reports, in hundredths, the tasks done of a region after those before it; of Dask's own schedulers only."""

    def __init__(self, before: int, regions: int, report: Callable[[int, int], None]) -> None:
        self.before, self.all, self.told, self.report = 100 * before, 100 * regions, -1, report
        super().__init__(posttask=self._count)

    def _count(self, key: object, result: object, graph: object, state: dict, worker: object) -> None:
        done = len(state["finished"])
        share = 100 * done // (done + sum(len(state[name]) for name in ("ready", "waiting", "running")))
        if share > self.told:
            self.told = share
            self.report(self.before + share, self.all)


def _settle_failure(store: RegionStore, *, resumable: bool) -> None:
    if not resumable or store.finished() == 0:
        store.remove()
        return
    _log.warning(
        "%d finished regions are kept in %s: the same run computes the others; delete the folder to give them up",
        store.finished(), store.folder,
    )  # fmt: skip
