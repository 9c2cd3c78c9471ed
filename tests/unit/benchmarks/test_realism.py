"""The measures of realism: a slow oracle for the protocol, distances that are zero for equal data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.realism import __main__ as realism
from benchmarks.realism import radar_relation
from benchmarks.realism.difficulty import GAPS_D, REAL_LINEAR_MAE, linear_difficulty, scene_difficulty
from benchmarks.realism.statistics import SeriesStatistics
from data_prep.cube import build_cube
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from fusion.data.cube_files import write_cube
from fusion.features.observations import Observations

SETTINGS = SceneSettings(height=36, width=44, n_days=240)


def test_linear_difficulty_against_a_slow_oracle():
    """numpy.interp for each pixel and date, with the observations around the date taken away."""
    rng = np.random.default_rng(3)
    days = np.sort(rng.choice(300, 60, replace=False))
    ndvi = rng.random((60, 4, 5)).astype(np.float32)
    ndvi[rng.random(ndvi.shape) < 0.15] = np.nan
    scored, error = linear_difficulty(days, ndvi, (2, 20))
    for row, day in enumerate(scored):
        k = int(np.flatnonzero(days == day)[0])
        for column, gap in enumerate((2, 20)):
            parts = []
            for i, j in np.ndindex(4, 5):
                keep = np.isfinite(ndvi[:, i, j]) & (np.abs(days - day) > gap)
                if np.isfinite(ndvi[k, i, j]):
                    parts.append(abs(np.interp(day, days[keep], ndvi[keep, i, j]) - ndvi[k, i, j]))
            assert error[row, column] == pytest.approx(np.mean(parts), abs=1e-6)
    clear = np.isfinite(ndvi).mean(axis=(1, 2)) >= 0.8
    inside = (days >= days[0] + 45) & (days <= days[-1] - 45)
    np.testing.assert_array_equal(scored, days[clear & inside])


def test_equal_observations_are_at_no_distance():
    obs = simulate_observations(SETTINGS.model_copy(update={"n_days": 200}), 2).observations
    pools = []
    for _ in range(2):
        pool = SeriesStatistics()
        pool.add(obs, np.random.default_rng(0))
        pools.append(pool)
    rows = pools[0].distances(pools[1])
    assert len(rows) > 20
    assert all(row["distance"] == 0 for row in rows)


def test_a_shift_of_levels_is_seen():
    obs = simulate_observations(SETTINGS, 2).observations
    moved = replace(obs, vv_db=obs.vv_db + 3.0)
    pools = [SeriesStatistics(), SeriesStatistics()]
    for pool, which in zip(pools, (obs, moved), strict=True):
        pool.add(which, np.random.default_rng(0))
    rows = {row["statistic"]: row["distance"] for row in pools[0].distances(pools[1])}
    assert rows["VV level, dB"] == pytest.approx(3.0, abs=1e-3)
    assert rows["VH level, dB"] == 0 and rows["VH-VV level, dB"] == pytest.approx(3.0, abs=1e-3)


def test_changes_are_compared_from_field_to_field():
    """VV that rises with NDVI and VH that falls with it, both under a common wetness that says nothing."""
    rng = np.random.default_rng(4)
    days = np.arange(0, 60, 5)
    rise = rng.normal(0, 0.004, (8, 8)) * days[:, None, None]
    wet = rng.normal(0, 3, (len(days), 1, 1))
    obs = Observations(days, 0.5 + rise, days, 9 * rise + wet - 10, wet - 5 * rise - 17, days[:0], rise[:0])
    pool = SeriesStatistics()
    pool.add(obs, rng)
    changes = {name: values for name, values in pool.correlation.items() if name.endswith("change in a month")}
    assert len(changes) == 3
    np.testing.assert_allclose(changes["VV, change in a month"], 1, atol=1e-6)
    np.testing.assert_allclose(changes["VH, change in a month"], -1, atol=1e-6)


def test_command_matches_the_cube_and_writes_both_files(tmp_path):
    raw = simulate_raw(SceneSettings(height=32, width=32, n_days=150, start_day=(90, 90)), 6)
    write_cube(build_cube(raw.raw), tmp_path / "cube.nc")
    settings = realism.RealismSettings(real=tmp_path / "cube.nc", count=3, out=tmp_path / "out")
    shown = realism.run(settings)
    assert shown.row_count > 20
    saved = json.loads((tmp_path / "out" / "realism.json").read_text())
    assert {"NDVI in month 5", "days between clear observations", "VV level, dB"} <= {
        r["statistic"] for r in saved["rows"]
    }
    text = (tmp_path / "out" / "realism.md").read_text().splitlines()
    assert len(text) == len(saved["rows"]) + 2


def test_too_few_observations_are_refused(tmp_path):
    raw = simulate_raw(SceneSettings(height=32, width=32, n_days=60), 6)
    write_cube(build_cube(raw.raw), tmp_path / "cube.nc")
    with pytest.raises(ValueError, match="widen start and end"):
        realism.run(realism.RealismSettings(real=tmp_path / "cube.nc", start="2030-01-01", count=2))


def test_settings_are_written_key_value_and_the_default_mask_is_square(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(realism, "run", lambda settings: seen.append(settings) or "shown")
    realism.main(["real=cube.nc", "end=2018-12-31", "scene.optics.gaussian_mask_probability=0", "count=60"])
    realism.main(["real=raw", "prepare.optical.mask=disk"])
    assert "shown" in capsys.readouterr().out
    assert seen[0].end == "2018-12-31" and seen[0].count == 60
    assert seen[0].scene.optics.gaussian_mask_probability == 0 and seen[0].prepare.optical.mask == "square"
    assert seen[1].prepare.optical.mask == "disk"
    with pytest.raises(SystemExit, match="unknown setting; did you mean 'count'"):
        realism.main(["real=cube.nc", "counts=3"])


@pytest.mark.slow
def test_as_hard_as_real_observations():
    """Linear interpolation on simulated observations within 15 % of its error on real observations, at every gap."""
    errors, dates = scene_difficulty(SceneSettings(height=32, width=32), seed=3_000, count=120)
    assert dates.sum() > 1000
    for gap, mine, real in zip(GAPS_D, np.nanmean(errors, axis=0), REAL_LINEAR_MAE, strict=True):
        assert mine == pytest.approx(real, rel=0.15), f"gap {gap} d"


def _two_passes(repeat: int, rng: np.random.Generator) -> Observations:
    """Radar that follows NDVI, of two passes 3 dB apart that come one day after the other."""
    s2 = np.arange(0, 240, 5)
    s1 = np.sort(np.concatenate([np.arange(0, 240, repeat), np.arange(1, 240, repeat)]))
    wave = rng.uniform(0.2, 0.4, (1, 8, 8))
    ndvi, vh = (0.5 + wave * np.sin(days / 20.0)[:, None, None] for days in (s2, s1))
    level = np.where(s1 % repeat == 1, 3.0, 0.0)[:, None, None]
    radar = rng.normal(0, 0.1, (2, *vh.shape)) + level + np.stack([0 * vh - 10, 5 * vh - 17])
    return Observations(s2, ndvi.astype("f4"), s1, *radar.astype("f4"), s2[:0], ndvi[:0])


def test_radar_variants_tell_passes_drop_and_level_them():
    six, twelve = (_two_passes(repeat, np.random.default_rng(5)) for repeat in (6, 12))
    assert (radar_relation.repeat_days(six), radar_relation.repeat_days(twelve)) == (6, 12)
    thinned = radar_relation.every_second(six)
    np.testing.assert_array_equal(thinned.s1_days, twelve.s1_days)
    late = radar_relation.passes(six) == 1
    assert np.median(six.vv_db[late]) - np.median(six.vv_db[~late]) == pytest.approx(3, abs=0.1)
    level = radar_relation.levelled(six)
    assert np.median(level.vv_db[late]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(np.median(level.vh_db[~late], 0), 0, atol=1e-6)
    assert np.median(six.vv_db[late]) == pytest.approx(-7, abs=0.1)  # the input is as it was
    decades = replace(six, s1_days=np.arange(len(six.s1_days)) * 10)
    assert radar_relation.repeat_days(decades) > 12


def test_mean_of_a_patch_needs_clear_pixels_and_has_nan_where_radar_is_missing():
    obs = _two_passes(6, np.random.default_rng(5))
    obs.s2_ndvi[3, :4] = np.nan  # half of the patch
    obs.s2_ndvi[4, :1] = np.nan
    obs.vv_db[2] = np.nan
    mean = radar_relation.patch_mean(obs)
    assert mean.shape == (1, 1)
    assert np.isnan(mean.s2_ndvi[3, 0, 0]) and np.isnan(mean.vv_db[2, 0, 0])
    assert mean.s2_ndvi[4, 0, 0] == pytest.approx(np.nanmean(obs.s2_ndvi[4]), abs=1e-5)
    np.testing.assert_allclose(mean.vh_db[:, 0, 0], obs.vh_db.mean((1, 2)), atol=1e-4)


def test_the_same_pixels_have_a_row_for_each_variant_that_they_can_have():
    six, twelve = (_two_passes(repeat, np.random.default_rng(5)) for repeat in (6, 12))
    both = radar_relation.by_variant([six, twelve])
    assert list(both) == list(radar_relation.VARIANTS)
    assert both["every 6 days"]["places"] == both["every 12 days"]["places"] == 1
    assert both["passes levelled"]["places"] == 2
    assert both["lone pixel"]["r2"] > 0.5
    point = radar_relation.by_variant([six.window(slice(0, 1), slice(0, 1))])
    assert list(point) == ["every 6 days", "every 12 days", "passes as they come", "passes levelled"]
