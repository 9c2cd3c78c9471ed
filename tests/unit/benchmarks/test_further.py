"""What acceptance scores beside the product: radar level, suspects, coarse consistency, spectra; derived by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import uniform_filter

from benchmarks.acceptance.coarse_consistency import coarse_centres, coarse_errors, coarse_table
from benchmarks.acceptance.figures import plot_gaps
from benchmarks.acceptance.gap_example import GapExample, gap_example, middle_of_gap
from benchmarks.acceptance.radar_level import radar_level_table, score_radar_level
from benchmarks.acceptance.spectrum import (
    MeanSpectra,
    gradient_spectrum,
    gradient_spectrum_bias,
    gradient_spectrum_error,
    image_table,
    radial_power,
    spectrum_rows,
)
from benchmarks.acceptance.suspects import score_suspects, suspect_table
from fusion.contract import S2NDVI, VH, VV
from fusion.evaluation.baselines import Linear
from fusion.evaluation.holdout import Holdout, score_scene, withhold_scene
from fusion.evaluation.predictor import Prediction, to_days
from fusion.evaluation.scenes import TruthScene
from fusion.evaluation.summaries import image_table as product_images
from tests.unit.fusion.evaluation.cubes import DAY0, Recorder, cube_of, ramp, scene_of, texture


def test_coarse_error_of_an_offset_is_the_offset():
    scene = scene_of(np.full((120, 60, 60), 0.4), obs_every=10)
    withheld = withhold_scene(scene, Holdout(windows=0), 0)
    assert coarse_centres(60).tolist() == [150.0, 450.0]
    rows = coarse_errors(scene, withheld, np.full((24, 60, 60), 0.43, np.float32), "p")
    table = coarse_table(rows)
    assert table.rmse.item() == pytest.approx(0.03, abs=1e-6) and table.bias.item() == pytest.approx(0.03, abs=1e-6)
    # 2020-01-01 .. 04-24: dekads 01-01 to 04-11 are whole, 11 of them, on 2 x 2 coarse pixels
    assert table.n.item() == 11 * 4
    small = scene_of(np.full((120, 20, 20), 0.4))
    assert coarse_errors(small, withhold_scene(small, Holdout(windows=0), 0), np.zeros((24, 20, 20)), "p").empty


def test_spectra_of_truth_and_methods_are_averaged():
    """A truth that never changes, filled by two methods on two scenes of it."""
    truth = np.broadcast_to(texture(0)[None], (400, 32, 32)).astype(np.float32)
    rules, spectra, images, rows = Holdout(lengths_days=(60,), windows=1, frames=3), MeanSpectra(), [], []
    for index in range(2):
        withheld = withhold_scene(scene_of(truth, key=f"s{index}"), rules, index)
        for predictor in (Linear(), Recorder(0.5)):
            _, found, answer = score_scene(withheld, predictor, rules)
            spectra.add(withheld, predictor.name, answer.ndvi, rules.frames)
            images.append(found)
            rows.append(spectrum_rows(withheld, predictor.name, answer.ndvi, rules.frames))
    assert {name: count for name, (_, count) in spectra.sums.items()} == {"truth": 6, "linear": 6, "recorder": 6}
    total = {name: spectrum / count for name, (spectrum, count) in spectra.sums.items()}
    np.testing.assert_allclose(total["truth"], gradient_spectrum(truth[0]), atol=1e-6)
    np.testing.assert_allclose(total["linear"], total["truth"], atol=1e-4)  # nothing changes, so linear is perfect
    assert (total["recorder"] == -12).all()  # a flat image has no power but the floor
    table = image_table(product_images(pd.concat(images)), pd.concat(rows))
    expected = ["predictor", "ssim", "gradient_error", "spectrum_error", "spectrum_bias", "frames"]
    assert table.columns.tolist() == expected and table.frames.tolist() == [6, 6]
    upper = total["truth"][total["truth"].size // 2 :]
    assert table.spectrum_bias.tolist() == pytest.approx([0.0, (-12 - upper).mean()], abs=1e-4)


def test_the_middle_of_the_gap_lies_between_two_observations():
    random = np.random.default_rng(0)
    waves = random.uniform(-0.2, 0.2, (1, 4, 4)) * np.exp(-(((np.arange(300) - 140) / 30) ** 2))[:, None, None]
    scene = scene_of((0.5 + waves).astype(np.float32))
    day, gap = middle_of_gap(scene)
    # texture peaks on day 140; observations every 5 days, so the nearest ones left stand 35 days off
    assert day == DAY0 + 140 and gap == 70
    spy = Recorder(0.5, name="model")
    example = gap_example(scene)
    for predictor in (Linear(), spy):
        example.add(predictor)
    assert set(example.frames) == {"truth", "linear", "model"}
    np.testing.assert_array_equal(example.frames["truth"], scene.truth[140])
    seen, dates, target = spy.seen[0]
    inside = np.abs(to_days(seen.t.values) - day) <= 30
    assert inside.sum() == 13 and np.isnan(seen.sel(bands=S2NDVI).values[inside]).all()
    assert to_days(dates).tolist() == [day] and target == "ndvi"
    sparse = scene_of((0.5 + waves).astype(np.float32), obs_every=90)
    assert middle_of_gap(sparse) is None and gap_example(sparse) is None


def test_the_gap_figure_stands_side_by_side():
    truth = np.random.default_rng(0).uniform(0.2, 0.8, (8, 8))
    frames = {"truth": truth, "linear": truth - 0.1, "without adversarial": truth + 0.05, "model": truth}
    examples = [GapExample("s", np.datetime64("2020-05-20"), 66, cube_of({S2NDVI: np.zeros(1)}), frames)]
    assert plot_gaps(examples).axes[0].get_ylabel() == "2020-05-20\ngap of 66 days"
    titles = [axis.get_title() for axis in plot_gaps(examples).axes if axis.get_title()]
    expected = ["truth", "linear\nMAE 0.100", "without adversarial\nMAE 0.050", "with adversarial\nMAE 0.000"]
    assert titles == expected
    del frames["without adversarial"]
    assert plot_gaps(examples).axes[2].get_title() == "model\nMAE 0.000"


class Radio:
    """A predictor that answers a hundredth of VV and nothing of VH."""

    name = "radio"

    def predict(self, cube, dates, *, target="ndvi"):
        vv = float(cube.sel(bands=VV).mean()) if VV in cube.bands.values else 0.0
        return Prediction(np.full((len(dates), cube.sizes["y"], cube.sizes["x"]), vv / 100), None)


def test_a_radar_shift_is_seen_band_by_band():
    truth = ramp(200)
    days = DAY0 + np.arange(200)
    radar = np.full((20, 4, 4), 50.0, np.float32)  # a level that makes the sums easy
    cube = cube_of({S2NDVI: truth[::10], VV: radar, VH: radar}, step_days=10)
    withheld = withhold_scene(TruthScene("s", cube, days, truth), Holdout(windows=0), 0)
    table = radar_level_table(score_radar_level(withheld, Radio(), shift_db=2.0)).set_index("shift")
    # NDVI 0.5 moves by 0.02 with VV and not with VH; unseen pixels: every second of 40 dates, 4 x 4 pixels
    assert table.mean_change.to_dict() == pytest.approx(
        {"both +2 dB": 0.02, "both -2 dB": 0.02, "VV +2 dB": 0.02, "VH +2 dB": 0.0}
    )
    assert (table.n == 20 * 16).all() and table.mae_ratio["VH +2 dB"] == 1.0
    unseen = truth[5::10, 0, 0]
    assert table.mae["both +2 dB"] == pytest.approx(np.abs(0.52 - unseen).mean(), abs=1e-6)
    assert table.largest_change.max() == pytest.approx(0.02)
    assert float(withheld.cube.sel(bands=VV).max()) == 50.0  # the scene itself is left as it was
    blind = withhold_scene(scene_of(truth), Holdout(windows=0), 0)
    assert score_radar_level(blind, Radio()).empty


def test_suspect_observations_are_counted_by_hand():
    # truth 0.5, sigma 0.1. Of four dates with 2 x 2 observations: one observation far below and touched (found), one a
    # little below and touched (missed), one far below though no cloud is there (harmful all the same)
    truth = np.full((16, 2, 2), 0.5, np.float32)
    observations = truth[::5].copy()
    observations[1, 0, 0], observations[2, 0, 0], observations[3, 1, 1] = 0.1, 0.45, 0.1
    touched = np.zeros((4, 2, 2), bool)
    touched[1, 0, 0] = touched[2, 0, 0] = True
    cube = cube_of({S2NDVI: observations})
    scene = TruthScene("s", cube, DAY0 + np.arange(16), truth, suspect=touched)
    rows = score_suspects(scene, Recorder(0.5, sigma=0.1), (2.5, 10.0))
    table = suspect_table(rows).set_index("threshold")
    assert table.observations.tolist() == [16, 16] and table.touched_percent[2.5] == pytest.approx(100 * 2 / 16)
    assert table.flagged_percent[2.5] == pytest.approx(100 * 2 / 16)
    assert table.precision[2.5] == 50.0 and table.recall[2.5] == 50.0 and table.recall_harmful[2.5] == 100.0
    assert table.precision_harmful[2.5] == 100.0 and table.recall_harmful[10.0] == 0.0
    assert table.recall[10.0] == 0.0 and np.isnan(table.precision[10.0])
    assert score_suspects(scene, Recorder(0.5)).empty  # no sigma
    assert score_suspects(TruthScene("s", cube, scene.truth_days, truth), Recorder(0.5, 0.1)).empty


def test_power_of_a_wave_stands_at_its_frequency():
    wave = np.sin(2 * np.pi * 5 * np.arange(64) / 64)[None, :].repeat(64, axis=0)
    assert radial_power(wave).argmax() == 5 - 1  # the first ring is frequency 1


def test_spectrum_error_of_scaled_texture_is_the_logarithm_of_the_squared_scale():
    # halving the contrast quarters the power at every frequency: |log10(1/4)| = 0.60206
    frame = texture(3)
    assert gradient_spectrum_error(0.5 * frame, frame) == pytest.approx(np.log10(4), abs=1e-6)
    assert gradient_spectrum_bias(0.5 * frame, frame) == pytest.approx(-np.log10(4), abs=1e-6)  # too smooth
    assert gradient_spectrum_error(frame, frame) == gradient_spectrum_bias(frame, frame) == 0.0


def test_smoothing_costs_spectrum_and_gaps_or_tiny_frames_give_nan():
    frame = texture(4)
    assert gradient_spectrum_error(uniform_filter(frame, 3), frame) > 0.5
    holed = frame.copy()
    holed[0, 0] = np.nan
    assert np.isnan(gradient_spectrum_error(holed, frame)) and np.isnan(gradient_spectrum_bias(holed, frame))
    assert np.isnan(gradient_spectrum_error(frame[:8, :8], frame[:8, :8]))
