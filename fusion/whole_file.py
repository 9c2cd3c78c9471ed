"""Atomic writing: files and folders appear complete or not at all."""

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
    """Yield a temporary path beside ``path``, with the same suffix, and rename it to ``path`` when the block succeeds.

    When the block fails, the temporary file is removed and an earlier ``path`` is kept. The block may also write a
    folder (a Zarr store), which replaces an earlier folder. A file never replaces a folder, nor a folder a file. The
    parent folder is created where it is missing.
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
        with suppress(OSError):  # the block may have written nothing
            partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` atomically as indented JSON (UTF-8, trailing line break), flushed to disk before the rename.

    Raises
    ------
    ValueError
        It contains NaN or infinity, which JSON cannot represent; write null instead.
    """
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def refuse_cut_off(partial: Path, file: Path, bands: np.ndarray | None = None) -> None:
    """Refuse a truncated GeoTIFF ``partial`` before it is renamed to ``file``.

    GDAL writes the last blocks on closing and reports no error there, so a full disk silently truncates the file. The
    file is read back and compared with ``bands`` (count, y, x); without ``bands`` it is only read, which fails on a
    missing block.

    Raises
    ------
    OSError
        The file cannot be read back, or its values differ.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(partial) as written:
            complete = all(_holds(written.read(window=w), w, bands) for _, w in written.block_windows(1))
    except RasterioError as error:
        raise OSError(f"{file} could not be written whole; is the disk full?") from error
    if not complete:
        raise OSError(f"{file} could not be written whole; is the disk full?")


def _holds(read: np.ndarray, window: Any, bands: np.ndarray | None) -> bool:
    if bands is None:
        return True
    rows, columns = window.toslices()
    return np.array_equal(read, bands[:, rows, columns], equal_nan=True)


def _replace_folder(path: Path, partial: Path) -> None:
    """Move the old folder aside, since folders cannot be replaced in one step; restore it if the rename fails."""
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
