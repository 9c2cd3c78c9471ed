"""The baseline figures of the leave-gap-out protocol on the real cube, mask and dates as its description gives them."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import binary_dilation

from fusion.contract import S2NDVI
from fusion.evaluation.baselines import Linear, Whittaker
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.predictor import to_days

# withheld days on each side -> MAE, as the description of the files gives them
LINEAR = {2: 0.0704, 10: 0.0977, 20: 0.1149, 30: 0.1370}
WHITTAKER_1E3 = {2: 0.0698, 10: 0.0969, 20: 0.1160, 30: 0.1442}
WHITTAKER_1E4 = {2: 0.0813, 10: 0.1048, 20: 0.1172, 30: 0.1388}
IN_2018 = ("09-18", "10-13", "10-18", "11-17", "12-12", "12-17")
IN_2019 = (
    "01-21", "02-15", "02-25", "03-22", "04-01", "04-11", "04-16", "04-21", "05-06", "05-11",
    "05-16", "06-20", "06-30", "07-05", "07-20", "07-25", "07-30", "08-24", "10-13",
)  # fmt: skip
DATES = [f"2018-{d}" for d in IN_2018] + [f"2019-{d}" for d in IN_2019]


def belgium_ndvi(folder: Path) -> xr.DataArray:
    """The masked NDVI, read straight from the files: an oracle for the product's own reader."""
    bands = xr.open_dataset(folder / "s2_l2a_10m.nc", mask_and_scale=False)
    classes = xr.open_dataset(folder / "s2_l2a_20m.nc", mask_and_scale=False)
    red, infrared = bands.B04.values.astype(float), bands.B08.values.astype(float)
    ndvi = np.where((red > 0) & (infrared > 0), (infrared - red) / np.maximum(infrared + red, 1), np.nan)
    scl = np.repeat(np.repeat(classes.SCL.values, 2, axis=1), 2, axis=2)
    square = np.ones((1, 3, 3), bool)
    cloud = binary_dilation(np.isin(scl, (3, 8, 9, 10)), square, iterations=5)
    ndvi[cloud | np.isin(scl, (0, 1, 2, 11))] = np.nan
    coords = {"t": bands.timestamp.values.astype("datetime64[D]").astype("datetime64[ns]"), "bands": [S2NDVI]}
    coords |= {"y": bands.y.values, "x": bands.x.values}
    return xr.DataArray(ndvi[:, None].astype(np.float32), dims=("t", "bands", "y", "x"), coords=coords)


@pytest.mark.real_data
def test_baselines_match_the_published_levels(real_data):
    cube = belgium_ndvi(real_data / "belgium_2019")
    frame = leave_gap_out(cube, [Linear(), Whittaker(1e3), Whittaker(1e4)], LeaveGapOut())
    assert sorted(set(frame.date)) == DATES
    assert set(to_days(cube.t.values)[[0, -1]].astype("datetime64[D]").astype(str)) == {"2018-08-04", "2019-11-27"}
    mae = frame.groupby(["predictor", "gap_days"]).mae.mean()
    for name, table in (("linear", LINEAR), ("whittaker 1e3", WHITTAKER_1E3), ("whittaker 1e4", WHITTAKER_1E4)):
        for gap, expected in table.items():
            assert mae[name, gap] == pytest.approx(expected, abs=0.003 if name != "linear" else 1e-4), (name, gap)
