"""The patch store: windows of a merged cube, one Zarr v3 array with one chunk per patch, int16-packed.

Layout of ``patches.zarr`` (a Zarr v3 group)::

    zarr.json             schema version and packing
    manifest.json         sources, extents, dates, counts, statistics, versions (written last)
    patch/<key>           int16 array (frames, y, x), one chunk; its attributes describe the frames

A patch is written under a temporary name and renamed, so a patch with its final name is complete: writers need no lock,
and an interrupted run resumes from the existing keys. Dates differ between patches, so nothing is padded.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fusion.contract import PACK_NODATA, PACK_SCALE
from fusion.data.patch import (
    RADAR_PACK_SCALE,
    SPLITS,
    Patch,
    StoreError,
    check_patch,
    content_hash,
    pack,
    unpack,
)
from fusion.whole_file import write_json

__all__ = ["SPLITS", "Patch", "PatchStore", "StoreError", "create_store", "read_patch", "write_patch"]

STORE_VERSION = 1
_PARTIAL = ".partial"


def create_store(path: str | Path, description: dict[str, Any] | None = None) -> Path:
    """Make an empty store, or accept an existing one of the same version.

    Raises
    ------
    StoreError
        ``path`` holds something else, or a store of another version.
    """
    import zarr

    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if (path / "zarr.json").is_file():
            _check_version(path)
            return path
        leftovers = {p.name for p in path.iterdir()} if path.is_dir() else {"a file"}
        foreign = {n for n in leftovers if n not in ("patch", _PARTIAL) and not n.startswith(".zarr.json-")}
        if foreign:  # the others may be left by an interrupted first call
            seen = sorted(foreign)[:3]
            raise StoreError(f"{path} exists and is not a patch store (it holds {seen}); give another path")
    (path / _PARTIAL).mkdir(parents=True, exist_ok=True)
    if not (path / "patch" / "zarr.json").exists():
        zarr.create_group(str(path / "patch"), zarr_format=3)
    packing = {"ndvi_scale": PACK_SCALE, "radar_scale": RADAR_PACK_SCALE, "nodata": PACK_NODATA}
    header = {"store_version": STORE_VERSION, "packing": packing, **(description or {})}
    write_json(path / "zarr.json", {"attributes": header, "zarr_format": 3, "node_type": "group"})
    return path


def write_patch(path: str | Path, patch: Patch) -> str:
    """Write one patch; returns the hash of its content. On an error no partial patch is left.

    An existing patch of the same key is kept, and its hash is returned.

    Parameters
    ----------
    path : path
        A store made by :func:`create_store`.
    patch : Patch
        NDVI outside +-3.27 does not fit the packing and is refused; radar is clipped to +-65.5 dB.

    Raises
    ------
    StoreError
        Bad key or split, shapes that contradict one another, values that do not fit.
    """
    import zarr
    from zarr.codecs import BloscCodec

    path = Path(path)
    check_patch(patch)
    final = path / "patch" / patch.key
    if final.exists():
        return str(_attributes(final)["sha256"])
    frames, attributes = pack(patch)
    (path / _PARTIAL).mkdir(parents=True, exist_ok=True)
    partial = path / _PARTIAL / f"{patch.key}-{uuid.uuid4().hex}"
    try:
        array = zarr.create_array(
            str(partial),
            shape=frames.shape,
            chunks=frames.shape,
            dtype="int16",
            fill_value=PACK_NODATA,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            dimension_names=("frame", "y", "x"),
            attributes=attributes,
            zarr_format=3,
            config={"write_empty_chunks": True},  # so that a missing chunk always means damage
        )
        array[:] = frames
        _flush_to_disk(partial)
        _rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(attributes["sha256"])


class PatchStore:
    """Read access to a store: ``len(store)``, ``store[i] -> Patch``, in the fixed order of the sorted keys.

    Can be shared with forked or spawned data-loading workers: it holds keys only and opens a patch at each access.
    """

    def __init__(self, path: Path, keys: tuple[str, ...], facts: tuple[dict[str, Any], ...]) -> None:
        self.path, self.keys, self.facts = path, keys, facts

    @classmethod
    def open(cls, path: str | Path) -> "PatchStore":
        """Open a store; of one that is still being written, the complete patches.

        Raises
        ------
        StoreError
            Not a store, another version, or an unreadable patch header (named).
        """
        path = Path(path)
        if not (path / "zarr.json").is_file():
            raise StoreError(f"{path} is not a patch store (it has no zarr.json); make one with `ndvi-fusion patches`")
        _check_version(path)
        keys = tuple(sorted(entry.name for entry in os.scandir(path / "patch") if entry.is_dir()))
        facts = tuple(_short_facts(_attributes(path / "patch" / key)) for key in keys)
        return cls(path, keys, facts)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: int) -> Patch:
        return read_patch(self.path, self.keys[i])

    def __iter__(self) -> Iterator[Patch]:
        return (self[i] for i in range(len(self)))

    def indices(self, split: str | None = None, *, sites: set[str] | None = None) -> list[int]:
        """Positions of the patches of a split (``train``, ``calibration``, ``test``) and of some sites."""
        if split is not None and split not in SPLITS:
            raise StoreError(f"split is {split!r}; expected one of {SPLITS}")
        return [
            i
            for i, f in enumerate(self.facts)
            if (split is None or f["split"] == split) and (sites is None or f["site"] in sites)
        ]

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``, written by ``ndvi-fusion patches`` at the end; empty before that."""
        file = self.path / "manifest.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def content_hash(self) -> str:
        """Hash of all patch hashes in key order: equal content, equal hash, whatever the order of writing."""
        digest = hashlib.sha256()
        for key, fact in zip(self.keys, self.facts, strict=True):
            digest.update(f"{key} {fact['sha256']}\n".encode())
        return digest.hexdigest()


def read_patch(path: str | Path, key: str, *, verify: bool = False) -> Patch:
    """Read one patch; with ``verify`` its content is hashed and compared.

    Raises
    ------
    StoreError
        No such patch, unreadable, or the content does not match its hash.
    """
    import zarr

    folder = Path(path) / "patch" / key
    fix = f"delete {folder} and run patches again"
    try:
        array = zarr.open_array(str(folder), mode="r", zarr_format=3)
        frames, attributes = np.asarray(array[:]), dict(array.attrs)
    except Exception as error:
        raise StoreError(f"patch {key} of {path} cannot be read ({error}); {fix}") from error
    if not any(file.is_file() for file in (folder / "c").rglob("*")):
        raise StoreError(f"patch {key} of {path} has lost its data chunk; {fix}")
    if verify and content_hash(frames, attributes) != attributes["sha256"]:
        raise StoreError(f"patch {key} of {path} does not match its hash; {fix}")
    return unpack(frames, attributes)


def _check_version(path: Path) -> None:
    try:
        version = json.loads((path / "zarr.json").read_text())["attributes"].get("store_version")
    except (ValueError, KeyError) as error:
        raise StoreError(f"{path}/zarr.json is unreadable ({error}); the store is damaged, make it again") from error
    if version is None:
        raise StoreError(
            f"{path} is a Zarr folder, but no patch store as `ndvi-fusion patches` makes; give another path"
        )
    if version != STORE_VERSION:
        raise StoreError(f"{path} has store version {version!r}; this package reads {STORE_VERSION}; make it again")


def _attributes(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "zarr.json").read_text())["attributes"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"patch {folder.name} has an unreadable header ({error}); delete {folder}") from error


def _short_facts(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in ("split", "site", "year", "sha256", "shape", "extra")}


def _rename(partial: Path, final: Path) -> None:
    try:
        os.rename(partial, final)
    except OSError:
        if not final.exists():  # if another worker wrote the same patch first, that is no error
            raise


def _flush_to_disk(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
