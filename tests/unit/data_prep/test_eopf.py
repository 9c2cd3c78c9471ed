"""Sentinel-2 products in EOPF's Zarr: bands in groups, offset and scale in attributes, CRS and time in metadata."""

import datetime
import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from rasterio.warp import transform_bounds

from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.settings import StacSource
from tests.unit.data_prep.raw_files import LEFT, TOP, eopf_product

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


ASSETS = {
    "B04_10m": "measurements/reflectance/r10m/b04",
    "B08_10m": "measurements/reflectance/r10m/b08",
    "SCL_20m": "conditions/mask/l2a_classification/r20m/scl",
}


def catalogue(folder: Path, products: dict[str, str]) -> str:
    """An item collection of EOPF products, address by item id, as the sample service's catalogue describes them."""
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("odc.stac")
    items = []
    for k, (name, address) in enumerate(products.items()):
        time = datetime.datetime(2023, 5, 5 + 5 * k, 10, 56, tzinfo=datetime.UTC)
        outline = {
            "type": "Polygon",
            "coordinates": [[[4.0, 50.7], [4.2, 50.7], [4.2, 50.8], [4.0, 50.8], [4.0, 50.7]]],
        }
        item = pystac.Item(name, outline, [4.0, 50.7, 4.2, 50.8], time, {}, collection="sentinel-2-l2a")
        for key, inside in ASSETS.items():
            item.add_asset(key, pystac.Asset(f"{address}/{inside}", media_type="application/vnd+zarr"))
        items.append(item)
    pystac.ItemCollection(items).save_object(str(folder / "items.json"))
    return str(folder / "items.json")


def stac_source(catalog: str, **changes: object) -> StacSource:
    bbox = transform_bounds("EPSG:32631", "EPSG:4326", LEFT + 41, TOP - 119, LEFT + 119, TOP - 41)
    return StacSource(**{"catalog": catalog, "bbox": bbox, "start": "2023-01-01", "end": "2023-12-31", **changes})


def part(image: np.ndarray, raw: xr.Dataset) -> np.ndarray:
    """The pixels of a product that the raw cube holds."""
    row, column = round((TOP - 5 - float(raw.y[0])) / 10), round((float(raw.x[0]) - LEFT - 5) / 10)
    return image[row : row + raw.sizes["y"], column : column + raw.sizes["x"]]


@pytest.mark.parametrize("version", [2, 3])
def test_products_of_a_catalogue_come_to_the_areas_grid(tmp_path: Path, version: int) -> None:
    """The second has no offset in its attributes and none in its numbers: image by image, as from other assets."""
    expected = [
        eopf_product(tmp_path / "a.zarr", seed=1, version=version),
        eopf_product(tmp_path / "b.zarr", seed=2, version=version, offset=None, added=0),
    ]
    raw = stac_source(catalogue(tmp_path, {k: str(tmp_path / f"{k}.zarr") for k in "ab"})).load()
    assert raw.s2.t.dt.strftime("%F").values.tolist() == ["2023-05-05", "2023-05-10"]
    assert raw.s2.rio.crs.to_epsg() == 32631 and raw.s2.B04.chunks is not None
    for k, one in enumerate(expected):
        np.testing.assert_allclose(raw.s2.B04[k], part(one["b04"], raw.s2), atol=1e-6)
        np.testing.assert_allclose(raw.s2.B08[k], part(one["b08"], raw.s2), atol=1e-6)
        np.testing.assert_array_equal(raw.s2.SCL[k], part(one["scl"].repeat(2, 0).repeat(2, 1), raw.s2))


def test_two_products_of_a_day_are_joined(tmp_path: Path) -> None:
    """The first product lacks its last columns; the second fills them."""
    expected = eopf_product(tmp_path / "a.zarr", seed=1)
    zarr.open_group(tmp_path / "a.zarr", mode="a")["measurements/reflectance/r10m/b08"][:, 8:] = 0
    eopf_product(tmp_path / "b.zarr", seed=1)
    file = Path(catalogue(tmp_path, {k: str(tmp_path / f"{k}.zarr") for k in "ab"}))
    told = json.loads(file.read_text())
    told["features"][1]["properties"]["datetime"] = told["features"][0]["properties"]["datetime"]
    file.write_text(json.dumps(told))
    raw = stac_source(str(file)).load()
    assert raw.s2.sizes["t"] == 1
    np.testing.assert_allclose(raw.s2.B08[0], part(expected["b08"], raw.s2), atol=1e-6)


def test_products_behind_an_address(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    expected = eopf_product(tmp_path / "a.zarr", seed=1)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/a.zarr"
        raw = stac_source(catalogue(tmp_path, {"a": address})).load()
        np.testing.assert_allclose(raw.s2.B08[0], part(expected["b08"], raw.s2), atol=1e-6)
        gone = stac_source(catalogue(tmp_path, {"a": address.replace("a.zarr", "none.zarr")}))
        with pytest.raises(SourceError, match=r"none.zarr cannot be opened"):
            gone.load()
    finally:
        server.shutdown()


def test_a_product_that_is_not_there_stops_or_is_skipped(tmp_path: Path) -> None:
    eopf_product(tmp_path / "a.zarr")
    catalog = catalogue(tmp_path, {"a": str(tmp_path / "a.zarr"), "b": str(tmp_path / "b.zarr")})
    with pytest.raises(SourceError, match="item b: asset B04_10m .* cannot be read .*b.zarr does not exist"):
        stac_source(catalog).load()
    raw = stac_source(catalog, on_error="skip").load()
    assert raw.s2.sizes["t"] == 1 and any(note.startswith("skipped: item b") for note in raw.notes)
