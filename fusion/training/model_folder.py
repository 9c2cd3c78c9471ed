"""Replaces a model folder as a whole, so that network and manifest always belong together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, ModelFileError
from fusion.whole_file import whole_file

SETTINGS_FILE = "settings.yaml"  # the record that the command line leaves in a folder that it has written


@contextmanager
def whole_model_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder for ``model.onnx`` and ``manifest.json``, which is renamed to ``out`` at the end.

    It is created beside ``out``. An earlier model folder is moved aside first and removed afterwards, so a reader finds
    the old pair, the new pair, or for an instant no folder, and never one file of each. When the block fails, the
    earlier folder stays.

    Raises
    ------
    ModelFileError
        ``out`` is a file, or holds other files than those of a model, which would be lost.
    """
    names = set()
    if out.exists():
        names = {file.name for file in out.iterdir()} if out.is_dir() else {"no folder but a file"}
    if foreign := sorted(names - {MODEL_FILE, MANIFEST_FILE, SETTINGS_FILE}):
        raise ModelFileError(
            f"out={out} holds {', '.join(foreign[:3])}; expected a new, an empty or a model folder ({MODEL_FILE}, "
            f"{MANIFEST_FILE}), since the whole folder is replaced; give another one"
        )
    with whole_file(out.resolve()) as folder:
        folder.mkdir()
        yield folder
