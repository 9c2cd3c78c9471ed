"""Means over time, image by image, and what radar decides by them: as in memory, to the last bit."""

import numpy as np
import pytest
import xarray as xr

from data_prep.radar import RadarSettings, prepare_radar
from data_prep.raw.decisions import recorded
from data_prep.raw.means import time_means
from tests.unit.data_prep.raw_files import CRS, axis


@pytest.mark.parametrize("chunks", [None, {"t": 1}, {"t": 5, "y": 3}])
def test_means_of_chunks_are_those_in_memory(chunks):
    rng = np.random.default_rng(0)
    values = rng.normal(-12, 3, (23, 7, 6)).astype("float32")
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 2, 2] = np.nan
    bands = {"VV": xr.DataArray(values, dims=("t", "y", "x")), "VH": xr.DataArray(values - 7, dims=("t", "y", "x"))}
    groups = [np.arange(0, 23, 2), np.array([1, 7, 8]), np.array([], int)]
    found = time_means({name: v if chunks is None else v.chunk(chunks) for name, v in bands.items()}, groups)
    for name, band in bands.items():
        for mean, group in zip(found[name][:2], groups[:2], strict=True):
            np.testing.assert_array_equal(mean, band.isel(t=group).mean("t", skipna=True))
            assert mean.dtype == np.float32 and np.isnan(mean[2, 2])
        assert np.isnan(found[name][2]).all()


@pytest.mark.parametrize("method", ["scene", "pixel"])
def test_radar_that_is_not_held_is_decided_alike(method):
    """Two passes 3 dB apart, two satellites 1.5 dB apart."""
    rng = np.random.default_rng(1)
    t = np.datetime64("2021-03-01", "ns") + 3 * np.arange(24) * np.timedelta64(1, "D")
    second, late = np.arange(24) % 2 == 1, np.arange(24) % 4 > 1
    vv = -11 + rng.normal(0, 2, (36, 34)) + rng.normal(0, 0.3, (24, 36, 34)) - (3 * second + 1.5 * late)[:, None, None]
    vv[5, :, :4] = np.nan
    bands = {"VV": (("t", "y", "x"), vv.astype("float32")), "VH": (("t", "y", "x"), (vv - 7).astype("float32"))}
    coords = {"t": t, **axis(36, 10), "orbit": ("t", np.where(second, "descending", "ascending"))}
    coords |= {"x": axis(34, 10)["x"], "platform": ("t", np.where(late, "S1B", "S1A"))}
    held = xr.Dataset(bands, coords, {"s1_units": "dB"}).rio.write_crs(CRS)
    answers = []
    for s1 in (held, held.chunk({"t": 1, "y": 20})):
        with recorded() as decisions:
            made, notes = prepare_radar(s1, RadarSettings(orbit_offset=method))
        answers.append((made.load(), notes, decisions))
    (one, notes, decisions), (other, same_notes, same_decisions) = answers
    xr.testing.assert_identical(one, other)
    assert notes == same_notes and decisions == same_decisions
    assert decisions["steps of S1B on ascending"][1]["VV"] == pytest.approx(-1.5, abs=0.1)
    if method == "scene":
        assert decisions["level of pass descending in VV"] == pytest.approx(3, abs=0.1)
