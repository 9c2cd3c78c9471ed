"""Descriptions in the package: valid by their own libraries, true to the model, the network unchanged."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files, sha256_of
from fusion.inference.session import load_session
from udf.archive import DEPENDENCIES, MODEL_ARCHIVE, file_sha256
from udf.commands.package import PackageSettings, run
from udf.model_item import model_item, with_properties


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the shipped model, without the archive that is downloaded."""
    out = tmp_path_factory.mktemp("package") / "p"
    run(PackageSettings(out=out, dependencies=False))
    return out


def read(package: Path, name: str) -> dict:
    return json.loads((package / name).read_text(encoding="utf-8"))


def test_the_item_is_one_of_the_machine_learning_model_extension(package: Path) -> None:
    stac_model = pytest.importorskip("stac_model.schema", reason="stac-model is not installed")
    item = read(package, "model_item.json")
    properties = stac_model.MLModelProperties.model_validate(item["properties"])
    assert properties.total_parameters == 38_850
    assert properties.input[0].input.shape[1] == len(read_model_files(locate_model(None))[1].features)
    assert [output.name for output in properties.output] == ["ndvi", "scale"]
    assert item["assets"]["model"]["href"] == f"./{MODEL_ARCHIVE}"
    broken = {**item["properties"], "mlm:tasks": ["gap filling"]}
    with pytest.raises(ValueError, match="mlm:tasks"):
        stac_model.MLModelProperties.model_validate(broken)


def test_the_item_is_a_stac_item(package: Path) -> None:
    pystac = pytest.importorskip("pystac", reason="pystac is not installed")
    item = pystac.Item.from_dict(read(package, "model_item.json"))
    assert item.common_metadata.start_datetime.year == 2015


def test_properties_in_the_network_change_no_value(tmp_path: Path) -> None:
    content, manifest = read_model_files(locate_model(None))
    stamped, new = with_properties(content, manifest)
    assert with_properties(stamped, new) == (stamped, new), "nothing is added twice"
    assert new.sha256 == sha256_of(stamped)
    found = {p.key: p.value for p in onnx.load_from_string(stamped).metadata_props}
    assert found["licence"] == "Apache-2.0" and found["features"].split(",") == list(manifest.features)
    features = np.random.default_rng(0).standard_normal((1, len(manifest.features), 20, 8, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(c, providers=["CPUExecutionProvider"]).run(None, {"features": features})
        for c in (content, stamped)
    )
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_archive_is_a_model_of_ours(package: Path) -> None:
    assert load_session(package / MODEL_ARCHIVE).manifest.sha256 == read(package, "provenance.json")["model_sha256"]


def test_provenance_needs_no_package_to_be_read(package: Path) -> None:
    origin = read(package, "provenance.json")
    data = origin["training"]["data"]
    assert len(data) == 9 and all(len(part["sha256"]) == 64 for part in data)
    assert sum(part["share"] for part in data) == pytest.approx(1, abs=1e-5)
    assert origin["training"]["settings"]["seed"] is not None


def test_the_card_has_the_header_of_model_hubs(package: Path) -> None:
    _, header, text = (package / "MODEL_CARD.md").read_text(encoding="utf-8").split("---\n", 2)
    assert {"license", "library_name", "pipeline_tag", "tags"} <= set(yaml.safe_load(header))
    assert read(package, "provenance.json")["model_sha256"] in text


def test_sbom_lists_every_file_with_its_hash_and_every_library(package: Path, model: Path, tmp_path: Path) -> None:
    from tests.unit.udf.test_archive import wheels

    content = read(package, "sbom.cdx.json")
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.5")
    for part in content["components"]:
        assert part["type"] == "file", "no library is shipped without the archive of dependencies"
        assert part["hashes"][0]["content"] == file_sha256(package / part["name"])
    out = tmp_path / "with"
    run(PackageSettings(out=out, model=str(model), wheels=wheels(tmp_path / "wheels")))
    libraries = {p["name"] for p in read(out, "sbom.cdx.json")["components"] if p["type"] == "library"}
    assert libraries == {"onnxruntime", *DEPENDENCIES}


def test_a_model_of_any_training_has_an_item(model: Path) -> None:
    item = model_item(*read_model_files(model))
    assert item["properties"]["mlm:pretrained_source"] is None
