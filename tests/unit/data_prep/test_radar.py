"""Radar units, border noise and the Quegan filter."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.radar import backscatter, border_noise, mean_power, quegan_filter, to_decibel, to_linear
from data_prep.raw.bands import RawBand
from data_prep.raw.cubes import SourceError
from tests.unit.data_prep.raw_files import axis, dates


def stack(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"t": dates(len(values)), **axis(values.shape[1], 10)})


def test_decibel_and_power_are_inverse_and_zero_is_nodata():
    db = stack(np.linspace(-30, 5, 16, dtype=np.float32).reshape(1, 4, 4))
    np.testing.assert_allclose(to_decibel(to_linear(db)), db, atol=1e-4)
    assert float(to_linear(db * 0 - 10)[0, 0, 0]) == pytest.approx(0.1)
    assert np.isnan(to_decibel(db * 0)).all()


def test_an_empty_band_has_no_units_and_a_nearly_empty_one_those_of_its_values():
    values = stack(np.full((30, 130, 130), np.nan, "float32"))

    def units(one: float) -> str | None:
        sparse = values.copy(deep=True)
        sparse[1, 1, 1] = one  # between the dates and pixels of the sample
        band = RawBand("VH", Path("s1.nc"), sparse, np.dtype("float32"), False, {})
        return backscatter(band, "auto", [])[1]

    assert units(np.nan) is None and units(-17.0) == "dB"
    with pytest.raises(SourceError, match=r"states no units; set source\.s1_units"):
        units(0.02)


def test_observations_of_one_day_are_averaged_in_power():
    db = stack(np.stack([np.full((2, 2), -10.0), np.full((2, 2), -20.0)]).astype(np.float32))
    day = np.array(["2019-03-01", "2019-03-01"], "datetime64[ns]")
    assert float(mean_power(db, "dB", day)[0, 0, 0]) == pytest.approx(10 * np.log10((0.1 + 0.01) / 2), abs=1e-4)


def test_border_noise_at_the_swath_edge_only():
    image = np.full((20, 20), -10.0, np.float32)
    image[:, :5] = np.nan
    image[:, 5] = -35.0  # noise beside the edge
    image[10:13, 14:17] = -35.0  # a lake inside the swath
    removed = border_noise(stack(image[None]), -27.0).values[0]
    assert removed[:, 5].all() and removed[:, 6].all() and not removed[:, 7:].any() and not removed[:, :5].any()
    inside = np.where(np.isnan(image), -10.0, image).astype(np.float32)
    assert not border_noise(stack(inside[None]), -27.0).values.any()


def test_quegan_against_the_formula_written_out():
    rng = np.random.default_rng(0)
    power = rng.gamma(4, 0.025, (5, 12, 12)).astype(np.float32)
    power[2, 3, 3] = np.nan
    got = quegan_filter(stack(power), 3).values
    mean = np.empty_like(power)
    for k in range(5):
        padded = np.pad(power[k], 1, mode="edge")
        for y in range(12):
            for x in range(12):
                mean[k, y, x] = np.nanmean(padded[y : y + 3, x : x + 3])
    seen = np.isfinite(power)
    factor = np.where(seen, power / mean, 0).sum(0) / seen.sum(0)
    expected = np.where(seen, mean * factor, np.nan)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(got[inner], expected[inner], rtol=1e-4)
    assert np.isnan(got[2, 3, 3]) and np.isfinite(got).sum() == seen.sum()


def test_quegan_raises_the_number_of_observations_and_keeps_the_level():
    rng = np.random.default_rng(1)
    level = np.where(np.arange(64) < 32, 0.05, 0.2)[None, None, :]
    power = (level * rng.gamma(4, 1 / 4, (20, 64, 64))).astype(np.float32)
    out = quegan_filter(stack(power), 7).values
    flat = out[:, 8:-8, 8:24]
    obs = flat.mean() ** 2 / flat.var()
    assert obs > 10 * 4  # 20 dates of 4 observations, 7 x 7 px: N L M / (M + N - 1) = 57 in theory
    assert flat.mean() == pytest.approx(0.05, rel=0.03)
