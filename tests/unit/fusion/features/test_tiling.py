import numpy as np
import pytest

from fusion.features import tiling
from fusion.features.features import compute_features
from fusion.features.tiling import cut_tiles, row_strips
from tests.factory import mock_observations


@pytest.mark.parametrize("window", [(slice(None), slice(None)), (slice(20, 83), slice(7, 110))])
@pytest.mark.parametrize(("workers", "pixels"), [(1, None), (3, None), (1000, None), (1, 45 * 45), (2, 1)])
def test_tiles_cover_a_window_once_and_are_alike(window, workers, pixels):
    shape = 100, 110
    count = np.zeros(shape, int)
    tiles = list(cut_tiles(shape, 48, 4, 20, window=window, pixels=pixels, workers=workers))
    for tile in tiles:
        count[tile.core] += 1
        assert tile.inner == tiling.grown(tile.core, shape, 4) and tile.reach == tiling.grown(tile.core, shape, 20)
    expected = np.zeros(shape, int)
    expected[window] = 1
    np.testing.assert_array_equal(count, expected)
    for axis in (0, 1):
        sizes = {tile.core[axis].stop - tile.core[axis].start for tile in tiles}
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 48
        assert min(sizes) >= tiling.SMALLEST_PX - 1
    rows, columns = expected[window].shape
    assert len(tiles) >= min(workers, rows // tiling.SMALLEST_PX * (columns // tiling.SMALLEST_PX))
    areas = [tiling.area(tile.inner) for tile in tiles]
    assert pixels is None or max(areas) <= max(pixels, 44**2)


@pytest.mark.parametrize(
    ("size", "pixels", "workers", "expected"),
    [
        (100, None, 1, (1, 1)),
        (100, 104 * 64, 1, (1, 2)),  # with 3 px around: 2 x 106 * 56 = 11872 pixels are fewer than 2 * 2 x 56 * 56
        (100, 53 * 100, 1, (1, 2)),  # nothing is around the border of the area: 2 tiles of 53 * 100
        (100, 53 * 100 - 1, 1, (2, 2)),
        (100, None, 2, (1, 2)),
        (100, None, 4, (2, 2)),  # 56 * 56 pixels each are fewer than 31 * 106
        (100, None, 3, (1, 3)),
    ],
)
def test_an_area_is_divided_so_that_the_fewest_pixels_are_computed(size, pixels, workers, expected):
    tiles = list(cut_tiles((100, 100), size, 3, 16, pixels=pixels, workers=workers))
    parts = tuple(len({tile.core[axis].start for tile in tiles}) for axis in (0, 1))
    assert sorted(parts) == sorted(expected)


def test_nothing_is_cut_into_no_tiles():
    assert list(cut_tiles((0, 5), 48, 4, 20)) == [] and list(row_strips(0, 5)) == []


@pytest.mark.parametrize("pixels", [1, 37, 10_000])
def test_features_do_not_depend_on_the_strips(monkeypatch, pixels):
    obs = mock_observations(t=30, y=9, x=8)
    grid = np.arange(obs.s2_days[0], obs.s2_days[-1], 5)
    expected = compute_features(obs, grid)
    monkeypatch.setattr(tiling, "STRIP_PX", pixels)
    found = compute_features(obs, grid)
    for name in ("stack", "linear", "gap_days"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-6)
