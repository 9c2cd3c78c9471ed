"""Atomic writing: files, folders and sets of files appear whole or not at all; one run at a time writes a folder."""

import hashlib
import json
import os
import re
import shutil
import socket
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


class OutputExistsError(FileExistsError):
    """Results of an earlier run are there, and the settings do not allow to replace them."""


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, with the same suffix, and rename it to ``path`` when the block succeeds.

    When the block fails, the temporary file is removed and an earlier ``path`` is kept. The block may also write a
    folder (a Zarr store), which replaces an earlier folder. A file never replaces a folder, nor a folder a file.
    Missing parent folders are created, and removed again when the block fails. What a killed run on this machine left
    for the same ``path`` is removed first. A link stays one: what it points to is written, on the disk where that is.

    Raises
    ------
    OutputExistsError
        ``replace`` is False, and ``path`` exists at the end, also where another run has just written it.
    """
    path = path.resolve()
    with _parents(path.parent):
        clear_leftovers(path)
        partial = _beside(path, "partial")
        try:
            yield partial
            if not replace:
                _publish_new(partial, path)
            elif path.is_dir() and partial.is_dir():
                _replace_folder(path, partial)
            else:
                os.replace(partial, path)
        finally:
            _remove(partial)


@contextmanager
def whole_set(folder: Path, earlier: Iterable[str] = (), *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary folder for files that belong together; they move into ``folder`` when the block succeeds.

    At the end, files of the same names and those that match ``earlier`` are moved aside, then the new ones are renamed
    one after another, so a reader finds files of one run only. When the block or a rename fails, the earlier ones stay.

    Parameters
    ----------
    earlier : iterable of str
        Glob patterns, relative to ``folder``, of what an earlier run may have left.
    overwrite : bool
        Whether files of an earlier run may be removed.

    Raises
    ------
    OutputExistsError
        ``overwrite`` is False, and ``folder`` holds files of an earlier run.
    """
    earlier = tuple(earlier)
    folder = folder.resolve()
    refuse_earlier(folder, earlier, overwrite=overwrite)
    with _parents(folder):
        clear_leftovers(folder / "set")
        partial = _beside(folder / "set", "partial")
        partial.mkdir()
        try:
            yield partial
            with _turn(folder):
                _move_set(partial, folder, earlier, overwrite)
        finally:
            _remove(partial)


@contextmanager
def only_run(folder: Path, error: type[Exception] = ValueError) -> Iterator[None]:
    """Lock a folder against a second run; the lock is released when the process ends, also when it is killed.

    The lock is a hidden file beside the folder and not in it, so that it can be acquired before the folder exists and
    held while the folder is deleted and recreated. The folder itself is not changed.

    Raises
    ------
    ``error``
        Another run holds the lock.
    """
    folder = folder.resolve()  # one lock for all paths to the folder
    with claimed(folder.with_name(f".{folder.name}.lock")) as mine:
        if not mine:
            raise error(f"another run is writing to {folder}; wait for it or use another output")
        yield


@contextmanager
def claimed(lock: Path) -> Iterator[bool]:
    """Hold a lock file during the block, unless another process holds it; yields whether it is held.

    Missing folders are created. The lock is released when the process ends, also when it is killed.
    """
    from filelock import FileLock, Timeout

    try:
        held = FileLock(lock, timeout=0).acquire()
    except (Timeout, FileNotFoundError):  # held elsewhere, or its folder is removed in this moment
        yield False
        return
    with held:
        yield True


def refuse_existing(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that exist, before any work, unless ``overwrite``.

    Raises
    ------
    OutputExistsError
    """
    found = [] if overwrite else [path for path in paths if path.exists()]
    if found:
        raise OutputExistsError(f"{found[0]} exists; choose another out or set overwrite=true")


def refuse_earlier(folder: Path, earlier: Iterable[str], *, overwrite: bool) -> None:
    """Refuse a folder with files of an earlier run, which match the patterns ``earlier``, unless ``overwrite``.

    Raises
    ------
    OutputExistsError
    """
    if not overwrite:
        _refuse(_matches(folder, tuple(earlier)), folder)


def clear_leftovers(path: Path) -> None:
    """Remove what killed runs of this machine left for ``path``.

    A folder that was moved aside comes back where the new one had not taken its place. Temporary files of processes
    that are alive, or that ran on another machine, stay.
    """
    name = rf"\.{re.escape(path.stem)}\.(partial|old)-{_machine()}-(\d+)-[0-9a-f]{{8}}{re.escape(path.suffix)}"
    for found in list(path.parent.iterdir()):
        match = re.fullmatch(name, found.name)
        if match is None or _is_alive(int(match[2])):
            continue
        if match[1] == "old" and not path.exists():
            os.rename(found, path)
        else:
            _remove(found)


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


def refuse_cut_off(partial: Path, file: Path, sums: Mapping[tuple[int, int], int] | None = None) -> None:
    """Refuse a truncated GeoTIFF ``partial`` before it is renamed to ``file``.

    GDAL writes the last blocks on closing and reports no error there, so a full disk silently truncates the file. The
    file is read back and compared with ``sums``, the :func:`checksum` of every block (all bands) by its first row and
    column; without ``sums`` it is only read, which fails on a missing block.

    Raises
    ------
    OSError
        The file cannot be read back, or its values differ.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(partial) as written:
            read = {(w.row_off, w.col_off): checksum(written.read(window=w)) for _, w in written.block_windows(1)}
    except RasterioError as error:
        raise OSError(f"{file} could not be written whole; is the disk full?") from error
    if sums is not None and read != sums:
        raise OSError(f"{file} could not be written whole; is the disk full?")


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values."""
    return zlib.crc32(np.ascontiguousarray(values).data)


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


def _publish_new(partial: Path, path: Path) -> None:
    """Give ``partial`` its final name unless that is taken; of two runs at once, one succeeds."""
    try:
        if partial.is_dir():
            os.rename(partial, path)  # fails on a folder that holds anything
        else:
            os.link(partial, path)  # fails on any file, which a rename would replace
    except OSError:
        if path.exists():
            _refuse([path], path.parent)
        os.rename(partial, path)  # a file system without hard links


def _move_set(partial: Path, folder: Path, earlier: tuple[str, ...], overwrite: bool) -> None:
    new = sorted(partial.iterdir())
    old = sorted({*_matches(folder, earlier), *(folder / p.name for p in new if (folder / p.name).exists())})
    if not overwrite:
        _refuse(old, folder)
    for target in new:
        if (folder / target.name).exists() and (folder / target.name).is_dir() != target.is_dir():
            raise OSError(f"{folder / target.name} is in the way of a result; move it or choose another out")
    aside = partial / ".earlier"
    aside.mkdir()
    moves = [(p, aside / str(k)) for k, p in enumerate(old)] + [(p, folder / p.name) for p in new]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            os.rename(target, source)
        raise


def _matches(folder: Path, earlier: tuple[str, ...]) -> list[Path]:
    return sorted({p for pattern in earlier for p in folder.glob(pattern)}) if folder.is_dir() else []


def _refuse(found: list[Path], folder: Path) -> None:
    if found:
        names = ", ".join(p.name for p in found[:3]) + (", ..." if len(found) > 3 else "")
        raise OutputExistsError(f"{folder} holds {names} of an earlier run; choose another out or set overwrite=true")


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """Create missing folders; those that are empty when the block fails are removed again."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until no other process moves a set into the folder."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the block may have written nothing
            path.unlink(missing_ok=True)


def _beside(path: Path, kind: str) -> Path:
    """A hidden name beside ``path`` that says which process of which machine uses it."""
    return path.with_name(f".{path.stem}.{kind}-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")


def _machine() -> str:
    """Tells apart the machines and containers that may share a folder, in which process numbers count anew."""
    space = Path("/proc/self/ns/pid")
    number = space.stat().st_ino if space.exists() else 0
    return hashlib.sha256(f"{socket.gethostname()} {number}".encode()).hexdigest()[:6]


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
