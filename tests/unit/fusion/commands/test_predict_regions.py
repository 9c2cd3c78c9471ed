"""``predict`` region by region: the answer of ``fuse``, whole files only, and no finished region computed twice."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

import fusion
from data_prep.regions import sharing
from data_prep.regions.inputs import CubeFile
from data_prep.regions.store import RegionStore
from fusion.commands import predict_regions
from fusion.commands.predict import PredictSettings, run
from fusion.commands.predict_regions import region_px
from fusion.contract import OBS_COUNT, ContractError
from fusion.data.cube_files import CubeFileError, opened_cube, read_cube, write_cube
from fusion.data.geotiff import write_series_geotiff
from tests.factory import mock_cube

ROOT = Path(__file__).parents[4]
PX, REGIONS = 32, 6  # of the cube below


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    values = mock_cube(t=14, y=90, x=50, seed=3)
    values[4, 0, :40] = np.nan  # a date without observations in whole regions
    values[:, 0, 70:80, 5:9] = np.nan  # pixels without any
    return values


@pytest.fixture(scope="module")
def file(cube, tmp_path_factory) -> Path:
    return write_cube(cube, tmp_path_factory.mktemp("input") / "cube.nc")


@pytest.fixture(autouse=True)
def fixed_history(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def settings(file: Path, out: Path, **more: object) -> PredictSettings:
    return PredictSettings(cube=file, out=out, **{"region": PX, "threads": 1, **more})  # type: ignore[arg-type]


def counted(monkeypatch, stop_after: int | None = None) -> list[tuple[slice, slice]]:
    """The windows that are computed from now on; the one after ``stop_after`` is interrupted."""
    windows: list = []
    fuse_window = predict_regions.fuse_window

    def counting(part, window, *args, **options):
        if len(windows) == stop_after:
            raise KeyboardInterrupt
        windows.append(window)
        return fuse_window(part, window, *args, **options)

    monkeypatch.setattr(predict_regions, "fuse_window", counting)
    return windows


def interrupted(monkeypatch, wanted: PredictSettings, after: int) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, after)
        run(wanted)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_format_holds_the_answer_of_fuse(cube, file, tmp_path, monkeypatch):
    windows = counted(monkeypatch)
    whole = fusion.fuse(cube, step_days=10)
    for suffix in ("zarr", "nc", "tif"):
        run(settings(file, tmp_path / f"dense.{suffix}", step_days=10))
    assert len(windows) == 3 * REGIONS
    for suffix in ("zarr", "nc"):
        read = read_cube(tmp_path / f"dense.{suffix}")
        np.testing.assert_array_equal(read, whole)
        np.testing.assert_array_equal(read[OBS_COUNT], whole[OBS_COUNT])
        assert read.rio.crs == cube.rio.crs and read.sigma_of == "observation"
    write_series_geotiff(whole, tmp_path / "eager.tif")
    for name in ("{}.tif", "{}_sigma.tif"):
        lazy, eager = (rasterio.open(tmp_path / name.format(of)) for of in ("dense", "eager"))
        with lazy, eager:
            np.testing.assert_array_equal(lazy.read(), eager.read())
            assert lazy.descriptions == eager.descriptions and lazy.profile == eager.profile
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["zarr", "nc", "tif"])
def test_a_file_of_one_region_has_the_attributes_of_one_of_many(file, tmp_path, suffix):
    for name, region in (("one", 512), ("many", PX)):
        run(settings(file, tmp_path / f"{name}.{suffix}", region=region))
    if suffix == "tif":
        assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "many.tif").read_bytes()
        return
    one, many = (xr.open_dataset(tmp_path / f"{name}.{suffix}", chunks={}) for name in ("one", "many"))
    with one, many:
        xr.testing.assert_identical(one, many)


def test_a_killed_run_resumes_and_computes_only_what_was_in_flight(file, tmp_path, monkeypatch):
    run(settings(file, tmp_path / "whole.zarr"))
    out, markers = tmp_path / "dense.zarr", tmp_path / ".dense.zarr.regions" / "finished"
    process = started(file, out)
    await_markers(process, markers, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(markers.glob("[!.]*.json")))
    assert 2 <= finished < REGIONS and not out.exists()
    stray = markers.parent / "cube.zarr" / "NDVI" / "c" / "0" / "0" / "0.0123.partial"  # of a write that was cut off
    stray.write_bytes(b"half")
    windows = counted(monkeypatch)
    run(settings(file, out))
    assert len(windows) == REGIONS - finished
    assert content(out) == content(tmp_path / "whole.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense.zarr", "whole.zarr"]


def started(file: Path, out: Path, *more: str) -> subprocess.Popen:
    words = ["predict", f"cube={file}", f"out={out}", f"region={PX}", "threads=1", *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "fusion", *words], cwd=out.parent, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def await_markers(process: subprocess.Popen, markers: Path, number: int) -> None:
    while process.poll() is None and len(list(markers.glob("[!.]*.json"))) < number:
        time.sleep(0.002)


@pytest.mark.slow
def test_processes_and_a_scheduler_compute_the_same(file, tmp_path):
    from distributed import LocalCluster

    run(settings(file, tmp_path / "here.zarr"))
    run(settings(file, tmp_path / "processes.zarr", workers=2))
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        run(settings(file, tmp_path / "scheduler.zarr", scheduler=cluster.scheduler_address))
    for name in ("processes", "scheduler"):
        assert content(tmp_path / f"{name}.zarr") == content(tmp_path / "here.zarr")


def test_a_run_resumes_after_a_full_disk_with_other_threads(file, tmp_path, monkeypatch):
    run(settings(file, tmp_path / "whole.zarr"))
    out = tmp_path / "dense.zarr"
    with monkeypatch.context() as patch:
        write, written = RegionStore.write, []

        def full(store, region, layers):
            if len(written) == 3:  # half of a region is there
                group = zarr.open_group(store.zarr, mode="r+")
                group["NDVI"][..., *region.window] = layers["NDVI"]
                raise OSError(28, "No space left on device")
            written.append(region)
            write(store, region, layers)

        patch.setattr(RegionStore, "write", full)
        with pytest.raises(CubeFileError, match="dense.zarr could not be written .*check the .* free space"):
            run(settings(file, out))
    assert not out.exists()
    windows = counted(monkeypatch)
    run(settings(file, out, threads=2))
    assert len(windows) == REGIONS - 3
    assert content(out) == content(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_run_resumes_in_other_processes(file, tmp_path, monkeypatch):
    run(settings(file, tmp_path / "whole.zarr"))
    out, tasks, run_all = tmp_path / "dense.zarr", [], sharing.run_all
    interrupted(monkeypatch, settings(file, out), after=2)
    monkeypatch.setattr(sharing, "run_all", lambda left, *a, **o: (tasks.extend(left), run_all(left, *a, **o)))
    run(settings(file, out, workers=2))
    assert len(tasks) == REGIONS - 2
    assert content(out) == content(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_other_settings_or_another_input_begin_anew(cube, file, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    out = tmp_path / "dense.zarr"
    interrupted(monkeypatch, settings(file, out), after=3)
    assert "3 finished regions are kept" in caplog.text
    windows = counted(monkeypatch)
    run(settings(file, out, sigma="ndvi"))
    assert len(windows) == REGIONS and "had another sigma" in caplog.text
    np.testing.assert_array_equal(read_cube(out), fusion.fuse(cube, sigma="ndvi"))

    own = write_cube(cube, tmp_path / "own.nc")
    interrupted(monkeypatch, settings(own, out, overwrite=True), after=3)
    write_cube(cube.isel(t=slice(2, None)), own)
    windows.clear()
    run(settings(own, out, overwrite=True))
    assert len(windows) == REGIONS and "had another cube" in caplog.text
    np.testing.assert_array_equal(read_cube(out), fusion.fuse(cube.isel(t=slice(2, None))))


def test_an_input_that_is_written_again_meanwhile_gives_no_output_of_two_versions(cube, tmp_path, monkeypatch):
    own, out, write = write_cube(cube, tmp_path / "own.nc"), tmp_path / "dense.nc", RegionStore.write
    other = cube.copy(data=cube.values - np.float32(0.1))

    def replacing(store, region, layers):
        write(store, region, layers)
        if store.finished() == 2:
            write_cube(other, own)

    with monkeypatch.context() as patch:
        patch.setattr(RegionStore, "write", replacing)
        with pytest.raises(CubeFileError, match="written again while it was computed .another cube"):
            run(settings(own, out))
    assert not out.exists()
    run(settings(own, out))
    np.testing.assert_array_equal(read_cube(out), fusion.fuse(other))


def test_an_interrupted_run_leaves_the_earlier_output_and_resumes_into_another_format_anew(file, tmp_path, monkeypatch):
    out = tmp_path / "dense.zarr"
    run(settings(file, out, step_days=10))
    before = content(out)
    interrupted(monkeypatch, settings(file, out, overwrite=True), after=2)
    assert content(out) == before
    with pytest.raises(FileExistsError, match="overwrite=true"):
        run(settings(file, out))
    windows = counted(monkeypatch)
    run(settings(file, out, overwrite=True))
    assert len(windows) == REGIONS - 2 and read_cube(out).sizes["t"] == 14


@pytest.mark.parametrize("fault", ["swapped", "scaled", "no CRS"])
def test_a_refusal_leaves_nothing(cube, tmp_path, fault):
    bad = cube.copy(deep=True)
    if fault == "swapped":
        bad = bad.assign_coords(bands=["S2NDVI", "VH", "VV", "COARSE_NDVI"])
    elif fault == "scaled":
        bad[:, 0] *= 10_000
    else:
        bad = bad.drop_vars("spatial_ref")
        bad.attrs.pop("grid_mapping", None)
    file = write_cube(bad, tmp_path / "bad.nc")
    with pytest.raises(ContractError):
        run(settings(file, tmp_path / "out" / "dense.tif"))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["bad.nc"]


@pytest.mark.slow
def test_two_commands_share_a_run_also_where_one_is_killed(file, tmp_path):
    run(settings(file, tmp_path / "whole.zarr"))
    shared, alone = tmp_path / "shared.zarr", tmp_path / "alone.zarr"
    both = [started(file, shared) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    both = [started(file, alone) for _ in range(2)]
    await_markers(both[0], tmp_path / ".alone.zarr.regions" / "finished", 1)
    os.killpg(both[0].pid, signal.SIGKILL)
    assert both[1].wait() == 0
    both[0].wait()
    for out in (shared, alone):
        assert content(out) == content(tmp_path / "whole.zarr")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "here", "nowhere://here:1"])
def test_a_scheduler_that_does_not_answer_is_named(file, tmp_path, address):
    with pytest.raises(ContractError, match=f"no Dask scheduler answers at {address}"):
        run(settings(file, tmp_path / "dense.zarr", scheduler=address))


def test_regions_are_for_large_files_and_smaller_for_many_dates(cube, file, tmp_path):
    assert region_px(CubeFile(file), None) is None and region_px(CubeFile(file), 64) == 64
    wide = write_cube(
        cube.isel(t=[0], y=[0]).isel(x=np.arange(600) % 50).assign_coords(x=np.arange(600.0)), tmp_path / "w.nc"
    )
    assert region_px(CubeFile(wide), None) == 512
    long = (
        xr.open_dataset(wide)
        .drop_vars("t")
        .isel(t=[0] * 300)
        .assign_coords(t=np.arange(300))
        .to_netcdf(tmp_path / "l.nc")
    )
    assert long is None and region_px(CubeFile(tmp_path / "l.nc"), None) == 256


def test_of_a_file_that_is_not_cut_in_chunks_only_a_part_is_read(cube, tmp_path):
    wide = cube.isel(x=np.arange(300) % 50).assign_coords(x=np.arange(300.0))
    layers = {str(b): wide.sel(bands=b, drop=True) for b in wide.bands.values}
    xr.Dataset(layers).to_netcdf(tmp_path / "plain.nc")
    with opened_cube(tmp_path / "plain.nc") as opened:
        assert opened.chunks[2:] == ((90,), (256, 44))
        np.testing.assert_array_equal(opened, wide)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_warning_of_many_regions_is_told_once_with_their_number(workers, cube, tmp_path, caplog):
    odd = cube.copy()
    odd[:, 0, ::9, ::11] = 3.0
    run(settings(write_cube(odd, tmp_path / "odd.nc"), tmp_path / "ndvi.zarr", workers=workers))
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "cannot be NDVI" in r.message]
    assert len(told) == 2 and told[0].startswith("S2NDVI: ")
    assert told[1] == f"{REGIONS} regions had such a warning, the first: {told[0]}"
