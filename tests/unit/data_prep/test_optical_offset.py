"""The offset of baseline 04.00: mixed series, flags that the numbers contradict, items without metadata."""

import numpy as np
import pytest
import xarray as xr

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.optical_offset import decide_offsets
from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from tests.unit.data_prep.test_stac import catalogue, sentinel2  # noqa: F401

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))


def series(folder, added: np.ndarray, start: str = "2021-11-01", **attrs: object) -> None:
    """Red 400, near infrared 3600 (NDVI 0.8) every 10 days, with what each image has added."""
    shape = (len(added), 12, 12)
    data = {
        name: (("t", "y", "x"), (np.full(shape, dn) + added[:, None, None]).astype("uint16"), attrs)
        for name, dn in (("B04", 400), ("B08", 3600))
    }
    data["SCL"] = (("t", "y", "x"), np.full(shape, 4, "uint8"), {})
    coords = {
        "t": np.datetime64(start, "ns") + np.arange(len(added)) * np.timedelta64(10, "D"),
        "y": 5_660_000.0 - 10 * np.arange(12), "x": 640_000.0 + 10 * np.arange(12),
    }  # fmt: skip
    xr.Dataset(data, coords=coords).rio.write_crs("EPSG:32631").to_netcdf(folder / "s2.nc")


def ndvi(folder, **changes: object) -> np.ndarray:
    return build_cube(load_files(FilesSource(folder=folder, **changes)), CLEAR).sel(bands="S2NDVI").values


def test_a_series_with_the_offset_from_2022_on_is_treated_by_date(tmp_path):
    days = np.datetime64("2021-11-01") + 10 * np.arange(20)
    series(tmp_path, np.where(days >= np.datetime64("2022-01-25"), 1000, 0))
    np.testing.assert_allclose(ndvi(tmp_path), 0.8, atol=1e-6)
    np.testing.assert_allclose(ndvi(tmp_path, s2_offset_dn="by_date"), 0.8, atol=1e-6)


def test_an_offset_that_no_rule_explains_is_refused_and_a_single_image_left_out(tmp_path):
    series(tmp_path, 1000 * (np.arange(20) % 2))
    with pytest.raises(SourceError, match=r"10 of 20 images.*source\.s2_offset_dn=-1000"):
        ndvi(tmp_path)
    (tmp_path / "one").mkdir()
    series(tmp_path / "one", 1000 * (np.arange(20) == 5))
    got = ndvi(tmp_path / "one")
    assert np.isnan(got[5]).all()
    np.testing.assert_allclose(np.delete(got, 5, 0), 0.8, atol=1e-6)


@pytest.mark.parametrize(("added", "said"), [(0, -1000), (1000, 0)])
def test_a_flag_that_the_numbers_contradict_is_refused_and_the_setting_decides(tmp_path, added, said):
    series(tmp_path, np.full(8, added), "2023-05-01", BOA_ADD_OFFSET=said)
    with pytest.raises(SourceError, match=rf"metadata say {said}.*s2_offset_dn"):
        ndvi(tmp_path)
    np.testing.assert_allclose(ndvi(tmp_path, s2_offset_dn=-added), 0.8, atol=1e-6)


def test_collection_1_before_2022_is_found_by_its_numbers(tmp_path):
    series(tmp_path, np.full(8, 1000), "2020-05-01")
    with pytest.raises(SourceError, match="8 of 8 images"):
        ndvi(tmp_path)


def test_a_download_is_treated_as_files_are(tmp_path):
    folder = tmp_path / "a" / "s2"
    folder.mkdir(parents=True)
    source = OpenEOSource(
        areas={"a": (5.0, 51.0, 5.1, 51.1)}, start="2021-11", end="2022-05", folder=tmp_path, sensors=("s2",)
    )
    series(folder, 1000 * (np.arange(20) % 2))
    with pytest.raises(SourceError, match=r"10 of 20 images.*source\.s2_offset_dn=-1000"):
        read_area(source, "a")
    (folder / "s2.nc").unlink()
    series(folder, np.where(np.datetime64("2021-11-01") + 10 * np.arange(20) >= np.datetime64("2022-01-25"), 1000, 0))
    for told in ("auto", "by_date"):
        raw = read_area(source.model_copy(update={"s2_offset_dn": told}), "a")
        np.testing.assert_allclose(build_cube(raw, CLEAR).sel(bands="S2NDVI"), 0.8, atol=1e-6)


@pytest.mark.parametrize(
    ("added", "flags"),
    [
        (1000, {}),
        (1000, {"earthsearch:boa_offset_applied": True}),
        (1000, {"s2:processing_baseline": "03.01"}),
        (0, {"s2:processing_baseline": "05.09"}),
    ],
)
def test_items_whose_flag_is_missing_or_wrong_are_refused_and_the_setting_decides(catalogue, added, flags):  # noqa: F811
    images = {k: v + v.dtype.type(added if k != "scl" else 0) for k, v in sentinel2(2).items()}
    images["scl"][:] = 4
    catalogue.add(
        "a", "sentinel-2-l2a", "2022-06-10T10:50:00", images, pixels={"scl": 20.0}, properties=flags
    )  # fmt: skip
    with pytest.raises(SourceError, match=r"source\.s2_offset_dn"):
        catalogue.source().load()
    cube = build_cube(catalogue.source(s2_offset_dn=-added).load(), CLEAR).sel(bands="S2NDVI").values
    assert np.nanmin(cube) > 0.3 and np.nanmax(cube) < 0.9


def test_silent_items_follow_the_date_where_both_sides_prove_it():
    times = np.array(["2021-06-01", "2021-12-01", "2022-03-01", "2022-06-01"], "datetime64[ns]")
    notes: list[str] = []
    got = decide_offsets(times, np.array([-1, 0, 0, 1], np.int8), [None] * 4, "auto", "x", notes)
    np.testing.assert_array_equal(got, [0, 0, -1000, -1000])
    assert "2022-01-25" in notes[0]
