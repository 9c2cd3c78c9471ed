from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_prep.patches import CutSettings
from fusion.data.samples import SampleSettings, visit_pixel, visit_scene
from fusion.data.targets import meet, target_on_grid, withheld_on_grid
from fusion.data.withholding import (
    WithholdingSettings,
    foreign_radar,
    noisy_radar,
    season_shift,
    withheld_dates,
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


def test_a_scene_gives_as_many_crops_as_it_has_room_for():
    scene = fake_scene()
    settings = SMALL.model_copy(update={"crops_a_side": 3})
    assert len(visit_scene(scene, scene, settings, np.random.default_rng(0))) == 4
    with pytest.raises(ValueError, match="16 x 16 px is smaller than a crop of 32 px"):
        visit_scene(scene, scene, SMALL.model_copy(update={"crop_px": 32}), np.random.default_rng(0))


@pytest.mark.parametrize("truth", [True, False])
def test_a_lone_pixel_knows_only_itself(truth):
    scene = fake_scene(truth=truth)
    context, own = (FEATURE_NAMES.index(name) for name in ("context_ndvi", "s2_mean_16d"))
    found = [visit_pixel(scene, scene, SMALL, np.random.default_rng(seed)) for seed in range(12)]
    given = [sample for sample in found if sample is not None]
    assert len(given) >= 8  # without truth, few withheld dates are no sample
    for sample in given:
        assert sample.features.shape == (len(FEATURE_NAMES), 20, 1, 1)
        assert sample.target.shape == sample.gap_days.shape == (20, 1, 1)
        np.testing.assert_allclose(sample.features[context], sample.features[own], atol=1e-5)
        assert np.isfinite(sample.target).sum() >= 2


def test_a_lone_pixel_keeps_its_radar_since_training_shows_it_without_as_well():
    scene, support = fake_scene(), FEATURE_NAMES.index("s1_support")
    settings = SMALL.model_copy(update={"withholding": WithholdingSettings(no_radar_share=1)})
    assert visit_pixel(scene, scene, settings, np.random.default_rng(0)).features[support].max() > 0
    assert visit_scene(scene, scene, settings, np.random.default_rng(0))[0].features[support].max() == 0


def test_a_pixel_with_few_observations_is_left_out():
    obs = fake_scene().observations
    few = FakeScene(obs.withhold(s2=np.arange(len(obs.s2_days)) >= 5), None, None)
    assert visit_pixel(few, few, SMALL, np.random.default_rng(0)) is None


def test_without_truth_every_observation_within_two_days_is_a_target():
    scene = fake_scene(truth=False)
    obs = scene.observations
    visible = obs.withhold(s2=np.arange(len(obs.s2_days)) == 4)
    withheld = int(obs.s2_days[4])
    for shift, known in ((0, True), (2, True), (-2, True), (3, False)):
        grid = np.array([withheld + shift])
        assert np.isfinite(target_on_grid(scene, obs, visible, grid, use_obs=True)).any() == known
    assert np.isfinite(withheld_on_grid(obs, visible, np.array([withheld + 2]))).sum() == 0  # a day beside truth


def test_a_long_gap_leaves_half_of_a_short_series():
    days = np.arange(0, 200, 5)
    settings = WithholdingSettings(
        windows=(0, 0), long_share=1, long_days=(240, 240), trailing_share=0, thinning_share=0
    )
    gone = [withheld_dates(days, settings, np.random.default_rng(seed)).mean() for seed in range(30)]
    assert 0.3 < max(gone) <= 0.52


def test_foreign_radar_is_that_of_the_other_scene_at_the_same_time_of_year():
    obs, other = fake_scene(0).observations, fake_scene(1).observations
    later = replace(other, s1_days=other.s1_days + 3 * 365)
    mixed = foreign_radar(obs, later)
    np.testing.assert_array_equal(mixed.vv_db, other.vv_db)
    assert np.abs(mixed.s1_days - other.s1_days).max() <= 1
    np.testing.assert_array_equal(mixed.s2_ndvi, obs.s2_ndvi)
    assert foreign_radar(obs, obs) is obs
    small = replace(other.window(slice(0, 4), slice(0, 4)))
    assert foreign_radar(obs, small) is obs


def test_radar_noise_has_the_strength_asked_for():
    obs = fake_scene().observations
    noisy = noisy_radar(obs, WithholdingSettings(radar_noise_db=(1.5, 1.5)), np.random.default_rng(0))
    for before, after in ((obs.vv_db, noisy.vv_db), (obs.vh_db, noisy.vh_db)):
        added = (after - before)[np.isfinite(before)]
        assert added.std() == pytest.approx(1.5, rel=0.05) and abs(added.mean()) < 0.05
    shares = WithholdingSettings(foreign_radar_share=0, radar_noise_share=0, no_radar_share=0)
    np.testing.assert_array_equal(withhold(obs, obs, shares, np.random.default_rng(0)).vv_db, obs.vv_db)


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
    settings, rng = SampleSettings(), np.random.default_rng(1)
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
