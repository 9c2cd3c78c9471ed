from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from fusion.contract import ContractError, check_latitude
from fusion.data.cube_files import read_cube, write_cube
from fusion.features.observations import observations_from_cube
from fusion.place import latitude_of
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
