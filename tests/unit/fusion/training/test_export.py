"""A model folder changes as a whole, whoever reads it meanwhile."""

import os
from pathlib import Path

import pytest

from fusion.inference.manifest import MANIFEST_FILE, MODEL_FILE, ModelFileError, read_model_files
from fusion.training.export import ExportError, export_generator
from tests.factory import mock_generator


def pair_of(folder: Path) -> tuple[bytes, bytes] | None:
    """What a reader finds; None while the folder is away."""
    if not folder.is_dir():
        return None
    return (folder / MODEL_FILE).read_bytes(), (folder / MANIFEST_FILE).read_bytes()


def test_no_step_of_an_export_shows_one_file_of_each_model(tmp_path, monkeypatch):
    out = export_generator(mock_generator(1), tmp_path / "model")
    old = pair_of(out)
    new = pair_of(export_generator(mock_generator(2), tmp_path / "other"))
    assert old is not None and new is not None and old[0] != new[0] and old[1] != new[1]
    seen = []

    def watched(call):
        def step(*given):
            call(*given)
            seen.append(pair_of(out))

        return step

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    export_generator(mock_generator(2), out)
    assert seen and set(seen) <= {old, new, None} and pair_of(out) == new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]
    read_model_files(out)


def test_an_export_that_fails_leaves_the_earlier_model(tmp_path, monkeypatch):
    out = export_generator(mock_generator(1), tmp_path / "model")
    old = pair_of(out)
    monkeypatch.setattr("fusion.training.export.PARITY", -1.0)
    with pytest.raises(ExportError, match="differs from torch"):
        export_generator(mock_generator(2), out)
    assert pair_of(out) == old and [path.name for path in tmp_path.iterdir()] == ["model"]


def test_things_that_are_no_model_are_not_replaced(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("x")
    with pytest.raises(ModelFileError, match=r"holds letter\.txt; expected a new, an empty or a model folder"):
        export_generator(mock_generator(1), out)
    assert (out / "letter.txt").read_text() == "x" and len(list(out.iterdir())) == 1
    with pytest.raises(ModelFileError, match="no folder but a file"):
        export_generator(mock_generator(1), out / "letter.txt")
    (out / "letter.txt").unlink()
    assert pair_of(export_generator(mock_generator(1), out)) is not None


def test_a_link_to_a_model_folder_stays_a_link(tmp_path):
    real = export_generator(mock_generator(1), tmp_path / "real")
    old = pair_of(real)
    link = tmp_path / "link"
    link.symlink_to(real)
    assert export_generator(mock_generator(2), link) == link
    assert link.is_symlink() and pair_of(link) == pair_of(real) != old
