from fractions import Fraction

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS, Transformer

import fusion
from fusion.contract import ContractError, check_latitude
from fusion.data.cube_files import read_cube, write_cube
from fusion.data.geotiff import write_series_geotiff
from fusion.features.observations import observations_from_cube
from fusion.place import (
    LONLAT,
    latitude_of,
    on_s2_grid,
    pixel_size,
    pixel_size_m,
    project_bounds,
    utm_epsg,
    utm_of_bounds,
)  # fmt: skip
from tests.factory import mock_cube


def test_latitude_is_what_the_cube_says_else_its_middle_else_unknown():
    cube = mock_cube(y=8, x=8)
    by_crs = latitude_of(cube)
    assert by_crs == pytest.approx(cube.rio.transform_bounds("EPSG:4326")[1], abs=0.01)
    assert latitude_of(cube.assign_attrs(latitude=-12.5)) == -12.5
    nowhere = cube.drop_vars("spatial_ref")
    for unknown in (
        nowhere,
        cube.drop_vars("y"),
        cube.assign_coords(x=1e12 * cube.x, y=1e12 * cube.y),
        nowhere.assign_attrs(crs="foo"),
    ):
        assert latitude_of(unknown) is None


def test_observations_know_the_latitude_that_they_are_told():
    cube = mock_cube(y=8, x=8)
    assert observations_from_cube(cube).latitude is None
    assert observations_from_cube(cube.assign_attrs(latitude=40.0)).latitude == 40.0
    assert observations_from_cube(cube.assign_attrs(latitude=40.0), latitude=-40.0).latitude == -40.0


NUMBERS = [-41, -41.0, np.float32(-41), np.float64(-41), np.int64(-41), np.int8(-41), np.array(-41.0), np.array([-41])]


@pytest.mark.parametrize("given", [*NUMBERS, Fraction(-41), xr.DataArray(-41.0)], ids=repr)
def test_a_latitude_of_any_real_number_counts(given):
    cube = mock_cube(t=4, y=8, x=8).assign_attrs(latitude=given)
    for found in (latitude_of(cube), observations_from_cube(cube).latitude, check_latitude(given)):
        assert found == -41.0 and type(found) is float
    assert observations_from_cube(mock_cube(t=4, y=8, x=8), latitude=given).latitude == -41.0


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("given", NUMBERS, ids=repr)
def test_the_latitude_survives_two_round_trips(tmp_path, given, suffix):
    """A file gives numbers of other types back than it was given."""
    once = read_cube(write_cube(mock_cube(t=4).assign_attrs(latitude=given), tmp_path / f"1{suffix}"))
    twice = read_cube(write_cube(once, tmp_path / f"2{suffix}"))
    assert latitude_of(once) == latitude_of(twice) == -41.0
    assert observations_from_cube(twice).latitude == -41.0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(91.0, "91"), (float("nan"), "nan"), ("north", "str"), ("51.2", "str"), (True, "bool"), (1j, "complex"),
     (np.array([50.0, 51.0]), "ndarray"), (np.bool_(True), "bool"), ([50.0], "list")],
)  # fmt: skip
def test_a_latitude_that_is_none_is_refused(wrong, named):
    cube = mock_cube(t=4, y=8, x=8).assign_attrs(latitude=wrong)
    for read in (latitude_of, observations_from_cube):
        with pytest.raises(ContractError, match=rf"latitude is .*{named}.*; expected degrees north"):
            read(cube)


def test_utm_zones_at_seams_poles_of_the_scheme_and_hemispheres():
    """Zone 1 begins at the antimeridian, whichever way it is written; the equator counts as north."""
    assert utm_epsg(5.0, 51.0) == 32631 and utm_epsg(-70.5, -33.4) == 32719
    assert [utm_epsg(lon, 10.0) for lon in (180.0, -180.0, 540.0, 179.999, 185.0, -175.0)] == [
        32601, 32601, 32601, 32660, 32601, 32601,
    ]  # fmt: skip
    assert utm_epsg(np.nextafter(-180.0, -181.0), 10.0) == 32660
    assert [utm_epsg(lon, 1.0) for lon in (-0.001, 0.0, 5.999, 6.0)] == [32630, 32631, 32631, 32632]
    assert [utm_epsg(3.0, lat) for lat in (0.0, -1e-9)] == [32631, 32731]
    assert utm_of_bounds((20.0, -34.1, 20.1, -34.0)) == 32734
    assert utm_of_bounds((2.0, -0.2, 4.0, 0.1)) == 32731


def test_pixel_size_in_metres_of_metric_and_geographic_grids():
    x, y = 500_000 + 12.5 * np.arange(4), 5_000_000 - 12.5 * np.arange(3)
    metric = xr.DataArray(np.zeros((3, 4)), coords={"y": y, "x": x}, dims=("y", "x")).rio.write_crs("EPSG:32631")
    assert pixel_size(metric) == pixel_size_m(metric) == 12.5
    # degrees have one length along the meridian: 1 / 336 degree is 331.3 m, however wide a pixel is
    lonlat = metric.assign_coords(y=60 - np.arange(3) / 336, x=5 + np.arange(4) / 168).rio.write_crs("EPSG:4326")
    assert pixel_size(lonlat) == pytest.approx(1 / 168) and pixel_size_m(lonlat) == pytest.approx(111_320 / 336)
    assert pixel_size_m(metric.isel(y=[0])) == 12.5


@pytest.mark.parametrize("part", [{"y": [2]}, {"x": [3]}, {"y": [2], "x": [3]}], ids=str)
def test_one_row_one_column_and_one_pixel_lie_where_they_are(part, tmp_path):
    """rioxarray gives these the transform of no place: files lay at 0, 0 and a cube of one column was not fused."""
    whole = mock_cube(t=6, y=8, x=8)
    cube, left, top = whole.isel(part), 640_000.0 + 10 * part.get("x", [0])[0], 5_660_000.0 - 10 * part.get("y", [0])[0]
    if len(part) == 2:
        with pytest.raises(ContractError, match="size of the only pixel is unknown"):
            pixel_size(cube)
        cube = cube.rio.write_transform(whole.rio.transform())
    assert pixel_size(cube, "x") == pixel_size(cube, "y") == 10.0
    fused = fusion.fuse(cube)
    assert np.isfinite(fused).all()
    write_series_geotiff(fused, tmp_path / "ndvi.tif")
    with rasterio.open(tmp_path / "ndvi.tif") as file:
        assert file.transform == rasterio.Affine(10, 0, left, 0, -10, top)


def test_bounds_in_another_crs_hold_the_bulge_of_their_edges():
    """The southern edge of a wide strip bulges beyond its corners in UTM; CRS come in every spelling."""
    lonlat = project_bounds((500_000, 5_600_000, 700_000, 5_610_000), 32631, LONLAT)
    corners = [(500_000, 5_600_000), (700_000, 5_600_000), (700_000, 5_610_000), (500_000, 5_610_000)]
    move = Transformer.from_crs(32631, 4326, always_xy=True)
    assert lonlat[3] >= max(move.transform(*c)[1] for c in corners)
    assert lonlat[1] == pytest.approx(min(move.transform(*c)[1] for c in corners), abs=1e-9)
    for spelling in ("EPSG:32631", CRS.from_epsg(32631), rasterio.crs.CRS.from_epsg(32631)):
        assert project_bounds((500_000, 5_600_000, 700_000, 5_610_000), spelling, 4326) == pytest.approx(lonlat)
    assert project_bounds((1.0, 2.0, 3.0, 4.0), 4326, LONLAT) == (1.0, 2.0, 3.0, 4.0)


def test_bounds_grow_to_whole_cells_and_stay_on_the_grid():
    assert on_s2_grid((500_001.0, 39.0, 500_059.0, 81.0)) == (500_000, 20, 500_060, 100)
    assert on_s2_grid((499_999.9998, 20.0001, 500_060.0002, 99.9999)) == (500_000, 20, 500_060, 100)


def test_commands_and_patches_know_the_latitude_of_the_cube(tmp_path):
    """Of a cube in a zone of the south: as told, and as a call with it."""
    import fusion
    from data_prep.commands.patches import PatchesSettings
    from data_prep.commands.patches import run as cut
    from data_prep.patches import CubePatches, CutSettings
    from data_prep.split import SplitSettings
    from fusion.commands.predict import PredictSettings
    from fusion.commands.predict import run as predict
    from fusion.data.store import PatchStore

    cube = mock_cube(t=24, y=8, x=8).rio.write_crs("EPSG:32733", grid_mapping_name="spatial_ref")
    cube = cube.assign_coords(y=4_460_000.0 - 10 * np.arange(8))
    latitude = latitude_of(cube)
    assert -51 < latitude < -49
    write_cube(cube, tmp_path / "south.nc")
    predict(PredictSettings(cube=tmp_path / "south.nc", out=tmp_path / "o.nc", threads=1))
    found = read_cube(tmp_path / "o.nc")
    for given, same in ((latitude, True), (-latitude, False)):
        expected = fusion.fuse(cube.drop_vars("spatial_ref"), latitude=given, threads=1)
        assert np.allclose(found.values, expected.values, atol=1e-6, equal_nan=True) == same
    source, sizes = CubePatches(cubes=(str(tmp_path / "south.nc"),)), CutSettings(patch_px=8, min_observations=2)
    split = SplitSettings(sites={"south": "train"})
    cut(PatchesSettings(source=source, out=tmp_path / "p.zarr", cut=sizes, split=split, workers=0))
    assert PatchStore.open(tmp_path / "p.zarr")[0].observations.latitude == pytest.approx(latitude, abs=0.01)
