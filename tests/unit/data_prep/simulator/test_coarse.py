"""PROBA-V composites: the point-spread function conserves means, they take maxima, dekads follow the calendar."""

import numpy as np

from data_prep.simulator import coarse
from data_prep.simulator.scene import simulate_parts
from data_prep.simulator.settings import CoarseSettings, SceneSettings
from fusion.features.coarse_operator import coarse_aggregate, coarse_psf_weights


def test_parcel_shares_equal_the_blurred_image(parts):
    """The quick way over parcels equals the point-spread function on the image of every pixel, margin included."""
    land, curves = parts.land, parts.vegetation.ndvi
    rows_m, columns_m = parts.coarse.rows_m, parts.coarse.columns_m
    quick = coarse._through_psf(land, curves, rows_m, columns_m, 10.0, 100.0)
    day = 50
    mean, half = 0.5 * (curves[0] + curves[1])[:, day], 0.5 * (curves[0] - curves[1])[:, day]
    image = mean[land.parcel] + np.clip(land.variation, -2.5, 2.5) * half[land.parcel]
    rows, columns = ((np.arange(size) + 0.5 - land.margin) * 10.0 for size in land.parcel.shape)
    a, b, _ = coarse_psf_weights(rows, columns, rows_m, columns_m, sigma_m=100.0)
    np.testing.assert_allclose(quick[day], coarse_aggregate(image, a, b), atol=1e-5)


def test_pixels_cover_the_scene(parts, settings):
    for centres, size in ((parts.coarse.rows_m, settings.height), (parts.coarse.columns_m, settings.width)):
        assert centres[0] - 150 <= 0 and centres[-1] + 150 >= size * 10
        np.testing.assert_allclose(np.diff(centres), 300)


def test_observations_follow_what_the_sensor_sees():
    """Without noise and cloud in them, composites are the largest value of a usable day of the dekad."""
    settings = SceneSettings(
        height=32,
        width=32,
        n_days=300,
        coarse=CoarseSettings(noise=(0, 0), bias=(0, 0), gain=(1, 1), residual_cloud=(0, 0), missing=(0, 0)),
    )
    parts = simulate_parts(settings, 4)
    days = parts.weather.days
    for k, start in enumerate(parts.coarse.days):
        inside = (days >= start) & (days < start + (11 if k + 1 == len(parts.coarse.days) else 100))
        if k + 1 < len(parts.coarse.days):
            inside = (days >= start) & (days < parts.coarse.days[k + 1])
        seen = np.isfinite(parts.coarse.ndvi[k])
        highest = parts.coarse.clean[inside].max(axis=0)
        assert (parts.coarse.ndvi[k][seen] <= highest[seen] + 0.003).all()  # 0.004 steps of the product
    error = parts.coarse.ndvi - np.stack([parts.coarse.clean[np.abs(days - d - 5).argmin()] for d in parts.coarse.days])
    assert np.nanmedian(np.abs(error)) < 0.05
    assert np.isfinite(parts.coarse.ndvi).mean() > 0.5


def test_resampling_keeps_what_it_should(parts, settings):
    image = coarse.resampled(parts.coarse, settings.height, settings.width, 10.0)
    assert image.shape == (len(parts.coarse.days), settings.height, settings.width) and image.dtype == np.float32
    low, high = np.nanmin(parts.coarse.ndvi), np.nanmax(parts.coarse.ndvi)
    assert np.nanmin(image) >= low - 1e-5 and np.nanmax(image) <= high + 1e-5
