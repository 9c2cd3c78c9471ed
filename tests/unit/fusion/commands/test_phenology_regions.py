"""``phenology`` region by region: the answer of the whole cube at once, whole files only, no region computed twice."""

import logging
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import xarray as xr

import fusion
from data_prep.regions import sharing, store
from fusion.commands import phenology_regions, season_files
from fusion.commands.phenology import PhenologySettings, run
from fusion.commands.phenology_regions import region_px
from fusion.contract import OBS_COUNT, ContractError
from fusion.data.cube_files import CubeFileError, write_cube
from fusion.phenology import plots
from tests.factory import mock_cube

ROOT = Path(__file__).parents[4]
PX, REGIONS = 32, 6  # of the cubes below
SIZES = {"t": 80, "y": 90, "x": 50, "start": "2018-12-01"}


@pytest.fixture(scope="module")
def observed() -> xr.DataArray:
    values = mock_cube(**SIZES, seed=1)
    values[:, 0, 70:80, 5:9] = np.nan  # pixels without any
    return values


@pytest.fixture(scope="module")
def fused(observed) -> xr.DataArray:
    """NDVI, NDVI_SIGMA and counts; in the first region without gaps, elsewhere with."""
    values = mock_cube(**SIZES, cloud=0.2, seed=1, radar=False, coarse=False)
    values[:, 0, :40, :30] = mock_cube(**SIZES, cloud=0.0, seed=1)[:, 0, :40, :30]
    ndvi = values.isel(bands=0, drop=True)
    spread = 0.02 + 0.01 * np.cos(np.arange(80))[:, None, None] * np.linspace(0.1, 1, 50) + 0 * ndvi
    cube = xr.concat([ndvi, spread], "bands").assign_coords(bands=["NDVI", "NDVI_SIGMA"])
    cube = cube.transpose("t", "bands", "y", "x").astype(np.float32)
    counts = observed.isel(bands=0, drop=True).notnull().astype(np.uint8)
    return cube.assign_coords({OBS_COUNT: counts.variable}).rio.write_crs("EPSG:32631")


@pytest.fixture(scope="module")
def folder(fused, observed, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("input")
    write_cube(fused, made / "fused.nc")
    write_cube(observed, made / "cube.zarr")
    return made


@pytest.fixture(autouse=True)
def fixed_history(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def settings(file: Path, out: Path, **more: object) -> PhenologySettings:
    plain = {"region": PX, "maps": False, "geotiff": False}
    return PhenologySettings(cube=file, out=out, **{**plain, **more})  # type: ignore[arg-type]


def tasks_of(monkeypatch) -> list[int]:
    """Numbers of regions that runs from now on compute, one a run."""
    numbers: list[int] = []
    run_all = sharing.run_all

    def counting(tasks, work, **options):
        numbers.append(len(tasks))
        return run_all(tasks, work, **options)

    monkeypatch.setattr(sharing, "run_all", counting)
    return numbers


def stopped(monkeypatch, wanted: PhenologySettings, after: int, error: BaseException) -> None:
    """A run that ends in the middle of writing the region after so many."""
    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, CubeFileError)) as raised:
        write, written = store.RegionStore.write, []

        def failing(store, region, layers):
            if len(written) == after:
                write(store, region, dict(list(layers.items())[:3]))
                (store.markers / f"{region.name}.json").unlink()  # as if it had failed after these layers
                raise error
            written.append(region)
            write(store, region, layers)

        patch.setattr(store.RegionStore, "write", failing)
        run(wanted)
    assert type(error) is KeyboardInterrupt or "check the folder's permission and the free space" in str(raised.value)


def assert_same(one: Path, other: Path) -> None:
    """Equal files; NetCDF by all that it holds, since HDF5 places chunks in order of writing."""
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    for file in one.iterdir():
        if file.suffix == ".nc":
            with xr.open_dataset(file, chunks={}) as a, xr.open_dataset(other / file.name, chunks={}) as b:
                xr.testing.assert_identical(a, b)
        else:
            assert file.read_bytes() == (other / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("cube", "more"),
    [
        ("fused.nc", {"maps": True, "geotiff": None, "table": "csv", "smoother": "double_logistic", "yydoy": True}),
        pytest.param(
            "fused.nc",
            {"observations": "cube.zarr", "curve": "whittaker", "year": [2018, 2019], "geotiff": True},
            marks=pytest.mark.slow,
        ),
        ("cube.zarr", {"smoother": "whittaker", "smooth_step_days": 10, "table": "parquet", "max_seasons": 3}),
        ("cube.zarr", {"method": "reference", "maps": True}),
        ("cube.zarr", {"method": "phenolopy"}),
    ],
)
def test_every_file_is_that_of_the_whole_cube_at_once(folder, tmp_path, monkeypatch, cube, more):
    more = {**more, "observations": folder / more["observations"]} if "observations" in more else more
    computed = tasks_of(monkeypatch)
    lines = [run(settings(folder / cube, tmp_path / name, **more, region=px)) for name, px in (("one", 512), ("r", PX))]
    assert computed == [REGIONS]
    assert lines[1].replace(str(tmp_path / "r"), "") == lines[0].replace(str(tmp_path / "one"), "")
    assert_same(tmp_path / "one", tmp_path / "r")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "r"]


@pytest.mark.slow
def test_seasons_are_those_of_the_library(fused, folder, tmp_path):
    run(settings(folder / "fused.nc", tmp_path / "out"))
    whole = fusion.seasons(fused)
    with xr.open_dataset(tmp_path / "out" / "seasons.nc") as stored:
        for name, layer in whole.data_vars.items():
            np.testing.assert_array_equal(stored[name], layer, err_msg=str(name))
    assert int((whole.OBS_PEAK_main > 0).sum()) > 4000


def test_a_killed_run_resumes_and_computes_only_what_was_in_flight(folder, tmp_path, monkeypatch):
    run(settings(folder / "fused.nc", tmp_path / "whole"))
    out, markers = tmp_path / "out", tmp_path / ".out.regions" / "finished"
    words = ["phenology", f"cube={folder / 'fused.nc'}", f"out={out}", f"region={PX}", "maps=false", "geotiff=false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fusion", *words], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and len(list(markers.glob("[!.]*.json"))) < 2:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(markers.glob("[!.]*.json")))
    assert 2 <= finished < REGIONS and not out.exists()
    computed = tasks_of(monkeypatch)
    run(settings(folder / "fused.nc", out))
    assert computed == [REGIONS - finished]
    assert_same(tmp_path / "whole", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.slow
def test_a_run_resumes_after_a_full_disk_and_writes_other_files_of_the_same_seasons(folder, tmp_path, monkeypatch):
    run(settings(folder / "fused.nc", tmp_path / "whole", table="csv"))
    stopped(monkeypatch, settings(folder / "fused.nc", tmp_path / "out"), 4, OSError(28, "No space left on device"))
    computed = tasks_of(monkeypatch)
    run(settings(folder / "fused.nc", tmp_path / "out", table="csv"))
    assert computed == [REGIONS - 4]
    assert_same(tmp_path / "whole", tmp_path / "out")


@pytest.mark.slow
def test_other_settings_or_another_input_begin_anew(fused, folder, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    own = write_cube(fused, tmp_path / "own.nc")
    out = tmp_path / "out"
    stopped(monkeypatch, settings(own, out), 3, KeyboardInterrupt())
    assert "3 finished regions are kept" in caplog.text
    computed = tasks_of(monkeypatch)
    stopped(monkeypatch, settings(own, out, method="zhang"), 3, KeyboardInterrupt())
    assert computed == [REGIONS] and "had another method" in caplog.text
    write_cube(fused.isel(t=slice(2, None)), own)
    run(settings(own, out, method="zhang"))
    assert computed == [REGIONS, REGIONS] and "had another files" in caplog.text


@pytest.mark.slow
def test_an_input_that_is_written_again_meanwhile_gives_no_output_of_two_versions(fused, tmp_path, monkeypatch):
    own, out, write = write_cube(fused, tmp_path / "own.nc"), tmp_path / "out", store.RegionStore.write

    def replacing(store, region, layers):
        write(store, region, layers)
        if store.finished() == 2:
            write_cube(fused - np.float32(0.01), own)

    monkeypatch.setattr(store.RegionStore, "write", replacing)
    with pytest.raises(CubeFileError, match="written again while it was computed .another files"):
        run(settings(own, out))
    assert not (out / "seasons.nc").exists()


@pytest.mark.slow
def test_earlier_results_stay_until_all_is_written(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(settings(folder / "fused.nc", out, region=512))
    before = (out / "seasons.nc").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=true"):
        run(settings(folder / "fused.nc", out))
    stopped(monkeypatch, settings(folder / "fused.nc", out, overwrite=True), 2, KeyboardInterrupt())
    assert (out / "seasons.nc").read_bytes() == before


def test_a_refusal_leaves_nothing(observed, tmp_path):
    bare = observed.drop_vars("spatial_ref")
    bare.attrs.pop("grid_mapping", None)
    write_cube(bare, tmp_path / "bare.nc")
    with pytest.raises(ContractError, match="has no CRS"):
        run(settings(tmp_path / "bare.nc", tmp_path / "deep" / "out", geotiff=True))
    write_cube(observed * np.where(observed.bands == "S2NDVI", 10_000, 1)[:, None, None], tmp_path / "scaled.nc")
    with pytest.raises(ContractError):
        run(settings(tmp_path / "scaled.nc", tmp_path / "deep" / "out"))
    other = observed.assign_coords(x=observed.x + 5)
    write_cube(other, tmp_path / "other.nc")
    for px in (PX, 512):
        with pytest.raises(ContractError, match="lies on another grid"):
            wanted = settings(tmp_path / "bare.nc", tmp_path / "out", observations=tmp_path / "other.nc", region=px)
            run(wanted)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["bare.nc", "other.nc", "scaled.nc"]


def test_a_region_leaves_nothing_in_memory_and_what_the_dates_lack_is_said_once(folder, tmp_path, caplog, monkeypatch):
    parts, alive, loaded = [], [], phenology_regions.loaded

    def remembered(*arguments):
        alive.append(sum(part() is not None for part in parts))  # of the regions before
        part = loaded(*arguments)
        parts.append(weakref.ref(part.values))
        return part

    monkeypatch.setattr(phenology_regions, "loaded", remembered)
    run(settings(folder / "fused.nc", tmp_path / "out"))
    assert alive == [0] + [1] * (REGIONS - 1) or alive == [0] * REGIONS
    assert caplog.text.count("the series begins on 2018-12-01") == 1


def test_the_table_of_windows_has_the_rows_of_the_whole(fused, tmp_path, monkeypatch):
    monkeypatch.setattr(season_files, "WINDOW_PX", PX)
    data = fusion.seasons(fused)
    season_files.write_table(data, tmp_path / "t.parquet")
    season_files.write_table(data, tmp_path / "t.csv")
    whole = fusion.season_table(data)
    assert pyarrow.parquet.ParquetFile(tmp_path / "t.parquet").num_row_groups == REGIONS
    written = pd.read_parquet(tmp_path / "t.parquet")
    assert not written.pixel.is_monotonic_increasing
    pd.testing.assert_frame_equal(written.sort_values(["pixel", "season"], ignore_index=True), whole)
    rows = pd.read_csv(tmp_path / "t.csv", parse_dates=["SOSD_date", "EOSD_date", "MAXD_date"])
    rows = rows.sort_values(["pixel", "season"], ignore_index=True)
    pd.testing.assert_frame_equal(rows, whole, check_dtype=False, rtol=1e-6)


def test_maps_of_large_areas_show_every_second_or_third_pixel(fused, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(season_files, "MAP_PX", 40)
    monkeypatch.setattr(plots, "plot_parameter", lambda data, name, ax: shown.append(data[name]))
    data = fusion.seasons(fused)
    season_files.write_season_maps(data, tmp_path)
    assert [layer.shape for layer in shown] == [(30, 17)] * 4
    np.testing.assert_array_equal(shown[0], data.SOSD_main[1::3, 1::3])


def test_the_median_day_is_counted_over_windows(monkeypatch):
    monkeypatch.setattr(season_files, "WINDOW_PX", 2)
    days = np.array([[-3.5, 10.9, np.nan], [10.1, 12.0, 400.0]])
    layer = xr.DataArray(days, dims=("y", "x"))
    data = xr.Dataset({"SOSD": layer, "SOSD_main": layer, "EOSD_main": layer * np.nan}, {"year": 2019})
    text = season_files.season_summary(data)
    assert text == "2019: 83 % of the pixels have a start of the main season, median SOSD 2019-01-11"


def test_regions_are_for_large_files_and_smaller_for_many_dates(fused, folder, tmp_path):
    assert region_px(folder / "fused.nc", None) is None and region_px(folder / "fused.nc", 64) == 64
    wide = fused.isel(t=[0], y=[0]).isel(x=np.arange(300) % 50).assign_coords(x=np.arange(300.0))
    assert region_px(write_cube(wide, tmp_path / "wide.nc"), None) == 256
    dates = np.datetime64("2000-01-01", "ns") + np.arange(1200) * np.timedelta64(5, "D")
    long = wide.isel(t=[0] * 1200).assign_coords(t=dates)
    assert region_px(write_cube(long, tmp_path / "long.zarr"), None) == 128


@pytest.mark.slow
def test_processes_and_a_scheduler_compute_the_same_and_resume_each_other(folder, tmp_path, monkeypatch):
    from distributed import LocalCluster

    run(settings(folder / "fused.nc", tmp_path / "whole"))
    computed = tasks_of(monkeypatch)
    stopped(monkeypatch, settings(folder / "fused.nc", tmp_path / "a"), 2, KeyboardInterrupt())
    run(settings(folder / "fused.nc", tmp_path / "a", workers=2))
    stopped(monkeypatch, settings(folder / "fused.nc", tmp_path / "b"), 3, KeyboardInterrupt())
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        run(settings(folder / "fused.nc", tmp_path / "b", scheduler=cluster.scheduler_address))
    assert computed == [REGIONS, REGIONS - 2, REGIONS, REGIONS - 3]
    for name in ("a", "b"):
        assert_same(tmp_path / "whole", tmp_path / name)


def test_warnings_of_other_code_come_back(monkeypatch):
    log = logging.getLogger("fusion.phenology.seasons")
    before = log.level
    with phenology_regions._without_warnings(log.name):
        assert not log.isEnabledFor(logging.WARNING)
    assert log.level == before
