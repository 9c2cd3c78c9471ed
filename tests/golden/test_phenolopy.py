"""phenolopy mode against FuseTS' own output on one Spanish field (digital numbers, as FuseTS computed it)."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fusion.phenology.phenolopy import phenolopy_metrics

DATES = ("pos_times", "vos_times", "sos_times", "eos_times", "los_values")
FOLDER = Path(os.environ.get("NDVI_FUSION_REAL_DATA", "")) / "spain_2019"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not os.environ.get("NDVI_FUSION_REAL_DATA") or not FOLDER.is_dir(),
        reason="real data absent: set NDVI_FUSION_REAL_DATA to the folder that holds spain_2019/",
    ),
]


def test_every_metric_is_fusets_own():
    stored = xr.open_dataset(FOLDER / "cropsar_ndvi.nc", mask_and_scale=False).NDVI
    dn = stored.astype(np.uint8).astype(float)
    expected = xr.open_dataset(FOLDER / "phenology.nc", decode_times=False).isel(phenology=0)
    mine = phenolopy_metrics(dn.where(dn != 255))
    names = [name for name in expected.data_vars if name != "crs"]
    assert len(names) == 18 and set(names) == set(mine.data_vars)
    for name in names:
        ours, theirs = mine[name].values, expected[name].values
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        assert np.nanmax(np.abs(ours - theirs)) <= (0 if name in DATES else 2e-5), name
    medians = [float(mine[name].median()) for name in ("sos_times", "eos_times", "los_values", "pos_times")]
    assert medians == [46, 206, 160, 121]
