"""Shift between sensors: accuracy on known shifts, refusal beyond the threshold, honesty where none can be measured."""

import re

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from scipy import ndimage

from data_prep.coregistration import RegistrationSettings, check_registration, measure_shift
from data_prep.raw.cubes import SourceError
from fusion.features.coarse_operator import coarse_aggregate, coarse_psf_weights
from tests.unit.data_prep.raw_files import axis, dates

FINE = 8  # sub-pixels a pixel: known shifts are whole sub-pixels, so no interpolation enters the truth


def shifted_pair(rng: np.random.Generator, rows: int, columns: int, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Two images of one landscape, averaged over pixels; the second is shifted by rows / 8, columns / 8 pixels."""
    span, pad = size * FINE, 80
    world = ndimage.gaussian_filter(rng.normal(size=(span + 2 * pad, span + 2 * pad)), FINE * 1.2)
    cut = [world[pad - dy : pad - dy + span, pad - dx : pad - dx + span] for dy, dx in ((0, 0), (rows, columns))]
    return tuple(c.reshape(size, FINE, size, FINE).mean((1, 3)) for c in cut)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_known_shifts_are_measured_to_a_tenth_of_a_pixel(noise):
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(6):
        rows, columns = (int(v) for v in rng.integers(-24, 25, 2))
        a, b = shifted_pair(rng, rows, columns)
        a, b = (i + noise * i.std() * rng.normal(size=i.shape) for i in (a, b))
        got = measure_shift(a, b)
        errors.append(np.hypot(got.rows - rows / FINE, got.columns - columns / FINE))
    assert max(errors) <= (0.03 if noise == 0 else 0.1)


def test_holes_do_not_spoil_the_measurement():
    rng = np.random.default_rng(4)
    a, b = shifted_pair(rng, 8, -12)
    a[10:20, 30:60] = np.nan
    got = measure_shift(a, b)
    assert got.rows == pytest.approx(1.0, abs=0.1) and got.columns == pytest.approx(-1.5, abs=0.1)


def fields(rows: int, columns: int) -> dict[str, xr.DataArray]:
    """S2 and S1 series of one landscape of fields; S1 is displaced, noisy, and of unrelated brightness a field."""
    rng = np.random.default_rng(5)
    size, span = 96, 96 * FINE
    seeds = rng.uniform(0, span + 160, (60, 2))
    y, x = np.mgrid[0 : span + 160, 0 : span + 160]
    field = np.argmin((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2, axis=-1)

    def series(levels: np.ndarray, noise: float, dy: int, dx: int) -> xr.DataArray:
        image = (
            levels[field][80 - dy : 80 - dy + span, 80 - dx : 80 - dx + span]
            .reshape(size, FINE, size, FINE)
            .mean((1, 3))
        )
        stack = (image + noise * rng.normal(size=(10, size, size))).astype(np.float32)
        made = xr.DataArray(stack, dims=("t", "y", "x"), coords={"t": dates(10), **axis(size, 10)})
        return made.rio.write_crs("EPSG:32631")

    ndvi = series(rng.uniform(0.2, 0.9, 60), 0.02, 0, 0)
    radar = [series(rng.uniform(-16, -6, 60), 1.0, rows, columns) for _ in range(2)]
    return {"S2NDVI": ndvi, "VV": radar[0], "VH": radar[1]}


def test_a_shift_between_sensors_is_reported_and_refused_beyond_the_threshold():
    bands = fields(16, -8)  # two pixels down, one left
    told = check_registration(bands, RegistrationSettings())
    assert "Sentinel-1 lies -1.0" in told[0] and "+2.0" in told[0], told
    with pytest.raises(SourceError, match="at most 1.5 px"):
        check_registration(bands, RegistrationSettings(check="refuse"))
    check_registration(bands, RegistrationSettings(check="refuse", max_shift_px=3))
    assert check_registration(bands, RegistrationSettings(check="off")) == []


def test_unrelated_sensors_give_no_measurement_and_no_refusal():
    bands = fields(0, 0)
    rng = np.random.default_rng(6)
    bands |= {b: bands[b] * 0 + rng.normal(size=bands[b].shape).astype(np.float32) for b in ("VV", "VH")}
    assert "not measurable" in check_registration(bands, RegistrationSettings(check="refuse"))[0]


def countryside(right_m: float, down_m: float, *, size: int = 480, seed: int = 8) -> dict[str, xr.DataArray]:
    """S2 over ``size`` px of patchy land, and what a 300 m sensor sees of it, told at a place off by some metres."""
    rng = np.random.default_rng(seed)
    margin, cell = 60, 300.0
    wide = size + 2 * margin
    land = 0.5 + 0.25 * np.sign(ndimage.gaussian_filter(rng.normal(size=(wide, wide)), 12.0))
    positions = (np.arange(wide) - margin + 0.5) * 10.0
    cells = np.arange(-450.0, size * 10 + 600, cell) + rng.uniform(0, cell)
    rows, columns, _ = coarse_psf_weights(positions, positions, cells, cells)
    seen = coarse_aggregate(land, rows, columns)
    fine = [
        (np.arange(size) + 0.5) * 10 - shift for shift in (down_m, right_m)
    ]  # where the sensor believes it observations
    place = np.meshgrid(*((axis - cells[0]) / cell for axis in fine), indexing="ij")
    told = ndimage.map_coordinates(seen, place, order=1)  # bilinear, as the cube step resamples
    coords = {"t": dates(6), **axis(size, 10)}

    def series(image: np.ndarray, noise: float) -> xr.DataArray:
        stack = (image + noise * rng.normal(size=(6, size, size))).astype(np.float32)
        return xr.DataArray(stack, dims=("t", "y", "x"), coords=coords).rio.write_crs("EPSG:32631")

    inner = slice(margin, margin + size)
    return {"S2NDVI": series(land[inner, inner], 0.03), "COARSE_NDVI": series(told, 0.005)}


@pytest.mark.parametrize(("right_m", "down_m"), [(0.0, 0.0), (200.0, -120.0)])
def test_a_shift_of_the_coarse_series_is_measured_and_refused_beyond_the_threshold(right_m, down_m):
    bands = countryside(right_m, down_m)
    (told,) = check_registration(bands, RegistrationSettings())
    found = re.search(r"coarse series lies ([-+.0-9]+) px right and ([-+.0-9]+) px down", told)
    assert found, told
    assert float(found[1]) * 10 == pytest.approx(right_m, abs=30) and float(found[2]) * 10 == pytest.approx(
        down_m, abs=30
    )  # a tenth of its pixel
    refuse = RegistrationSettings(check="refuse")
    if right_m:
        with pytest.raises(SourceError, match="coarse series lies"):
            check_registration(bands, refuse)
        check_registration(bands, refuse.model_copy(update={"max_coarse_shift_m": 300.0}))
    else:
        check_registration(bands, refuse)


def test_too_small_an_area_is_not_measured_against_the_coarse_series():
    bands = {name: values.isel(y=slice(0, 64), x=slice(0, 64)) for name, values in countryside(200.0, 0.0).items()}
    (told,) = check_registration(bands, RegistrationSettings(check="refuse"))
    assert "not measurable on less than" in told
