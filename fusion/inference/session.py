"""Cached onnxruntime sessions with their manifests, shared by all chunks of a process."""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.inference.manifest import Manifest, ModelFileError, read_model_files, sha256_of

SESSIONS: OrderedDict[tuple[str, str, str, int], "ModelSession"] = OrderedDict()  # the one used last stands last
KEPT = 4
SLACK = 1e-3  # NDVI, for rounding
_LOCK = threading.Lock()


@dataclass(frozen=True)
class ModelSession:
    """An opened model: onnxruntime session and manifest."""

    runner: Any
    manifest: Manifest

    def run(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict NDVI and raw Laplace scale, both float32 (T, H, W), from features, float32 (C, T, H, W).

        Raises
        ------
        ModelFileError
            The model fails, or answers what cannot be NDVI and its scale: other sizes, infinities, NaN.
        """
        try:
            ndvi, scale = (answer[0] for answer in self.runner.run(["ndvi", "scale"], {"features": features[None]}))
        except Exception as error:
            raise ModelFileError(f"the model {self.manifest.sha256[:12]} fails: {_first_line(error)}") from error
        if not ndvi.shape == scale.shape == features.shape[1:]:
            raise ModelFileError(
                f"the model {self.manifest.sha256[:12]} answers sizes {ndvi.shape} and {scale.shape} for features of "
                f"{features.shape[1:]}; use another model"
            )
        low, high, spread = float(ndvi.min()), float(ndvi.max()), (float(scale.min()), float(scale.max()))
        # NaN fails every comparison
        if not (low >= NDVI_MIN - SLACK and high <= NDVI_MAX + SLACK and spread[0] >= 0 and np.isfinite(spread[1])):
            raise ModelFileError(
                f"the model {self.manifest.sha256[:12]} answers NDVI from {low:g} to {high:g} and a scale from "
                f"{spread[0]:g} to {spread[1]:g}; expected {NDVI_MIN} to {NDVI_MAX} and a finite scale; use another"
                " model"
            )
        return ndvi, scale


def load_session(path: str | Path, *, threads: int = 1, expected_sha256: str | None = None) -> ModelSession:
    """Open a model, once per process and number of threads, and again when the content of its files has changed.

    Parameters
    ----------
    path : path
        Model folder, ``model.onnx`` or zip archive.
    threads : int
        Intra-op threads of onnxruntime; inter-op is 1.
    expected_sha256 : str, optional
        Required hash of ``model.onnx``.

    Raises
    ------
    ModelFileError
        Files are missing or damaged, the hash differs, the features do not match this package, or onnxruntime cannot
        be used.
    """
    model, manifest = read_model_files(Path(path))
    key = (str(Path(path).resolve()), manifest.sha256, sha256_of(manifest.to_json().encode()), threads)
    with _LOCK:
        if key not in SESSIONS:
            SESSIONS[key] = open_session(Path(path), threads, (model, manifest))
        SESSIONS.move_to_end(key)
        session = SESSIONS[key]
        while len(SESSIONS) > KEPT:
            SESSIONS.popitem(last=False)
    _refuse_other(path, session.manifest, expected_sha256)
    return session


def _refuse_other(path: str | Path, manifest: Manifest, expected_sha256: str | None) -> None:
    if expected_sha256 is not None and manifest.sha256 != expected_sha256.lower():
        raise ModelFileError(
            f"{path}: model.onnx has sha256 {manifest.sha256}, the caller expects {expected_sha256}; use the "
            "archive that belongs to this request"
        )


def open_session(
    path: Path, threads: int, files: tuple[bytes, Manifest] | None = None, expected_sha256: str | None = None
) -> ModelSession:
    """Verify and open a model, without the cache; ``files`` are its content where that is read already."""
    model, manifest = files or read_model_files(path)
    _refuse_other(path, manifest, expected_sha256)
    if manifest.feature_version != FEATURE_VERSION or manifest.features != FEATURE_NAMES:
        raise ModelFileError(
            f"{path}: the model reads feature version {manifest.feature_version} ({len(manifest.features)} channels), "
            f"this package computes version {FEATURE_VERSION} ({len(FEATURE_NAMES)} channels); use a matching pair"
        )
    if b"location" in model:  # the key by which ONNX names another file
        raise ModelFileError(
            f"{path}: the model keeps weights in another file (ONNX external data), which its sha256 does not cover; "
            "save it with all weights inside"
        )
    runtime = _import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it would keep memory for every size of tile
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        runner = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = ([i.name for i in runner.get_inputs()], sorted(o.name for o in runner.get_outputs()))
    except Exception as error:
        reason = _first_line(error)
        raise ModelFileError(f"{path}: onnxruntime {runtime.__version__} cannot load the model: {reason}") from error
    if names != (["features"], ["ndvi", "scale"]):
        raise ModelFileError(
            f"{path}: the model has inputs {names[0]} and outputs {names[1]}; expected features, ndvi and scale; give "
            "a model made by 'export'"
        )
    return ModelSession(runner, manifest)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _import_onnxruntime() -> Any:
    """onnxruntime without its telemetry, or one sentence on why it cannot be used.

    From 1.32 on it keeps an identifier below the home folder and reports its use, unless told before its import.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if "onnxruntime_pybind11_state" in str(error):
            raise ModelFileError(
                "onnxruntime is installed but was built for another Python (its compiled part cannot be imported); use "
                "the dependency archive of this Python version"
            ) from error
        raise ModelFileError(
            f"onnxruntime cannot be imported ({error}); add the dependency archive to the job option "
            "'udf-dependency-archives', or install onnxruntime"
        ) from error
    return onnxruntime
