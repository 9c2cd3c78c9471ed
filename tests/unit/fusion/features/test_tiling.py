import numpy as np
import pytest

from fusion.features import tiling
from fusion.features.features import compute_features
from fusion.features.tiling import cut_tiles, row_strips
from tests.factory import mock_observations


@pytest.mark.parametrize("window", [(slice(None), slice(None)), (slice(20, 83), slice(7, 110))])
@pytest.mark.parametrize("at_least", [1, 3, 1000])
def test_tiles_cover_a_window_once_and_are_alike(window, at_least):
    shape = 100, 110
    count = np.zeros(shape, int)
    tiles = list(cut_tiles(shape, 48, 4, 20, window=window, at_least=at_least))
    for tile in tiles:
        count[tile.core] += 1
        assert tile.inner == tiling.grown(tile.core, shape, 4) and tile.reach == tiling.grown(tile.core, shape, 20)
    expected = np.zeros(shape, int)
    expected[window] = 1
    np.testing.assert_array_equal(count, expected)
    for axis in (0, 1):
        sizes = {tile.core[axis].stop - tile.core[axis].start for tile in tiles}
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 48
    rows = expected[window].shape[0]
    assert len(tiles) >= min(at_least, rows // tiling.SMALLEST_PX)


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
