"""Export of a trained generator as one ONNX file with its manifest; parity with torch is checked."""

import logging
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from fusion.contract import CUBE_BANDS, NDVI_MAX, NDVI_MIN, STEP_DAYS, WINDOW_PX
from fusion.features.calibration import UNCALIBRATED, Calibration
from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.features.radar import CONTEXT_RADIUS_PX, SPECKLE_RADIUS_PX
from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, NETWORK_RADIUS_PX, Manifest, sha256_of
from fusion.inference.session import open_session
from fusion.model.deployed import DeployedGenerator
from fusion.model.generator import Generator
from fusion.training.checkpoint import TrainedGenerator
from fusion.training.model_folder import whole_model_folder

OPSET = 17  # onnxruntime 1.16, the oldest that a back-end may bring, reads up to 19
ONNXRUNTIME_RANGE = ">=1.16,<=1.32"  # the cold-start test runs at both ends and in between
PARITY = 1e-4
SIZE_LIMIT = 2 * 2**20

log = logging.getLogger(__name__)


class ExportError(RuntimeError):
    """The exported model failed a check; nothing was written under the final name."""


def export_generator(trained: TrainedGenerator, out: Path) -> Path:
    """Write ``model.onnx`` and ``manifest.json`` of a generator into the folder ``out``.

    The folder is replaced as a whole (:func:`fusion.training.model_folder.whole_model_folder`).

    Raises
    ------
    ExportError
        The output of onnxruntime differs from torch's by more than 1e-4 at any of several sizes, or the file is too
        large.
    ModelFileError
        ``out`` is a file or holds other files than those of a model.
    """
    out = Path(out)
    with whole_model_folder(out) as folder:
        _write_onnx(trained.generator, folder / MODEL_FILE)
        (folder / MANIFEST_FILE).write_text(_manifest(trained, folder / MODEL_FILE).to_json(), encoding="utf-8")
        _assert_parity(trained.generator, folder)
    return out


def _write_onnx(generator: Generator, file: Path) -> None:
    axes = {"features": {0: "B", 2: "T", 3: "H", 4: "W"}}
    axes |= {name: {0: "B", 1: "T", 2: "H", 3: "W"} for name in ("ndvi", "scale")}
    example = torch.zeros(2, len(FEATURE_NAMES), 12, 8, 10)
    with warnings.catch_warnings():
        # the tracing exporter is deprecated, but only its dynamic axes are correct at this opset
        warnings.simplefilter("ignore")
        torch.onnx.export(
            DeployedGenerator(generator).eval(),
            (example,),
            str(file),
            input_names=["features"],
            output_names=["ndvi", "scale"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    _state_sizes_of_sums(file)
    if file.stat().st_size > SIZE_LIMIT:
        raise ExportError(
            f"the model takes {file.stat().st_size} bytes; the limit is {SIZE_LIMIT}; reduce generator.width"
        )


def _state_sizes_of_sums(file: Path) -> None:
    """Write into the file that both sides of a sum with a convolution's output have the same size.

    Only then does onnxruntime add within the convolution, which saves a pass over memory. It loses track of the size
    in dilated convolutions.
    """
    import onnx

    model = onnx.load(file)
    width = {weight.name: weight.dims[0] for weight in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    # the exporter writes equal weights once, as those of an untrained generator, and their copies by other names
    made = {node.output[0]: width[node.input[1]] for node in convolutions if node.input[1] in width}
    sizes: dict[str, list[str | int]] = {}
    for node in model.graph.node:
        channels = [made[name] for name in node.input if name in made]
        if node.op_type == "Add" and channels:
            sizes |= {name: ["B", channels[0], "T", "P"] for name in (*node.input, node.output[0])}
    for name, size in sizes.items():
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size))
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _manifest(trained: TrainedGenerator, file: Path) -> Manifest:
    import onnx

    generator = trained.generator
    if generator.spatial_radius_px > NETWORK_RADIUS_PX:
        raise ExportError(
            f"the network reaches {generator.spatial_radius_px} px, tiles leave {NETWORK_RADIUS_PX} px around them; "
            "use fewer spatial blocks (a larger generator.spatial_every)"
        )
    calibration = UNCALIBRATED
    if trained.calibration is not None:
        calibration = Calibration.from_tables(trained.calibration)
    radius = CONTEXT_RADIUS_PX + max(SPECKLE_RADIUS_PX, generator.spatial_radius_px)
    return Manifest(
        sha256=sha256_of(file.read_bytes()),
        features=FEATURE_NAMES,
        feature_version=FEATURE_VERSION,
        step_days=STEP_DAYS,
        overlap_px=radius + (-radius) % 4,
        context_steps=generator.temporal_radius_steps,
        opset=OPSET,
        ir_version=int(onnx.load(file, load_external_data=False).ir_version),
        onnxruntime=ONNXRUNTIME_RANGE,
        calibration=calibration,
        contract={
            "bands": list(CUBE_BANDS),
            "ndvi_range": [NDVI_MIN, NDVI_MAX],
            "patch_px": WINDOW_PX,
            "network_radius_px": generator.spatial_radius_px,
            "s1": "sigma0 or gamma0 of one or more orbits, dB inside; a constant offset does not change the answer",
            "normalisation": "inside the features",
        },
        training={**trained.record, "torch": version("torch")},
    )


def _assert_parity(generator: Generator, folder: Path) -> None:
    session = open_session(folder, threads=1)
    rng = np.random.default_rng(0)
    for batch, time, height, width in ((1, 1, 4, 4), (1, 73, 16, 12), (2, 37, 9, 21)):
        features = rng.standard_normal((batch, len(FEATURE_NAMES), time, height, width)).astype(np.float32)
        with torch.no_grad():
            expected = [a.numpy() for a in generator(torch.from_numpy(features))]
        found = session.runner.run(["ndvi", "scale"], {"features": features})
        for name, a, b in zip(("ndvi", "scale"), expected, found, strict=True):
            difference = float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
            if not difference <= PARITY:
                raise ExportError(
                    f"{name} of the ONNX model differs from torch by {difference:g} at size {features.shape}; "
                    f"at most {PARITY:g} is allowed"
                )
