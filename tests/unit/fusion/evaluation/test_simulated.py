"""Scores against truth: bins, withheld windows, lags; numbers derived by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from fusion.contract import COARSE_NDVI, S2NDVI, VH, VV, ContractError
from fusion.evaluation.baselines import Linear
from fusion.evaluation.gallery import Gallery
from fusion.evaluation.holdout import (
    GAP_BINS,
    Holdout,
    gap_bin,
    score_scene,
    withheld_windows,
    withhold_scene,
)
from fusion.evaluation.near_real_time import NearRealTime, issue_days, score_lags
from fusion.evaluation.predictor import Prediction, to_days
from fusion.evaluation.scenes import TruthScene, cube_from_observations, on_dates_of, truth_scenes
from fusion.evaluation.summaries import Bootstrap, lag_curve, pooled
from fusion.features.observations import Observations
from tests.unit.fusion.evaluation.cubes import DAY0, Recorder, cube_of, ramp, scene_of, texture

QUICK = Bootstrap(draws=50)


def test_bins_by_distance():
    gaps = np.array([0.0, 1, 14, 15, 29, 30, 59, 60, 99, 100, 10_000])
    assert [GAP_BINS[b] if b >= 0 else "seen" for b in gap_bin(gaps)] == [
        "seen", "<15", "<15", "15-30", "15-30", "30-60", "30-60", "60-100", "60-100", ">100", ">100",
    ]  # fmt: skip


def test_windows_depend_on_seed_and_scene_only_and_stay_inside():
    scene, rules = scene_of(ramp()), Holdout(lengths_days=(60,), windows=3, seed=4)
    windows = withheld_windows(scene, rules, 7)
    assert windows == withheld_windows(scene, rules, 7) != withheld_windows(scene, rules, 8)
    assert all(last - first == 59 and first >= DAY0 and last <= DAY0 + 399 for first, last in windows)
    short = scene_of(ramp(30))
    first, last = withheld_windows(short, Holdout(lengths_days=(240,), windows=1), 0)[0]
    assert first >= DAY0 and last <= DAY0 + 29


def test_withheld_scene_has_no_observation_in_its_windows_and_the_right_distances():
    scene, rules = scene_of(ramp()), Holdout(lengths_days=(60,), windows=1)
    (first, last), withheld = withheld_windows(scene, rules, 0)[0], withhold_scene(scene, rules, 0)
    days = to_days(withheld.cube.t.values)
    inside = (days >= first) & (days <= last)
    seen = np.isfinite(withheld.cube.sel(bands=S2NDVI).values).all(axis=(1, 2))
    assert (seen == ~inside).all()
    assert np.isfinite(withheld.cube.sel(bands=COARSE_NDVI).values).all()  # composites stay: clouds withhold S2 only
    left = days[seen]
    expected = np.abs(withheld.days[:, None] - left[None]).min(axis=1)
    assert (withheld.gap_days[:, 0, 0] == expected).all()
    assert withheld.in_window.sum() in (11, 12, 13)


def test_constant_answer_is_scored_by_hand():
    # truth 0.2 .. 0.8 on a ramp, observations every 10 days, scored every 5: half of the dates are unseen, 5 days from
    # an observation
    truth = ramp(101)
    withheld = withhold_scene(scene_of(truth, obs_every=10), Holdout(windows=0), 0)
    sums, _, _ = score_scene(withheld, Recorder(0.5, sigma=0.1), Holdout(windows=0))
    unseen = 0.2 + 0.0015 * np.arange(5, 101, 10)
    row = pooled(sums, ["predictor", "bin"], unit="scene", bootstrap=QUICK).iloc[0]
    assert row.bin == "<15" and row.n == 16 * 10
    assert row.mae == pytest.approx(np.abs(0.5 - unseen).mean(), abs=1e-6)
    assert row.bias == pytest.approx((0.5 - unseen).mean(), abs=1e-6)
    assert row.coverage_90 == pytest.approx(100 * (np.abs(0.5 - unseen) <= 0.16449).mean())
    assert row.mae_low == pytest.approx(row.mae) == pytest.approx(row.mae_high)  # one scene: no spread


def test_fields_are_scored_by_their_mean():
    # two fields; the prediction is off by +0.1 on one pixel and -0.1 on the other of the left field: its mean is right
    class Checker:
        name = "checker"

        def predict(self, cube, dates, *, target="ndvi"):
            answer = np.full((len(dates), 2, 2), 0.5)
            answer[:, 0, 0] += 0.1
            answer[:, 1, 0] -= 0.1
            answer[:, :, 1] += 0.2
            return Prediction(answer, None)

    scene = scene_of(np.full((101, 2, 2), 0.5), obs_every=10, parcel=np.array([[3, 7], [3, 7]]))
    sums, _, _ = score_scene(withhold_scene(scene, Holdout(windows=0), 0), Checker(), Holdout(windows=0))
    fields, pixels = sums[sums.unit == "field"], sums[sums.unit == "pixel"]
    # fields: errors 0 and 0.2 -> 0.1; pixels: 0.1, 0.1, 0.2, 0.2 -> 0.15
    assert fields.absolute_error.sum() / fields.n.sum() == pytest.approx(0.1, abs=1e-6)
    assert pixels.absolute_error.sum() / pixels.n.sum() == pytest.approx(0.15, abs=1e-6)


def test_changing_withheld_observations_changes_nothing_that_is_predicted():
    rules, truth = Holdout(lengths_days=(90,), windows=2), ramp()
    scene = scene_of(truth)
    other = scene.cube.copy(deep=True)
    days = to_days(other.t.values)
    inside = np.zeros(len(days), bool)
    for first, last in withheld_windows(scene, rules, 3):
        inside |= (days >= first) & (days <= last)
    other.loc[{"bands": S2NDVI, "t": other.t[inside]}] = 0.99
    spies = Recorder(), Recorder()
    for cube, spy in zip((scene.cube, other), spies, strict=True):
        score_scene(withhold_scene(TruthScene("s", cube, scene.truth_days, truth), rules, 3), spy, rules)
    np.testing.assert_array_equal(spies[0].seen[0][0].values, spies[1].seen[0][0].values)
    assert spies[0].seen[0][2] == "ndvi"  # against clean truth


def test_images_are_compared_inside_windows_only():
    random = np.random.default_rng(0)
    truth = np.broadcast_to(random.uniform(0.2, 0.8, (1, 32, 32)), (400, 32, 32)).astype(np.float32)
    rules = Holdout(lengths_days=(60,), windows=1, frames=4)
    withheld = withhold_scene(scene_of(truth), rules, 0)
    _, images, _ = score_scene(withheld, Linear(), rules)
    # a scene that does not change is filled perfectly by linear interpolation
    assert len(images) == 4 and images.ssim.to_numpy() == pytest.approx(1.0)
    assert images.gradient_error.to_numpy() == pytest.approx(0.0, abs=1e-6)
    dates = images.date.to_numpy().astype("datetime64[D]").astype(int)
    (first, last) = withheld_windows(scene_of(truth), rules, 0)[0]
    assert (dates >= first).all() and (dates <= last).all()


def test_lags_show_no_future_and_score_the_same_pixels():
    scene, spy = scene_of(ramp(), obs_every=7), Recorder(0.5)
    rules = NearRealTime(lags_days=(0, 20), dates=2)
    rows = score_lags(scene, spy, rules)
    assert len(rows) == 2 * 3 and rows.lag_days.isna().sum() == 2
    for (cube, dates, target), lag in zip(spy.seen, [0, 20, None] * 2, strict=True):
        latest = to_days(cube.t.values).max()
        assert target == "ndvi"
        if lag is not None:
            assert latest <= to_days(dates)[0] + lag
        else:
            assert latest == to_days(scene.cube.t.values).max()
    table = lag_curve(rows, bootstrap=QUICK)
    assert table.ratio_to_hindcast.to_numpy() == pytest.approx(1.0)  # a constant answer does not care
    assert rows.groupby("day").n.nunique().eq(1).all()


def test_lag_zero_of_linear_is_the_last_observation():
    # observations every 7 days on a ramp of 0.0015 a day: at lag 0 linear repeats the last observation, off by 0.0015 x
    # its age
    scene = scene_of(ramp(), obs_every=7)
    rules = NearRealTime(lags_days=(0,), dates=1)
    day = int(issue_days(scene, rules)[0])
    age = (day - DAY0) % 7
    rows = score_lags(scene, Linear(), rules)
    at_zero, hindcast = rows[rows.lag_days == 0], rows[rows.lag_days.isna()]
    assert age > 0 and at_zero.error.item() / at_zero.n.item() == pytest.approx(-0.0015 * age, abs=1e-6)
    assert hindcast.absolute_error.item() / hindcast.n.item() == pytest.approx(0.0, abs=1e-6)


def test_a_scene_too_short_for_the_lags_gives_no_row():
    assert issue_days(scene_of(ramp(100)), NearRealTime()).size == 0


def test_observations_become_a_cube_and_back():
    from fusion.features.observations import observations_from_cube

    random = np.random.default_rng(0)
    observations = Observations(
        s2_days=DAY0 + np.array([0, 5]),
        s2_ndvi=random.uniform(0, 0.9, (2, 3, 4)).astype(np.float32),
        s1_days=DAY0 + np.array([2, 5]),
        vv_db=random.uniform(-15, -8, (2, 3, 4)).astype(np.float32),
        vh_db=random.uniform(-22, -14, (2, 3, 4)).astype(np.float32),
        coarse_days=DAY0 + np.array([0]),
        coarse_ndvi=random.uniform(0, 0.9, (1, 3, 4)).astype(np.float32),
    )
    cube = cube_from_observations(observations)
    assert cube.sizes == {"t": 3, "bands": 4, "y": 3, "x": 4}
    assert cube.bands.values.tolist() == [S2NDVI, VV, VH, COARSE_NDVI]
    again = observations_from_cube(cube)
    for name in ("s2_days", "s2_ndvi", "s1_days", "vv_db", "vh_db", "coarse_days", "coarse_ndvi"):
        np.testing.assert_array_equal(getattr(again, name), getattr(observations, name))


def test_scenes_without_truth_or_none_at_all_are_refused():
    with pytest.raises(ContractError, match="has no truth; score real data with cube=PATH"):
        list(truth_scenes([SimpleNamespace(truth=None, truth_days=None)], 3))
    with pytest.raises(ContractError, match="there is no scene to score"):
        list(truth_scenes([], 3))


def test_gallery_counts_unseen_pixels_and_holds_one_example():
    """A truth that never changes, filled by two methods on two scenes of it."""
    truth = np.broadcast_to(texture(0, 4)[None], (400, 4, 4)).astype(np.float32)
    rules, gallery = Holdout(lengths_days=(60,), windows=1), Gallery()
    for index in range(2):
        scene = scene_of(truth, key=f"s{index}")
        withheld = withhold_scene(scene, rules, index)
        for predictor in (Linear(), Recorder(0.5)):
            answer = predictor.predict(withheld.cube, withheld.days.astype("datetime64[D]"))
            gallery.add(scene, withheld, predictor.name, answer)
    assert set(gallery.frames) == {"truth", "linear", "recorder"} == set(gallery.series)
    assert gallery.density["linear"].sum() == gallery.density["recorder"].sum() > 0
    np.testing.assert_allclose(gallery.frames["linear"], gallery.frames["truth"], atol=1e-6)
    assert len(gallery.observations[0]) + len(gallery.withheld[0]) == 80


def test_flags_of_observations_come_to_lie_on_the_dates_of_the_cube():
    cube = cube_of({S2NDVI: np.full(4, 0.5)}, step_days=5)
    flags = np.zeros((2, 2, 2), bool)
    flags[1, 0, 1] = True
    placed = on_dates_of(cube, DAY0 + np.array([5, 15]), flags)
    assert placed.shape == (4, 2, 2) and placed[3, 0, 1] and placed.sum() == 1
    assert on_dates_of(cube, np.array([DAY0]), None) is None
    part = TruthScene("s", cube, DAY0 + np.arange(4), np.zeros((4, 2, 2)), suspect=placed).centre(1)
    assert part.suspect.shape == (4, 1, 1)
