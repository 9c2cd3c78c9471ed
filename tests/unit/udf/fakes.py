"""A tiny model, and UDF calls as openEO's own runner makes them."""

from pathlib import Path

import numpy as np
import onnx
import xarray as xr
from onnx import TensorProto, helper, numpy_helper
from openeo.udf import UdfData, XarrayDataCube
from openeo.udf.run_code import run_udf_code

from fusion.contract import STEP_DAYS
from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, sha256_of
from udf.workflow import udf_source

PERIOD = {"start": "2019-03-01", "end": "2019-06-30"}


def fake_model(folder: Path) -> Path:
    """A model folder whose network is one 3 x 3 convolution: NDVI near the linear interpolation, scale 0.03."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = len(FEATURE_NAMES)
    weights = np.full((1, channels, 1, 3, 3), 2e-4, np.float32)
    weights[0, 0] = 0
    weights[0, 0, 0, 1, 1] = 0.2  # undoes the scaling of the channel "linear"
    initial = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([0.5], np.float32), "bias"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        numpy_helper.from_array(np.array(0.03, np.float32), "spread"),
    ]
    nodes = [
        helper.make_node(
            "Conv", ["features", "weights", "bias"], ["raw"], kernel_shape=[1, 3, 3], pads=[0, 1, 1, 0, 1, 1]
        ),
        helper.make_node("Squeeze", ["raw", "axis"], ["ndvi"]),
        helper.make_node("Mul", ["ndvi", "zero"], ["none"]),
        helper.make_node("Add", ["none", "spread"], ["scale"]),
    ]
    five, four = ["B", channels, "T", "H", "W"], ["B", "T", "H", "W"]
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, five)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, four) for n in ("ndvi", "scale")],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (folder / MODEL_FILE).write_bytes(content)
    manifest = Manifest(
        sha256=sha256_of(content), features=FEATURE_NAMES, feature_version=FEATURE_VERSION, step_days=STEP_DAYS,
        overlap_px=16, context_steps=1, opset=17, ir_version=8, onnxruntime=">=1.16",
    )  # fmt: skip
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def fusion_context(model: Path, **changes: object) -> dict:
    """A valid context of the fusion UDF for :func:`tests.factory.mock_cube`."""
    return {"model_dir": str(model), "deps_dir": None, "s1_units": "dB", **PERIOD, **changes}


def run_udf(name: str, cube: xr.DataArray, context: dict | None) -> xr.DataArray:
    """The bundled UDF through openEO's runner, given exactly ``cube``."""
    data = UdfData(datacube_list=[XarrayDataCube(cube)], user_context=context)
    (answer,) = run_udf_code(udf_source(name), data).get_datacube_list()
    return answer.get_array()


def as_back_end_chunk(cube: xr.DataArray) -> xr.DataArray:
    """A cube as GeoPySpark hands it over: (t, bands, y, x) float32, plain labels, no attributes, no CRS."""
    cube = cube.transpose("t", "bands", "y", "x").astype("float32")
    return xr.DataArray(cube.values, dims=cube.dims, coords={d: cube[d].values for d in cube.dims})
