"""Locates onnxruntime and the model on a back-end. Bundled into the fusion UDF."""

import importlib.util
import sys
from pathlib import Path

from fusion.inference.manifest import ModelFileError
from fusion.inference.session import ModelSession, load_session

ARCHIVES_HINT = "to the job option udf-dependency-archives (batch jobs only)"


def model_session(context: dict) -> ModelSession:
    """The model session of this process, opened at the first chunk.

    Raises
    ------
    ModelFileError
        The archive is missing, damaged or not the requested one; onnxruntime is missing or built for another Python.
    """
    _add_dependencies(context["deps_dir"])
    folder = Path(context["model_dir"])
    if not folder.exists():
        raise ModelFileError(
            f"model folder {str(folder)!r} does not exist (working directory: {Path.cwd().name}); add "
            f"'https://.../ndvi_fusion_model.zip#{folder.name}' {ARCHIVES_HINT}, or set model_dir in the context"
        )
    return load_session(folder, threads=context["threads"], expected_sha256=context["model_sha256"])


def _add_dependencies(folder: str | None) -> None:
    """Make the unpacked dependency archive importable, once; it may be absent where onnxruntime is installed."""
    if folder is None or folder in sys.path:
        return
    if Path(folder).is_dir():
        sys.path.insert(0, folder)
        return
    if "onnxruntime" not in sys.modules and importlib.util.find_spec("onnxruntime") is None:
        raise ModelFileError(
            f"onnxruntime is not installed and the dependency folder {folder!r} does not exist; add "
            f"'https://.../ndvi_fusion_deps_py311.zip#{folder}' {ARCHIVES_HINT}"
        )
