"""The openEO client-side back-end of this machine, with the missing processes registered.

``connect()`` gives the client's own ``LocalConnection``; ``execute_graph`` runs a process graph through it, lazily on
Dask (a ``dask.distributed`` client is used when one is active), and writes the output of ``save_result``.
"""

import functools
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openeo_processes_dask.specs as specs
import xarray as xr
from openeo.internal.graph_building import as_flat_graph
from openeo.local import LocalConnection
from openeo.local.processing import PROCESS_REGISTRY
from openeo_pg_parser_networkx.graph import OpenEOProcessGraph
from openeo_pg_parser_networkx.process_registry import Process

from fusion.whole_file import whole_file
from udf.local import cubes, dimension, loading, logic, masks, neighborhood, saving, udf_call, vector
from udf.local.regions import Output, made_of
from udf.local.saving import SavedResult, output_folder

_log = logging.getLogger(__name__)
_REGISTERED = "ndvi_fusion_registered"


PROCESSES = {
    "load_collection": loading.load_collection,
    "apply_neighborhood": neighborhood.apply_neighborhood,
    "apply_dimension": dimension.apply_dimension,
    "reduce_dimension": dimension.reduce_dimension,
    "run_udf": udf_call.run_udf,
    "merge_cubes": cubes.merge_cubes,
    "resample_cube_spatial": cubes.resample_cube_spatial,
    "mask": masks.mask,
    "mask_polygon": masks.mask_polygon,
    "filter_spatial": masks.filter_spatial,
    "eq": logic.eq,
    "neq": logic.neq,
    "gt": logic.gt,
    "lt": logic.lt,
    "and": logic.and_,
    "or": logic.or_,
    "apply_kernel": cubes.apply_kernel,
    "to_scl_dilation_mask": cubes.to_scl_dilation_mask,
    "sar_backscatter": cubes.sar_backscatter,
    "aggregate_spatial": vector.aggregate_spatial,
    "save_result": saving.save_result,
}


def register_processes() -> None:
    """Register this package's processes into openEO client-side processing; calling it again changes nothing."""
    if getattr(PROCESS_REGISTRY, _REGISTERED, False):
        return
    for name, implementation in PROCESSES.items():
        spec = getattr(specs, name, None) or getattr(specs, f"_{name}", {"id": name})
        PROCESS_REGISTRY[name] = Process(spec=spec, implementation=implementation)
    setattr(PROCESS_REGISTRY, _REGISTERED, True)


class LocalBackend(LocalConnection):
    """The client's local connection, with ``save_result`` and ``download`` of a cube as on a back-end."""

    def list_output_formats(self) -> dict[str, dict]:
        """Formats of ``save_result``, as a back-end lists them."""
        return {name: {"gis_data_types": ["raster"], "parameters": {}} for name in saving.FORMATS.values()}

    def download(self, graph: Any, outputfile: str | Path | None = None, **options: Any) -> None:
        """Run a graph that ends in ``save_result`` and move its one file to ``outputfile``.

        Raises
        ------
        ValueError
            No file name; the graph saves nothing, or several files (one GeoTIFF per date).
        """
        if outputfile is None:
            raise ValueError("download to memory is not supported here; give a file name, or call execute()")
        target = Path(outputfile)
        with (
            whole_file(target) as partial,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch,
        ):
            saved = execute_graph(graph, scratch)
            if not isinstance(saved, SavedResult) or len(saved.files) != 1:
                found = len(saved.files) if isinstance(saved, SavedResult) else 0
                raise ValueError(f"the graph saves {found} files, download takes one; reduce t, or call execute_graph")
            saved.files[0].replace(partial)


def connect(folder: str | Path = ".") -> LocalBackend:
    """A connection to this machine's files in ``folder``, for the openEO client, able to run this project's graphs."""
    register_processes()
    return LocalBackend(str(folder))


def execute_graph(
    graph: Any,
    folder: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    unfinished: Path | None = None,
) -> xr.DataArray | SavedResult:
    """Run a process graph on this machine; a killed run goes on when it is called again.

    Parameters
    ----------
    graph : dict, str or openeo.DataCube
        A flat process graph, its JSON text, or a cube of the openEO client.
    folder : path, optional
        Where ``save_result`` writes; the working directory by default.
    progress : callable, optional
        Called with (done, all) while ``save_result`` computes.
    unfinished : path, optional
        Folder of the finished regions of an unfinished run, if another than ``folder``.

    Returns
    -------
    xarray.DataArray or SavedResult
        A lazy cube, or the files written when the graph ends in ``save_result``.
    """
    register_processes()
    flat = as_flat_graph(graph)
    flat = _kernels_as_text(flat.get("process_graph", flat))
    to, report = Path.cwd() if folder is None else Path(folder), progress or (lambda done, whole: None)
    with output_folder(Output(to, report, unfinished, functools.partial(made_of, flat))):
        return OpenEOProcessGraph({"process_graph": flat}).to_callable(PROCESS_REGISTRY)()


def _kernels_as_text(flat: dict[str, Any]) -> dict[str, Any]:
    """The graph with its kernels as JSON text, since the parser takes seconds to go through 161 x 161 numbers."""
    return {
        name: {**node, "arguments": {**node["arguments"], "kernel": json.dumps(node["arguments"]["kernel"])}}
        if node.get("process_id") == "apply_kernel" and isinstance(node["arguments"].get("kernel"), list)
        else node
        for name, node in flat.items()
    }
