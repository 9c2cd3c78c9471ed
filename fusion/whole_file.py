"""Files and folders appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, of the same suffix, and rename it when the block ends well.

    When the block fails, what it wrote is removed and what stood at ``path`` before stays. It may write a folder too (a
    Zarr store), which takes the place of an earlier one. A file never takes that of a folder, nor a folder that of a
    file. The folder of ``path`` is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            _replace_folder(path, partial)
        else:
            os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # what could not be written need not be there
            partial.unlink(missing_ok=True)


def _replace_folder(path: Path, partial: Path) -> None:
    """Folders cannot be replaced in one step, so the old one is moved aside, and back when the new one cannot come."""
    aside = _beside(path, "old")
    os.rename(path, aside)
    try:
        os.rename(partial, path)
    except OSError:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.stem}.{kind}-{uuid.uuid4().hex[:8]}{path.suffix}")
