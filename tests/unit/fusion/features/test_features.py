import numpy as np
import pytest

from data_prep.simulator.growth import AUTUMN_OVER_SPRING
from data_prep.simulator.settings import PhenologySettings
from fusion.features.features import (
    AUTUMN_LAG_D,
    FEATURE_NAMES,
    NDVI_UNIT,
    SPRING_LAG_D,
    compute_features,
    obs_oddity,
    time_of_year,
)
from fusion.features.observations import Observations
from fusion.features.radar import CONTEXT_RADIUS_PX, DB_UNIT, SPECKLE_RADIUS_PX
from tests.factory import mock_observations


@pytest.fixture(scope="module")
def obs() -> Observations:
    return mock_observations(y=40, x=36, seed=3)


GRID = np.arange(0, 100, 5)


def grid_of(obs):
    return int(obs.s2_days[0]) + GRID


def channel(features, name):
    return features.stack[FEATURE_NAMES.index(name)]


def test_every_name_has_a_finite_channel(obs):
    features = compute_features(obs, grid_of(obs))
    assert features.stack.shape == (len(FEATURE_NAMES), len(GRID), 40, 36)
    assert features.stack.dtype == np.float32
    assert np.isfinite(features.stack).all()


def test_first_channel_is_the_linear_interpolation(obs):
    features = compute_features(obs, grid_of(obs))
    known = np.isfinite(features.linear)
    np.testing.assert_allclose(
        (channel(features, "linear") * NDVI_UNIT + 0.5)[known], features.linear[known], atol=1e-6
    )


def test_a_constant_radar_offset_changes_nothing(obs):
    """Relative radar features: calibration (sigma0, gamma0) and incidence shift the level, never the answer."""
    from dataclasses import replace

    shifted = replace(obs, vv_db=obs.vv_db + 2, vh_db=obs.vh_db - 1)
    difference = compute_features(obs, grid_of(obs)).stack - compute_features(shifted, grid_of(obs)).stack
    assert np.abs(difference).max() < 2e-5


def test_radar_change_since_the_observation_is_in_its_unit():
    """VV rises by 4 dB between two observations 200 days apart: seen from the first observation the change is 4 dB."""
    n = 61
    s1_days = np.arange(n) * 5
    vv = np.where(s1_days < 150, -12.0, -8.0).astype(np.float32)[:, None, None] * np.ones((1, 6, 6), np.float32)
    s2 = np.full((2, 6, 6), 0.5, np.float32)
    obs = Observations(np.array([50, 250]), s2, s1_days, vv, vv - 7, np.zeros(0, np.int64), s2[:0])
    features = compute_features(obs, np.array([240]))
    np.testing.assert_allclose(channel(features, "vv_since_before") * DB_UNIT, 4.0, atol=1e-3)
    np.testing.assert_allclose(channel(features, "vv_since_after") * DB_UNIT, 0.0, atol=1e-3)
    np.testing.assert_allclose(channel(features, "cr_since_before"), 0.0, atol=1e-5)


def test_absent_sensors_give_zero_channels(obs):
    features = compute_features(obs.withhold(s1=True, coarse=True), grid_of(obs))
    for name in FEATURE_NAMES:
        if name.startswith(("vv_", "cr_", "s1_", "radar_", "coarse_")):
            assert not channel(features, name).any(), name


def test_window_equals_the_whole(obs):
    whole = compute_features(obs, grid_of(obs)).stack
    part = compute_features(obs, grid_of(obs), slice(8, 20), slice(4, 30)).stack
    np.testing.assert_allclose(part, whole[:, :, 8:20, 4:30], atol=1e-6)


def test_memory_that_was_used_before_changes_nothing(obs):
    expected = compute_features(obs, grid_of(obs)).stack
    memory = np.full(expected.size + 5, np.nan, np.float32)
    found = compute_features(obs, grid_of(obs), memory=memory).stack
    assert np.shares_memory(found, memory)
    np.testing.assert_array_equal(found, expected)
    found = compute_features(obs, grid_of(obs), slice(8, 20), memory=memory).stack  # a smaller window
    np.testing.assert_array_equal(found, compute_features(obs, grid_of(obs), slice(8, 20)).stack)
    assert not np.shares_memory(compute_features(obs, grid_of(obs), memory=memory[:7]).stack, memory)


def test_context_reaches_no_further_than_it_says(obs):
    """A pixel changed beyond the context radius must not change a feature: this is what makes tiles agree."""
    from dataclasses import replace

    reach = CONTEXT_RADIUS_PX + SPECKLE_RADIUS_PX
    ndvi, vv = obs.s2_ndvi.copy(), obs.vv_db.copy()
    ndvi[:, 0, 0] = 0.9
    vv[:, 0, 0] += 5
    changed = compute_features(replace(obs, s2_ndvi=ndvi, vv_db=vv), grid_of(obs)).stack
    same = compute_features(obs, grid_of(obs)).stack
    difference = np.abs(changed - same).max(axis=(0, 1))
    assert difference[: reach + 1, : reach + 1].max() > 0
    assert difference[reach + 1 :].max() < 1e-5
    assert difference[:, reach + 1 :].max() < 1e-5


def test_a_pixel_without_observations_is_zero_and_nan(obs):
    ndvi = obs.s2_ndvi.copy()
    ndvi[:, 5, 6] = np.nan
    from dataclasses import replace

    features = compute_features(replace(obs, s2_ndvi=ndvi), grid_of(obs))
    assert np.isnan(features.linear[:, 5, 6]).all()
    assert not features.stack[:, :, 5, 6].any()


def test_a_dip_is_odd_and_a_straight_line_is_not():
    days = np.array([0, 5, 10, 15])
    line = np.array([[0.3], [0.4], [0.5], [0.6]], np.float32)
    valid = np.ones((4, 1), bool)
    assert np.abs(obs_oddity(line, valid, days)).max() < 1e-6
    dip = line.copy()
    dip[1] = 0.1
    # 0.3 below the line between its neighbours, shrunk by exp(-5 / 15 - 5 / 60)
    np.testing.assert_allclose(obs_oddity(dip, valid, days)[1, 0], -0.3 * np.exp(-5 / 15 - 5 / 60), rtol=1e-5)


def test_one_observation_and_no_observation():
    s2 = np.full((1, 3, 3), 0.6, np.float32)
    nothing = np.zeros(0, np.int64)
    obs = Observations(np.array([10]), s2, nothing, s2[:0], s2[:0], nothing, s2[:0])
    features = compute_features(obs, np.array([0, 10, 30]))
    np.testing.assert_allclose(features.linear, 0.6)
    np.testing.assert_array_equal(features.gap_days[:, 0, 0], [10, 0, 20])
    none = Observations(nothing, s2[:0], nothing, s2[:0], s2[:0], nothing, s2[:0])
    assert np.isnan(compute_features(none, np.array([0, 5])).linear).all()


def test_the_season_turns_with_the_hemisphere_and_is_silent_where_there_is_none():
    days = np.array(["2020-12-21", "2021-03-21", "2021-06-21"], "datetime64[D]").astype("int64")
    north, south = time_of_year(days, 50.0), time_of_year(days, -50.0)
    np.testing.assert_allclose(north[0], [1, 0, -1], atol=0.05)
    np.testing.assert_allclose(north[1], [0, 1, 0], atol=0.05)
    np.testing.assert_allclose(south, [-north[0], -north[1]], atol=0.02)
    for latitude in (None, 10.0, -23.0, 41.8):
        assert not np.any(time_of_year(days, latitude))


def test_the_season_follows_the_latitude():
    spring, autumn = np.arange(80, 141), np.arange(260, 321)  # days of 1970 around 20 April and 20 October

    def turned(days, latitude):
        return np.unwrap(np.arctan2(*reversed(time_of_year(days, latitude)))) * 365.2425 / (2 * np.pi)

    ahead, behind = turned(spring, 47.0) - turned(spring, 50.0), turned(spring, 57.0) - turned(spring, 50.0)
    np.testing.assert_allclose(ahead, 3 * 2.4, rtol=0.15)
    np.testing.assert_allclose(behind, -7 * 2.4, rtol=0.15)
    np.testing.assert_allclose(turned(autumn, 57.0) - turned(autumn, 50.0), 7 * 0.84, rtol=0.4)
    for latitude in (45.0, -71.0):
        assert (np.diff(turned(np.arange(0, 800, 5), latitude)) > 0).all()  # time never runs backwards


def test_lags_are_the_middle_of_what_training_draws() -> None:
    assert pytest.approx(np.mean(PhenologySettings().latitude_shift_d)) == SPRING_LAG_D
    assert pytest.approx(-AUTUMN_OVER_SPRING * SPRING_LAG_D) == AUTUMN_LAG_D


def test_a_shifted_calendar_moves_the_season_only(obs):
    from dataclasses import replace

    placed = replace(obs, latitude=50.0)
    told = compute_features(placed, grid_of(obs)).stack
    off = compute_features(placed, grid_of(obs), season_shift_days=30.0).stack
    changed = {FEATURE_NAMES[i] for i in np.flatnonzero(np.any(told != off, axis=(1, 2, 3)))}
    assert changed == {"season_cos", "season_sin"}
    seen = told[FEATURE_NAMES.index("linear")] != 0
    later = time_of_year(grid_of(obs) - 30, 50.0)[0][:, None, None]
    np.testing.assert_allclose(off[FEATURE_NAMES.index("season_cos")][seen], np.broadcast_to(later, seen.shape)[seen])
