"""The exported form of the generator: the same function, on grouped channels throughout."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fusion.inference.locate import SHIPPED
from fusion.model.deployed import DeployedGenerator
from fusion.model.generator import Generator
from fusion.training.checkpoint import load_weights


@pytest.mark.parametrize(
    ("channels", "dilations", "spatial_every"),
    [(8, (1, 2), 2), (7, (1, 2, 1), 2), (5, (2,), 1), (6, (1, 2), 3)],
    ids=["last block spatial", "last block in time only", "one block", "no spatial block"],
)
def test_it_is_the_same_function(channels: int, dilations: tuple[int, ...], spatial_every: int) -> None:
    torch.manual_seed(0)
    generator = Generator(channels, width=8, dilations=dilations, spatial_every=spatial_every)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    deployed = DeployedGenerator(generator)
    for size in ((1, 1, 5, 4), (2, 9, 3, 6)):
        features = torch.randn(size[0], channels, *size[1:])
        with torch.no_grad():
            for expected, found in zip(generator(features), deployed(features), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_the_shipped_model_leaves_grouped_channels_only_where_it_must(tmp_path) -> None:
    """Each convolution on grouped channels, and conversions only around the features, the images and the answer."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(SHIPPED / "model.onnx", options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    convolutions = [node for node in nodes if node.op_type in ("Conv", "FusedConv")]
    grouped = [node for node in nodes if node.domain == "com.microsoft.nchwc"]
    if not grouped:
        pytest.skip("onnxruntime groups no channels on this processor")
    assert len(convolutions) == 17 and all(node in grouped for node in convolutions)
    counts = {kind: sum(node.op_type == kind for node in nodes) for kind in ("ReorderInput", "ReorderOutput")}
    assert counts == {"ReorderInput": 6, "ReorderOutput": 7}
    assert sum(len(node.input) == 4 for node in grouped) == 5  # the sums of the five blocks before the head


def test_the_shipped_model_is_the_shipped_generator() -> None:
    generator = load_weights(SHIPPED / "generator.pt").generator.eval()
    features = np.random.default_rng(0).standard_normal((1, generator.stem.in_channels, 30, 9, 7)).astype(np.float32)
    with torch.no_grad():
        expected = generator(torch.from_numpy(features))
    session = onnxruntime.InferenceSession(SHIPPED / "model.onnx", providers=["CPUExecutionProvider"])
    for found, answer in zip(session.run(["ndvi", "scale"], {"features": features}), expected, strict=True):
        np.testing.assert_allclose(found, answer.numpy(), atol=2e-6)
