"""Files and folders appear whole or not at all."""

import os

import pytest

from fusion.whole_file import whole_file


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    file = tmp_path / "new" / "scores.json"
    with whole_file(file) as partial:
        assert partial.suffix == ".json" and partial.parent == file.parent
        partial.write_text("first half")
        assert not file.exists()
    assert file.read_text() == "first half" and names(file.parent) == ["scores.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    file = tmp_path / "scores.json"
    file.write_text("before")
    with pytest.raises(error), whole_file(file) as partial:
        partial.write_text("half")
        raise error
    assert file.read_text() == "before" and names(tmp_path) == ["scores.json"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "scores.json"):
        pass
    assert names(tmp_path) == []


def write_folder(folder, content):
    folder.mkdir()
    (folder / "a").write_text(content)


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    store = tmp_path / "cube.zarr"
    for content in ("old", "new"):
        with whole_file(store) as partial:
            write_folder(partial, content)
        assert (store / "a").read_text() == content
    assert names(tmp_path) == ["cube.zarr", "cube.zarr/a"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_come(tmp_path, monkeypatch):
    store = tmp_path / "cube.zarr"
    write_folder(store, "old")
    rename = os.rename

    def refuse(source, target):
        if ".partial-" in str(source):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr("fusion.whole_file.os.rename", refuse)
    with pytest.raises(OSError, match="no"), whole_file(store) as partial:
        write_folder(partial, "new")
    assert (store / "a").read_text() == "old" and names(tmp_path) == ["cube.zarr", "cube.zarr/a"]


def test_a_file_never_takes_the_place_of_a_folder_nor_the_other_way(tmp_path):
    write_folder(tmp_path / "folder", "kept")
    with pytest.raises(OSError), whole_file(tmp_path / "folder") as partial:
        partial.write_text("a file")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError), whole_file(tmp_path / "file") as partial:
        write_folder(partial, "new")
    assert names(tmp_path) == ["file", "folder", "folder/a"]
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "kept"
