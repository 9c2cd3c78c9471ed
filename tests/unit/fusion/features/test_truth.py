import numpy as np
import pytest

from fusion.features.truth import nearest_truth_day, truth_on_days


def test_truth_is_that_of_the_very_day_or_none():
    truth_days = np.array([100, 105, 110])
    truth = np.arange(3, dtype=np.float32)[:, None, None] + np.zeros((3, 2, 1), np.float32)
    found = truth_on_days(truth_days, truth, np.array([110, 99, 100, 101, 104, 105, 111, 105]))
    assert found.dtype == np.float32 and found.shape == (8, 2, 1)
    nan = np.nan
    np.testing.assert_array_equal(found[:, 0, 0], [2, nan, 0, nan, nan, 1, nan, 1])
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_without_any_truth_no_day_has_one():
    found = truth_on_days(np.zeros(0, np.int64), np.zeros((0, 2, 3), np.float32), np.arange(4))
    assert found.shape == (4, 2, 3) and np.isnan(found).all()


@pytest.mark.parametrize(("day", "expected"), [(90, 100), (102, 100), (103, 105), (200, 110)])
def test_nearest_day_with_truth(day, expected):
    assert nearest_truth_day(np.array([100, 105, 110]), day) == expected
