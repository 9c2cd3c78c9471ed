"""Grids in degrees, rotated, or with dims of other names: read as they are meant, or refused with a call that helps."""

import re
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine

import fusion
from data_prep.cube import PrepareSettings, build_cube, open_cube
from data_prep.optical import OpticalSettings
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.sources.files import FilesSource, load_files
from fusion.commands.phenology import PhenologySettings
from fusion.commands.phenology import run as run_phenology
from fusion.data.cube_files import read_cube
from fusion.data.ndvi_files import open_ndvi
from fusion.place import METRES_PER_DEGREE
from tests.factory import mock_cube, mock_model
from tests.unit.data_prep.raw_files import CRS

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"), registration={"check": "off"})


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_rotated_geotiff_is_refused_and_the_advice_works(tmp_path, dtype):
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / "S2_20210401.tif"
    turned = Affine.translation(640_000, 5_660_000) * Affine.rotation(20) * Affine.scale(10, -10)
    profile = {"driver": "GTiff", "count": 2, "height": 24, "width": 24, "dtype": dtype, "crs": CRS}
    red, nir = (500, 3000) if dtype == "uint16" else (0.05, 0.3)
    with rasterio.open(path, "w", transform=turned, **profile) as file:
        file.write(np.stack([np.full((24, 24), value, dtype) for value in (red, nir)]))
        file.descriptions = ("B04", "B08")
    with pytest.raises(SourceError, match="rotated by 20 degrees; .* warp it to north-up") as refused:
        load_files(FilesSource(folder=tmp_path / "raw"))
    code = re.search(r'python -c "(.*)" and use', str(refused.value)).group(1)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    (tmp_path / "up").mkdir()
    (tmp_path / "north_up.tif").rename(tmp_path / "up" / "S2_20210401.tif")
    ndvi = open_cube(tmp_path / "up", CLEAR).sel(bands="S2NDVI").values[0]
    found = ndvi[np.isfinite(ndvi)]
    with rasterio.open(tmp_path / "up" / "S2_20210401.tif") as file:
        area = found.size * abs(file.transform.determinant)
    assert area == pytest.approx(240 * 240, rel=0.1)  # the same ground, in pixels of GDAL's choice
    np.testing.assert_allclose(found, (3000 - 500) / 3500, atol=1e-6)


def scene(pixel_y: float, pixel_x: float, top: float, left: float, crs: str) -> RawCubes:
    scl = np.full((3, 200, 200), 4, np.uint8)
    scl[1, 90:130, 60:100] = 9
    scl[2, :40, 150:] = 3
    coords = {
        "t": np.array(["2023-04-01", "2023-04-06", "2023-04-11"], "datetime64[ns]"),
        "y": top - pixel_y * (np.arange(200) + 0.5), "x": left + pixel_x * (np.arange(200) + 0.5),
    }  # fmt: skip
    bands = {"B04": np.full(scl.shape, 0.05, np.float32), "B08": np.full(scl.shape, 0.3, np.float32), "SCL": scl}
    made = xr.Dataset({name: (("t", "y", "x"), values) for name, values in bands.items()}, coords=coords)
    return RawCubes(made.rio.write_crs(crs))


@pytest.mark.parametrize("latitude", [0.0, 51.2, -65.0])
def test_the_cloud_mask_of_a_grid_in_degrees_is_that_of_the_same_scene_in_metres(latitude):
    """Cells of 10 m by 10 m, as UTM and as degrees: 10 m are 9e-5 degrees of latitude, and more of longitude."""
    metres = build_cube(scene(10, 10, 5_660_000, 640_000, CRS))
    high = 10 / METRES_PER_DEGREE
    middle = latitude - 100 * high
    degrees = build_cube(scene(high, high / np.cos(np.radians(middle)), latitude, 5.0, "EPSG:4326"))
    np.testing.assert_array_equal(np.isfinite(metres.values), np.isfinite(degrees.values))
    assert 0.8 < np.isfinite(metres.values).mean() < 0.95


def test_square_degrees_get_kernels_of_the_same_reach_in_metres_along_both_axes():
    """At 60 degrees a square cell in degrees is half as wide as high: a cloud and its mask take twice the columns."""
    high = 10 / METRES_PER_DEGREE
    seen = []
    for raw, columns in (
        (scene(10, 10, 5_660_000, 640_000, CRS), slice(90, 110)), (scene(high, high, 60 + 100 * high, 5.0, "EPSG:4326"),
        slice(80, 120)),
    ):  # fmt: skip
        raw.s2.SCL[:] = 4
        raw.s2.SCL[1, 90:110, columns] = 9
        gone = ~np.isfinite(build_cube(raw).values[1, 0])
        seen.append((gone.any(axis=1).sum(), gone.any(axis=0).sum()))
    (rows, columns), (rows_degrees, columns_degrees) = seen
    assert rows > 26 and abs(rows_degrees - rows) <= 1 and abs(columns_degrees - 2 * columns) <= 2


def latlon(path, band: str, ascending: bool) -> xr.Dataset:
    cube = mock_cube(t=74, every_days=10, start="2019-01-01", cloud=0.0).sel(bands="S2NDVI", drop=True)
    n = {axis: np.arange(cube.sizes[axis]) for axis in ("y", "x")}
    cube = cube.drop_vars("spatial_ref").assign_coords(y=51.2 - 9e-5 * n["y"], x=5.0 + 9e-5 * n["x"])
    made = cube.rename(t="time", y="lat", x="lon").to_dataset(name=band)
    made = made.sortby("lat") if ascending else made
    made.attrs = {}
    made.to_netcdf(path)
    return made


@pytest.mark.parametrize("ascending", [True, False])
def test_files_with_time_lat_lon_are_read(tmp_path, ascending):
    made = latlon(tmp_path / "c.nc", "S2NDVI", ascending)
    for cube in (read_cube(tmp_path / "c.nc"), open_cube(tmp_path / "c.nc")):
        assert cube.dims == ("t", "bands", "y", "x") and cube.rio.crs.to_epsg() == 4326
        assert cube.y.values[0] > cube.y.values[-1]
        pixel = made.S2NDVI.sel(lat=51.2 - 9e-5 * 2, lon=5.0 + 9e-5 * 3, method="nearest")
        np.testing.assert_array_equal(cube.values[:, 0, 2, 3], pixel.values)
    latlon(tmp_path / "n.nc", "NDVI", ascending)
    assert open_ndvi(tmp_path / "n.nc").dims == ("t", "bands", "y", "x")


def test_seasons_of_a_file_with_time_lat_lon(tmp_path):
    latlon(tmp_path / "n.nc", "NDVI", ascending=True)
    run_phenology(PhenologySettings(cube=tmp_path / "n.nc", out=tmp_path / "o", maps=False))
    with rasterio.open(tmp_path / "o" / "seasons_2019_s1.tif") as file:
        assert file.crs.to_epsg() == 4326 and file.transform.e < 0
        sosd = file.read(file.descriptions.index("SOSD") + 1)
    expected = fusion.seasons(mock_cube(t=74, every_days=10, start="2019-01-01", cloud=0.0).sel(bands=["S2NDVI"]))
    np.testing.assert_allclose(sosd, expected.SOSD.sel(year=2019, season=1), atol=1e-4)


@pytest.mark.parametrize("call", ["fuse", "seasons", "smooth"])
def test_cubes_in_memory_with_time_lat_lon_are_read(tmp_path, call):
    cube = mock_cube()
    model = mock_model(tmp_path / "m", 1)
    calls = {
        "fuse": lambda c: fusion.fuse(c, start="2019-03-01", end="2019-06-01", model=model),
        "seasons": lambda c: fusion.seasons(c).SOSV.transpose("season", ...),
        "smooth": fusion.smooth,
    }
    answer = calls[call](cube.rename(t="time", y="lat", x="lon"))
    assert answer.dims[-2:] == ("lat", "lon")
    np.testing.assert_array_equal(answer.values, calls[call](cube).values)


CONTRADICTIONS = {
    "standard_name": {"x": {"standard_name": "latitude"}, "y": {"standard_name": "longitude"}},
    "units": {"x": {"units": "degrees_north"}, "y": {}},
    "axis": {"x": {}, "y": {"axis": "X"}},
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
@pytest.mark.parametrize("path", ["files", "cube", "fuse", "seasons", "graph"])
def test_axes_that_say_they_are_the_other_one_are_refused(path, kind, tmp_path):
    from udf.local.loading import load_collection

    cube = mock_cube(t=8)
    for axis, attrs in CONTRADICTIONS[kind].items():
        cube[axis].attrs = attrs
    bands = cube.to_dataset("bands").rename(S2NDVI="B04", VV="B08")[["B04", "B08"]]
    calls = {
        "files": lambda: load_files(FilesSource(s2=(tmp_path / "s2.nc",))),
        "cube": lambda: read_cube(tmp_path / "c.nc"),
        "fuse": lambda: fusion.fuse(cube),
        "seasons": lambda: fusion.seasons(cube),
        "graph": lambda: load_collection(str(tmp_path / "s2.nc")),
    }
    bands.to_netcdf(tmp_path / "s2.nc")
    cube.rename("cube").to_netcdf(tmp_path / "c.nc")
    with pytest.raises(ValueError, match="axis [xy] of the grid says .* of itself: .* seem exchanged"):
        calls[path]()


@pytest.mark.parametrize("path", ["cube", "fuse"])
def test_a_latitude_beyond_90_degrees_is_refused(path, tmp_path):
    cube = mock_cube(t=8, y=6, x=6).drop_vars("spatial_ref").rename(y="lat", x="lon")
    cube = cube.assign_coords(lat=105.0 - 1e-4 * np.arange(6), lon=10.0 + 1e-4 * np.arange(6))
    cube.rename("cube").to_netcdf(tmp_path / "c.nc")
    calls = {"cube": lambda: read_cube(tmp_path / "c.nc"), "fuse": lambda: fusion.fuse(cube)}
    with pytest.raises(ValueError, match="latitude reaches 105 degrees and longitude 10; exchange the names"):
        calls[path]()
