"""Archives: reproducible byte for byte, checked when they are made and when they are opened."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fusion.inference.manifest import ModelFileError, read_model_files
from tests.factory import mock_cube
from tests.unit.udf.fakes import as_back_end_chunk, fake_model, fusion_context, run_udf
from udf.archive import (
    DEPENDENCIES,
    ArchiveError,
    download_wheels,
    file_sha256,
    write_dependency_archive,
    write_model_archive,
    write_sums,
    write_zip,
)
from udf.commands.package import PackageSettings, run


def wheels(folder: Path, leave_out: str = "") -> Path:
    """A folder of tiny wheels, one of which brings a numpy of its own."""
    folder.mkdir()
    for name in ("onnxruntime", *DEPENDENCIES, "numpy"):
        if name != leave_out:
            with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{name}/__init__.py", f"NAME = {name!r}\n")
                wheel.writestr("numpy/stray.py", "")
    return folder


def chunk():
    """A small chunk."""
    return as_back_end_chunk(mock_cube(t=12, y=6, x=6))


def test_zip_is_the_same_whatever_the_order_and_time(tmp_path: Path) -> None:
    a = write_zip(tmp_path / "a.zip", {"x": b"1" * 999, "y/z": b"2"})
    b = write_zip(tmp_path / "b.zip", {"y/z": b"2", "x": b"1" * 999})
    assert a.read_bytes() == b.read_bytes()
    with zipfile.ZipFile(a) as archive:
        assert [i.filename for i in archive.infolist()] == ["x", "y/z"]
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_model_archive_and_sums(tmp_path: Path, model: Path) -> None:
    archive = write_model_archive(*read_model_files(model), tmp_path)
    again = write_model_archive(*read_model_files(archive), tmp_path / "again")  # an archive is a model reference too
    assert archive.read_bytes() == again.read_bytes()
    sums = write_sums(tmp_path, [archive])
    assert sums.read_text() == f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  ndvi_fusion_model.zip\n"
    with zipfile.ZipFile(archive) as content:
        assert content.namelist() == ["manifest.json", "model.onnx"]
        manifest = json.loads(content.read("manifest.json"))
        assert manifest["sha256"] == hashlib.sha256(content.read("model.onnx")).hexdigest()


def test_dependency_archive_has_no_numpy(tmp_path: Path) -> None:
    archive = write_dependency_archive(tmp_path, "1.0", wheels(tmp_path / "wheels"))
    with zipfile.ZipFile(archive) as content:
        assert {n.split("/")[0] for n in content.namelist()} == {"onnxruntime", *DEPENDENCIES}


def test_incomplete_wheels(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"lacks wheels of \['protobuf'\]"):
        write_dependency_archive(tmp_path, "1.0", wheels(tmp_path / "w", leave_out="protobuf"))
    (tmp_path / "w" / "protobuf-1-py3-none-any.whl").write_bytes(b"cut off")
    with pytest.raises(ArchiveError, match=r"protobuf-1-py3-none-any.whl is not a complete wheel"):
        write_dependency_archive(tmp_path, "1.0", tmp_path / "w")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*partial*"))


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ArchiveError, match=r"pip could not download the wheels.*check the network.*dependencies=false"):
        download_wheels(tmp_path, "1.20.1")


def test_without_network_the_command_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ArchiveError, match="dependencies=false"):
        run(PackageSettings(out=tmp_path / "new" / "package"))
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept"
    run(PackageSettings(out=kept, dependencies=False))
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    with pytest.raises(ArchiveError):
        run(PackageSettings(out=kept))
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before


def test_package_command(tmp_path: Path, model: Path) -> None:
    line = run(PackageSettings(out=tmp_path / "p", model=str(model), wheels=wheels(tmp_path / "wheels")))
    assert "9 files" in line
    listed = dict(reversed(line.split("  ")) for line in (tmp_path / "p" / "SHA256SUMS").read_text().splitlines())
    assert sorted(listed) == [
        "MODEL_CARD.md",
        "context_v1.schema.json",
        "fusion_udf.py",
        "model_item.json",
        "ndvi_fusion_deps_py311.zip",
        "ndvi_fusion_model.zip",
        "phenology_udf.py",
        "provenance.json",
        "sbom.cdx.json",
    ]
    for name, digest in listed.items():
        assert file_sha256(tmp_path / "p" / name) == digest
    run(PackageSettings(out=tmp_path / "q", model=str(model), dependencies=False))
    assert not (tmp_path / "q" / "ndvi_fusion_deps_py311.zip").exists()


# --- tampering: each a sentence that says what to do ------------------------------------------------------------------


def test_changed_byte(tmp_path: Path) -> None:
    folder = fake_model(tmp_path / "m")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(
        Exception, match=r"has sha256 [0-9a-f]{64}, the manifest states [0-9a-f]{64}; .*fetch the archive again"
    ):
        run_udf("fusion_udf", chunk(), fusion_context(folder))
    with pytest.raises(ModelFileError, match="the manifest states"):
        write_model_archive(*read_model_files(folder), tmp_path)


def test_wrong_hash_in_the_context(model: Path) -> None:
    with pytest.raises(Exception, match=r"the caller expects a{64}; use the archive that belongs"):
        run_udf("fusion_udf", chunk(), fusion_context(model, model_sha256="a" * 64))


def test_truncated_zip(tmp_path: Path, model: Path) -> None:
    archive = write_model_archive(*read_model_files(model), tmp_path)
    assert np.isfinite(run_udf("fusion_udf", chunk(), fusion_context(archive)).values).any()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(Exception, match=r"cut.zip is not a complete zip archive .*fetch it again"):
        run_udf("fusion_udf", chunk(), fusion_context(cut))


def test_missing_model_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        Exception, match=r"'ndvi_fusion_model' does not exist.*add 'https://.*#ndvi_fusion_model' to the job option"
    ):
        run_udf("fusion_udf", chunk(), {"start": "2019-03-01", "end": "2019-04-01", "deps_dir": None, "s1_units": "dB"})


def test_missing_dependency_archive(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else find(name, *a))
    with pytest.raises(
        Exception, match=r"dependency folder 'deps' does not exist; add 'https://.*ndvi_fusion_deps_py311.zip#deps'"
    ):
        run_udf("fusion_udf", chunk(), fusion_context(model, deps_dir="deps"))


def test_onnxruntime_of_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The symptom of a wrong ABI: the package is there, its compiled part is not importable."""
    broken = tmp_path / "deps" / "onnxruntime"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("from onnxruntime.onnxruntime_pybind11_state import nothing\n")
    for name in [m for m in sys.modules if m.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    context = fusion_context(fake_model(tmp_path / "other"), deps_dir=str(tmp_path / "deps"))
    with pytest.raises(
        Exception, match=r"built for another Python .*use the dependency archive of this Python version"
    ):
        run_udf("fusion_udf", chunk(), context)


def test_threads_are_what_the_context_says(tmp_path: Path) -> None:
    """A back-end gives one core a task, and onnxruntime would take all that it sees."""
    from fusion.inference.session import load_session

    folder = fake_model(tmp_path / "threads")
    options = load_session(folder).runner.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert load_session(folder, threads=3).runner.get_session_options().intra_op_num_threads == 3


@pytest.mark.slow
def test_dependency_archive_is_the_same_twice(tmp_path: Path) -> None:
    """Downloaded twice by pip, the archive is the same byte for byte, and holds a compiled part for Python 3.11."""
    try:
        first, second = (write_dependency_archive(tmp_path / name, "1.20.1") for name in "ab")
    except ArchiveError as error:
        pytest.skip(f"no wheels here: {error}")
    assert file_sha256(first) == file_sha256(second)
    with zipfile.ZipFile(first) as content:
        names = content.namelist()
    assert any("onnxruntime_pybind11_state.cpython-311-x86_64" in name for name in names)
    assert not any(name.split("/")[0] in ("numpy", "pandas", "xarray", "scipy") for name in names)
