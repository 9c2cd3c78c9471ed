"""Baselines against hand-derived numbers."""

import numpy as np
import pytest

from fusion.contract import COARSE_NDVI, S2NDVI
from fusion.evaluation.baselines import (
    LEAST_SCORE,
    EfastLike,
    Linear,
    SavitzkyGolay,
    Whittaker,
    cloud_scores,
    make_baselines,
)
from tests.unit.fusion.evaluation.cubes import cube_of

NAN = np.nan


def at(*dates: str) -> np.ndarray:
    return np.array(dates, "datetime64[D]")


def test_linear_by_hand():
    # observations 0.2 on Jan 1 and 0.6 on Jan 11; Jan 6 is cloudy. Jan 3: 0.2 + 0.4 * 2/10
    cube = cube_of({S2NDVI: [0.2, NAN, 0.6]})
    ndvi, sigma = Linear().predict(cube, at("2020-01-03", "2020-01-06", "2020-02-01"))
    assert sigma is None
    assert ndvi[:, 0, 0] == pytest.approx([0.28, 0.4, 0.6])


def test_whittaker_keeps_a_line_and_stays_in_range():
    line = 0.2 + 0.02 * np.arange(20)
    line[7:12] = NAN
    ndvi, _ = Whittaker(1e4).predict(cube_of({S2NDVI: line}), at("2020-02-15", "2021-06-01"))
    assert ndvi[0, 0, 0] == pytest.approx(0.2 + 0.02 * 9, abs=1e-4)  # Feb 15 is day 45 = index 9
    assert ndvi[1, 0, 0] == 1.0  # the line runs on to 2.3; NDVI ends at 1


def test_savitzky_golay_keeps_a_cubic():
    # daily observations, so that linear interpolation adds nothing: a cubic of the day is reproduced
    daily = np.arange(200.0)
    cubic = 0.5 + 1e-7 * (daily - 100) ** 3
    cube = cube_of({S2NDVI: cubic}, step_days=1)
    ndvi, _ = SavitzkyGolay(31).predict(cube, cube.t.values[[60, 90]])
    assert ndvi[:, 0, 0] == pytest.approx(cubic[[60, 90]], abs=1e-5)


def test_efast_carries_an_observation_by_the_coarse_change():
    # one observation of 0.3 on Jan 1; the coarse series (daily, no noise) rises from 0.4 to 0.6 in a step far from both
    # dates, so 60 days later the observation is carried to 0.3 + 0.2
    coarse = np.where(np.arange(61) < 30, 0.4, 0.6)
    observations = np.full(61, NAN)
    observations[0] = 0.3
    cube = cube_of({S2NDVI: observations, COARSE_NDVI: coarse}, step_days=1)
    ndvi, _ = EfastLike(coarse_scale_days=5.0).predict(cube, cube.t.values[[60]])
    assert ndvi[0, 0, 0] == pytest.approx(0.5, abs=1e-3)


def test_efast_without_coarse_is_the_weighted_mean_of_observations():
    # observations 0.2 and 0.6 at distances 0 and 20 days, scale 20: weights 1 and exp(-1/2)
    cube = cube_of({S2NDVI: [0.2, 0.6]}, step_days=20)
    ndvi, _ = EfastLike(scale_days=20).predict(cube, cube.t.values[[0]])
    weight = np.exp(-0.5)
    assert ndvi[0, 0, 0] == pytest.approx((0.2 + 0.6 * weight) / (1 + weight), abs=1e-6)
    far, _ = EfastLike(scale_days=20).predict(cube, at("2030-01-01"))
    assert far[0, 0, 0] == pytest.approx(0.6, abs=1e-3)  # ten years away still finite, led by the nearer observation


def test_efast_trusts_observations_far_from_clouds():
    # a cloud over the first column of a row of 512 pixels: 300 m away the score starts to rise, 4.8 km away it is 1
    seen = np.ones((2, 1, 512), bool)
    seen[0, 0, 0] = False
    scores = cloud_scores(seen)
    assert scores[0, 0, 30] == pytest.approx(LEAST_SCORE) and scores[0, 0, 480] == 1.0
    assert scores[0, 0, 255] == pytest.approx((2550 / 300 - 1) / 15, abs=1e-6)
    assert (scores[1] == 1).all()
    # two observations equally near in time; the one of the date with a cloud in the cube counts for a hundredth
    observation = np.full((3, 2, 2), 0.2)
    observation[1], observation[2], observation[0, 0, 0] = NAN, 0.8, NAN
    ndvi, _ = EfastLike().predict(cube_of({S2NDVI: observation}, step_days=5), at("2020-01-06"))
    assert ndvi[0, 1, 1] == pytest.approx((0.01 * 0.2 + 0.8) / 1.01, abs=1e-5)
    assert ndvi[0, 0, 0] == pytest.approx(0.8, abs=1e-6)


def test_a_pixel_without_observations_is_nan_and_spoils_no_other():
    observation = np.full((40, 2, 2), 0.5)
    observation[:, 0, 1] = NAN
    cube = cube_of({S2NDVI: observation})
    for predictor in make_baselines(["linear", "whittaker", "savitzky_golay", "efast_like"], [1e3]):
        ndvi, _ = predictor.predict(cube, cube.t.values[[3, 20]])
        assert np.isnan(ndvi[:, 0, 1]).all(), predictor.name
        assert ndvi[:, 1, :] == pytest.approx(0.5, abs=1e-6), predictor.name


def test_no_observations_give_nan_of_full_shape():
    cube = cube_of({S2NDVI: np.full(5, NAN)})
    for predictor in make_baselines(["linear", "whittaker", "savitzky_golay", "efast_like"], [1e3]):
        ndvi, _ = predictor.predict(cube, cube.t.values)
        assert ndvi.shape == (5, 2, 2) and np.isnan(ndvi).all()


def test_unknown_baseline_is_refused_and_lambdas_name_themselves():
    with pytest.raises(ValueError, match="expected some of"):
        make_baselines(["cubic"], [1e3])
    assert [p.name for p in make_baselines(["linear", "whittaker"], [1e3, 1e4])] == [
        "linear",
        "whittaker 1e3",
        "whittaker 1e4",
    ]
