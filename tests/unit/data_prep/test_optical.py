"""Cloud masks against a slow oracle and hand-derived numbers; the search for residual cloud."""

import numpy as np
import xarray as xr

from data_prep.optical import OpticalSettings, cloud_dips, cloud_mask, gaussian_mask
from tests.unit.data_prep.raw_files import axis, dates


def scenes(rng: np.random.Generator, n: int = 40) -> np.ndarray:
    scl = np.full((n, n), 4, np.uint8)
    scl[rng.uniform(size=(n, n)) < 0.02] = 9
    scl[5:12, 20:30] = 8
    scl[30, 30] = 2
    return scl


def slow_gaussian(scl: np.ndarray, sizes: tuple[int, int]) -> np.ndarray:
    """The two kernels written out as the process graph applies them: outer product, sum 1, zero outside."""
    removed = np.zeros(scl.shape, bool)
    for size, threshold, binary in zip(sizes, (0.057, 0.1), (~np.isin(scl, (4, 5, 6, 7)), np.isin(scl, (3, 8, 9, 10)))):
        offsets = np.arange(size) - size // 2
        one = np.exp(-(offsets**2) / (2 * (size / 6) ** 2))
        kernel = np.outer(one, one) / np.outer(one, one).sum()
        padded = np.pad(binary.astype(float), size // 2)
        for y in range(scl.shape[0]):
            for x in range(scl.shape[1]):
                removed[y, x] |= (padded[y : y + size, x : x + size] * kernel).sum() > threshold
    return removed


def test_gaussian_mask_equals_the_slow_oracle_on_20_m_cells():
    scl = scenes(np.random.default_rng(0))
    np.testing.assert_array_equal(gaussian_mask(scl, step=1, pixel_m=20.0), slow_gaussian(scl, (9, 81)))


def test_copied_cells_are_masked_on_their_own_grid():
    scl = scenes(np.random.default_rng(1))
    copied = scl.repeat(2, 0).repeat(2, 1)
    expected = slow_gaussian(scl, (9, 81)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(gaussian_mask(copied, step=2, pixel_m=10.0), expected)


def test_ten_metre_classes_get_17_and_161_pixels():
    scl = scenes(np.random.default_rng(2), 32)
    np.testing.assert_array_equal(gaussian_mask(scl, step=1, pixel_m=10.0), slow_gaussian(scl, (17, 161)))


def test_a_lone_pixel_is_removed():
    """It weighs the centre of the 9 px kernel, about 1 / (2 pi 1.5^2) = 0.0707 > 0.057."""
    scl = np.full((21, 21), 4, np.uint8)
    scl[10, 10] = 8
    removed = gaussian_mask(scl, step=1, pixel_m=20.0)
    assert removed[10, 10] and removed.sum() < 6


def as_dataset(scl: np.ndarray) -> xr.Dataset:
    coords = {"t": dates(len(scl)), **axis(scl.shape[1], 10)}
    made = xr.Dataset({"SCL": (("t", "y", "x"), scl)}, coords=coords)
    return made.rio.write_crs("EPSG:32631")


def test_square_and_disk_dilation_by_hand():
    scl = np.full((1, 21, 21), 4, np.uint8)
    scl[0, 10, 10], scl[0, 0, 0], scl[0, 0, 20] = 9, 11, 0
    square = cloud_mask(as_dataset(scl), OpticalSettings(mask="square", dilation_px=5)).values[0]
    assert square[5:16, 5:16].all() and square.sum() == 11 * 11 + 2
    disk = cloud_mask(as_dataset(scl), OpticalSettings(mask="disk", dilation_px=5)).values[0]
    y, x = np.mgrid[-10:11, -10:11]
    expected = y**2 + x**2 <= 25
    expected[0, 0] = expected[0, 20] = True
    np.testing.assert_array_equal(disk, expected)
    none = cloud_mask(as_dataset(scl), OpticalSettings(mask="none")).values[0]
    assert none.sum() == 1 and none[0, 20]  # nodata is never clear


def test_a_cube_in_degrees_is_masked_like_one_in_metres():
    """Kernels are sized in metres: 10 m along the meridian are 10 / 111320 degree."""
    scl = np.full((1, 41, 41), 4, np.uint8)
    scl[0, 18:24, 18:24] = 9
    metric = as_dataset(scl)
    degrees = metric.assign_coords(y=51 - np.arange(41) * 10 / 111_320, x=5 + np.arange(41) * 16 / 111_320)
    degrees = degrees.drop_vars("spatial_ref").rio.write_crs("EPSG:4326")
    for attrs in ({}, {"scl_pixel_m": 20.0}):
        expected = cloud_mask(metric.assign_attrs(attrs), OpticalSettings()).values
        assert 0 < expected.mean() < 1
        np.testing.assert_array_equal(cloud_mask(degrees.assign_attrs(attrs), OpticalSettings()).values, expected)


def test_all_clouds_leave_nothing_and_lazy_equals_eager():
    scl = np.full((3, 12, 12), 9, np.uint8)
    scl[1, :6] = 4
    eager = cloud_mask(as_dataset(scl), OpticalSettings())
    lazy = cloud_mask(as_dataset(scl).chunk({"t": 1}), OpticalSettings())
    assert lazy.chunks is not None
    np.testing.assert_array_equal(eager.values, lazy.values)
    assert eager.values[0].all()


def test_dips_are_flagged_and_harvest_mowing_and_shadow_are_not():
    days = np.arange(0, 70, 10)
    ndvi = np.full((7, 1, 5), 0.8, np.float32)
    red = np.full((7, 1, 5), 0.04, np.float32)
    ndvi[3, 0, 0], red[3, 0, 0] = 0.5, 0.12  # thin cloud: bright and gone
    ndvi[3:, 0, 1], red[3:, 0, 1] = 0.3, 0.12  # harvest: stays
    ndvi[3, 0, 2], red[3, 0, 2] = 0.5, 0.03  # shadow: dark red
    ndvi[3, 0, 3], red[3, 0, 3], ndvi[2, 0, 3], ndvi[4, 0, 3] = 0.5, 0.12, np.nan, np.nan  # neighbours 20 days away
    ndvi[0, 0, 4], red[0, 0, 4] = 0.5, 0.12  # first observation: no neighbour before it
    flags = cloud_dips(ndvi, red, days, OpticalSettings(dip_window_d=25))
    assert np.argwhere(flags).tolist() == [[3, 0, 0], [3, 0, 3]]
    assert np.argwhere(cloud_dips(ndvi, red, days, OpticalSettings(dip_window_d=15))).tolist() == [[3, 0, 0]]
