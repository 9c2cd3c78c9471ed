"""Cached onnxruntime sessions with their manifests, shared by all chunks of a process."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.features.features import FEATURE_NAMES, FEATURE_VERSION
from fusion.inference.manifest import MODEL_FILE, Manifest, ModelFileError, read_model_files

SESSIONS: dict[tuple[str, int, tuple[int, int] | None], "ModelSession"] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class ModelSession:
    """An opened model: onnxruntime session and manifest."""

    runner: Any
    manifest: Manifest

    def run(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict NDVI and raw Laplace scale, both float32 (T, H, W), from features, float32 (C, T, H, W)."""
        ndvi, scale = self.runner.run(["ndvi", "scale"], {"features": features[None]})
        return ndvi[0], scale[0]


def load_session(path: str | Path, *, threads: int = 1, expected_sha256: str | None = None) -> ModelSession:
    """Open a model, once per process and number of threads, and again when its file has changed.

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
    key = (str(Path(path).resolve()), threads, _file_stamp(Path(path)))
    with _LOCK:
        session = SESSIONS.get(key)
        if session is None:
            session = open_session(Path(path), threads)
            SESSIONS[key] = session
    if expected_sha256 is not None and session.manifest.sha256 != expected_sha256.lower():
        raise ModelFileError(
            f"{path}: model.onnx has sha256 {session.manifest.sha256}, the caller expects {expected_sha256}; use the "
            "archive that belongs to this request"
        )
    return session


def _file_stamp(path: Path) -> tuple[int, int] | None:
    """Modification time and size of the model file, so that a model exported again to the same path is reloaded."""
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        return None
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def open_session(path: Path, threads: int) -> ModelSession:
    """Read, verify and open a model, without the cache."""
    model, manifest = read_model_files(path)
    if manifest.feature_version != FEATURE_VERSION or manifest.features != FEATURE_NAMES:
        raise ModelFileError(
            f"{path}: the model reads feature version {manifest.feature_version} ({len(manifest.features)} channels), "
            f"this package computes version {FEATURE_VERSION} ({len(FEATURE_NAMES)} channels); use a matching pair"
        )
    runtime = _import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        runner = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path}: onnxruntime {runtime.__version__} cannot load the model: {reason}") from error
    return ModelSession(runner, manifest)


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
