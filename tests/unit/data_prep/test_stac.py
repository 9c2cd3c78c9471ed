"""A STAC catalogue on this machine, with COGs that the test writes: grids, offsets, passes, bad items."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pydantic import ValidationError
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings
from data_prep.raw.cubes import SourceError
from data_prep.raw.extent import extent_of_area
from data_prep.sources.stac import StacSource, grid_within, pending_offset

pystac = pytest.importorskip("pystac")
pytest.importorskip("odc.stac")

LEFT, TOP, SIDE = 640_000.0, 5_660_000.0, 64  # EPSG:32631, ten-metre pixels
BBOX = transform_bounds("EPSG:32631", "EPSG:4326", LEFT + 107, TOP - 533, LEFT + 541, TOP - 103)
CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))


def cog(
    path: Path, values: np.ndarray, *, pixel: float = 10.0, crs: str = "EPSG:32631", left: float = LEFT,
    top: float = TOP, nodata: float | None = 0,
) -> str:  # fmt: skip
    profile = {"driver": "COG", "width": values.shape[1], "height": values.shape[0], "count": 1, "dtype": values.dtype}
    with rasterio.open(
        path, "w", crs=crs, transform=from_origin(left, top, pixel, pixel), nodata=nodata, **profile
    ) as file:
        file.write(values, 1)
    return str(path)


class Catalogue:
    """Collects items and saves them as an item collection."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.items = folder, []

    def add(
        self, name: str, collection: str, when: str, assets: dict[str, np.ndarray], *,
        pixels: dict[str, float] | None = None, properties: dict[str, object] | None = None,
        raster: dict[str, float] | None = None, **place: object,
    ) -> None:  # fmt: skip
        time = datetime.datetime.fromisoformat(when).replace(tzinfo=datetime.UTC)
        corners = [[4.9, 50.9], [5.2, 50.9], [5.2, 51.2], [4.9, 51.2], [4.9, 50.9]]
        outline = {"type": "Polygon", "coordinates": [corners]}
        item = pystac.Item(name, outline, [4.9, 50.9, 5.2, 51.2], time, dict(properties or {}), collection=collection)
        for key, values in assets.items():
            pixel = (pixels or {}).get(key, 10.0)
            href = cog(self.folder / f"{name}_{key}.tif", values, pixel=pixel, **place)
            asset = pystac.Asset(href, media_type=pystac.MediaType.COG, roles=["data"])
            if raster and key != "scl":
                asset.extra_fields["raster:bands"] = [raster]
            item.add_asset(key, asset)
        self.items.append(item)

    def source(self, **changes: object) -> StacSource:
        file = self.folder / "items.json"
        pystac.ItemCollection(self.items).save_object(str(file))
        told = {"catalog": str(file), "bbox": BBOX, "start": "2022-01-01", "end": "2022-12-31", **changes}
        return StacSource(**told)


def sentinel2(seed: int, side: int = SIDE) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "red": rng.integers(300, 900, (side, side)).astype("uint16"),
        "nir": rng.integers(2000, 5000, (side, side)).astype("uint16"),
        "scl": rng.choice([4, 5], (side // 2, side // 2)).astype("uint8"),
    }


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue(tmp_path)


def ndvi_of(images: dict[str, np.ndarray]) -> np.ndarray:
    red, nir = images["red"].astype(float), images["nir"].astype(float)
    return (nir - red) / (nir + red)


def area_grid(bbox):
    """The grid on which an area in degrees is read."""
    return grid_within(extent_of_area(bbox))


def window(grid, image: np.ndarray, pixel: float = 10.0) -> np.ndarray:
    """The part of a written image that the area's grid covers."""
    box = grid.boundingbox
    row, column = round((TOP - box.top) / pixel), round((box.left - LEFT) / pixel)
    return image[
        row : row + round((box.top - box.bottom) / pixel), column : column + round((box.right - box.left) / pixel)
    ]


def test_grid_edges_lie_on_whole_20_m_cells():
    box = area_grid(BBOX).boundingbox
    assert area_grid(BBOX).crs.epsg == 32631
    assert all(v % 20 == 0 for v in (box.left, box.bottom, box.right, box.top))
    assert area_grid((20.0, -34.1, 20.01, -34.09)).crs.epsg == 32734


def test_pixels_are_exact_and_each_scl_cell_is_two_by_two(catalogue):
    images = sentinel2(1)
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", images, pixels={"scl": 20.0})
    raw = catalogue.source().load()
    grid = area_grid(BBOX)
    cube = build_cube(raw, CLEAR)
    assert cube.rio.crs.to_epsg() == 32631 and cube.t.dt.strftime("%F").values.tolist() == ["2022-06-10"]
    np.testing.assert_allclose(cube.sel(bands="S2NDVI").values[0], window(grid, ndvi_of(images)), atol=1e-6)
    scl = raw.s2.SCL.values[0]
    np.testing.assert_array_equal(scl, scl[::2, ::2].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(scl[::2, ::2], window(grid, images["scl"], 20.0))
    assert raw.s2.attrs["scl_pixel_m"] == 20 and raw.s2.B04.chunks is not None


def test_offset_rules_by_metadata():
    def item(raster: dict[str, float] | None = None, **properties: object):
        made = pystac.Item("i", None, None, datetime.datetime(2022, 6, 1, tzinfo=datetime.UTC), properties)
        asset = pystac.Asset("x.tif")
        if raster:
            asset.extra_fields["raster:bands"] = [raster]
        made.add_asset("red", asset)
        return pending_offset(made, "red")

    assert item(**{"s2:processing_baseline": "03.01"}) == 0
    assert item(**{"s2:processing_baseline": "04.00"}) == -1000
    assert item(**{"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}) == 0
    assert item({"scale": 1e-4, "offset": -0.1}) == -1000
    assert item({"scale": 1e-4, "offset": -0.1}, **{"earthsearch:boa_offset_applied": True}) == 0
    assert item({"scale": None, "offset": None}) is None
    assert item({"raster:scale": "0.0001", "raster:offset": "-0.1"}) == -1000
    assert item(**{"s2:processing_baseline": "N0509"}) == -1000
    assert item(**{"s2:processing_baseline": "N0214"}) == 0
    with pytest.raises(SourceError, match="has the scale 'one'; expected a number"):
        item({"scale": "one", "offset": -0.1})
    assert item() is None


def test_items_with_and_without_the_offset_give_the_same_ndvi(catalogue):
    images = sentinel2(2)
    later = {k: v + (1000 if k != "scl" else 0) for k, v in images.items()}
    later = {k: v.astype(images[k].dtype) for k, v in later.items()}
    catalogue.add(
        "old",
        "sentinel-2-l2a",
        "2022-01-20T10:50:00",
        images,
        pixels={"scl": 20.0},
        properties={"s2:processing_baseline": "03.01"},
    )
    catalogue.add(
        "new",
        "sentinel-2-l2a",
        "2022-02-20T10:50:00",
        later,
        pixels={"scl": 20.0},
        properties={"s2:processing_baseline": "04.00"},
    )
    raw = catalogue.source().load()
    ndvi = build_cube(raw, CLEAR).sel(bands="S2NDVI").values
    np.testing.assert_allclose(ndvi[0], ndvi[1], atol=1e-6)
    assert any("-1000" in note for note in raw.notes)


def test_another_crs_dtype_and_nodata_come_to_the_same_grid(catalogue):
    from pyproj import Transformer

    level = np.full((120, 120), 3000, "int16")
    level[:, :30] = -9999
    left, top = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True).transform(LEFT, TOP)
    place = {"crs": "EPSG:32632", "left": left - 300, "top": top + 300, "nodata": -9999}
    images = {"red": (level // 5).astype("int16"), "nir": level, "scl": np.full((60, 60), 4, "int16")}
    images["red"][level < 0] = -9999
    catalogue.add("b", "sentinel-2-l2a", "2022-06-10T10:50:00", images, pixels={"scl": 20.0}, **place)
    ndvi = build_cube(catalogue.source().load(), CLEAR).sel(bands="S2NDVI").values
    assert np.nanmin(ndvi) == pytest.approx((3000 - 600) / 3600, abs=1e-5) == pytest.approx(np.nanmax(ndvi), abs=1e-5)
    assert np.isfinite(ndvi).mean() > 0.95


@pytest.mark.parametrize("value", [1, 65535])
def test_a_fill_value_that_no_metadata_state_spreads_to_no_neighbour(catalogue, value):
    from pyproj import Transformer

    images = {
        "red": np.full((120, 120), 600, "uint16"), "nir": np.full((120, 120), 3000, "uint16"),
        "scl": np.full((60, 60), 4, "uint8"),
    }  # fmt: skip
    images["red"][60:62, 60:63] = value
    left, top = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True).transform(LEFT, TOP)
    place = {"crs": "EPSG:32632", "left": left - 300, "top": top + 300}
    catalogue.add("b", "sentinel-2-l2a", "2021-06-10T10:50:00", images, pixels={"scl": 20.0}, **place)
    source = catalogue.source(start="2021-01-01", end="2021-12-31")
    ndvi = build_cube(source.load(), CLEAR).sel(bands="S2NDVI").values
    np.testing.assert_allclose(ndvi[np.isfinite(ndvi)], (3000 - 600) / 3600, atol=1e-5)
    assert 0 < np.isnan(ndvi[0, 20:80, 20:80]).sum() <= 20


def test_a_byte_order_mark_before_a_catalogue_is_ignored(catalogue):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    source = catalogue.source()
    expected = build_cube(source.load(), CLEAR)
    file = Path(source.catalog)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    np.testing.assert_array_equal(build_cube(source.load(), CLEAR), expected)


def test_radar_passes_are_kept_apart_and_levelled(catalogue):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    for k, (state, power) in enumerate((("ascending", 0.1), ("descending", 0.05), ("ascending", 0.1))):
        image = np.full((SIDE, SIDE), power, "float32")
        catalogue.add(
            f"s{k}", "sentinel-1-rtc", f"2022-06-1{k}T06:00:00", {"vv": image, "vh": image / 5},
            properties={"sat:orbit_state": state, "sat:relative_orbit": 88},
        )  # fmt: skip
    raw = catalogue.source(s1_collection="sentinel-1-rtc", s1_units="linear").load()
    assert raw.s1.orbit.values.tolist() == ["ascending 88", "descending 88", "ascending 88"]
    cube = build_cube(raw, CLEAR)
    vv = cube.sel(bands="VV").dropna("t", how="all").values
    np.testing.assert_allclose(vv, -10.0, atol=1e-3)
    one_pass = CLEAR.model_copy(update={"radar": RadarSettings(passes="ascending")})
    days = build_cube(raw, one_pass).sel(bands="VV").dropna("t", how="all").t.dt.strftime("%F").values.tolist()
    assert days == ["2022-06-10", "2022-06-12"]
    with pytest.raises(ValidationError, match="units are not detected"):
        catalogue.source(s1_collection="sentinel-1-rtc")


def test_tiles_of_one_day_are_joined_and_said_to_be(catalogue):
    images = sentinel2(3)
    left = {k: v[:, : v.shape[1] // 2] for k, v in images.items()}
    right = {k: v[:, 3 * v.shape[1] // 8 :].copy() for k, v in images.items()}  # eight columns overlap
    right["red"][:, :8] = 9999
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", left, pixels={"scl": 20.0})
    catalogue.add("b", "sentinel-2-l2a", "2022-06-10T10:50:10", right, pixels={"scl": 20.0}, left=LEFT + 240)
    raw = catalogue.source().load()
    cube = build_cube(raw, CLEAR).sel(bands="S2NDVI")
    assert cube.sizes["t"] == 1
    np.testing.assert_allclose(cube.values[0], window(area_grid(BBOX), ndvi_of(images)), atol=1e-6)
    assert any("1 days have several items" in note and "the first with data" in note for note in raw.notes)


def test_items_that_do_not_reach_the_area_are_one_sentence(catalogue):
    catalogue.add("far", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0}, left=LEFT + 9000)
    cube = build_cube(catalogue.source().load(), CLEAR)
    assert bool(cube.isnull().all()) and "S2NDVI has no value in the area" in cube.attrs["notes"]


def test_coarse_series_keeps_its_own_grid(catalogue):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    dn = np.full((400, 400), 145, "uint8")
    dn[:, 200:] = 255
    place = {"crs": "EPSG:4326", "left": 4.5, "top": 51.5, "nodata": 255}
    catalogue.add("c", "clms-ndvi", "2022-06-11T00:00:00", {"ndvi": dn}, pixels={"ndvi": 0.0029761904}, **place)
    raw = catalogue.source(coarse_collection="clms-ndvi").load()
    assert raw.coarse.rio.crs.to_epsg() == 4326 and raw.coarse.NDVI.sizes["y"] < 20
    coarse = build_cube(raw, CLEAR).sel(bands="COARSE_NDVI", t="2022-06-11").values
    np.testing.assert_allclose(coarse[np.isfinite(coarse)], 0.5, atol=1e-5)
    assert np.isfinite(coarse).all()


def test_a_broken_item_is_named_and_stops_or_is_skipped(catalogue, tmp_path):
    for k in range(2):
        catalogue.add(f"i{k}", "sentinel-2-l2a", f"2022-06-1{k}T10:50:00", sentinel2(k), pixels={"scl": 20.0})
    broken = tmp_path / "i1_nir.tif"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 3])
    with pytest.raises(SourceError, match=r"i1.*nir"):
        catalogue.source().load()
    raw = catalogue.source(on_error="skip").load()
    assert raw.s2.sizes["t"] == 1 and any("i1" in note for note in raw.notes)


def test_no_data_and_no_catalogue(catalogue, tmp_path):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    with pytest.raises(SourceError, match="no item of sentinel-2-l2a"):
        catalogue.source(start="2023-01-01", end="2023-02-01").load()
    with pytest.raises(SourceError, match="no item of other"):
        catalogue.source(s2_collection="other").load()
    with pytest.raises(SourceError, match="no item of sentinel-1-rtc"):
        catalogue.source(s1_collection="sentinel-1-rtc", s1_units="dB").load()
    with pytest.raises(SourceError, match="does not exist"):
        StacSource(catalog=str(tmp_path / "no.json"), bbox=BBOX, start="2022-01-01", end="2022-02-01").load()
    with pytest.raises(SourceError, match="127.0.0.1:9"):
        StacSource(catalog="http://127.0.0.1:9", bbox=BBOX, start="2022-01-01", end="2022-02-01").load()
    with pytest.raises(ValidationError, match="west < east"):
        StacSource(catalog="x", bbox=(5.1, 51.0, 5.0, 51.1), start="2022-01-01", end="2022-02-01")
    with pytest.raises(ValidationError, match="swap"):
        StacSource(catalog="x", bbox=BBOX, start="2022-03-01", end="2022-02-01")


@pytest.mark.parametrize("cover", [None, "absent", 5, "7.5"])
def test_an_item_whose_cloud_cover_is_not_known_is_kept(catalogue, cover):
    told = {} if cover == "absent" else {"eo:cloud_cover": cover}
    for k, properties in enumerate((told, {"eo:cloud_cover": 99.0})):
        catalogue.add(
            f"i{k}", "sentinel-2-l2a", f"2022-06-1{k}T10:50:00", sentinel2(k), pixels={"scl": 20.0},
            properties=properties,
        )  # fmt: skip
    assert catalogue.source().load().s2.t.values.astype("datetime64[D]").astype(str).tolist() == ["2022-06-10"]


def test_a_cloud_cover_that_is_no_number_is_named(catalogue):
    catalogue.add(
        "a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0},
        properties={"eo:cloud_cover": "low"},
    )  # fmt: skip
    with pytest.raises(SourceError, match="item a has eo:cloud_cover 'low'"):
        catalogue.source().load()


@pytest.mark.parametrize("place", ["items.json", "file", "own link"])
def test_relative_addresses_are_meant_from_the_item_or_the_catalogue(catalogue, tmp_path, monkeypatch, place):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    expected = build_cube(catalogue.source().load(), CLEAR)
    for asset in catalogue.items[0].assets.values():
        asset.href = ("../" if place == "own link" else "./") + Path(asset.href).name
    if place == "own link":
        (tmp_path / "sub").mkdir()
        catalogue.items[0].links.append(pystac.Link("self", str(tmp_path / "sub" / "a.json")))
    source = catalogue.source()
    monkeypatch.chdir(tmp_path.parent)
    source = source.model_copy(update={"catalog": f"file://{source.catalog}"}) if place == "file" else source
    np.testing.assert_array_equal(build_cube(source.load(), CLEAR), expected)


def test_a_date_of_another_time_zone_is_its_day_in_utc_and_a_missing_box_is_everywhere(catalogue):
    for name, when in (("a", "2022-06-10T10:50:00"), ("b", "2022-06-15T10:50:00")):
        catalogue.add(name, "sentinel-2-l2a", when, sentinel2(1), pixels={"scl": 20.0})
    catalogue.items[0].datetime = catalogue.items[0].datetime.astimezone(
        datetime.timezone(datetime.timedelta(hours=14))
    )
    catalogue.items[1].bbox = None
    cube = build_cube(catalogue.source().load(), CLEAR)
    assert cube.t.dt.strftime("%F").values.tolist() == ["2022-06-10", "2022-06-15"]
    assert cube.sel(bands="S2NDVI").notnull().all()


def test_the_scale_of_a_coarse_asset_counts_where_its_file_states_none(catalogue):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    catalogue.add(
        "c", "modis", "2022-06-10T00:00:00", {"NDVI": np.full((12, 12), 5000, "int16")}, pixels={"NDVI": 300.0},
        left=LEFT - 1500, top=TOP + 1500, nodata=None, raster={"scale": 1e-4, "offset": 0.0},
    )  # fmt: skip
    cube = build_cube(catalogue.source(coarse_collection="modis").load(), CLEAR)
    np.testing.assert_allclose(cube.sel(bands="COARSE_NDVI"), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("vv", "vh", "units", "words"),
    [
        (250.0, 90.0, "linear", "backscatter of land is below 0 dB"),
        (0.01, 0.05, "linear", "VH is the weaker one"),
        (12.0, 19.0, "dB", "backscatter of land is below 0 dB"),
    ],
)
def test_radar_that_contradicts_itself_is_refused(catalogue, vv, vh, units, words):
    catalogue.add("a", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    bands = {"vv": np.full((SIDE, SIDE), vv, "float32"), "vh": np.full((SIDE, SIDE), vh, "float32")}
    catalogue.add("r", "s1", "2022-06-11T17:30:00", bands, nodata=None)
    with pytest.raises(SourceError, match=words):
        build_cube(catalogue.source(s1_collection="s1", s1_units=units).load(), CLEAR)


def test_items_of_level_1c_are_refused(catalogue):
    catalogue.add("S2A_MSIL1C_20220610", "sentinel-2-l2a", "2022-06-10T10:50:00", sentinel2(1), pixels={"scl": 20.0})
    with pytest.raises(SourceError, match="is of level 1C"):
        catalogue.source().load()
