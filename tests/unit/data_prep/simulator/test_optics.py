"""Sentinel-2 observations: dates, gaps, masks, errors that follow from reflectance."""

import numpy as np
import pytest

from data_prep.cube import build_cube
from data_prep.optical import OpticalSettings
from data_prep.optical import gaussian_mask as cube_gaussian_mask
from data_prep.simulator import optics
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.scene import simulate_observations, simulate_parts
from data_prep.simulator.settings import OpticsSettings, SceneSettings

CLEAN = OpticsSettings(
    cloudiness=(0.2, 0.2), cloud_season=(0, 0), missed_cloud_probability=(0, 0), haze=(0, 0), band_bias=(0, 0),
    brdf=(0, 0), pixel_noise=(0, 0), shift_px=(0, 0), snow_missed=0.0,
)  # fmt: skip


def test_dates_repeat_every_five_days_on_an_orbit():
    for orbits in (1, 2, 3):
        days = optics.obs_days(OpticsSettings(orbits=(orbits, orbits)), 400, np.random.default_rng(orbits))
        assert len(np.unique(days % 5)) == orbits
        assert 0.9 * orbits * 80 < len(days) <= orbits * 80


def test_without_errors_an_observation_is_the_truth():
    """Red and NIR are solved for the NDVI: with no cloud near and no error, the observation gives the truth back."""
    settings = SceneSettings(height=24, width=24, n_days=200, optics=CLEAN)
    scene = simulate_observations(settings, 3)
    index = np.searchsorted(scene.truth_days, scene.observations.s2_days)
    clean = np.isfinite(scene.observations.s2_ndvi) & ~scene.suspect
    error = (scene.observations.s2_ndvi - scene.truth[index])[clean]
    assert clean.mean() > 0.3
    assert np.median(np.abs(error)) < 1e-4
    assert np.abs(error).max() < 0.12  # thin cloud just below the limit of `suspect`


def test_haze_and_cloud_pull_ndvi_down(settings):
    scene = simulate_observations(settings, 11)
    index = np.searchsorted(scene.truth_days, scene.observations.s2_days)
    error = scene.observations.s2_ndvi - scene.truth[index]
    green = scene.truth[index] > 0.4
    assert scene.suspect.any()
    assert np.nanmedian(error[scene.suspect & green]) < np.nanmedian(error[~scene.suspect & green]) - 0.01


def test_gaps_are_long_in_a_cloudy_climate_and_short_in_a_clear_one():
    longest = {}
    for share in (0.3, 0.8):
        settings = SceneSettings(
            height=16, width=16, n_days=480, optics=OpticsSettings(cloudiness=(share, share), orbits=(1, 1))
        )
        gaps = [np.diff(simulate_observations(settings, seed).observations.s2_days).max() for seed in range(8)]
        longest[share] = np.median(gaps)
    assert 10 <= longest[0.3] <= 45
    assert 40 <= longest[0.8] <= 160


def test_dilation_against_a_slow_oracle():
    mask = np.random.default_rng(0).random((3, 20, 17)) > 0.97
    expected = np.zeros_like(mask)
    for k, i, j in np.argwhere(mask):
        expected[k, max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3] = True
    np.testing.assert_array_equal(optics.dilate(mask, 2), expected)
    np.testing.assert_array_equal(optics.dilate(mask, 0), mask)


def test_default_mask_is_that_of_the_cube_step(parts):
    """The fast matrix form equals the cube step's own convolution on the same scene classes."""
    from data_prep.simulator.raw import scene_classes

    classes = scene_classes(parts.optical)
    fast = optics.gaussian_mask(parts.optical.cloud, parts.optical.snow, 10.0)
    assert OpticalSettings().mask == "gaussian"
    for k in range(0, len(classes), 5):
        np.testing.assert_array_equal(fast[k], cube_gaussian_mask(classes[k], step=1, pixel_m=10.0))


def test_a_scene_of_20_m_is_masked_as_the_cube_step_masks_it():
    """Kernel sizes follow the scene's pixel size, in the simulated observations as in the cube made of its raw form."""
    optics_settings = OpticsSettings(gaussian_mask_probability=1.0)
    settings = SceneSettings(height=30, width=30, n_days=60, resolution_m=20.0, optics=optics_settings)
    seen = simulate_observations(settings, 5).observations
    cube = build_cube(simulate_raw(settings, 5).raw).sel(bands="S2NDVI")
    cube = cube.isel(t=np.flatnonzero(cube.notnull().any(("y", "x"))))
    assert cube.t.values.astype("datetime64[D]").astype(int).tolist() == seen.s2_days.tolist() != []
    np.testing.assert_array_equal(np.isfinite(cube.values), np.isfinite(seen.s2_ndvi))


def test_winter_observations_are_worse():
    """Errors grow at low sun: a clear December observation strays farther from the truth than a June one."""
    spread = {}
    for name, day in (("winter", 330), ("summer", 150)):
        errors = []
        for seed in range(10):
            settings = SceneSettings(height=16, width=16, n_days=50, start_day=(day, day))
            settings = settings.model_copy(
                update={
                    "phenology": settings.phenology.model_copy(
                        update={"southern_probability": 0.0, "latitude_deg": (52.0, 52.0)}
                    )
                }
            )
            scene = simulate_observations(settings, seed)
            index = np.searchsorted(scene.truth_days, scene.observations.s2_days)
            error = np.where(scene.suspect, np.nan, scene.observations.s2_ndvi - scene.truth[index])
            errors.append(np.nanmedian(np.abs(error)))
        spread[name] = np.nanmean(errors)
    assert spread["winter"] > 1.2 * spread["summer"]


@pytest.mark.parametrize("seed", range(3))
def test_mask_errs_both_ways(settings, seed):
    parts = simulate_parts(settings, seed)
    hidden = np.isnan(parts.optical.masked_ndvi())
    assert (parts.optical.disturbed & ~hidden).any(), "no missed cloud"
    assert (~parts.optical.disturbed & hidden).any(), "no clear pixel lost"
