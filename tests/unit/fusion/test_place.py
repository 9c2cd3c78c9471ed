import pytest

from fusion.contract import ContractError
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


@pytest.mark.parametrize("wrong", [91.0, "north", float("nan")])
def test_a_latitude_that_is_none_is_refused(wrong):
    with pytest.raises(ContractError, match="latitude is .* expected degrees north"):
        observations_from_cube(mock_cube(y=8, x=8).assign_attrs(latitude=wrong))
