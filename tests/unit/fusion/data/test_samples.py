from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_prep.patches import CutSettings
from fusion.data.samples import (
    SampleSettings,
    WithholdingSettings,
    meet,
    mix_samples,
    season_shift,
    target_on_grid,
    visit_scene,
    withheld_dates,
    withheld_on_grid,
    withhold,
)
from fusion.features.features import FEATURE_NAMES, NDVI_UNIT, compute_features
from fusion.features.observations import Observations
from tests.factory import mock_observations, mock_truth


@dataclass(frozen=True)
class FakeScene:
    observations: Observations
    truth_days: np.ndarray | None
    truth: np.ndarray | None
    suspect: np.ndarray | None = None


def fake_scene(seed=0, truth=True) -> FakeScene:
    obs = mock_observations(y=16, x=16, seed=seed)
    if not truth:
        return FakeScene(obs, None, None)
    days = np.arange(obs.s2_days[0], obs.s2_days[-1] + 1)
    return FakeScene(obs, days, mock_truth(days, 16, 16, seed))


SMALL = SampleSettings(steps=20, crop_px=8, crops_a_side=2, visits=2, scenes_in_memory=2, crops_in_memory=8)


def test_withholding_leaves_two_dates():
    withholding = WithholdingSettings(windows=(6, 6), window_days=(300, 300))
    for seed in range(20):
        withheld = withheld_dates(np.arange(0, 100, 5), withholding, np.random.default_rng(seed))
        assert (~withheld).sum() >= 2


def test_withheld_observations_are_gone_and_the_rest_is_untouched():
    scene = fake_scene()
    visible = withhold(scene.observations, scene.observations, WithholdingSettings(), np.random.default_rng(3))
    rows = np.searchsorted(scene.observations.s2_days, visible.s2_days)
    original = scene.observations.s2_ndvi[rows]
    seen = np.isfinite(visible.s2_ndvi)
    np.testing.assert_array_equal(visible.s2_ndvi[seen], original[seen])
    assert seen.sum() < np.isfinite(scene.observations.s2_ndvi).sum()


def test_sensors_are_dropped_when_always_asked():
    withholding = WithholdingSettings(no_radar_share=1, no_coarse_share=1)
    obs = fake_scene().observations
    visible = withhold(obs, obs, withholding, np.random.default_rng(0))
    assert len(visible.s1_days) == 0 and len(visible.coarse_days) == 0


def test_samples_are_told_a_season_that_is_off_or_none():
    obs = replace(fake_scene().observations, latitude=50.0)
    rng = np.random.default_rng(0)
    for share, expected in ((0.0, 50.0), (1.0, None)):
        assert withhold(obs, obs, WithholdingSettings(no_latitude_share=share), rng).latitude == expected
    few = [season_shift(WithholdingSettings(wrong_season_share=0, season_shift_days=15), rng) for _ in range(200)]
    any_ = [season_shift(WithholdingSettings(wrong_season_share=1), rng) for _ in range(200)]
    assert 12 < max(map(abs, few)) <= 15
    assert 150 < max(map(abs, any_)) <= 183


def test_target_is_the_truth_and_withheld_observations_take_its_place():
    scene = fake_scene()
    obs = scene.observations
    keep = np.ones(len(obs.s2_days), bool)
    keep[4] = False
    visible = obs.withhold(s2=~keep)
    grid = int(obs.s2_days[4]) + 5 * np.arange(-2, 3)
    clean = target_on_grid(scene, obs, visible, grid, use_obs=False)
    inside = grid >= scene.truth_days[0]
    np.testing.assert_array_equal(clean[inside], scene.truth[np.searchsorted(scene.truth_days, grid[inside])])
    assert np.isnan(clean[~inside]).all()
    noisy = target_on_grid(scene, obs, visible, grid, use_obs=True)
    seen = np.isfinite(obs.s2_ndvi[4])
    np.testing.assert_array_equal(noisy[2][seen], obs.s2_ndvi[4][seen])
    np.testing.assert_array_equal(noisy[2][~seen], clean[2][~seen])


def test_visible_observations_are_never_targets():
    obs = fake_scene().observations
    grid = np.arange(obs.s2_days[0], obs.s2_days[-1] + 1)
    assert np.isnan(withheld_on_grid(obs, obs, grid)).all()


def test_without_truth_only_withheld_observations_are_scored():
    scene = fake_scene(truth=False)
    samples = visit_scene(scene, scene, SMALL, np.random.default_rng(5))
    share = np.mean([np.isfinite(s.target).mean() for s in samples])
    assert 0.3 < share < 0.9  # dates withheld by these seeds; visible ones are never scored


def test_a_visit_gives_crops_of_one_place():
    scene = fake_scene()
    samples = visit_scene(scene, scene, SMALL, np.random.default_rng(0))
    assert len(samples) == 4
    for sample in samples:
        assert sample.features.shape == (len(FEATURE_NAMES), 20, 8, 8)
        assert sample.target.shape == sample.gap_days.shape == (20, 8, 8)
        # channel 0 lies within the range of NDVI
        linear = sample.features[0] * NDVI_UNIT + 0.5
        assert linear.min() >= -0.2 - 1e-5 and linear.max() <= 1 + 1e-5


def test_screened_visits_lose_the_suspect_observations():
    scene = fake_scene()
    bad = np.zeros(scene.observations.s2_ndvi.shape, bool)
    bad[1:] = True
    scene = replace(scene, suspect=bad)

    def support(share):
        settings = SMALL.model_copy(
            update={"screened_share": share, "withholding": WithholdingSettings(windows=(0, 0))}
        )
        samples = visit_scene(scene, scene, settings, np.random.default_rng(3))
        return np.mean([s.features[FEATURE_NAMES.index("s2_support_45d")].mean() for s in samples])

    assert support(1.0) < 0.5 * support(0.0)


def test_stream_is_reproducible_and_ends_with_its_scenes():
    def crops(seed):
        return list(mix_samples([fake_scene(0), fake_scene(1), fake_scene(2)], SMALL, seed))

    first, second = crops(4), crops(4)
    assert len(first) == len(second) > 8
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
    assert any((a.features != b.features).any() for a, b in zip(first, crops(5), strict=False))


def test_a_scene_smaller_than_its_crops_is_refused():
    scene = fake_scene()
    with pytest.raises(ValueError, match="16 x 16 px is smaller"):
        visit_scene(scene, scene, SMALL.model_copy(update={"crops_a_side": 3}), np.random.default_rng(0))


def test_a_lone_pixel_knows_only_itself_and_is_repeated():
    settings = SMALL.model_copy(update={"lone_share": 1.0})
    channel = {name: FEATURE_NAMES.index(name) for name in ("context_ndvi", "s2_mean_16d")}
    scene, alone, shared = fake_scene(), 0, 0
    for seed in range(8):
        for features, target, gap_days in visit_scene(scene, scene, settings, np.random.default_rng(seed)):
            assert features.shape == (len(FEATURE_NAMES), 20, 8, 8) and target.shape == gap_days.shape == (20, 8, 8)
            context, own = features[channel["context_ndvi"]], features[channel["s2_mean_16d"]]
            if (features == features[..., :1, :1]).all():
                alone += 1
                np.testing.assert_allclose(context, own, atol=1e-5)
                assert np.array_equal(target, np.broadcast_to(target[:, :1, :1], target.shape), equal_nan=True)
            else:
                shared += not np.allclose(context, own, atol=1e-3)
    assert alone > 2 and shared > 2


def stored_scene(seed: int, late_days: int) -> FakeScene:
    """As a patch store keeps a scene: truth every fifth day, observations ``late_days`` after those."""
    obs = mock_observations(t=110, y=24, x=24, seed=seed, noise=0.0)
    days = np.arange(obs.s2_days[0] - late_days, obs.s2_days[-1] + 1, CutSettings().truth_step_days)
    return FakeScene(obs, days, mock_truth(days, 24, 24, seed))


def test_samples_of_a_store_are_scored_against_the_truth_of_their_date(monkeypatch):
    """Default settings of store and samples. Noise-free observations within a day of a date may stand in."""
    grids = []

    def spy(obs, grid_days, *given, **more):
        grids.append(grid_days)
        return compute_features(obs, grid_days, *given, **more)

    monkeypatch.setattr("fusion.data.samples.compute_features", spy)
    settings, rng = SampleSettings(lone_share=0.0), np.random.default_rng(1)
    shares = []
    for k in range(40):
        scene = stored_scene(k % 5, k % 5)
        samples = visit_scene(scene, scene, settings, rng)
        places = {s.target.tobytes() for s in samples}
        assert len(places) == settings.crops_a_side**2
        truth = mock_truth(grids[-1], 24, 24, k % 5)
        within_a_day = np.abs(mock_truth(grids[-1] + 1, 24, 24, k % 5) - mock_truth(grids[-1] - 1, 24, 24, k % 5))
        for i, sample in enumerate(samples):
            row, column = divmod(i, settings.crops_a_side)
            part = (slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
            apart = np.abs(sample.target - truth[part])
            assert np.nanmax(apart - within_a_day[part]) < 1e-4
            shares.append(np.isfinite(sample.target).mean())
    assert np.mean(shares) > 0.85


@pytest.mark.parametrize("use_obs", [False, True])
def test_a_grid_over_daily_truth_stays_where_it_was_drawn(use_obs):
    days = np.arange(1000, 1500)
    for start in range(994, 1030):
        observed = 1017 if use_obs else None
        assert meet(start, days, observed) == (start - (start - 1017) % 5 if use_obs else start)


def test_a_grid_over_truth_of_every_fifth_day_meets_it():
    days = np.arange(1000, 1500, 5)
    for start in range(994, 1030):
        found = meet(start, days)
        assert found % 5 == 0 and 0 <= start - found < 5
        for observed, phase in ((1010, 0), (1011, 0), (1014, 0), (1012, 2), (1013, 3)):
            assert meet(start, days, observed) % 5 == phase  # two days are too far for an observation to count
