"""Comparisons, logic and masks of the local back-end: openEO's three values, lazily."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from openeo_processes_dask.process_implementations import comparison
from openeo_processes_dask.process_implementations import logic as library
from scipy import ndimage

from tests.unit.udf.raw_scene import write_raw
from udf.local import logic, regions, saving
from udf.local.cubes import banded, convolve_plane
from udf.local.masks import mask
from udf.local.regions import Output
from udf.local_backend import execute_graph
from udf.targets import load_target
from udf.workflow import WorkflowOptions, build_workflow

NAN = np.nan
VALUES = np.array([0.0, 1.0, 2.0, NAN], np.float32)


def chunked(values: np.ndarray) -> da.Array:
    return da.from_array(values, chunks=2)


@pytest.mark.parametrize("wrap", [np.asarray, chunked], ids=["numpy", "dask"])
@pytest.mark.parametrize("kind", [np.float32, np.uint8, bool])
@pytest.mark.parametrize("name", ["eq", "neq", "gt", "lt"])
def test_comparisons_equal_the_library(name: str, kind: type, wrap: Any) -> None:
    values = np.nan_to_num(VALUES).astype(kind) if kind is not np.float32 else VALUES
    found = getattr(logic, name)(wrap(values), 1.0)
    np.testing.assert_array_equal(np.asarray(found), getattr(comparison, name)(values, 1.0))
    assert kind is bool or found.dtype == (np.float32 if kind is np.float32 else bool)


@pytest.mark.parametrize("wrap", [np.asarray, chunked], ids=["numpy", "dask"])
@pytest.mark.parametrize(("mine", "theirs"), [(logic.and_, library._and), (logic.or_, library._or)])
def test_logic_equals_the_library(mine: Any, theirs: Any, wrap: Any) -> None:
    """All nine pairs of true, false and no data."""
    x, y = (part.ravel() for part in np.meshgrid([0.0, 1.0, NAN], [0.0, 1.0, NAN]))
    np.testing.assert_array_equal(np.asarray(mine(wrap(x), wrap(y))), theirs(x, y).astype(float))
    np.testing.assert_array_equal(np.asarray(mine(wrap(x > 0), wrap(y > 0))), theirs(x > 0, y > 0).astype(bool))


def test_what_is_no_array_goes_to_the_library() -> None:
    assert logic.eq("a", "a") and not logic.gt(1, 2) and logic.or_(True, False)
    assert logic.eq(np.array([1.0, 1.2]), 1.1, delta=0.15).tolist() == [1, 1]


def test_mask_keeps_what_has_no_mask() -> None:
    data = xr.DataArray(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), dims=("t", "bands", "y", "x"))
    data = data.assign_coords(y=[10.0, 0.0], x=[0.0, 10.0], t=[np.datetime64("2021-01-01", "ns")])
    flags = xr.DataArray([[[0.0, 1.0], [NAN, 2.0]]], dims=("t", "y", "x"), coords=data.isel(bands=0).coords)
    np.testing.assert_array_equal(mask(data, flags).values[0, 0], [[0, NAN], [2, NAN]])
    np.testing.assert_array_equal(mask(data, flags, replacement=9).values[0, 0], [[0, 9], [2, 9]])
    assert mask(data, flags).dtype == np.float32
    with pytest.raises(ValueError, match="different labels along t"):
        mask(data, flags.assign_coords(t=[np.datetime64("2021-01-02", "ns")]))


@pytest.mark.parametrize("size", [1, 4, 9, 20])
def test_banded_matrix_convolves(size: int) -> None:
    rng = np.random.default_rng(0)
    taps, line = rng.random(7), rng.random(size)
    expected = ndimage.convolve1d(line, taps, mode="constant")
    np.testing.assert_allclose(banded(taps, size) @ line, expected, rtol=1e-12)
    plane = rng.random((2, size, 5)).astype(np.float32)
    kernel = np.outer(taps, rng.random(3))
    expected = np.stack([ndimage.convolve(p.astype(float), kernel, mode="constant") for p in plane])
    np.testing.assert_allclose(convolve_plane(plane, kernel, "constant", 0.0), expected, rtol=1e-6)


def test_building_the_graph_computes_nothing(tmp_path: Path, model: Path) -> None:
    """A process that computes by itself, as the library's mask did, needs memory for the whole area."""
    scene = write_raw(tmp_path / "raw")
    options = WorkflowOptions("2019-03-01", "2019-06-30", source=scene, context={"model_dir": str(model)})

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the graph was computed while it was built")

    with dask.config.set(scheduler=refuse):
        cube = execute_graph(build_workflow(load_target("local"), options, save=False))
    assert isinstance(cube, xr.DataArray) and cube.chunks is not None


def test_progress_goes_from_region_to_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four regions of 8 x 8 px: the share never falls, and ends at all of it."""
    monkeypatch.setattr(regions, "REGION_PX", 8)
    data = xr.DataArray(da.ones((2, 1, 16, 16), chunks=4), dims=("t", "bands", "y", "x"), name="v").assign_coords(
        t=np.array(["2021-01-01", "2021-01-06"], "datetime64[ns]"), bands=["NDVI"],
        y=np.arange(16.0)[::-1], x=np.arange(16.0),
    )  # fmt: skip
    told: list[tuple[int, int]] = []
    with saving.output_folder(Output(tmp_path, lambda done, whole: told.append((done, whole)))):
        saving.save_result(data.rio.write_crs(32631), "NetCDF")
    shares = [done for done, _ in told]
    assert shares == sorted(shares) and shares[-1] == 400 and {whole for _, whole in told} == {400}
    assert {100 * (share // 100) for share in shares if share < 400} == {0, 100, 200, 300}
