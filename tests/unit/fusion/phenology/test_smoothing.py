"""Every smoother through the public call: shapes, gaps, weights, irregular dates, laziness, errors."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.signal import savgol_filter

from fusion.contract import ContractError
from fusion.phenology.reference import reference_smoothing
from fusion.phenology.smoothers import SMOOTHERS
from fusion.phenology.smoothing import smooth
from tests.factory import mock_cube, mock_fused

DAYS = np.arange(0, 365, 5)


def cube(values, days=DAYS):
    values = np.asarray(values, float)
    values = values[:, None, None] if values.ndim == 1 else values[:, None, :]
    dates = np.datetime64("2019-01-01", "ns") + np.asarray(days).astype("timedelta64[D]")
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"t": dates})


def season(days):
    return (
        0.2
        + 0.5 / (1 + np.exp(-(np.asarray(days) - 120.0) / 15))
        - 0.5 / (1 + np.exp(-(np.asarray(days) - 260.0) / 18))
    )


@pytest.mark.parametrize("method", SMOOTHERS)
@pytest.mark.parametrize("sigma", [None, 0.02])
def test_a_smooth_curve_comes_back(method, sigma):
    rng = np.random.default_rng(1)
    values = season(DAYS)
    values[rng.random(len(values)) < 0.2] = np.nan
    out = smooth(cube(values), method=method, sigma=sigma, start="2019-01-11", end="2019-12-20", step_days=1)
    assert out.dims == ("t", "y", "x") and out.dtype == np.float32 and out.sizes["t"] == 344
    assert float(np.abs(out.values[:, 0, 0] - season(np.arange(10, 354))).max()) < 0.06


@pytest.mark.parametrize("method", SMOOTHERS)
def test_gaps_duplicates_and_empty_series(method):
    days = np.sort(np.concatenate([DAYS, [100, 101, 101, 200]]))
    values = np.stack([season(days), np.full(len(days), np.nan), np.full(len(days), 0.4)], axis=1)
    values[:, 2] = np.where(np.arange(len(days)) == 5, 0.4, np.nan)
    out = smooth(cube(values, days), method=method).values[:, 0]
    assert np.isfinite(out[:, 0]).all() and np.isnan(out[:, 1]).all()
    assert len(out) == len(np.unique(days))
    if method != "hants":  # one observation says nothing about harmonics; damping keeps it near
        np.testing.assert_allclose(out[:, 2], 0.4, atol=1e-6)


@pytest.mark.parametrize("method", ["whittaker", "savitzky_golay", "spline", "hants", "double_logistic"])
def test_observations_of_small_weight_hardly_count(method):
    values, sigma = season(DAYS), np.full(len(DAYS), 0.02)
    values[[20, 35, 50]] -= 0.25
    heavy = smooth(cube(values), method=method, sigma=cube(sigma)).values
    sigma[[20, 35, 50]] = 2.0
    light = smooth(cube(values), method=method, sigma=cube(sigma)).values
    clean = smooth(cube(season(DAYS)), method=method, sigma=0.02).values
    error = [float(np.abs(x - clean).max()) for x in (light, heavy)]
    assert error[0] < 0.02 and error[0] <= error[1] + 5e-3


def test_savitzky_golay_is_scipys_on_a_daily_series():
    days = np.arange(200)
    values = np.random.default_rng(2).uniform(0, 1, 200)
    out = smooth(cube(values, days), method="savitzky_golay", window_days=31, polyorder=2).values[:, 0, 0]
    np.testing.assert_allclose(out, savgol_filter(values, 31, 2), atol=1e-6)


@pytest.mark.parametrize("sigma", [None, 0.1])
def test_cubic_savitzky_golay_keeps_cubics(sigma):
    t = DAYS / 365
    values = 0.3 + 0.5 * t - 0.8 * t**2 + 0.3 * t**3
    out = smooth(cube(values), method="savitzky_golay", sigma=sigma).values[:, 0, 0]
    np.testing.assert_allclose(out[10:-10], values[10:-10], atol=2e-3 if sigma is None else 1e-5)


def test_reference_smoothing_against_pandas():
    """Slow oracle of the original: reindex, interpolate, fill, filter, crop; gaps differ from pixel to pixel."""
    rng = np.random.default_rng(3)
    values = rng.uniform(0.1, 0.9, (73, 6))
    values[rng.random(values.shape) < 0.4] = np.nan
    series = cube(values)
    got = reference_smoothing(series).values[:, 0]
    grid = pd.date_range("2019-01-01", "2020-03-31")
    for n in range(6):
        daily = pd.Series(values[:, n], pd.DatetimeIndex(series.t.values)).reindex(grid)
        daily = daily.interpolate("time", limit_area="inside").ffill().bfill()
        expected = pd.Series(savgol_filter(daily, 91, 3, mode="interp"), grid)["2019-04-01":"2019-12-31"]
        np.testing.assert_allclose(got[:, n], expected, atol=1e-10)


def test_dask_stays_lazy():
    lazy = cube(np.stack([season(DAYS)] * 4, axis=1)).chunk({"x": 2, "t": 10})
    out = smooth(lazy, step_days=1)
    assert out.chunks[-1] == (2, 2)
    np.testing.assert_allclose(out.values[:, 0, 0], smooth(lazy.compute(), step_days=1).values[:, 0, 0], atol=1e-6)


def test_errors_list_what_is_possible():
    with pytest.raises(ContractError, match="whittaker, savitzky_golay"):
        smooth(cube(season(DAYS)), method="median")
    with pytest.raises(ContractError, match="odd window"):
        smooth(cube(season(DAYS)), method="savitzky_golay", window_days=90)
    with pytest.raises(ContractError, match="shorten the window"):
        smooth(cube(season(DAYS[:10]), DAYS[:10]), method="savitzky_golay")
    with pytest.raises(ContractError, match="harmonics"):
        smooth(cube(season(DAYS)), method="hants", harmonics=40)


@pytest.mark.parametrize("method", ["whittaker", "savitzky_golay", "spline", "hants", "double_logistic"])
def test_a_pixel_is_smoothed_alike_in_any_company(method):
    """Its weights come from its own standard deviations; neighbours with others change nothing."""
    fused = mock_fused(mock_cube(t=73, y=1, x=6, start="2019-01-01"))
    fused[:, 1, :, 3:] *= 7
    together = smooth(fused, method=method)
    for x in (0, 5):
        alone = smooth(fused.isel(x=[x]), method=method)
        np.testing.assert_allclose(together.isel(x=[x]).values, alone.values, atol=1e-6)
