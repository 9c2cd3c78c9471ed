"""How far radar explains NDVI at a place: known relations, none, and the channels made of it."""

from dataclasses import replace

import numpy as np
import pytest

from fusion.contract import NDVI_UNIT
from fusion.features.features import FEATURE_NAMES, compute_features
from fusion.features.observations import Observations
from fusion.features.radar import RADAR_NAMES, SHARE_NAMES, explained_share

DAYS = np.arange(0, 400, 8)


def departures(shape=(1, 1), seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (len(DAYS), *shape)).astype(np.float32) for _ in range(3))


def test_ndvi_that_follows_radar_is_explained_with_its_slopes():
    vv, ratio, _ = departures()
    ndvi = 0.5 + 0.05 * vv - 0.03 * ratio
    share, vv_slope, ratio_slope = explained_share(ndvi, DAYS, vv, ratio)
    assert share[0, 0] > 0.75  # not 1: the slow course takes its part, and few observations shrink it
    np.testing.assert_allclose([vv_slope[0, 0], ratio_slope[0, 0]], [0.05, -0.03], atol=0.016)


def test_unrelated_radar_explains_nothing_on_average():
    shares = []
    for seed in range(40):
        vv, ratio, noise = departures(seed=seed)
        shares.append(explained_share(0.5 + 0.1 * noise, DAYS, vv, ratio)[0][0, 0])
    assert abs(np.mean(shares)) < 0.05


def test_the_neighbourhood_is_pooled():
    """One pixel in which radar explains everything, among others: it shares its evidence and theirs."""
    vv, ratio, noise = departures((9, 9))
    ndvi = 0.5 + 0.1 * noise
    ndvi[:, 4, 4] = 0.5 + 0.1 * vv[:, 4, 4]
    pooled = explained_share(ndvi, DAYS, vv, ratio)[0]
    lone = explained_share(ndvi[:, 4:5, 4:5], DAYS, vv[:, 4:5, 4:5], ratio[:, 4:5, 4:5])[0]
    assert lone[0, 0] > 0.7 and np.abs(pooled).max() < 0.3


def test_missing_values_give_zero_share():
    vv, ratio, noise = departures()
    nothing = np.full_like(vv, np.nan)
    for ndvi, radar in ((nothing, vv), (noise, nothing)):
        share, slope, _ = explained_share(ndvi, DAYS, radar, ratio)
        assert share[0, 0] == 0 and slope[0, 0] == 0


@pytest.mark.parametrize("size", [(1, 1), (6, 5)])
def test_share_channels_of_a_series_led_by_radar(size):
    """NDVI that is a smooth function of VV: the estimate meets the true departure from the line in a gap."""
    s1 = np.arange(0, 400, 6)
    course = (-12 + 2 * np.sin(2 * np.pi * s1 / 90)).astype(np.float32)[:, None, None] * np.ones((1, *size), np.float32)
    s2 = np.setdiff1d(np.arange(0, 400, 8), np.arange(170, 216))
    true = 0.5 + 0.1 * np.sin(2 * np.pi * np.arange(400) / 90)
    ndvi = true[s2].astype(np.float32)[:, None, None] * np.ones((1, *size), np.float32)
    obs = Observations(s2, ndvi, s1, course, course - 7, np.zeros(0, np.int64), ndvi[:0])
    features = compute_features(obs, np.array([192]))
    share, estimate, explained = (features.stack[FEATURE_NAMES.index(name), 0, 0, 0] for name in SHARE_NAMES)
    departure = (true[192] - features.linear[0, 0, 0]) / NDVI_UNIT
    assert share > 0.8
    assert estimate == pytest.approx(departure, rel=0.35)
    assert explained == pytest.approx(share * estimate, rel=1e-5)
    without = compute_features(obs.withhold(s1=True), np.array([192])).stack
    assert not without[[FEATURE_NAMES.index(name) for name in RADAR_NAMES]].any()


def test_a_level_between_the_satellites_changes_no_channel():
    vv, ratio, noise = departures((4, 4))
    obs = Observations(DAYS, 0.5 + 0.1 * noise, DAYS, vv - 10, ratio - 17 + vv, np.zeros(0, np.int64), noise[:0])
    louder = replace(obs, vv_db=obs.vv_db + 3, vh_db=obs.vh_db + 3)
    names = [FEATURE_NAMES.index(name) for name in RADAR_NAMES]
    first, second = (compute_features(o, DAYS[5:9]).stack[names] for o in (obs, louder))
    np.testing.assert_allclose(first, second, atol=2e-5)
