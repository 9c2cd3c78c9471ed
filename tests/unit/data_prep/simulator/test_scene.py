"""A whole scene: the same seed gives the same scene, ranges, dates, speed."""

import time

import numpy as np
import pytest
from pydantic import ValidationError

from data_prep.simulator.scene import SimulatedScene, simulate_observations
from data_prep.simulator.settings import OpticsSettings, RadarSettings, SceneSettings
from data_prep.simulator.stream import SimulatedScenes
from fusion.contract import NDVI_MAX, NDVI_MIN


def obs(scene: SimulatedScene) -> dict[str, np.ndarray]:
    return {name: values for name, values in vars(scene.observations).items() if isinstance(values, np.ndarray)}


def test_equal_settings_and_seed_give_an_equal_scene(settings, scene):
    again = simulate_observations(settings, 7)
    for name, values in obs(scene).items():
        np.testing.assert_array_equal(values, obs(again)[name], err_msg=name)
    np.testing.assert_array_equal(scene.truth, again.truth)
    np.testing.assert_array_equal(scene.suspect, again.suspect)
    other = simulate_observations(settings, 8)
    assert other.truth.shape == scene.truth.shape
    assert not np.array_equal(other.truth, scene.truth)


def test_one_sensor_does_not_move_another(settings, scene):
    """Each part draws from its own stream: another radar leaves truth, clouds and coarse composites as they are."""
    changed = settings.model_copy(update={"radar": RadarSettings(enl=(4.0, 4.0))})
    other = simulate_observations(changed, 7)
    np.testing.assert_array_equal(other.truth, scene.truth)
    np.testing.assert_array_equal(other.observations.s2_ndvi, scene.observations.s2_ndvi)
    np.testing.assert_array_equal(other.observations.coarse_ndvi, scene.observations.coarse_ndvi)
    assert not np.array_equal(other.observations.vv_db, scene.observations.vv_db)


@pytest.mark.parametrize("seed", range(6))
def test_shapes_types_and_ranges(settings, seed):
    scene = simulate_observations(settings, seed)
    shape = (settings.height, settings.width)
    for name, values in obs(scene).items():
        if values.ndim == 3:
            assert values.dtype == np.float32 and values.shape[1:] == shape, name
            assert not np.isinf(values).any(), name
        else:
            assert values.dtype == np.int64 and (np.diff(values) > 0).all(), name
    ndvi = scene.observations.s2_ndvi
    assert np.nanmin(ndvi) >= NDVI_MIN and np.nanmax(ndvi) <= NDVI_MAX
    assert np.isfinite(ndvi).any(axis=(1, 2)).all(), "a date without an observation"
    assert scene.truth.shape == (settings.n_days, *shape) and scene.truth.dtype == np.float32
    assert scene.truth.min() >= NDVI_MIN and scene.truth.max() <= 1.0
    np.testing.assert_array_equal(np.diff(scene.truth_days), 1)
    assert scene.observations.latitude == scene.latitude
    inside = scene.observations.s2_days
    assert inside.min() >= scene.truth_days[0] and inside.max() <= scene.truth_days[-1]
    assert -40 < np.median(scene.observations.vh_db) < np.median(scene.observations.vv_db) < 0
    assert not scene.suspect[~np.isfinite(ndvi)].any(), "a suspect observation that is no observation"


def test_sensors_can_be_left_out():
    settings = SceneSettings(
        height=16,
        width=16,
        n_days=90,
        radar=RadarSettings(dropout=1.0),
        optics=OpticsSettings(cloudiness=(0.4, 0.4)),
    )
    settings = settings.model_copy(update={"coarse": settings.coarse.model_copy(update={"dropout": 1.0})})
    observations = simulate_observations(settings, 1).observations
    assert len(observations.s1_days) == 0 and observations.vv_db.shape == (0, 16, 16)
    assert len(observations.coarse_days) == 0 and len(observations.s2_days) > 0


def test_settings_name_what_is_wrong():
    with pytest.raises(ValidationError, match="low <= high"):
        RadarSettings(enl=(50.0, 4.0))
    with pytest.raises(ValidationError, match="no_such_key"):
        SceneSettings(no_such_key=1)


def test_stream_continues_and_splits_among_workers(settings):
    small = settings.model_dump(mode="json") | {"height": 16, "width": 16, "n_days": 60}
    whole = SimulatedScenes(small, seed=100)
    seeds = [scene.seed for scene, _ in zip(whole, range(4), strict=False)]
    assert seeds == [100, 101, 102, 103]
    second_worker = SimulatedScenes(small, seed=100, start=1, step=2)
    assert [scene.seed for scene, _ in zip(second_worker, range(2), strict=False)] == [101, 103]
    np.testing.assert_array_equal(whole[3].truth, next(iter(SimulatedScenes(small, seed=100, start=3))).truth)


def test_speed(settings):
    """Loose: the benchmark holds the figure; this catches a loop that went back to Python."""
    full = SceneSettings(height=64, width=64, n_days=480)
    simulate_observations(full, 0)
    start = time.process_time()
    for seed in range(3):
        simulate_observations(full, seed)
    assert (time.process_time() - start) / 3 < 0.6
