"""The manifest beside ``model.onnx``: expected input, origin and checksum of the model."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from fusion.features.calibration import UNCALIBRATED, Calibration

MANIFEST_VERSION = 1
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
NETWORK_RADIUS_PX = 4  # largest spatial radius of a network; border effects stay within it
SIZE_LIMITS = {MODEL_FILE: 32 * 2**20, MANIFEST_FILE: 2**20}  # bytes


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
    contract : bands, units and encodings of the input cube; spatial radius of the network.
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

    @property
    def network_radius_px(self) -> int:
        """Pixels around a pixel that the network itself depends on; ``overlap_px`` includes the reach of features."""
        return self.contract.get("network_radius_px", NETWORK_RADIUS_PX)

    def to_json(self) -> str:
        """Indented JSON with sorted keys."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def read_manifest(text: str | bytes, origin: str) -> Manifest:
    """Parse a manifest; refuse other versions, unknown or missing keys, and values that cannot be meant.

    ``origin`` is named in errors.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
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
    for name, (is_valid, expected) in _VALID.items():
        if not is_valid(content[name]):
            raise ModelFileError(
                f"{origin}: {name} of the manifest is {repr(content[name])[:80]}; expected {expected}; export it again"
            )
    try:
        tables = Calibration.from_tables(content.pop("calibration"))
        return Manifest(calibration=tables, **{**content, "features": tuple(content["features"])})
    except ValueError as error:
        raise ModelFileError(
            f"{origin}: the manifest's calibration cannot be used: {error}; export it again"
        ) from error


def _whole(low: int, high: int) -> tuple[Callable[[Any], bool], str]:
    return lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}"


_TEXT: tuple[Callable[[Any], bool], str] = (lambda v: isinstance(v, str), "text")
_MAPPING: tuple[Callable[[Any], bool], str] = (lambda v: isinstance(v, dict), "a mapping")
_RADIUS, _RADIUS_TEXT = _whole(0, NETWORK_RADIUS_PX)
_VALID = {
    "sha256": (lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None, "64 hexadecimal digits"),
    "features": (lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v), "a list of names"),
    "feature_version": _whole(0, 10_000),
    "step_days": _whole(1, 366),
    "overlap_px": _whole(0, 512),
    "context_steps": _whole(0, 1000),
    "opset": _whole(1, 1000),
    "ir_version": _whole(1, 1000),
    "onnxruntime": _TEXT,
    "calibration": _MAPPING,
    "contract": (
        lambda v: isinstance(v, dict) and _RADIUS(v.get("network_radius_px", NETWORK_RADIUS_PX)),
        f"a mapping, its network_radius_px {_RADIUS_TEXT}",
    ),
    "training": _MAPPING,
}


def sha256_of(content: bytes) -> str:
    """SHA-256 of ``content`` as a hex digest."""
    return hashlib.sha256(content).hexdigest()


def read_model_files(path: Path) -> tuple[bytes, Manifest]:
    """Read the model as bytes and its manifest, and verify the checksum.

    ``path`` is a folder with both files, the ``model.onnx`` in it, or a zip of both.

    Raises
    ------
    ModelFileError
        A file is missing, truncated or too large, or the hash differs (the message names both hashes).
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


def _read_both(path: Path) -> tuple[bytes, bytes]:
    import zipfile

    if path.suffix == ".zip" and path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                names = {Path(n).name: n for n in archive.namelist()}
                with archive.open(names[MODEL_FILE]) as model, archive.open(names[MANIFEST_FILE]) as manifest:
                    return _read(model, MODEL_FILE, path), _read(manifest, MANIFEST_FILE, path)
        except KeyError as error:
            raise ModelFileError(f"{path} does not hold {error}; give the archive made by 'package'") from error
        except ModelFileError:
            raise
        except Exception as error:  # each compression has its own kinds
            raise ModelFileError(f"{path} is not a complete zip archive ({error}); fetch it again") from error
    folder = path.parent if path.name == MODEL_FILE or path.suffix == ".onnx" else path
    files = (path if path.suffix == ".onnx" else folder / MODEL_FILE, folder / MANIFEST_FILE)
    for file in files:
        if not file.is_file():
            raise ModelFileError(
                f"there is no {file}; the model folder needs {MODEL_FILE} and {MANIFEST_FILE}; unpack the model "
                "archive there or name the right folder"
            )
    with files[0].open("rb") as model, files[1].open("rb") as manifest:
        return _read(model, MODEL_FILE, path), _read(manifest, MANIFEST_FILE, path)


def _read(stream: IO[bytes], name: str, origin: Path) -> bytes:
    """The content of a file that is not larger than such a file can be; an archive is never unpacked beyond that."""
    limit = SIZE_LIMITS[name]
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise ModelFileError(
            f"{name} of {origin} has more than {limit // 2**20} MiB, so it is no model of this package (they have less "
            "than 2 MiB); give another model"
        )
    return content
