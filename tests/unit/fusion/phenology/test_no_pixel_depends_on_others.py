"""Seasons and curves of a pixel are the same, to the last bit, in whatever part of a cube it is computed."""

import numpy as np
import pytest
import xarray as xr

from fusion.phenology.seasons import seasons
from fusion.phenology.smoothing import smooth

SIDE = (14, 25)  # more pixels than one matrix product takes at once


def series(sigma: bool, gaps: bool, irregular: bool) -> xr.DataArray:
    """Seasons of many shapes, some with a step; whole rows without gaps."""
    rng = np.random.default_rng(0)
    days = 5.0 * np.arange(85)
    of_a_pixel = {"peak": (150, 330), "width": (15, 70), "amplitude": (0.05, 0.6), "step_day": (0, 400)}
    peak, width, amplitude, step_day = (rng.uniform(*limits, (1, *SIDE)) for limits in of_a_pixel.values())
    t = days[:, None, None]
    ndvi = 0.2 + amplitude * np.exp(-(((t - peak) / width) ** 2)) + rng.normal(0, 0.03, (85, *SIDE))
    ndvi += np.where((rng.random((1, *SIDE)) < 0.3) & (t > step_day), 0.25, 0.0)
    spread = rng.uniform(0.005, 0.08, (1, *SIDE)) * rng.uniform(0.5, 2, ndvi.shape)
    missing = (rng.random(ndvi.shape) < 0.4) & (np.arange(SIDE[0])[:, None] >= 5)
    values = np.stack([np.clip(ndvi, -0.1, 0.95), spread], axis=1)
    values = np.where(gaps & missing[:, None], np.nan, values).astype(np.float32)
    dates = np.datetime64("2018-11-01", "ns") + days.astype("timedelta64[D]")
    kept = np.sort(rng.choice(85, 60, replace=False)) if irregular else slice(None)
    coords = {"t": dates, "bands": ["NDVI", "NDVI_SIGMA"]}
    cube = xr.DataArray(values, coords, ("t", "bands", "y", "x")).isel(t=kept)
    return cube if sigma else cube.sel(bands=["NDVI"])


def parts(cube: xr.DataArray) -> list[dict[str, slice]]:
    return [
        {"y": slice(top, top + 9), "x": slice(left, left + 11)} for top in range(0, 14, 9) for left in range(0, 25, 11)
    ]


@pytest.mark.parametrize("sigma", [True, False])
@pytest.mark.parametrize(("gaps", "irregular"), [(False, False), (True, False), (False, True), (True, True)])
def test_seasons(sigma, gaps, irregular):
    cube = series(sigma, gaps, irregular)
    whole = seasons(cube)
    for window in parts(cube):
        xr.testing.assert_identical(seasons(cube.isel(window)), whole.isel(window))


@pytest.mark.parametrize("curve", ["whittaker", "hants", "none"])
def test_seasons_of_other_curves(curve):
    cube = series(sigma=True, gaps=True, irregular=False)
    whole = seasons(cube, curve=curve)
    for window in parts(cube):
        xr.testing.assert_identical(seasons(cube.isel(window), curve=curve), whole.isel(window))


@pytest.mark.parametrize("method", ["whittaker", "savitzky_golay", "double_logistic", "hants", "none"])
def test_smoothed_series(method):
    cube = series(sigma=True, gaps=True, irregular=False)
    whole = smooth(cube, method=method, step_days=5)
    for window in parts(cube):
        xr.testing.assert_identical(smooth(cube.isel(window), method=method, step_days=5), whole.isel(window))


def test_the_longest_gap_is_that_within_the_season():
    days = np.array([0, 60, *range(65, 365, 5)])
    ndvi = 0.2 + 0.5 * np.exp(-(((days - 200.0) / 35) ** 2))
    dates = np.datetime64("2019-01-01", "ns") + days.astype("timedelta64[D]")
    cube = xr.DataArray(ndvi[:, None, None].astype(np.float32), {"t": dates}, ("t", "y", "x"))
    assert seasons(cube).LONGEST_GAP.isel(season=0).item() == 5.0  # 60 days without observations before it
