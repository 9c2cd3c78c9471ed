"""Windows of an area: each equals its part of the cube that is built of the whole at once, files and STAC."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rasterio.warp import transform_bounds

from data_prep.cube import build_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings
from data_prep.raw import reading
from data_prep.raw.cubes import SourceError
from data_prep.settings import PrepareSettings
from data_prep.sources.files import FilesSource
from data_prep.windows import plan_area
from fusion.contract import COARSE_NDVI, S2NDVI, VH, VV
from tests.unit.data_prep.raw_files import CRS, LEFT, TOP, axis, gee_like, geotiff
from tests.unit.data_prep.test_stac import BBOX, SIDE, Catalogue, sentinel2
from tests.unit.data_prep.test_stac import LEFT as STAC_LEFT
from tests.unit.data_prep.test_stac import TOP as STAC_TOP

ROWS, COLUMNS, TILES = 40, 440, ((0, 260), (220, 440))
DAYS = np.datetime64("2021-11-20") + 25 * np.arange(6)  # baseline 04.00 begins at 2022-01-25
WINDOWS = [(slice(0, 40), slice(105, 220)), (slice(6, 33), slice(330, COLUMNS))]


def write_strip(folder: Path) -> Path:
    """A strip whose west tells what its east does not: the offset, digital numbers of the coarse series, levels."""
    rng = np.random.default_rng(7)
    numbers = np.stack([rng.integers(250, 700, (6, ROWS, COLUMNS)), rng.integers(2500, 5000, (6, ROWS, COLUMNS))])
    numbers[:, np.datetime64("2022-01-25") <= DAYS] += 1000
    classes = np.full((6, ROWS // 2, COLUMNS // 2), 4, np.uint8)
    classes[:, :, 140:] = 5  # no vegetation in the east
    classes[3, 4:12, 100:112] = classes[4, :6, 60:64] = 9  # clouds beside borders of windows
    for tile, (west, east) in enumerate(TILES):
        bands = {"B04": numbers[0, :, :, west:east], "B08": numbers[1, :, :, west:east]}
        _write_tile(folder / f"T{tile}_10m.nc", {k: v.astype("uint16") for k, v in bands.items()}, 10, west)
        _write_tile(folder / f"T{tile}_20m.nc", {"SCL": classes[:, :, west // 2 : east // 2]}, 20, west)
    _write_radar(folder / "s1.nc", rng)
    _write_coarse(folder / "coarse.nc")
    return folder


def _write_tile(path: Path, bands: dict[str, np.ndarray], pixel: float, west: int) -> None:
    height, width = next(iter(bands.values())).shape[1:]
    coords = {"t": DAYS.astype("datetime64[ns]"), "y": axis(height, pixel)["y"]}
    coords["x"] = axis(width, pixel, left=LEFT + 10 * west)["x"]
    made = xr.Dataset({name: (("t", "y", "x"), values) for name, values in bands.items()}, coords)
    made.rio.write_crs(CRS).to_netcdf(path)


def _write_radar(path: Path, rng: np.random.Generator) -> None:
    """Two passes, apart by 1 dB in the west and 3 dB in the east, and two satellites in turns, apart by 1.5 dB."""
    t = np.datetime64("2021-11-01T17:31", "ns") + 3 * np.arange(24) * np.timedelta64(1, "D")
    second, late = np.arange(24) % 2 == 1, np.arange(24) % 4 > 1
    fields = -9 + 2 * rng.normal(size=(ROWS, COLUMNS)).astype("float32")
    images = fields + rng.normal(0, 0.3, (24, ROWS, COLUMNS)) - 1.5 * late[:, None, None]
    images -= second[:, None, None] * np.linspace(1, 3, COLUMNS)
    coords = {
        "t": t, "orbit_state": ("t", np.where(second, "descending", "ascending").astype(object)),
        "platform": ("t", np.where(late, "S1B", "S1A").astype(object)),
    }  # fmt: skip
    coords |= {"y": TOP + 5 - 10 * (np.arange(ROWS) + 0.5), "x": LEFT - 5 + 10 * (np.arange(COLUMNS) + 0.5)}
    bands = {name: (("t", "y", "x"), (images - low).astype("float32")) for name, low in (("VV", 0), ("VH", 7))}
    xr.Dataset(bands, coords).rio.write_crs(CRS).to_netcdf(path)


def _write_coarse(path: Path) -> None:
    """Digital numbers as floats, below 1.5 in the east, in degrees."""
    west, south, east, north = transform_bounds(CRS, "EPSG:4326", LEFT, TOP - 10 * ROWS, LEFT + 10 * COLUMNS, TOP)
    side = 1 / 336
    x, y = np.arange(west - 4 * side, east + 4 * side, side), np.arange(north + 4 * side, south - 4 * side, -side)
    dn = np.where(x < (2 * west + 3 * east) / 5, 150.0, 1.0) + np.zeros((6, len(y), 1))
    dn[:, ::2] += np.arange(6)[:, None, None]
    coords = {"t": DAYS.astype("datetime64[ns]"), "y": y, "x": x}
    xr.Dataset({"NDVI": (("t", "y", "x"), dn.astype("float32"))}, coords).rio.write_crs("EPSG:4326").to_netcdf(path)


@pytest.fixture(scope="module")
def strip(tmp_path_factory) -> Path:
    return write_strip(tmp_path_factory.mktemp("strip"))


def assert_windows_equal_the_whole(source, settings: PrepareSettings, windows) -> xr.DataArray:
    whole = build_cube(source.load(), settings).load()
    plan, cube = plan_area(source, settings)
    xr.testing.assert_identical(cube.load(), whole)
    assert plan.labels.attrs == whole.attrs and plan.labels.bands.equals(whole.bands)
    for rows, columns in windows:
        part, same = plan.read((rows, columns)), whole.isel(y=rows, x=columns)
        xr.testing.assert_equal(part.drop_sel(bands=COARSE_NDVI, errors="ignore"),
                                same.drop_sel(bands=COARSE_NDVI, errors="ignore"))  # fmt: skip
        np.testing.assert_allclose(part, same, atol=1e-4)  # the coarse series is warped; 2.6e-5 here
    return whole


def test_windows_of_files_equal_the_cube_built_at_once(strip):
    settings = PrepareSettings(radar=RadarSettings(speckle="quegan"), optical=OpticalSettings(flag_dips=True))
    whole = assert_windows_equal_the_whole(FilesSource(folder=strip), settings, WINDOWS)
    notes = str(whole.notes)
    assert "-1000 added to the digital numbers of 6 images" in notes  # 3 dates of two tiles
    assert "S1B on ascending: VV -1.43 dB" in notes and "pass descending shifted by +2." in notes
    assert float(whole.sel(bands=COARSE_NDVI).isel(x=40).mean()) == pytest.approx(0.004 * 152 - 0.08, abs=0.02)
    masked = whole.sel(bands=S2NDVI, t=str(DAYS[3])).isnull().any("y").values
    assert masked[110:330].any() and not masked[[0, -1]].any()


@pytest.mark.slow
def test_the_surroundings_of_a_wide_dilation_are_read(strip):
    settings = PrepareSettings(optical=OpticalSettings(mask="disk", dilation_px=40))
    assert_windows_equal_the_whole(FilesSource(folder=strip), settings, WINDOWS[:1])


def test_a_window_alone_would_decide_otherwise(strip):
    """What the test above rests on: the east holds no evidence of the offset, and has another level of the passes."""
    box = transform_bounds(CRS, "EPSG:4326", LEFT + 3400, TOP - 390, LEFT + 4300, TOP)
    with pytest.raises(SourceError, match="the offset of baseline 04.00 seems to be still in them"):
        FilesSource(folder=strip, area=box).load()
    east = FilesSource(folder=strip, area=box, s2_offset_dn="by_date")
    settings = PrepareSettings(registration={"check": "off"})
    alone, whole = (build_cube(source.load(), settings) for source in (east, FilesSource(folder=strip)))
    part = whole.sel(x=alone.x, y=alone.y)
    assert min(float(abs(alone.sel(bands=b) - part.sel(bands=b)).max()) for b in (VV, VH)) > 0.3
    assert float(alone.sel(bands=COARSE_NDVI).mean()) > part.sel(bands=COARSE_NDVI).mean() + 0.5


def test_where_no_file_reaches_is_nan_of_full_shape(tmp_path):
    rng = np.random.default_rng(0)
    for k, column in enumerate((0, 500)):
        for day in ("20210601", "20210611"):
            bands = np.stack([rng.integers(300, 600, (20, 100)), rng.integers(2000, 5000, (20, 100))]).astype("uint16")
            geotiff(tmp_path / f"{k}_{day}.tif", bands, names=("B04", "B08"), left=LEFT + 10 * column)
    source = FilesSource(folder=tmp_path)
    plan, whole = plan_area(source, PrepareSettings())
    empty, beside = (plan.read((slice(0, 20), slice(k, k + 100))) for k in (250, 30))
    np.testing.assert_array_equal(beside, whole.isel(x=slice(30, 130)))
    assert beside.notnull().any() and beside.isnull().any()
    assert empty.shape == (2, 1, 20, 100) and bool(empty.isnull().all())


def test_an_input_that_changed_is_named(strip, tmp_path):
    source = FilesSource(folder=tmp_path)
    for day in ("20210601", "20210611"):
        bands = np.full((2, 20, 20), 3000, "uint16")
        geotiff(tmp_path / f"{day}.tif", bands, names=("B04", "B08"))
    plan, _ = plan_area(source, PrepareSettings())
    (tmp_path / "20210611.tif").unlink()
    with pytest.raises(SourceError, match="the input has changed, start again"):
        plan.read((slice(0, 10), slice(0, 10)))


@pytest.mark.slow
def test_an_area_of_files_is_their_part(strip):
    box = (LEFT + 205, TOP - 195, LEFT + 1995, TOP - 105)  # of the first tile only
    source = FilesSource(folder=strip, area=transform_bounds(CRS, "EPSG:4326", *box), s2_offset_dn="by_date")
    settings = PrepareSettings(optical=OpticalSettings(mask="none"), registration={"check": "off"})
    part = build_cube(source.load(), settings).sel(bands=S2NDVI)
    whole = build_cube(FilesSource(folder=strip).load(), settings).sel(bands=S2NDVI)
    assert float(part.x[0]) % 20 == 5 and 180 <= part.sizes["x"] <= 190  # whole cells of 20 m
    xr.testing.assert_equal(part, whole.sel(x=part.x, y=part.y))
    away = FilesSource(folder=strip, area=(2.0, 45.0, 2.01, 45.01))
    with pytest.raises(SourceError, match=r"no file of .*strip0 reaches into the area \(2.0, 45.0"):
        away.load()


def test_windows_of_a_catalogue_equal_the_cube_built_at_once(tmp_path):
    catalogue = Catalogue(tmp_path)
    for k, day in enumerate(("2022-01-10", "2022-02-10", "2022-02-15", "2022-03-10")):
        images = sentinel2(k)
        for band in ("red", "nir"):
            images[band] += np.uint16(1000 * (day > "2022-01-25"))
        images["scl"][:, SIDE // 4 :] = 6  # no vegetation in the east
        catalogue.add(f"s2_{k}", "sentinel-2-l2a", f"{day}T10:50:00", images, pixels={"scl": 20.0})
    rng = np.random.default_rng(0)
    for k in range(8):
        state = ("ascending", "descending")[k % 2]
        vv = 10 ** (rng.normal(-0.9, 0.1, (SIDE, SIDE)) - 0.1 * (k % 2) * np.linspace(1, 3, SIDE)).astype("float32")
        properties = {"sat:orbit_state": state, "platform": "sentinel-1a"}
        images = {"vv": vv, "vh": (vv / 5).astype("float32")}
        catalogue.add(f"s1_{k}", "s1", f"2022-02-{k + 1:02d}T17:30:00", images, properties=properties)
    coarse = rng.integers(100, 200, (12, 12)).astype("uint8")
    place = {"left": STAC_LEFT - 900, "top": STAC_TOP + 900}
    catalogue.add("c", "ndvi300", "2022-02-01T00:00:00", {"NDVI": coarse}, pixels={"NDVI": 300.0}, **place)
    source = catalogue.source(
        s1_collection="s1", s1_units="linear", coarse_collection="ndvi300", bbox=BBOX, max_cloud=100
    )
    windows = [(slice(0, 22), slice(0, 20)), (slice(22, 44), slice(20, 44)), (slice(10, 30), slice(14, 34))]
    whole = assert_windows_equal_the_whole(source, PrepareSettings(), windows)
    assert [str(b) for b in whole.bands.values] == [S2NDVI, VV, VH, COARSE_NDVI]
    assert "-1000 added" in str(whole.notes) and "pass descending shifted" in str(whole.notes)


@pytest.fixture
def bounded(monkeypatch):
    """What bounds memory on large areas, on small ones: nothing is held, two images or some rows are a chunk."""
    monkeypatch.setattr("data_prep.windows._LOOKING_BYTES", 0)
    monkeypatch.setattr("data_prep.cube._PART_BYTES", 1)
    monkeypatch.setattr("data_prep.raw.reading._CHUNK_BYTES", 4 * 34 * COLUMNS)  # an image of a tile, rows of radar


@pytest.mark.slow
def test_an_area_that_is_not_held_is_decided_alike(strip, bounded, monkeypatch):
    settings = PrepareSettings(optical=OpticalSettings(flag_dips=True))
    source = FilesSource(folder=strip)
    for name in ("windows", "coregistration"):
        monkeypatch.setattr(f"data_prep.{name}.MAX_PIXELS", 200)
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.windows._LOOKING_BYTES", 2**30)
        held, _ = plan_area(source, settings)
    whole = build_cube(source.load(), settings).load()
    plan, cube = plan_area(source, settings)
    assert cube.chunks is not None and max(source.load().s1.VV.chunks[1]) < ROWS and plan.decisions == held.decisions
    assert {"level of pass descending in VV", "steps of S1B on ascending", "floor of Sentinel-1 VV"} <= {
        *plan.decisions
    }
    assert "COARSE_NDVI differs from S2NDVI" in whole.notes and "Sentinel-1" in whole.registration
    assert plan.labels.attrs == held.labels.attrs and {**plan.labels.attrs, "notes": ""} == {**whole.attrs, "notes": ""}
    assert sorted(plan.labels.notes.splitlines()) == sorted(whole.notes.splitlines())
    for part, same in ((plan.read(WINDOWS[0]), whole.isel(y=WINDOWS[0][0], x=WINDOWS[0][1])), (cube.compute(), whole)):
        xr.testing.assert_equal(part.drop_sel(bands=COARSE_NDVI), same.drop_sel(bands=COARSE_NDVI))
        np.testing.assert_allclose(part, same, atol=1e-4)  # the coarse series is warped


@pytest.mark.slow
def test_memory_of_a_look_does_not_grow_with_the_dates(bounded, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.windows._LOOKING_THREADS", 1)
    monkeypatch.setattr("data_prep.raw.cubes._WORTH_FREEING_BYTES", 0)
    side, peaks, held = 256, {}, {}
    monkeypatch.setattr("data_prep.raw.reading._CHUNK_BYTES", 4 * side * side)  # few tasks, which take memory too
    for count in (8, 32):
        folder = tmp_path / str(count)
        folder.mkdir()
        gee_like(folder, n=side, t=count)
        for peak, limit in ((peaks, 0), (held, 2**30)):
            monkeypatch.setattr("data_prep.windows._LOOKING_BYTES", limit)
            settings = PrepareSettings(registration={"check": "off"})
            plan_area(FilesSource(folder=folder), settings)  # what the first imports and keeps
            tracemalloc.start()
            plan_area(FilesSource(folder=folder), settings)
            peak[count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    image = 4 * side * side
    assert held[32] - held[8] > 24 * 4 * image and peaks[32] - peaks[8] < (held[32] - held[8]) / 5


def test_windows_open_a_file_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    for day in ("20210601", "20210611"):
        geotiff(tmp_path / f"{day}.tif", np.full((2, 20, 20), 3000, "uint16"), names=("B04", "B08"))
    plan, _ = plan_area(FilesSource(folder=tmp_path), PrepareSettings())
    opened = []
    inner = reading._open
    monkeypatch.setattr(reading, "_open", lambda path: (opened.append(path.name), inner(path))[1])
    window = (slice(0, 10), slice(0, 10))
    values = [plan.read(window) for _ in range(3)]
    assert sorted(opened) == ["20210601.tif", "20210611.tif"] and all(v.equals(values[0]) for v in values)
    geotiff(tmp_path / "20210611.tif", np.full((2, 20, 20), [[[3000]], [[6000]]], "uint16"), names=("B04", "B08"))
    changed = plan.read(window)
    assert len(opened) == 3 and float(changed.sel(bands=S2NDVI)[1, 0, 0]) == pytest.approx(1 / 3)


def test_a_window_leaves_nothing_but_its_values_in_memory(strip, monkeypatch):
    monkeypatch.setattr("data_prep.raw.cubes._WORTH_FREEING_BYTES", 0)
    plan, _ = plan_area(FilesSource(folder=strip), PrepareSettings())
    window = (slice(0, ROWS), slice(0, COLUMNS))
    plan.read(window)  # what the first reading imports and keeps
    gc.collect()
    gc.disable()  # Python by itself may come late
    tracemalloc.start()
    try:
        part = plan.read(window)
        left, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert part.nbytes <= left < 1.2 * part.nbytes
    assert highest < 4 * part.nbytes  # raw bands, reflectance and the cube
