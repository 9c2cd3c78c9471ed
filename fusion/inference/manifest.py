"""The manifest beside ``model.onnx``: expected input, origin and checksum of the model."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fusion.features.calibration import UNCALIBRATED, Calibration

MANIFEST_VERSION = 1
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"


class ModelFileError(ValueError):
    """A model file is missing, damaged, or does not match this package; the message states the fix."""


@dataclass(frozen=True)
class Manifest:
    """Description of an exported model.

    Attributes
    ----------
    sha256 : hash of ``model.onnx``.
    features, feature_version : input channels in order; computed by :func:`fusion.features.features.compute_features`.
    step_days : days between the dates of a window.
    overlap_px : pixels by which tiles must overlap on each side for equal results at the seams.
    context_steps : number of dates before and after a date that affect its prediction.
    opset, ir_version, onnxruntime : ONNX versions, and the range of onnxruntime versions tested.
    calibration : uncertainty tables, see :class:`fusion.features.calibration.Calibration`.
    contract : bands, units and encodings of the input cube.
    training : settings, steps and duration of the training.
    """

    sha256: str
    features: tuple[str, ...]
    feature_version: int
    step_days: int
    overlap_px: int
    context_steps: int
    opset: int
    ir_version: int
    onnxruntime: str
    calibration: Calibration = UNCALIBRATED
    contract: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    manifest_version: int = MANIFEST_VERSION

    def to_json(self) -> str:
        """Indented JSON with sorted keys."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def read_manifest(text: str, origin: str) -> Manifest:
    """Parse a manifest; refuse other versions and unknown or missing keys. ``origin`` is named in errors."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{origin}: the manifest is not valid JSON ({error}); fetch the model again") from error
    version = content.get("manifest_version") if isinstance(content, dict) else None
    if version != MANIFEST_VERSION:
        raise ModelFileError(
            f"{origin}: manifest version is {version!r}; this package reads {MANIFEST_VERSION}; use a matching model"
        )
    known = {f.name for f in fields(Manifest)}
    missing, unknown = sorted(known - set(content)), sorted(set(content) - known)
    if missing or unknown:
        raise ModelFileError(f"{origin}: the manifest lacks {missing} and has unknown keys {unknown}; export it again")
    tables = {k: tuple(v) for k, v in content.pop("calibration").items()}
    content["features"] = tuple(content["features"])
    return Manifest(calibration=Calibration(**tables), **content)


def sha256_of(content: bytes) -> str:
    """SHA-256 of ``content`` as a hex digest."""
    return hashlib.sha256(content).hexdigest()


def read_model_files(path: Path) -> tuple[bytes, Manifest]:
    """Read the model as bytes and its manifest, and verify the checksum.

    ``path`` is a folder with both files, the ``model.onnx`` in it, or a zip of both.

    Raises
    ------
    ModelFileError
        A file is missing or truncated, or the hash differs (the message names both hashes).
    """
    model, text = _read_both(path)
    manifest = read_manifest(text, str(path))
    found = sha256_of(model)
    if found != manifest.sha256:
        raise ModelFileError(
            f"{path}: model.onnx has sha256 {found}, the manifest states {manifest.sha256}; the file was changed or "
            "cut off, fetch the archive again"
        )
    return model, manifest


def _read_both(path: Path) -> tuple[bytes, str]:
    import zipfile

    if path.suffix == ".zip" and path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                names = {Path(n).name: n for n in archive.namelist()}
                return archive.read(names[MODEL_FILE]), archive.read(names[MANIFEST_FILE]).decode()
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ModelFileError(f"{path} is not a complete zip archive ({error}); fetch it again") from error
        except KeyError as error:
            raise ModelFileError(f"{path} does not hold {error}; give the archive made by 'package'") from error
    folder = path.parent if path.name == MODEL_FILE or path.suffix == ".onnx" else path
    model = path if path.suffix == ".onnx" else folder / MODEL_FILE
    for file in (model, folder / MANIFEST_FILE):
        if not file.is_file():
            raise ModelFileError(
                f"there is no {file}; the model folder needs {MODEL_FILE} and {MANIFEST_FILE}; unpack the model "
                "archive there or name the right folder"
            )
    return model.read_bytes(), (folder / MANIFEST_FILE).read_text(encoding="utf-8")
