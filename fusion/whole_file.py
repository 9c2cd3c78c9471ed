"""Files and folders appear whole or not at all."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


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


def write_json(path: Path, value: Any) -> Path:
    """``value`` as indented JSON, UTF-8, ended by a line break, whole or not at all, and on the disk when it appears.

    Raises
    ------
    ValueError
        NaN or infinity in it: JSON has neither; write null instead.
    """
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def refuse_cut_off(partial: Path, file: Path, bands: np.ndarray | None = None) -> None:
    """Make sure that a GeoTIFF just written is whole, and holds ``bands`` (count, y, x), before it becomes ``file``.

    GDAL writes the last blocks on closing and reports no error there, so a disk that is full by then leaves a cut-off
    file without a word. Without ``bands`` every block is read, which a missing one fails.

    Raises
    ------
    OSError
        What was written cannot be read back as it was.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(partial) as written:
            whole = all(_holds(written.read(window=w), w, bands) for _, w in written.block_windows(1))
    except RasterioError as error:
        raise OSError(f"{file} could not be written whole; is the disk full?") from error
    if not whole:
        raise OSError(f"{file} could not be written whole; is the disk full?")


def _holds(read: np.ndarray, window: Any, bands: np.ndarray | None) -> bool:
    if bands is None:
        return True
    rows, columns = window.toslices()
    return np.array_equal(read, bands[:, rows, columns], equal_nan=True)


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
