"""Means over time, image by image: those of xarray in memory, to the last bit."""

import numpy as np
import pytest
import xarray as xr

from data_prep.raw.means import time_means


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
