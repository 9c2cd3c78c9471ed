"""A number that no sensor measured never becomes a value, and never moves a pixel that it cannot reach."""

import logging

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fusion
from data_prep.cube import PrepareSettings, build_cube, open_cube
from data_prep.optical import OpticalSettings
from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from fusion.contract import COARSE_NDVI, S2NDVI, VH, VV, ContractError
from fusion.data.cube_files import CubeFileError, read_cube, write_cube
from fusion.features.observations import observations_from_cube
from fusion.phenology.layers import ndvi_and_sigma
from tests.factory import mock_cube
from udf.chunk import in_order

CASES = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FILLS = [-9999.0, -32768.0, 65535.0, 1e20, -1e20, float("inf"), float("-inf"), -99999.0, 32767.0]
ODD = [*FILLS, 0.0, 1.0]
REFUSED = (ContractError, SourceError, CubeFileError)
CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))
BANDS = {S2NDVI: "s2_ndvi", VV: "vv_db", VH: "vh_db", COARSE_NDVI: "coarse_ndvi"}


def spoilt(cube: xr.DataArray, band: str, value: float, where: np.ndarray) -> xr.DataArray:
    """A copy of the cube with ``value`` in a band where ``where`` (t, y, x) says so."""
    out = cube.copy(deep=True)
    k = [str(b) for b in cube.bands.values].index(band)
    out.values[:, k] = np.where(where, np.float32(value), out.values[:, k])
    return out


def flags(shape: tuple[int, ...], percent: int, seed: int) -> np.ndarray:
    """So many percent of True, at least one element."""
    count = max(1, round(percent / 100 * np.prod(shape)))
    chosen = np.random.default_rng(seed).permutation(int(np.prod(shape)))[:count]
    return np.isin(np.arange(np.prod(shape)), chosen).reshape(shape)


def through_fuse(cube: xr.DataArray, _: object) -> dict[str, np.ndarray]:
    days = cube.t.values.astype("datetime64[D]").astype(int).tolist()
    obs = observations_from_cube(cube)
    out = {}
    for band, name in BANDS.items():
        seen_on = getattr(obs, {"s2": "s2_days", "vv": "s1_days", "vh": "s1_days"}.get(name[:2], "coarse_days"))
        full = np.full((len(days), *cube.shape[2:]), np.nan, np.float32)
        full[[days.index(d) for d in seen_on.tolist()]] = getattr(obs, name)
        out[band] = full
    return out


def through_file(cube: xr.DataArray, folder: object) -> dict[str, np.ndarray]:
    read = read_cube(write_cube(cube, folder / "c.nc"))
    return {band: read.sel(bands=band).values for band in BANDS}


def through_open(cube: xr.DataArray, folder: object) -> dict[str, np.ndarray]:
    read = open_cube(write_cube(cube, folder / "c.nc"))
    return {band: read.sel(bands=band).values for band in BANDS}


def through_lazy_file(cube: xr.DataArray, folder: object) -> dict[str, np.ndarray]:
    return through_fuse(read_cube(write_cube(cube, folder / "c.nc"), lazy=True), None)


def through_udf(cube: xr.DataArray, _: object) -> dict[str, np.ndarray]:
    return through_fuse(in_order(cube).assign_attrs(cube.attrs), None)


PATHS = [through_fuse, through_file, through_open, through_lazy_file, through_udf]


@pytest.mark.parametrize("path", PATHS, ids=lambda f: f.__name__)
@CASES
@given(
    value=st.sampled_from(ODD), band=st.sampled_from(list(BANDS)), percent=st.integers(0, 100),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_a_fill_value_in_a_merged_cube_is_missing_or_refused(path, tmp_path_factory, value, band, percent, seed):
    cube = mock_cube(t=12, y=5, x=6, seed=3)
    cube.values[:, :1] = np.where(np.isin(cube.values[:, :1], (0, 1)), 0.5, cube.values[:, :1])
    where = flags((12, 5, 6), percent, seed)
    before = cube.copy(deep=True)
    dirty = spoilt(cube, band, value, where)
    kept = dirty.copy(deep=True)
    try:
        got = path(dirty, tmp_path_factory.mktemp("c"))
    except REFUSED:
        return
    finally:
        xr.testing.assert_identical(dirty, kept)
    right = path(before, tmp_path_factory.mktemp("c"))
    held = np.isnan(got[band])
    if value in (0.0, 1.0) and band in (S2NDVI, COARSE_NDVI):  # may stay where the date before or after agrees
        held |= near_a_neighbour(np.where(where, np.nan, before.sel(bands=band).values), value)
    assert held[where].all()
    for name, values in got.items():
        untouched = ~where if name == band else np.ones_like(where)
        np.testing.assert_array_equal(values[untouched], right[name][untouched])


def near_a_neighbour(series: np.ndarray, value: float) -> np.ndarray:
    """Where the last or the next observation of a pixel lies within 0.1 of ``value``, date by date."""
    out = np.zeros(series.shape, bool)
    for k, y, x in np.ndindex(*series.shape):
        for others in (series[k + 1 :, y, x], series[:k, y, x][::-1]):
            known = others[np.isfinite(others)]
            out[k, y, x] |= known.size > 0 and abs(known[0] - value) <= 0.1 + 1e-6
    return out


def test_the_warning_counts_what_is_missing(caplog):
    cube = mock_cube(t=12, y=5, x=6)
    where = flags((12, 5, 6), 7 / 360, 1)
    with caplog.at_level(logging.WARNING):
        observations_from_cube(spoilt(cube, VV, -9999.0, where))
    assert f"VV: {where.sum()} of " in caplog.text and "cannot be dB" in caplog.text


@CASES
@given(
    value=st.sampled_from([-9999.0, -32768.0, 0.0, 1.0, 65535.0, 32767.0, 1e20, float("inf"), float("-inf")]),
    kind=st.sampled_from(["int16", "uint16", "int32", "float32", "scaled int16", "reflectance"]),
    band=st.sampled_from(["B04", "B08"]),
    percent=st.integers(0, 100),
    seed=st.integers(0, 2**16),
)
@example(value=1.0, kind="float32", band="B04", percent=50, seed=0)
@example(value=1.0, kind="float32", band="B04", percent=100, seed=0)
def test_a_fill_value_in_a_file_of_sentinel2_is_missing_or_refused(tmp_path_factory, value, kind, band, percent, seed):
    shape, rng = (4, 6, 6), np.random.default_rng(7)
    numbers = {"B04": rng.integers(300, 900, shape).astype(float), "B08": rng.integers(2000, 5000, shape).astype(float)}
    right = (numbers["B08"] - numbers["B04"]) / (numbers["B08"] + numbers["B04"])
    dtype = kind.split()[-1] if kind != "reflectance" else "float32"
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            return
    elif kind == "reflectance":
        numbers = {name: values * 1e-4 for name, values in numbers.items()}
        value = 1e-4 if value == 1 else value
    where = flags(shape, percent, seed)
    numbers[band] = np.where(where, value, numbers[band])
    got = ndvi_of_file(tmp_path_factory.mktemp("f"), numbers, dtype, scaled=kind.startswith("scaled"))
    if got is not None:
        assert np.isnan(got[where]).all()
        np.testing.assert_allclose(got[~where], right[~where], atol=2e-4)


def ndvi_of_file(folder, numbers: dict[str, np.ndarray], dtype: str, *, scaled: bool) -> np.ndarray | None:
    """S2NDVI of the cube made of a NetCDF of these numbers; None where it is refused."""
    attrs = {"scale_factor": 1e-4} if scaled else {}
    data = {name: (("t", "y", "x"), values.astype(dtype), attrs) for name, values in numbers.items()}
    data["SCL"] = (("t", "y", "x"), np.full(numbers["B04"].shape, 4, "uint8"))
    t, y, x = numbers["B04"].shape
    made = xr.Dataset(
        data,
        coords={
            "t": np.datetime64("2021-05-01", "ns") + np.arange(t) * np.timedelta64(5, "D"),
            "y": 5_660_000.0 - 10 * np.arange(y), "x": 640_000.0 + 10 * np.arange(x),
        },
    )  # fmt: skip
    for name in numbers:
        made[name].encoding["_FillValue"] = None
    made.rio.write_crs("EPSG:32631").to_netcdf(folder / "s2.nc")
    try:
        return build_cube(load_files(FilesSource(folder=folder)), CLEAR).sel(bands=S2NDVI).values
    except REFUSED:
        return None


@CASES
@given(value=st.sampled_from(FILLS), percent=st.integers(0, 100), seed=st.integers(0, 2**16), lazy=st.booleans())
def test_a_fill_value_in_a_series_for_seasons_is_missing_or_refused(value, percent, seed, lazy):
    series = mock_cube(t=12, y=4, x=4).sel(bands=S2NDVI, drop=True)
    where = flags(series.shape, percent, seed)
    dirty = series.where(~where, np.float32(value))
    got = ndvi_and_sigma(dirty.chunk({"x": 2}) if lazy else dirty, None)[0].values
    np.testing.assert_array_equal(got, np.where(where, np.nan, series.values))


@pytest.mark.parametrize("band", list(BANDS))
@pytest.mark.parametrize("value", [-9999.0, 0.93])
def test_one_bad_pixel_moves_only_what_it_can_reach(band, value):
    """A bad pixel, or a wrong one inside the limits, reaches the features' boxes and the network's convolutions."""
    cube = mock_cube(t=20, y=8, x=64, cloud=0.2)
    period = {"start": "2019-03-01", "end": "2019-06-01"}
    where = np.zeros((20, 8, 64), bool)
    where[:, 4, 2] = True
    before, after = (fusion.fuse(c, **period).values for c in (cube, spoilt(cube, band, value, where)))
    same = np.isclose(before, after, rtol=0, atol=1e-6, equal_nan=True)  # running sums of a row round differently
    moved = np.flatnonzero(~same.all(axis=(0, 1, 2)))
    assert moved.size and moved.max() <= 2 + REACH_PX


REACH_PX = 12 + 3  # boxes of 120 m and three convolutions of 3 x 3 pixels
