"""Drill: models from elsewhere. Each is refused by one sentence, quickly and in little memory, on every path to it."""

import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import fusion
from fusion.commands.predict import PredictSettings
from fusion.commands.predict import run as predict
from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.inference import session as sessions
from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, ModelFileError, read_model_files, sha256_of
from fusion.inference.session import load_session
from fusion.training.checkpoint import WeightsError, load_weights
from tests.factory import mock_cube, mock_generator, mock_model, write_cube
from tests.unit.udf.fakes import PERIOD, run_udf
from udf.commands.settings import WorkflowSettings
from udf.commands.workflow import options_of
from udf.targets import load_target

CONTEXT = {"start": "2019-03-01", "end": "2019-06-24", "s1_units": "dB"}
PATHS: dict[str, Callable[[Path], Any]] = {
    "load": load_session,
    "fuse": lambda model: fusion.fuse(
        mock_cube(y=4, x=4), start="2019-03-01", end="2019-06-24", model=model, threads=1
    ),
    "udf": lambda model: run_udf("fusion_udf", mock_cube(y=4, x=4), {**CONTEXT, "model_dir": str(model)}),
    "workflow": lambda model: options_of(
        WorkflowSettings(
            target=load_target("local"), out=model.parent / "o", source=model.parent, model=str(model), **PERIOD
        )
    ),
    "predict": lambda model: predict(
        PredictSettings(
            cube=write_cube(model.parent / "c.nc", y=4, x=4), out=model.parent / "o.nc", model=str(model), threads=1
        )
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mock_model(tmp_path_factory.mktemp("good") / "model", 1)


def changed(good: Path, folder: Path, **values: Any) -> Path:
    """A copy of a model with other values in its manifest."""
    folder.mkdir()
    content = json.loads((good / MANIFEST_FILE).read_text())
    (folder / MODEL_FILE).write_bytes((good / MODEL_FILE).read_bytes())
    (folder / MANIFEST_FILE).write_text(json.dumps(content | values))
    return folder


def with_network(good: Path, folder: Path, network: onnx.ModelProto) -> Path:
    made = changed(good, folder, sha256=sha256_of(network.SerializeToString()))
    (made / MODEL_FILE).write_bytes(network.SerializeToString())
    return made


NONSENSE = [
    ("step_days", 0), ("step_days", -5), ("step_days", 1_000_000_000), ("step_days", 1e9), ("step_days", "5"),
    ("step_days", True), ("step_days", None), ("step_days", float("nan")), ("overlap_px", -1), ("overlap_px", 10**12),
    ("context_steps", -3), ("context_steps", 10**9), ("sha256", 7), ("sha256", "abc"), ("features", "all"),
    ("features", [1, 2]), ("feature_version", "2"), ("opset", []), ("onnxruntime", 1), ("training", []),
    ("calibration", []), ("calibration", {"gap_days": [1.0]}), ("contract", "x"),
    ("contract", {"network_radius_px": 5}), ("contract", {"network_radius_px": None}),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_a_field_without_sense_is_named(name: str, value: Any, path: str, good: Path, tmp_path: Path) -> None:
    model = changed(good, tmp_path / "m", **{name: value})
    with pytest.raises(Exception, match=name) as refused:
        PATHS[path](model)
    assert "manifest" in str(refused.value) and "; expected " in str(refused.value)


TABLES = {
    "text": {"ndvi_factor": ["1", "1"]}, "null": {"ndvi_factor": [1.0, None]}, "too few": {"ndvi_factor": [1.0]},
    "negative": {"observation_noise": [-0.1, 0.0]}, "infinite": {"ndvi_factor": [1.0, float("inf")]},
    "nan": {"observation_noise": [float("nan"), 0.0]}, "descending": {"gap_days": [60.0, 0.0]},
    "huge": {"gap_days": [0.0, 1e12]}, "number": {"ndvi_factor": 3}, "words": {"gap_days": "ab"},
    "empty": {"gap_days": [], "ndvi_factor": [], "observation_noise": []}, "unknown": {"more": [1.0, 1.0]},
}  # fmt: skip
PLAIN = {"gap_days": [0.0, 60.0], "ndvi_factor": [1.0, 2.0], "observation_noise": [0.0, 0.0]}


@pytest.mark.parametrize("kind", TABLES)
def test_calibration_tables_that_are_none_are_refused_in_a_manifest(kind: str, good: Path, tmp_path: Path) -> None:
    model = changed(good, tmp_path / "m", calibration=PLAIN | TABLES[kind])
    with pytest.raises(ModelFileError, match=r"manifest's calibration cannot be used: .*export it again"):
        load_session(model)


@pytest.mark.parametrize("kind", TABLES)
def test_calibration_tables_that_are_none_are_refused_in_a_checkpoint(kind: str, tmp_path: Path) -> None:
    content = weights() | {"calibration": PLAIN | TABLES[kind]}
    torch.save(content, tmp_path / "generator.pt")
    with pytest.raises(WeightsError, match="calibration"):
        load_weights(tmp_path / "generator.pt")


def weights() -> dict[str, Any]:
    made = mock_generator(1)
    return {
        "format": 1, "feature_version": FEATURE_VERSION, "features": list(FEATURE_NAMES),
        "generator": made.settings.model_dump(mode="json"), "calibration": made.calibration, "record": made.record,
        "state": made.generator.state_dict(),
    }  # fmt: skip


@pytest.mark.parametrize("key", ["features", "feature_version", "generator", "calibration", "record", "state"])
@pytest.mark.parametrize("change", ["missing", "null", "text", "number"])
def test_a_checkpoint_without_its_parts_is_refused(key: str, change: str, tmp_path: Path) -> None:
    content = weights()
    if change == "missing":
        del content[key]
    else:
        content[key] = {"null": None, "text": "x", "number": -1}[change]
    if (key, change) == ("calibration", "null"):
        pytest.skip("an uncalibrated generator")
    torch.save(content, tmp_path / "generator.pt")
    with pytest.raises(WeightsError, match=key if key != "feature_version" else "feature"):
        load_weights(tmp_path / "generator.pt")


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_a_small_archive_of_a_huge_file_is_not_unpacked(name: str, good: Path, tmp_path: Path) -> None:
    """256 MiB of zeros in 260 kB: refused after the first MiB that no model has."""
    archive = tmp_path / "model.zip"
    other = MANIFEST_FILE if name == MODEL_FILE else MODEL_FILE
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(good / other, other)
        with out.open(name, "w", force_zip64=True) as entry:
            for _ in range(256):
                entry.write(bytes(2**20))
    assert archive.stat().st_size < 2**20
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ModelFileError, match=rf"{name} of .*model.zip has more than \d+ MiB"):
        load_session(archive)
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20 and time.monotonic() - began < 20
    tracemalloc.stop()


def test_a_size_that_the_archive_understates_changes_nothing(good: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(good / MANIFEST_FILE, MANIFEST_FILE)
        out.writestr(MODEL_FILE, bytes(64 * 2**20))
    content = archive.read_bytes().replace((64 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a complete zip archive"):
        load_session(archive)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_a_huge_file_in_a_folder_is_refused(name: str, good: Path, tmp_path: Path) -> None:
    model = changed(good, tmp_path / "m")
    with (model / name).open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(ModelFileError, match=rf"{name} of .* has more than \d+ MiB"):
        load_session(model)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\xff", "null", "[]", '{"manifest_version": 1}', ""])
def test_a_manifest_that_is_none_is_refused(text: str, good: Path, tmp_path: Path) -> None:
    model = changed(good, tmp_path / "m")
    (model / MANIFEST_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(ModelFileError, match="manifest"):
        load_session(model)


def constant_network(ndvi: float, scale: float) -> onnx.ModelProto:
    """A network that answers two constants of the right size."""
    axes = ["B", len(FEATURE_NAMES), "T", "H", "W"]
    first = [numpy_helper.from_array(np.array([0], np.int64), "zero")]
    nodes = [helper.make_node("Gather", ["features", "zero"], ["one"], axis=1)]
    nodes.append(helper.make_node("Squeeze", ["one", "axis"], ["flat"]))
    first.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes.append(helper.make_node("Shape", ["flat"], ["size"]))
    for name, value in (("ndvi", ndvi), ("scale", scale)):
        filled = numpy_helper.from_array(np.array([value], np.float32))
        nodes.append(helper.make_node("ConstantOfShape", ["size"], [name], value=filled))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", "T", "H", "W"]) for n in ("ndvi", "scale")]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, axes)]
    graph = helper.make_graph(nodes, "constant", inputs, outputs, first)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


ANSWERS = [
    (float("-inf"), 0.1), (float("inf"), 0.1), (float("nan"), 0.1), (0.5, float("inf")), (0.5, float("nan")),
    (0.5, -0.1), (1e30, 0.1), (-3.0, 0.1),
]  # fmt: skip


@pytest.mark.parametrize("path", ["fuse", "udf"])
@pytest.mark.parametrize(("ndvi", "scale"), ANSWERS)
def test_an_answer_that_is_no_ndvi_is_never_a_result(
    ndvi: float, scale: float, path: str, good: Path, tmp_path: Path
) -> None:
    model = with_network(good, tmp_path / "m", constant_network(ndvi, scale))
    with pytest.raises(Exception, match=r"answers NDVI from .* use another model"):
        PATHS[path](model)


@pytest.mark.parametrize("path", ["fuse", "udf"])
def test_a_plain_constant_is_a_result(path: str, good: Path, tmp_path: Path) -> None:
    answer = PATHS[path](with_network(good, tmp_path / "m", constant_network(0.5, 0.1)))
    assert np.nanmax(np.abs(answer.sel(bands="NDVI").values - 0.5)) < 1e-6


def test_weights_in_another_file_are_refused(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime reads them from the working folder, and no hash covers them."""
    network = constant_network(0.5, 0.1)
    weight = numpy_helper.from_array(np.zeros(4096, np.float32), "weight")
    network.graph.initializer.append(weight)
    onnx.save_model(
        network, str(tmp_path / "outside.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    plain = onnx.load(tmp_path / "outside.onnx", load_external_data=False)
    assert (tmp_path / "weights.bin").is_file()
    monkeypatch.chdir(tmp_path)
    model = with_network(good, tmp_path / "m", plain)
    for path in set(PATHS) - {"workflow"}:  # which reads the manifest; its UDF loads the network
        with pytest.raises(Exception, match="weights in another file"):
            PATHS[path](model)


def renamed_network() -> onnx.ModelProto:
    network = constant_network(0.5, 0.1)
    network.graph.output[0].name = "other"
    network.graph.node[-2].output[0] = "other"
    return network


def narrow_network() -> onnx.ModelProto:
    network = constant_network(0.5, 0.1)
    network.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    return network


def flat_network() -> onnx.ModelProto:
    """Answers of another size."""
    network = constant_network(0.5, 0.1)
    network.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([0, 1], np.int64), "zero"))
    network.graph.node[1].CopyFrom(helper.make_node("Identity", ["one"], ["flat"]))
    for output in network.graph.output:
        output.type.tensor_type.ClearField("shape")
    return network


@pytest.mark.parametrize("network", [renamed_network, narrow_network, flat_network])
def test_a_network_of_another_form_is_refused(
    network: Callable[[], onnx.ModelProto], good: Path, tmp_path: Path
) -> None:
    model = with_network(good, tmp_path / "m", network())
    with pytest.raises(ModelFileError, match=r"expected features|fails: |answers sizes"):
        PATHS["fuse"](model)


def test_a_changed_manifest_is_read_again(good: Path, tmp_path: Path) -> None:
    """Calibration decides sigma: a model that was rescaled in place gives its new sigma in the same process."""
    model = changed(good, tmp_path / "m", calibration=PLAIN)
    before = PATHS["fuse"](model).sel(bands="NDVI_SIGMA").values
    file = model / MANIFEST_FILE
    status, text = file.stat(), file.read_text()
    file.write_text(text.replace("[1.0, 2.0]", "[3.0, 6.0]"))
    assert file.stat().st_size == status.st_size
    import os

    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size and time
    np.testing.assert_allclose(PATHS["fuse"](model).sel(bands="NDVI_SIGMA").values, 3 * before, rtol=1e-5)


def test_a_changed_network_of_the_same_size_and_time_is_read_again(good: Path, tmp_path: Path) -> None:
    import os

    model = with_network(good, tmp_path / "m", constant_network(0.5, 0.1))
    status = (model / MODEL_FILE).stat()
    assert np.nanmax(PATHS["fuse"](model).sel(bands="NDVI").values) == pytest.approx(0.5)
    other = constant_network(0.25, 0.1).SerializeToString()
    (model / MODEL_FILE).write_bytes(other)
    manifest = json.loads((model / MANIFEST_FILE).read_text()) | {"sha256": sha256_of(other)}
    (model / MANIFEST_FILE).write_text(json.dumps(manifest))
    os.utime(model / MODEL_FILE, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (model / MODEL_FILE).stat().st_size == status.st_size
    assert np.nanmax(PATHS["fuse"](model).sel(bands="NDVI").values) == pytest.approx(0.25)


def test_few_sessions_are_kept(good: Path, tmp_path: Path) -> None:
    sessions.SESSIONS.clear()
    made = [changed(good, tmp_path / str(k), training={"k": k}) for k in range(7)]
    opened = [load_session(model) for model in made]
    assert len(sessions.SESSIONS) == sessions.KEPT == 4
    assert load_session(made[-1]) is opened[-1] and load_session(made[-4]) is opened[-4]
    load_session(made[0])  # makes the one that was used longest ago go
    assert load_session(made[-4]) is opened[-4] and load_session(made[-3]) is not opened[-3]


def test_an_archive_with_a_damaged_stream_is_refused(good: Path, tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(good / MODEL_FILE, MODEL_FILE)
        out.write(good / MANIFEST_FILE, MANIFEST_FILE)
    content = bytearray(held.getvalue())
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(60):
        broken = bytearray(content)
        for at in rng.integers(0, len(broken), 3):
            broken[at] ^= int(rng.integers(1, 256))
        archive = tmp_path / f"{k}.zip"
        archive.write_bytes(bytes(broken))
        try:
            read_model_files(archive)
        except ModelFileError:
            refused += 1
    assert refused >= 50  # the rest hit what changes no content, such as a date
