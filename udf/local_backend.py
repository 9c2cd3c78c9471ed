"""The openEO client-side back-end of this machine, with the processes that it lacks registered.

``connect()`` gives the client's own ``LocalConnection``; ``execute_graph`` runs a process graph through it, lazily on
Dask (a ``dask.distributed`` client is used when one is active), and writes what ``save_result`` asks for.
"""

import logging
from pathlib import Path
from typing import Any

import openeo_processes_dask.specs as specs
import xarray as xr
from openeo.internal.graph_building import as_flat_graph
from openeo.local import LocalConnection
from openeo.local.processing import PROCESS_REGISTRY
from openeo_pg_parser_networkx.graph import OpenEOProcessGraph
from openeo_pg_parser_networkx.process_registry import Process

from udf.local import cubes, dimension, loading, neighborhood, saving, udf_call
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
    "mask_polygon": cubes.mask_polygon,
    "apply_kernel": cubes.apply_kernel,
    "to_scl_dilation_mask": cubes.to_scl_dilation_mask,
    "sar_backscatter": cubes.sar_backscatter,
    "save_result": saving.save_result,
}


def register_processes() -> None:
    """Register this package's processes into openEO client-side processing; calling it again changes nothing."""
    if getattr(PROCESS_REGISTRY, _REGISTERED, False):
        return
    for name, implementation in PROCESSES.items():
        spec = getattr(specs, name, {"id": name})
        PROCESS_REGISTRY[name] = Process(spec=spec, implementation=implementation)
    setattr(PROCESS_REGISTRY, _REGISTERED, True)


def connect(folder: str | Path = ".") -> LocalConnection:
    """The openEO client's local connection on the files of ``folder``, able to run this project's graphs."""
    register_processes()
    return LocalConnection(str(folder))


def execute_graph(graph: Any, folder: str | Path | None = None) -> xr.DataArray | SavedResult:
    """Run a process graph on this machine.

    Parameters
    ----------
    graph : dict, str or openeo.DataCube
        A flat process graph, its JSON text, or a cube of the openEO client.
    folder : path, optional
        Where ``save_result`` writes; the working directory by default.

    Returns
    -------
    xarray.DataArray or SavedResult
        A lazy cube, or what was written when the graph ends in ``save_result``.
    """
    register_processes()
    flat = as_flat_graph(graph)
    flat = flat.get("process_graph", flat)
    with output_folder(Path(folder) if folder is not None else Path.cwd()):
        return OpenEOProcessGraph({"process_graph": flat}).to_callable(PROCESS_REGISTRY)()
