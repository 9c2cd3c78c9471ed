"""Tiles side by side on one grid: every sensor, NetCDF and GeoTIFF, two zones, gaps, files and STAC."""

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings
from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from tests.unit.data_prep.raw_files import CRS, LEFT, TOP, axis, geotiff

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"), radar=RadarSettings(border_noise_db=None))
SIDE = 20
DAYS = np.array(["2021-06-01", "2021-06-11", "2021-06-21"], "datetime64[ns]")


def scene(width: int = 80, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers of a wide strip, (t, SIDE, width)."""
    rng = np.random.default_rng(seed)
    shape = (len(DAYS), SIDE, width)
    numbers = {"B04": rng.integers(200, 900, shape), "B08": rng.integers(2000, 5000, shape)}
    return {name: value.astype("uint16") for name, value in numbers.items()} | {"SCL": np.full(shape, 4, "uint8")}


def tile(path, bands, column, *, width=SIDE, pixel=10.0, days=DAYS, crs=CRS, left=LEFT, top=TOP):
    """Columns of a scene as a file of their own."""
    grid = axis(SIDE, pixel, left=left, top=top)
    grid["x"] = left + pixel * (column + np.arange(width) + 0.5)
    cut = {name: (("t", "y", "x"), values[: len(days), :, column : column + width]) for name, values in bands.items()}
    xr.Dataset(cut, coords={"t": days, **grid}).rio.write_crs(crs).to_netcdf(path)


def ndvi(bands) -> np.ndarray:
    red, nir = bands["B04"].astype(float), bands["B08"].astype(float)
    return (nir - red) / (nir + red)


@pytest.mark.parametrize("columns", [(0, 14), (14, 0), (0, 20), (0, 14, 28)])
def test_tiles_of_sentinel_2_are_joined(tmp_path, columns):
    bands = scene()
    for k, column in enumerate(columns):
        tile(tmp_path / f"T{k}.nc", bands, column)
    raw = load_files(FilesSource(folder=tmp_path))
    width = max(columns) + SIDE
    cube = build_cube(raw, CLEAR).sel(bands="S2NDVI")
    assert cube.shape == (3, SIDE, width)
    np.testing.assert_allclose(cube.values, ndvi(bands)[:, :, :width], atol=1e-6)
    assert any(f"joined on one grid of {width} x {SIDE} px" in note for note in raw.notes)


def test_tiles_of_a_download_are_joined(tmp_path):
    (tmp_path / "a" / "s2").mkdir(parents=True)
    bands = scene()
    for k, column in enumerate((0, 14)):
        tile(tmp_path / "a" / "s2" / f"openEO_{k}.nc", bands, column)
    source = OpenEOSource(
        areas={"a": (5.0, 51.0, 5.1, 51.1)}, start="2021-06", end="2021-06", folder=tmp_path, sensors=("s2",)
    )
    raw = read_area(source, "a")
    np.testing.assert_allclose(build_cube(raw, CLEAR).sel(bands="S2NDVI"), ndvi(bands)[:, :, :34], atol=1e-6)
    assert any("joined on one grid of 34" in note for note in raw.notes)


def test_the_overlap_is_the_first_with_data_and_a_gap_is_named(tmp_path):
    bands = scene()
    bands["B04"][:, :, 14:17] = 0  # missing in both tiles
    first = {name: values.copy() for name, values in bands.items()}
    first["B04"][0, :, 17:20] = 0  # missing in the first tile only
    tile(tmp_path / "a.nc", first, 0)
    tile(tmp_path / "b.nc", bands, 14)
    tile(tmp_path / "c.nc", bands, 50)
    raw = load_files(FilesSource(folder=tmp_path))
    cube = build_cube(raw, CLEAR).sel(bands="S2NDVI").values
    assert cube.shape == (3, SIDE, 70)
    expected = ndvi(bands)[:, :, :70]
    expected[:, :, 14:17] = np.nan
    expected[:, :, 34:50] = np.nan
    np.testing.assert_allclose(cube, expected, atol=1e-6)
    assert any("23 % of it has no file" in note for note in raw.notes)


def test_a_date_of_one_tile_alone_is_nan_in_the_other(tmp_path):
    bands = scene()
    tile(tmp_path / "a.nc", bands, 0)
    tile(tmp_path / "b.nc", bands, 20, days=DAYS[:2])
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), CLEAR).sel(bands="S2NDVI").values
    assert np.isfinite(cube[:2]).all() and np.isfinite(cube[2, :, :20]).all() and np.isnan(cube[2, :, 20:]).all()


def test_tiles_far_apart_are_refused_and_both_named(tmp_path):
    bands = scene()
    tile(tmp_path / "T31UES.nc", bands, 0)
    tile(tmp_path / "T32ULB.nc", bands, 0, left=LEFT + 50_000)
    with pytest.raises(SourceError, match=r"T31UES\.nc, T32ULB\.nc lie apart.*prepare each area by itself"):
        load_files(FilesSource(folder=tmp_path))


def test_two_zones_come_to_the_one_that_most_images_have(tmp_path):
    flat = {"B04": np.full((3, SIDE, 80), 600, "uint16"), "B08": np.full((3, SIDE, 80), 3000, "uint16")}
    flat["SCL"] = np.full((3, SIDE, 80), 4, "uint8")
    left, top = Transformer.from_crs(CRS, "EPSG:32632", always_xy=True).transform(LEFT + 400, TOP)
    tile(tmp_path / "a_small.nc", flat, 0, crs="EPSG:32632", left=left, top=top)
    tile(tmp_path / "b.nc", flat, 0)
    tile(tmp_path / "c.nc", flat, 20)
    raw = load_files(FilesSource(folder=tmp_path))
    cube = build_cube(raw, CLEAR).sel(bands="S2NDVI")
    assert cube.rio.crs.to_epsg() == 32631 and cube.sizes["x"] > 55
    seen = cube.values[np.isfinite(cube.values)]
    np.testing.assert_allclose(seen, 2400 / 3600, atol=1e-5)
    assert np.isfinite(cube.values[:, 5:15, 5:55]).mean() > 0.97
    assert any("EPSG:32631 and EPSG:32632 were warped to EPSG:32631" in note for note in raw.notes)


def test_radar_tiles_are_joined_and_their_overlap_is_the_mean_power(tmp_path):
    tile(tmp_path / "s2.nc", scene(), 0, width=34)
    west, east = (
        {"VV": np.full((3, SIDE, 80), level), "VH": np.full((3, SIDE, 80), level - 7)} for level in (-10.0, -13.0)
    )
    for name, bands, column in (("west.nc", west, 0), ("east.nc", east, 14)):
        bands = {k: v.astype("float32") for k, v in bands.items()}
        tile(tmp_path / name, bands, column)
    vv = build_cube(load_files(FilesSource(folder=tmp_path, s1_units="dB")), CLEAR).sel(bands="VV").values
    both = 10 * np.log10((10**-1.0 + 10**-1.3) / 2)
    expected = np.concatenate([np.full(14, -10.0), np.full(6, both), np.full(14, -13.0)])
    np.testing.assert_allclose(vv[0, 3], expected, atol=1e-3)


def test_coarse_tiles_are_joined(tmp_path):
    tile(tmp_path / "s2.nc", scene(), 0, width=80)
    for k, level in enumerate((100, 200)):
        image = np.full((4, 2), level, "uint8")
        geotiff(
            tmp_path / f"NDVI300_20210601_{k}.tif",
            image,
            pixel=400,
            names=("NDVI",),
            left=LEFT - 400 + 800 * k,
            top=TOP + 400,
        )
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), CLEAR).sel(bands="COARSE_NDVI")
    values = cube.dropna("t", how="all").values[0]
    assert values[5, 0] == pytest.approx(0.004 * 100 - 0.08, abs=1e-4) and np.isfinite(values).all()
    assert values[5, -1] > values[5, 0] + 0.1


def test_geotiffs_of_two_tiles_are_joined(tmp_path):
    bands = scene(40)
    for k, column in enumerate((0, 14)):
        for name, values in bands.items():
            part = values[0][:, column : column + SIDE]
            geotiff(tmp_path / f"T31U{'EF'[k]}S_20210601_{name}.tif", part, names=(name,), left=LEFT + 10 * column)
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), CLEAR).sel(bands="S2NDVI")
    np.testing.assert_allclose(cube.values[0], ndvi(bands)[0][:, :34], atol=1e-6)
