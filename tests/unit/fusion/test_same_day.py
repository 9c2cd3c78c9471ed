"""One image a day: by hand, in every kind of array that passes through."""

import numpy as np
import pytest
import xarray as xr

from fusion.same_day import merge_images, one_image_per_day, whole_days

NAN = np.nan
TIMES = np.array(["2020-05-02T10:20", "2020-05-01T11:00", "2020-05-01T10:00", "2020-05-01T10:30"], "datetime64[ns]")


def series(values: list, dtype: str = "float32") -> xr.DataArray:
    """Two pixels on four instants, not in order of time; three of them on one day."""
    coords = {"t": TIMES, "y": [0.0], "x": [0.0, 10.0], "orbit": ("t", ["d", "c", "a", "b"])}
    return xr.DataArray(np.array(values, dtype)[:, None], dims=("t", "y", "x"), coords=coords, attrs={"units": "1"})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("rule", "expected"), [("first", [3.0, 5.0]), ("mean", [2.5, 5.0]), ("max", [3.0, 5.0])])
def test_rules_by_hand(rule, expected, lazy):
    cube = series([[9, NAN], [2, NAN], [3, NAN], [NAN, 5]])
    merged = one_image_per_day(cube.chunk({"t": 1}) if lazy else cube, rule)
    assert (merged.chunks is not None) == lazy
    assert whole_days(TIMES[[1, 0]]).tolist() == merged.t.values.tolist()
    np.testing.assert_array_equal(merged.values[:, 0], np.array([expected, [9, NAN]], np.float32))
    assert merged.dims == ("t", "y", "x") and merged.dtype == np.float32
    assert merged.orbit.values.tolist() == ["a", "d"] and merged.attrs == {"units": "1"}


def test_zero_is_no_value_in_integers_and_flags():
    classes = one_image_per_day(series([[1, 1], [7, 7], [0, 4], [9, 0]], "uint8"))
    assert classes.dtype == np.uint8 and classes.values[0, 0].tolist() == [9, 4]
    flags = one_image_per_day(series([[0, 0], [0, 1], [0, 0], [0, 0]], "bool"), "max")
    assert flags.dtype == bool and flags.values[0, 0].tolist() == [False, True]


def test_single_images_are_sorted_and_left_as_they_are():
    cube = series([[1, 2], [3, 4], [5, 6], [7, 8]])
    kept = merge_images(cube, TIMES)
    np.testing.assert_array_equal(kept.values[:, 0, 0], [5, 7, 3, 1])
    assert (np.diff(kept.t.values) > np.timedelta64(0)).all()
    assert kept.orbit.values.tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("kind", ["files", "cube", "radar", "mask", "local back-end", "UDF"])
def test_all_that_merge_give_the_same_day(kind, tmp_path):
    """Every place that makes one image of a day asks for the one function: of two half images each pixel is kept."""
    first, second = [[1, NAN], [NAN, 3]]
    halves = series([[9, 9], [NAN, 8], first, second]).isel(t=[2, 3])
    expected = [1, 3]
    if kind == "files":
        from data_prep.sources.files import _once_a_day

        merged = _once_a_day(halves.rename("B04"), [])
    elif kind == "cube":
        from data_prep.cube import _once_a_day

        merged = _once_a_day(halves.to_dataset(name="NDVI")).NDVI
    elif kind == "radar":
        from data_prep.radar import mean_power

        merged = mean_power(halves, "linear", whole_days(halves.t.values))
    elif kind == "mask":
        merged, expected = one_image_per_day(halves.fillna(0) != 0, "max"), [True, True]
    elif kind == "local back-end":
        from udf.local.loading import select_time

        merged = select_time(halves, None)
    else:
        from udf.chunk import in_time

        merged = one_image_per_day(in_time(halves.drop_vars("orbit")))
    assert merged.sizes["t"] == 1
    np.testing.assert_array_equal(merged.values[0, 0], expected)
