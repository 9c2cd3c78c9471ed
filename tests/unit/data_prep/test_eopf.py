"""Sentinel-2 products in EOPF's Zarr: bands in groups, offset and scale in attributes, CRS and time in metadata."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from tests.unit.data_prep.raw_files import eopf_product

NAME = "S2B_MSIL2A_20230505T105621_N0509_R094_T31UFS_20230505T120000.zarr"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("given", ["folder", "files"])
def test_reflectance_classes_date_and_place_of_a_product(tmp_path: Path, version: int, given: str) -> None:
    expected = eopf_product(tmp_path / NAME, version=version)
    raw = load_files(FilesSource(folder=tmp_path) if given == "folder" else FilesSource(s2=(tmp_path / NAME,)))
    assert raw.s2.t.dt.strftime("%F").values.tolist() == ["2023-05-05"]
    assert raw.s2.rio.crs.to_epsg() == 32631
    assert (float(raw.s2.x[0]), float(raw.s2.y[0])) == (574_685.0, 5_622_435.0)
    np.testing.assert_allclose(raw.s2.B04[0], expected["b04"], atol=1e-6)
    np.testing.assert_allclose(raw.s2.B08[0], expected["b08"], atol=1e-6)
    np.testing.assert_array_equal(raw.s2.SCL[0], expected["scl"].repeat(2, 0).repeat(2, 1))
    assert raw.s2.attrs["scl_pixel_m"] == 20


def test_a_series_of_products_dated_by_their_metadata(tmp_path: Path) -> None:
    for k, day in enumerate(("2023-05-05", "2023-05-10")):
        eopf_product(tmp_path / f"product{k}.zarr", seed=k, date=f"{day}T10:56:21Z")
    raw = load_files(FilesSource(folder=tmp_path))
    assert raw.s2.t.dt.strftime("%F").values.tolist() == ["2023-05-05", "2023-05-10"]


def test_without_an_offset_in_the_attributes_the_name_and_the_numbers_decide(tmp_path: Path) -> None:
    """As for other files: the baseline in the name, unless the numbers prove that the offset is not in them."""
    held, free = tmp_path / "held" / NAME, tmp_path / "free" / NAME
    for path, added in ((held, 1000), (free, 0)):
        path.parent.mkdir()
        expected = eopf_product(path, offset=None, added=added)
        raw = load_files(FilesSource(folder=path.parent))
        np.testing.assert_allclose(raw.s2.B08[0], expected["b08"], atol=1e-6)


def test_an_offset_in_the_attributes_that_the_numbers_do_not_hold_is_refused(tmp_path: Path) -> None:
    eopf_product(tmp_path / NAME, added=0)
    with pytest.raises(SourceError, match=r"b04 lies below -0.02 at \d+ % of its pixels with its add_offset -0.1"):
        load_files(FilesSource(folder=tmp_path))


def _remove(path: Path, group: str) -> None:
    del zarr.open_group(path, mode="a")[group]


def _change(path: Path, group: str, **attrs: object) -> None:
    zarr.open_group(path, mode="a")[group].attrs.update(attrs)


def _shift(path: Path) -> None:
    zarr.open_group(path, mode="a")["measurements/reflectance/r10m/x"][:] = 574_680 + 10 * np.arange(16)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: _remove(p, "conditions/mask/l2a_classification/r20m"), "level 1C .* or incomplete; expected .* 2A"),
        (lambda p: _remove(p, "measurements/reflectance/r10m/b08"), "has no measurements/reflectance/r10m/b08; it h"),
        (lambda p: _change(p, "measurements/reflectance/r10m/b04", **{"proj:epsg": 32632}), "EPSG:32631 and EPSG:3263"),
        (_shift, "x begins with 574680, 0.00 of a pixel beside the tile's grid; expected pixel centres"),
        (lambda p: _change(p, "measurements/reflectance/r10m/b04", scale_factor="0,0001"), "decimal point"),
    ],
)
def test_what_contradicts_the_layout_is_refused_by_one_sentence(tmp_path: Path, damage, message: str) -> None:
    eopf_product(tmp_path / NAME)
    damage(tmp_path / NAME)
    with pytest.raises(SourceError, match=message):
        load_files(FilesSource(folder=tmp_path))
