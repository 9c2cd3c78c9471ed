"""Files and folders appear whole or not at all."""

import os

import numpy as np
import pytest
import rasterio

from fusion.whole_file import checksum, refuse_cut_off, whole_file, write_json


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


def test_json_keeps_the_order_ends_with_a_line_break_and_holds_no_nan(tmp_path):
    file = tmp_path / "new" / "facts.json"
    assert write_json(file, {"b": 1, "a": ["é", None]}) == file
    assert file.read_bytes() == b'{\n "b": 1,\n "a": [\n  "\\u00e9",\n  null\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"mae": float("nan")})
    assert file.read_text().startswith('{\n "b": 1') and names(file.parent) == ["facts.json"]


@pytest.mark.parametrize("by_content", [True, False])
def test_a_geotiff_that_was_cut_off_or_holds_other_numbers_is_refused(tmp_path, by_content):
    file, rng = tmp_path / "map.tif", np.random.default_rng(0)
    bands = rng.random((2, 300, 280), np.float32)
    bands[0, 0, 0] = np.nan
    profile = {"driver": "GTiff", "dtype": "float32", "count": 2, "height": 300, "width": 280, "tiled": True,
               "blockxsize": 256, "blockysize": 256}  # fmt: skip
    with rasterio.open(file, "w", **profile) as out:
        out.write(bands)
    corners = {(y, x): bands[:, y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)}
    sums = {corner: checksum(part) for corner, part in corners.items()} if by_content else None
    refuse_cut_off(file, file, sums)
    if by_content:
        bands[1, 299, 279] += 1
        for other in (sums | {(256, 256): checksum(bands[:, 256:, 256:])}, sums | {(512, 0): 0}):
            with pytest.raises(OSError, match=r"map.tif could not be written whole; is the disk full\?"):
                refuse_cut_off(file, file, other)
    os.truncate(file, file.stat().st_size - 100_000)
    with pytest.raises(OSError, match=r"map.tif could not be written whole; is the disk full\?"):
        refuse_cut_off(file, file, sums)
