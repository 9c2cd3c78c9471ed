"""Descriptions of a packaged model for others: STAC item, model card, provenance, SBOM, properties in the ONNX file.

The item follows the STAC Machine Learning Model extension, the SBOM CycloneDX. All are plain JSON or Markdown, readable
without this package, and equal content gives equal bytes.
"""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import yaml

from fusion.contract import CUBE_BANDS, FUSED_BANDS
from fusion.inference.manifest import Manifest, sha256_of
from fusion.whole_file import whole_file, write_json
from udf.archive import DEPENDENCIES, MODEL_ARCHIVE, file_sha256

MLM = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"
ITEM_FILE, CARD_FILE = "model_item.json", "MODEL_CARD.md"
PROVENANCE_FILE, SBOM_FILE = "provenance.json", "sbom.cdx.json"
PACKAGE, LICENCE = "ndvi-fusion", "Apache-2.0"
HOME = "https://github.com/ndvi-fusion/ndvi-fusion"
TAGS = ["remote-sensing", "earth-observation", "ndvi", "sentinel-1", "sentinel-2", "gap-filling", "time-series"]
DIMENSIONS = ["batch", "channel", "time", "height", "width"]
SUMMARY = (
    "Dense NDVI and the scale of its error from features of cloudy Sentinel-2 NDVI, Sentinel-1 backscatter and "
    "a coarse NDVI series. The features are computed by fusion.features, which the UDF file holds."
)


def with_properties(content: bytes, manifest: Manifest) -> tuple[bytes, Manifest]:
    """The network with version, licence and features as ONNX metadata properties, and the manifest with its new hash.

    The network itself does not change. A network that has these properties is returned as it is.
    """
    model = onnx.load_from_string(content)
    wanted = {
        "features": ",".join(manifest.features), "feature_version": str(manifest.feature_version), "licence": LICENCE,
        "package": PACKAGE, "source": HOME, "step_days": str(manifest.step_days), "version": version(PACKAGE),
    }  # fmt: skip
    if {entry.key: entry.value for entry in model.metadata_props} == wanted:
        return content, manifest
    onnx.helper.set_model_props(model, wanted)
    stamped = model.SerializeToString(deterministic=True)
    return stamped, replace(manifest, sha256=sha256_of(stamped))


def write_descriptions(
    content: bytes, manifest: Manifest, out: Path, files: list[Path], onnxruntime: str | None
) -> list[Path]:
    """Write item, card, provenance and SBOM into ``out``.

    ``files`` are those already written, listed with their hashes; ``onnxruntime`` is the version in the dependency
    archive, None without one.
    """
    origin = provenance(manifest)
    card = out / CARD_FILE
    with whole_file(card) as partial:
        partial.write_text(model_card(manifest), encoding="utf-8", newline="\n")
    return [
        write_json(out / ITEM_FILE, model_item(content, manifest)),
        write_json(out / PROVENANCE_FILE, origin),
        write_json(out / SBOM_FILE, sbom(out, files, onnxruntime)),
        card,
    ]


def model_item(content: bytes, manifest: Manifest) -> dict[str, Any]:
    """STAC item of the model, by the Machine Learning Model extension; the model is bound to no place."""
    network = onnx.load_from_string(content)
    numbers = [tensor for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [MLM],
        "id": f"{PACKAGE}-{manifest.sha256[:12]}",
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": "2015-06-23T00:00:00Z",  # launch of the first Sentinel-2
            "end_datetime": "9999-12-31T23:59:59Z",
            "description": SUMMARY,
            "license": LICENCE,
            "mlm:name": PACKAGE,
            "mlm:architecture": "residual temporal convolutional network",
            "mlm:tasks": ["regression"],
            "mlm:framework": "ONNX",
            "mlm:framework_version": f"opset {manifest.opset}",
            "mlm:total_parameters": sum(_count(tensor) for tensor in numbers),
            "mlm:pretrained": True,
            "mlm:pretrained_source": ", ".join(part["name"] for part in manifest.training.get("data", [])) or None,
            "mlm:accelerator": "amd64",
            "mlm:accelerator_constrained": False,
            "mlm:input": [_features(manifest)],
            "mlm:output": [_result(name) for name in ("ndvi", "scale")],
        },
        "links": [{"rel": "about", "href": HOME, "type": "text/html"}],
        "assets": {
            "model": {
                "href": f"./{MODEL_ARCHIVE}",
                "type": "application/zip",
                "title": f"model.onnx and manifest.json; output bands {', '.join(FUSED_BANDS)}",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "ONNX",
            }
        },
    }


def _features(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": "features",
        "bands": [],
        "description": f"features of a cube with the bands {', '.join(CUBE_BANDS)}: {', '.join(manifest.features)}",
        "input": {
            "shape": [-1, len(manifest.features), -1, -1, -1],
            "dim_order": DIMENSIONS,
            "data_type": "float32",
        },
        "pre_processing_function": {"format": "python", "expression": "fusion.features.features:compute_features"},
    }


def _result(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "tasks": ["regression"],
        "bands": [],
        "result": {"shape": [-1, -1, -1, -1], "dim_order": ["batch", *DIMENSIONS[2:]], "data_type": "float32"},
    }


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def provenance(manifest: Manifest) -> dict[str, Any]:
    """Where the model comes from: its hash, the training run, and every source of training data with hash and share."""
    return {
        "package": PACKAGE,
        "version": version(PACKAGE),
        "licence": LICENCE,
        "model_sha256": manifest.sha256,
        "feature_version": manifest.feature_version,
        "training": manifest.training,
    }


def model_card(manifest: Manifest) -> str:
    """Model card with the header that model hubs read; scores stand in the documentation, not in the package."""
    header = {
        "license": LICENCE.lower(), "library_name": "onnx", "pipeline_tag": "image-to-image", "tags": TAGS,
    }  # fmt: skip
    rows = [
        f"| {part['name']} | {part['share']:.1%} | `{part['sha256']}` |" for part in manifest.training.get("data", [])
    ]
    table = ["| training data | share of the samples | SHA-256 |", "|---|---|---|", *rows] if rows else []
    lines = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n",
        f"# {PACKAGE} {version(PACKAGE)}\n",
        f"{SUMMARY}\n",
        f"- SHA-256 of `model.onnx`: `{manifest.sha256}`",
        f"- {len(manifest.features)} features of version {manifest.feature_version}, steps of {manifest.step_days} "
        f"days, ONNX opset {manifest.opset}, onnxruntime {manifest.onnxruntime}",
        f"- Intended for cropland and grassland; limits and scores: {HOME}/blob/main/docs/model_card.md\n",
        *table,
    ]
    return "\n".join(lines) + "\n"


def sbom(out: Path, files: list[Path], onnxruntime: str | None) -> dict[str, Any]:
    """Software bill of materials (CycloneDX 1.5): the files with their hashes, and the libraries in the archive."""
    shipped = {} if onnxruntime is None else {"onnxruntime": onnxruntime, **DEPENDENCIES}
    components: list[dict[str, Any]] = [
        {
            "type": "file", "name": file.relative_to(out).as_posix(),
            "hashes": [{"alg": "SHA-256", "content": file_sha256(file)}],
        }
        for file in sorted(files)
    ]  # fmt: skip
    components += [
        {"type": "library", "name": name, "version": number, "purl": f"pkg:pypi/{name}@{number}"}
        for name, number in sorted(shipped.items())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "name": PACKAGE, "version": version(PACKAGE),
                "licenses": [{"license": {"id": LICENCE}}],
            }
        },
        "components": components,
    }  # fmt: skip
