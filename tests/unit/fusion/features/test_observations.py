"""A cube taken apart by sensor: what is read, and how often."""

import dask
import dask.array
import numpy as np
import xarray as xr

import fusion
from fusion.contract import CUBE_BANDS
from fusion.features.measured import measured_cube
from fusion.features.observations import observations_from_cube
from tests.factory import mock_cube, mock_model


def counted(cube: xr.DataArray, chunk_px: int) -> tuple[xr.DataArray, list[tuple[int, ...]]]:
    """The cube backed by Dask blocks of all dates and bands, and a list that grows with every block that is read."""
    reads: list[tuple[int, ...]] = []

    def block(block_info=None):
        place = block_info[None]["array-location"]
        reads.append(tuple(start for start, _ in place))
        return cube.values[tuple(slice(*ends) for ends in place)]

    sizes = [(n,) if dim in ("t", "bands") else (chunk_px,) * (n // chunk_px) for dim, n in cube.sizes.items()]
    data = dask.array.map_blocks(block, chunks=tuple(sizes), dtype=np.float32, meta=np.zeros((0,) * 4, np.float32))
    return cube.copy(data=data), reads


def test_a_lazy_tile_is_read_once():
    cube = mock_cube(t=8, y=12, x=12)
    lazy, reads = counted(cube, 12)
    with dask.config.set(scheduler="synchronous"):
        found = observations_from_cube(lazy)
    assert len(reads) == 1
    expected = observations_from_cube(cube)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)
    assert lazy.chunks is not None  # the caller's cube stays as it was


def test_bands_that_nobody_asks_for_do_not_matter():
    cube = mock_cube(t=8)
    more = xr.concat([cube.sel(bands="VV").assign_coords(bands="ANGLE") * np.nan, cube], "bands")
    found, expected = observations_from_cube(more.assign_attrs(cube.attrs)), observations_from_cube(cube)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)
    assert set(map(str, cube.bands.values)) == set(CUBE_BANDS)


def test_fusing_a_lazy_cube_reads_each_block_once_a_tile(tmp_path):
    """Blocks as large as the area: one block, one read."""
    cube = mock_cube(t=12, y=16, x=16)
    model = mock_model(tmp_path / "model", None)
    lazy, reads = counted(cube, 16)
    period = {"start": cube.t.values[0], "end": cube.t.values[-1], "model": model}
    with dask.config.set(scheduler="synchronous"):
        fused = fusion.fuse(lazy, **period).compute()
    assert len(reads) == 1
    xr.testing.assert_equal(fused, fusion.fuse(cube, **period))


def test_missing_values_of_a_cube_of_whole_numbers_are_missing():
    """NaN written into an array of integers became the number 0."""
    cube = mock_cube(t=6, y=8, x=8).fillna(-9999).round().astype("int16")
    cube[2:4, :, 3, 5] = -9999
    measured = measured_cube(cube)
    assert measured.dtype == np.float32 and measured.identical(measured_cube(cube.astype(np.float32)))
    assert np.isnan(measured[2:4, :, 3, 5]).all() and cube.dtype == np.int16


def test_power_that_is_no_power_is_missing_and_dates_without_power_are_dropped():
    cube = mock_cube(t=6, y=3, x=4).copy(deep=True).assign_attrs(s1_units="linear")
    radar = [list(map(str, cube.bands.values)).index(band) for band in ("VV", "VH")]
    cube.values[:, radar] = 0.1
    cube.values[1, radar] = 0.0
    cube.values[2, radar] = np.inf
    cube.values[3, radar, 0, 0] = -0.1
    found = observations_from_cube(cube, measured=True)
    np.testing.assert_array_equal(found.s1_days, cube.t.values[[0, 3, 4, 5]].astype("datetime64[D]").astype("int64"))
    for band in (found.vv_db, found.vh_db):
        assert np.isnan(band[1, 0, 0]) and np.isnan(band).sum() == 1
        np.testing.assert_allclose(band[np.isfinite(band)], -10.0, rtol=1e-6)
