"""The original use case's own reference cubes: smoothing and season dates, value for value."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fusion.phenology.reference import reference_phenology, reference_smoothing

FOLDER = Path(os.environ.get("NDVI_FUSION_REAL_DATA", "")) / "vito_reference"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not os.environ.get("NDVI_FUSION_REAL_DATA") or not FOLDER.is_dir(),
        reason="real data absent: set NDVI_FUSION_REAL_DATA to the folder that holds vito_reference/",
    ),
]


def load(name):
    """One JSON cube; the dates are stored as text."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    content["coords"]["t"]["data"] = [np.datetime64(t).astype("datetime64[ns]") for t in content["coords"]["t"]["data"]]
    return xr.DataArray.from_dict(content)


def pixels(dates):
    """(sos, eos) of the three pixels whose dates are published."""
    return [dates.isel(t=0, x=i, y=i).values.tolist() for i in (0, 5, 10)]


def test_smoothing_is_the_originals():
    smooth, expected = reference_smoothing(load("gan_ndvi")), load("smoothed")
    assert smooth.dims == expected.dims and smooth.dtype == np.float64
    assert (smooth.t.values == expected.t.values).all()
    assert float(abs(smooth - expected).max()) <= 2e-7
    figures = [float(getattr(smooth, f)()) for f in ("mean", "std", "min", "max")]
    np.testing.assert_allclose(figures, [0.630816342, 0.175823970, 0.133487073, 0.928584504], atol=2e-7)


@pytest.mark.parametrize("source", ["gan_ndvi", "smoothed"])
def test_all_242_season_dates_are_the_originals(source):
    smooth = load(source) if source == "smoothed" else reference_smoothing(load(source))
    dates, expected = reference_phenology(smooth), load("phenology")
    assert dates.dtype == np.int16 and dates.dims == expected.dims
    assert dates.bands.values.tolist() == ["sos", "eos"] and (dates.t.values == expected.t.values).all()
    assert int((dates.values != expected.values).sum()) == 0 and dates.size == 242
    assert int(dates.sel(bands="sos").sum()) == 16502 and int(dates.sel(bands="eos").sum()) == 37526
    assert pixels(dates) == [[133, 347], [137, 258], [157, 361]]


@pytest.mark.parametrize("dims", [("x", "y", "bands", "t"), ("bands", "t", "y", "x"), ("y", "x", "t", "bands")])
def test_permuted_dims_give_the_same_in_the_inputs_order(dims):
    dates = reference_phenology(reference_smoothing(load("gan_ndvi").transpose(*dims)))
    assert dates.dims == dims
    assert (dates.transpose("t", "bands", "x", "y").values == load("phenology").values).all()


def test_all_nan_pixels_are_zero_and_leave_the_others_alone():
    cube = load("gan_ndvi")
    cube[:, :, 2, 3] = np.nan
    smooth = reference_smoothing(cube)
    assert np.isnan(smooth[:, :, 2, 3]).all()
    dates, expected = reference_phenology(smooth), load("phenology").copy()
    expected[:, :, 2, 3] = 0
    assert (dates.values == expected.values).all()
