"""The two archives that a back-end unpacks beside a UDF: the model, and onnxruntime with its dependencies."""

import hashlib
import logging
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from fusion.whole_file import whole_file

_log = logging.getLogger(__name__)
MODEL_ARCHIVE = "ndvi_fusion_model.zip"
DEPS_ARCHIVE = "ndvi_fusion_deps_{python}.zip"
PYTHONS = {"py311": "3.11", "py312": "3.12"}  # what the images of the back-ends are called, and their version
SUMS_FILE = "SHA256SUMS"
# onnxruntime needs numpy too, but the back-ends preload it, and a second copy with another ABI breaks both; the
# versions are fixed, so that the archive is reproducible byte for byte
DEPENDENCIES = {"flatbuffers": "25.12.19", "protobuf": "7.36.2", "packaging": "26.3"}
NOT_SHIPPED = frozenset({"numpy", "pandas", "xarray", "scipy"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")


class ArchiveError(RuntimeError):
    """An archive cannot be made; the message gives the reason and the fix."""


def write_zip(path: Path, content: dict[str, bytes]) -> Path:
    """Write a zip of ``content`` (name -> bytes); equal content gives equal bytes."""
    with whole_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content[name], compresslevel=9)
    return path


def write_model_archive(content: bytes, manifest: Manifest, folder: Path) -> Path:
    """Write ``ndvi_fusion_model.zip`` with ``model.onnx`` and ``manifest.json``."""
    return write_zip(folder / MODEL_ARCHIVE, {MODEL_FILE: content, MANIFEST_FILE: manifest.to_json().encode()})


def write_dependency_archive(folder: Path, onnxruntime: str, wheels: Path | None = None, python: str = "py311") -> Path:
    """Write ``ndvi_fusion_deps_py311.zip``: onnxruntime and its dependencies but numpy, CPython, manylinux.

    Parameters
    ----------
    onnxruntime : str
        Version to ship, such as "1.20.1".
    wheels : path, optional
        Folder of wheels to take instead of downloading them with pip.
    python : {"py311", "py312"}
        Python of the back-end's image.

    Raises
    ------
    ArchiveError
        pip cannot download (no network, no such version), or a wheel is missing or incomplete.
    """
    with tempfile.TemporaryDirectory(prefix="ndvi-fusion-wheels-") as scratch:
        found = wheels if wheels is not None else download_wheels(Path(scratch), onnxruntime, python)
        content = unpack_wheels(found)
    return write_zip(folder / DEPS_ARCHIVE.format(python=python), content)


def download_wheels(folder: Path, onnxruntime: str, python: str = "py311") -> Path:
    """Download the wheels with pip, for the Python version and platform of the back-ends."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--retries", "0", "--timeout", "20", "--dest", str(folder)]
    command += ["--python-version", PYTHONS[python], "--implementation", "cp"]
    for abi in (python.replace("py", "cp"), "abi3", "none"):
        command += ["--abi", abi]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    command += [f"{name}=={version}" for name, version in {"onnxruntime": onnxruntime, **DEPENDENCIES}.items()]
    _log.info("downloading onnxruntime %s and %s for Python %s", onnxruntime, ", ".join(DEPENDENCIES), PYTHONS[python])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[
            -1:
        ]
        reason = re.sub(r"\s*\(from versions:.*?\)", "", (errors or ["no message"])[0].removeprefix("ERROR: "))
        raise ArchiveError(
            f"pip could not download the wheels for the dependency archive: {reason}; check the network and "
            "the version, or set dependencies=false to leave this archive out"
        )
    return folder


def unpack_wheels(folder: Path) -> dict[str, bytes]:
    """Files of all wheels in ``folder``, by path, without the packages that the back-ends preload."""
    wheels = sorted(folder.glob("*.whl"))
    names = {w.name.split("-")[0].lower() for w in wheels}
    missing = sorted({"onnxruntime", *DEPENDENCIES} - names)
    if missing:
        raise ArchiveError(f"{folder.name} lacks wheels of {missing}; it holds {[w.name for w in wheels]}")
    content: dict[str, bytes] = {}
    for wheel in wheels:
        if wheel.name.split("-")[0].lower() not in {"onnxruntime", *DEPENDENCIES}:
            continue
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if not name.endswith("/") and name.split("/")[0] not in NOT_SHIPPED:
                        content[name] = archive.read(name)
        except zipfile.BadZipFile as error:
            raise ArchiveError(
                f"{wheel.name} is not a complete wheel ({error}); delete it and download it again"
            ) from error
    return content


def write_sums(folder: Path, files: list[Path]) -> Path:
    """``SHA256SUMS`` in the format of ``sha256sum``, sorted by name."""
    lines = [f"{file_sha256(f)}  {f.relative_to(folder).as_posix()}" for f in sorted(files)]
    path = folder / SUMS_FILE
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
