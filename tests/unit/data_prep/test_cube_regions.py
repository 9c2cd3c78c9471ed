"""``cube`` region by region: the file of the cube built at once, from every source; resumed, shared, refused."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.commands.cube import run
from data_prep.commands.settings import CubeSettings
from data_prep.regions.sharing import WRITTEN_ELSEWHERE
from data_prep.windows import PlannedArea
from fusion.contract import COARSE_NDVI, ContractError
from fusion.data.cube_files import open_dataset
from tests.unit.data_prep.raw_files import cdse_like, coarse_file, gee_like
from tests.unit.data_prep.test_stac import SIDE, Catalogue, sentinel2
from tests.unit.data_prep.test_windows import strip  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[3]
N, PX, REGIONS = 48, 32, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("raw")
    classes = np.full((10, N // 2, N // 2), 4)
    classes[3], classes[5, :9, :9] = 9, 3
    gee_like(made, n=N, t=10, scl=classes)
    coarse_file(made / "coarse.nc", np.full((5, 6, 6), 160, "uint8"))
    return made


@pytest.fixture(autouse=True)
def fixed_history(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def settings(out: Path, **more: object) -> CubeSettings:
    return CubeSettings(out=out, **{"region": PX, **more})  # type: ignore[arg-type]


def files(folder: Path, **more: object) -> dict[str, object]:
    return {"source": {"kind": "files", "folder": folder, **more}}


def regions_read(monkeypatch, stop_after: int | None = None) -> list:
    """The windows that are prepared from now on; the one after ``stop_after`` is interrupted."""
    seen: list = []
    read = PlannedArea.read

    def counting(plan, window, threads=1):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(window)
        return read(plan, window, threads)

    monkeypatch.setattr(PlannedArea, "read", counting)
    return seen


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_file(by_region: Path, at_once: Path) -> xr.Dataset:
    """Equal values, coordinates and attributes, of the file and of each variable."""
    with open_dataset(by_region) as one, open_dataset(at_once) as other:
        xr.testing.assert_identical(one.load(), other.load())
        return one


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_file_is_that_of_the_cube_built_at_once(folder, tmp_path, monkeypatch, caplog, suffix):
    caplog.set_level(logging.INFO)
    seen, told = regions_read(monkeypatch), {}
    more = files(folder) | {"optical": {"flag_dips": True}, "start": "2019-03-03"}
    for name, region in (("once", N), ("regions", PX)):
        run(settings(tmp_path / f"{name}{suffix}", **more, region=region))
        told[name] = [line.replace(name, "") for line in caplog.messages if "preparing" not in line]  # a slow machine
        caplog.clear()
    assert len(seen) == REGIONS and told["once"] == told["regions"]
    made = assert_same_file(tmp_path / f"regions{suffix}", tmp_path / f"once{suffix}")
    assert set(made.data_vars) == {"S2NDVI", "VV", "VH", "COARSE_NDVI", "S2_SUSPECT"}
    clear = float(made.S2NDVI.notnull().sum()) / (9 * N * N)  # of ten images the first lies before the period
    assert 0.8 < clear < 8 / 9 and made.attrs["s2_images"].count("\n") == 8
    assert told["regions"][-1] == f"clear: {100 * clear:.1f} % of the pixels of 9 Sentinel-2 images"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"once{suffix}", f"regions{suffix}"]


def test_what_was_prepared_to_look_at_it_is_not_prepared_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.regions.store.REGION_PX", (PX,))  # an area of four regions, small as it is
    seen = regions_read(monkeypatch)
    run(settings(tmp_path / "once.nc", **files(folder), region=None))
    assert not seen
    for too_large in ("data_prep.commands.cube.INPUT_BYTES", "data_prep.windows._USED_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(too_large, 0)
            run(settings(tmp_path / "regions.nc", **files(folder), region=None, overwrite=True))
        assert len(seen) == REGIONS
        assert_same_file(tmp_path / "regions.nc", tmp_path / "once.nc")
        seen.clear()


def test_an_interrupted_run_resumes_and_another_mask_begins_anew(folder, tmp_path, monkeypatch, caplog):
    mask = tmp_path / "mask.nc"
    times = {"t": [np.datetime64("2019-03-01", "ns")]}

    def write_mask(value: int) -> None:
        with xr.open_dataset(folder / "s2_10m.nc") as image:
            band = xr.full_like(image.B04[:1].rename(timestamp="t"), value, "uint8").assign_coords(times)
            xr.Dataset({"cloud": band.drop_attrs()}).rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "new.nc")
        (tmp_path / "new.nc").rename(mask)

    write_mask(0)
    wanted = settings(tmp_path / "cube.zarr", **files(folder), optical={"user_mask": mask})
    for _ in range(2):  # the second run resumes
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            regions_read(patch, stop_after=1)
            run(wanted)
    assert not wanted.out.exists() and caplog.text.count("2 finished regions are kept") == 1
    write_mask(1)  # under the same name
    seen = regions_read(monkeypatch)
    run(wanted)
    assert len(seen) == REGIONS
    with open_dataset(wanted.out) as made:
        assert bool(made.S2NDVI.isel(t=0).isnull().all()) and bool(made.S2NDVI.isel(t=4).notnull().all())


def test_the_files_of_an_openeo_job_and_what_it_lacks(tmp_path, monkeypatch):
    for sensor in ("s2", "s1"):
        (tmp_path / "jobs" / "field" / sensor).mkdir(parents=True)
    cdse_like(tmp_path, n=N)
    (tmp_path / "sentinel2.nc").rename(tmp_path / "jobs" / "field" / "s2" / "openEO.nc")
    (tmp_path / "sentinel1.nc").rename(tmp_path / "jobs" / "field" / "s1" / "openEO.nc")
    monkeypatch.setattr("data_prep.sources.openeo.fetch", lambda settings: {})  # all is there
    source = {
        "kind": "openeo", "areas": {"field": (5.0, 51.2, 5.01, 51.21)}, "start": "2023-04-01", "end": "2023-04-30",
        "folder": tmp_path / "jobs",
    }  # fmt: skip
    seen = regions_read(monkeypatch)
    for name, region in (("once", N), ("regions", PX)):
        run(settings(tmp_path / f"{{area}}_{name}.nc", source=source, region=region))
    assert len(seen) == REGIONS
    made = assert_same_file(tmp_path / "field_regions.nc", tmp_path / "field_once.nc")
    assert made.attrs["source"] == "openEO cdse, field" and "coarse was not downloaded" in made.attrs["notes"]


def test_a_file_that_is_skipped_is_skipped_in_every_region(folder, tmp_path, caplog):
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in folder.iterdir():
        (raw / file.name).write_bytes(file.read_bytes())
    with xr.open_dataset(folder / "s1_ascending.nc") as radar:
        radar.load().to_netcdf(raw / "s1_more.nc", encoding={band: {"zlib": True} for band in ("VV", "VH")})
    damaged = bytearray((raw / "s1_more.nc").read_bytes())
    damaged[len(damaged) * 2 // 3 : len(damaged) * 2 // 3 + 3000] = bytes(3000)
    (raw / "s1_more.nc").write_bytes(damaged)  # opens, and its last VH cannot be read
    for name, region in (("once", N), ("regions", PX)):
        run(settings(tmp_path / f"{name}.nc", **files(raw, on_error="skip"), region=region))
    made = assert_same_file(tmp_path / "regions.nc", tmp_path / "once.nc")
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and "skipped: " in r.getMessage()]
    assert made.attrs["notes"].count("skipped: ") == 1 and len(warnings) == 2  # once a run


def test_a_scheduler_that_does_not_answer_is_named_before_any_work(folder, tmp_path):
    with pytest.raises(ContractError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        run(settings(tmp_path / "cube.nc", **files(folder / "none"), scheduler="tcp://127.0.0.1:9"))


@pytest.mark.slow
def test_what_the_west_decides_holds_in_the_east(strip, tmp_path):  # noqa: F811
    for name, region in (("once", 999), ("regions", 64)):
        run(settings(tmp_path / f"{name}.zarr", **files(strip), region=region, workers=2))
    with open_dataset(tmp_path / "once.zarr") as once, open_dataset(tmp_path / "regions.zarr") as regions:
        xr.testing.assert_identical(once.drop_vars(COARSE_NDVI).load(), regions.drop_vars(COARSE_NDVI).load())
        np.testing.assert_allclose(once[COARSE_NDVI], regions[COARSE_NDVI], atol=1e-4)


@pytest.mark.slow
def test_a_catalogue(tmp_path, monkeypatch):
    catalogue = Catalogue(tmp_path)
    for k, day in enumerate(("2022-01-10", "2022-02-10", "2022-02-15")):
        images = sentinel2(k)
        for band in ("red", "nir"):
            images[band] += np.uint16(1000 * (day > "2022-01-25"))
        images["scl"][:, SIDE // 4 :] = 6  # no vegetation in the east
        catalogue.add(f"s2_{k}", "sentinel-2-l2a", f"{day}T10:50:00", images, pixels={"scl": 20.0})
    seen = regions_read(monkeypatch)
    for name, region in (("once", 999), ("regions", PX)):
        run(settings(tmp_path / f"{name}.nc", source=catalogue.source(max_cloud=100), region=region))
    assert len(seen) == REGIONS
    assert_same_file(tmp_path / "regions.nc", tmp_path / "once.nc")


def started(folder: Path, out: Path) -> subprocess.Popen:
    words = ["cube", f"input={folder}", f"out={out}", f"region={PX}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "fusion", *words], cwd=out.parent, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def await_regions(process: subprocess.Popen, markers: Path, number: int) -> None:
    while process.poll() is None and len(list(markers.glob("[!.]*.json"))) < number:
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_runs_resume_and_two_share_one(folder, tmp_path, monkeypatch):
    run(settings(tmp_path / "whole.zarr", **files(folder)))
    out, markers = tmp_path / "cube.zarr", tmp_path / ".cube.zarr.regions" / "finished"
    process = started(folder, out)
    await_regions(process, markers, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = len(list(markers.glob("[!.]*.json")))
    assert 2 <= finished < REGIONS and not out.exists()
    seen = regions_read(monkeypatch)
    run(settings(out, **files(folder)))
    assert len(seen) == REGIONS - finished
    both = [started(folder, tmp_path / "shared.zarr") for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    wrote = ["clear:" in text for text in told]
    assert any(wrote) and all(w or WRITTEN_ELSEWHERE[:24] in text for w, text in zip(wrote, told, strict=True)), told
    for name in ("cube.zarr", "shared.zarr"):
        assert content(tmp_path / name) == content(tmp_path / "whole.zarr")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
