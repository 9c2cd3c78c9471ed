"""Parts of a workflow in engines other than this project's back-end; this project is not imported.

``python engine_alone.py client REQUEST.json OUT.npz`` runs process graphs in openEO's client-side processing
(``openeo.local`` with ``openeo-processes-dask``) as it is installed, ``core`` the steps up to masked NDVI with
``openeo-core``, which runs no process graphs. The last line of the output is JSON: step -> what came back, or an error.
"""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr


def described(found: object) -> dict:
    """Dimensions, labels and type of a result."""
    if not isinstance(found, xr.DataArray):
        return {"type": type(found).__name__}
    labels = {str(d): [str(v)[:10] for v in found[d].values[:3]] for d in found.dims if d in found.coords}
    return {
        "dims": [str(d) for d in found.dims],
        "shape": list(found.shape),
        "dtype": str(found.dtype),
        "labels": labels,
    }


def client(graphs: dict) -> tuple[dict, dict]:
    """Each graph through the client's own registry."""
    import openeo.local  # noqa: F401  (fills the registry)
    from openeo.local.processing import PROCESS_REGISTRY
    from openeo_pg_parser_networkx.graph import OpenEOProcessGraph

    answers, values = {}, {}
    for name, graph in graphs.items():
        try:
            found = OpenEOProcessGraph(pg_data=graph).to_callable(PROCESS_REGISTRY)()
            if isinstance(found, xr.DataArray):
                found = found.compute()
                values[name] = found.values
            answers[name] = described(found)
        except BaseException as error:
            told = str(error).splitlines() or [""]
            answers[name] = {"error": f"{type(error).__name__}: {told[0][:160]}"}
    return answers, values


def core(request: dict) -> tuple[dict, dict]:
    """NDVI, the dilated cloud mask and the masked NDVI by the functions of the same name."""
    from openeo_core.ops import raster

    place = {"x_dim": "x", "y_dim": "y"}
    with xr.open_dataset(request["s2"], decode_coords="all") as data:
        bands = data[["B04", "B08"]].to_array("bands").transpose("t", "bands", "y", "x").load()
        classes = data[["SCL"]].to_array("bands").transpose("t", "bands", "y", "x").load()
    ndvi = raster.ndvi(bands, nir="B08", red="B04")
    values = {"ndvi": ndvi.values}
    for k, kernel in enumerate(request["kernels"]):
        flagged = classes.isin(kernel["classes"]) if kernel["inside"] else ~classes.isin(kernel["classes"])
        flat = raster.reduce_dimension(flagged.astype("float32"), "max", dimension="bands")
        spread = raster.apply_kernel(flat, kernel=kernel["weights"], **place)
        values[f"spread{k}"] = spread.values
        ndvi = raster.mask(ndvi, spread > kernel["threshold"], **place)
    values["masked"] = ndvi.values
    return {"masked": described(ndvi)}, values


def main(engine: str, request_file: str, out: str) -> None:
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    answers, values = client(request["graphs"]) if engine == "client" else core(request)
    np.savez(out, **values)
    sys.stdout.write("\n" + json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
