"""No seams: the fusion UDF window by window, as ``apply_neighborhood`` calls it, against the whole image at once.

The model is the one that ships. Only a few dates are asked for: a seam lies in space.
"""

import numpy as np
import pytest
import xarray as xr

from fusion.contract import TimeGrid
from fusion.inference.fuse import fuse_cube
from fusion.inference.locate import locate_model
from fusion.inference.session import load_session
from tests.factory import mock_cube
from tests.unit.udf.fakes import as_back_end_chunk
from udf.graph_options import OVERLAP_PX
from udf.local.neighborhood import Windows, apply_windows
from udf.local.udf_call import UdfCall
from udf.workflow import udf_source

PERIOD = {"start": "2019-05-20", "end": "2019-06-14"}
STRIDE_PX = 4  # window sizes and overlaps are multiples of it


def patchy(height: int, width: int) -> xr.DataArray:
    """Sixty days of observations with square clouds, a swath edge in both sensors, a coarse series that varies."""
    cube = mock_cube(t=14, y=height, x=width, start="2019-05-01")
    rng = np.random.default_rng(3)
    s2, vv, vh, coarse = (cube.sel(bands=b).values.copy() for b in cube.bands.values)
    for k in range(1, len(s2) - 1):
        for _ in range(max(2, height * width // 2500)):
            top, left, size = rng.integers(0, height), rng.integers(0, width), rng.integers(2, 30)
            s2[k, top : top + size, left : left + size] = np.nan
    beyond = np.add.outer(np.arange(height), np.arange(width)) > (height + width) // 2
    s2[3][beyond] = np.nan
    vv[4][beyond], vh[4][beyond] = np.nan, np.nan
    coarse += 0.1 * np.sin(np.add.outer(np.arange(height), np.arange(width)) / 30)
    return cube.copy(data=np.stack([s2, vv, vh, coarse], axis=1).astype(np.float32))


@pytest.fixture(scope="module")
def session():
    """The shipped model at one thread."""
    return load_session(locate_model(None), threads=1)


def seam(size: int, overlap: int, height: int, width: int, session) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference of NDVI by pixel, windows against the whole image, and of its sigma."""
    cube = patchy(height, width)
    grid = TimeGrid(np.datetime64(PERIOD["start"]), np.datetime64(PERIOD["end"]))
    whole = fuse_cube(cube, session, grid, s1_units="dB").transpose("t", "bands", "y", "x")
    context = {"model_dir": str(locate_model(None)), "deps_dir": None, "s1_units": "dB", **PERIOD}
    call = UdfCall(udf_source("fusion_udf"), context)
    chunked = apply_windows(as_back_end_chunk(cube), call, Windows(size, size, overlap, overlap)).compute()
    assert chunked.shape == whole.shape
    assert np.isfinite(whole.values).all()
    assert float(whole.sel(bands="NDVI").std()) > 0.05  # not a constant image
    difference = np.abs(chunked.values - whole.values).max(axis=0)
    return difference[0], difference[1]


@pytest.mark.parametrize(
    "size",
    [64, 112, 128, *(pytest.param(size, marks=pytest.mark.slow) for size in (224, 256))],
)
def test_windows_equal_the_whole_image(size: int, session) -> None:
    """2 x 2 windows, those at the right and at the bottom partial; every pixel counts, the image's border too."""
    overlap = session.manifest.overlap_px
    assert overlap == OVERLAP_PX
    assert size % STRIDE_PX == overlap % STRIDE_PX == 0
    ndvi, sigma = seam(size, overlap, size + 40, size + 24, session)
    assert ndvi.max() <= 1e-3
    assert sigma.max() <= 1e-3


def test_pixels_that_the_back_end_cuts_off_are_not_computed(session) -> None:
    """The graph states window and overlap: the rest is equal, and the ring stays no data."""
    overlap, cube = session.manifest.overlap_px, as_back_end_chunk(patchy(100, 90))
    context = {"model_dir": str(locate_model(None)), "deps_dir": None, "s1_units": "dB", "counts": True, **PERIOD}
    stated = {**context, "window_px": 64, "overlap_px": overlap}
    windows = Windows(64, 64, overlap, overlap)
    plain, cut = (apply_windows(cube, UdfCall(udf_source("fusion_udf"), c), windows) for c in (context, stated))
    np.testing.assert_allclose(cut.values, plain.values, atol=1e-6)
    chunk = as_back_end_chunk(patchy(64 + 2 * overlap, 64 + 2 * overlap))
    answer = UdfCall(udf_source("fusion_udf"), stated)(chunk)
    inner = slice(overlap, -overlap)
    assert np.isfinite(answer.values[:, :, inner, inner]).all()
    assert np.isfinite(answer.values).sum() == answer.values[:, :, inner, inner].size
    other = UdfCall(udf_source("fusion_udf"), stated)(chunk.isel(y=slice(0, 70)))  # no whole window: nothing is cut off
    assert np.isfinite(other.values).all()


def test_too_small_an_overlap_is_seen(session) -> None:
    """The measure does find a seam: without overlap there is one."""
    ndvi, _ = seam(64, 0, 104, 88, session)
    assert ndvi.max() > 1e-3
    far = ndvi[: 64 - OVERLAP_PX, : 64 - OVERLAP_PX]
    assert far.max() <= 1e-3  # and it lies where windows meet, nowhere else
