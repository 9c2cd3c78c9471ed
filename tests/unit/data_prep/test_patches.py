"""Patches from cubes and scenes: content, windows, splits, manifest, resuming after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_prep.commands.patches import PatchesSettings, run
from data_prep.farm import only_run
from data_prep.patches import CubePatches, CutSettings, SimulatedPatches, plan
from data_prep.raw.cubes import SourceError
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from data_prep.split import SplitSettings
from data_prep.statistics import gap_histogram
from fusion.data.cube_files import CubeFileError, write_cube
from fusion.data.store import PatchStore, StoreError, read_patch
from tests.factory import mock_cube

SMALL = SceneSettings(height=16, width=16, n_days=120)
CUT = CutSettings(patch_px=8, min_observations=2)


def cube_file(
    folder: Path, name: str = "area.nc", *, size: int = 32, t: int = 100, east_m: float = 0.0, seed: int = 0
) -> Path:
    cube = mock_cube(t=t, y=size, x=size, seed=seed)
    return write_cube(cube.assign_coords(x=cube.x + east_m), folder / name)


def settings_of(folder: Path, source: object, **changes: object) -> PatchesSettings:
    return PatchesSettings(**{"source": source, "out": folder / "p.zarr", "cut": CUT, "workers": 0, **changes})


def test_a_patch_holds_the_pixels_of_its_window(tmp_path):
    file = cube_file(tmp_path)
    run(settings_of(tmp_path, CubePatches(cubes=(str(file),)), split=SplitSettings(sites={"area": "train"})))
    store = PatchStore.open(tmp_path / "p.zarr")
    cube = mock_cube(t=100, y=32, x=32)
    # 500 days give windows of 480 days that start on day 0 and day 365: 4 x 4 patches, two windows
    assert len(store) == 32
    patch = read_patch(store.path, "area_2019-03-01_r000008_c000016")
    days = cube.t.values.astype("datetime64[D]").astype(int)
    part = cube.sel(bands="S2NDVI").isel(y=slice(8, 16), x=slice(16, 24)).values
    seen = np.isfinite(part).any((1, 2)) & (days < days[0] + 480)
    np.testing.assert_array_equal(patch.observations.s2_days, days[seen])
    expected = cube.sel(bands="S2NDVI").isel(t=0, y=slice(8, 16), x=slice(16, 24))
    np.testing.assert_allclose(patch.observations.s2_ndvi[0], expected, atol=0.6e-4)
    vv = cube.sel(bands="VV").isel(t=2, y=slice(8, 16), x=slice(16, 24))
    np.testing.assert_allclose(patch.observations.vv_db[1], vv, atol=1.1e-3)
    assert patch.extra["bounds"][0] == pytest.approx(float(expected.x[0]) - 5)
    assert patch.truth is None and patch.year == 2019
    late = read_patch(store.path, "area_2020-02-29_r000008_c000016")
    assert late.observations.s2_days[0] == days[0] + 365


def test_tiles_of_any_size_give_the_same_patches(tmp_path):
    file = cube_file(tmp_path, t=40)
    hashes = []
    for tile in (8, 24, 256):
        cut = CUT.model_copy(update={"tile_px": tile})
        out = tmp_path / f"{tile}.zarr"
        split = SplitSettings(sites={"area": "test"})
        run(PatchesSettings(source=CubePatches(cubes=(str(file),)), out=out, cut=cut, split=split, workers=0))
        hashes.append(PatchStore.open(out).content_hash())
    assert len(set(hashes)) == 1


def test_no_ground_in_two_splits_across_overlapping_cubes_and_years(tmp_path):
    for k, east in enumerate((0.0, 110.0, 400.0)):
        cube_file(tmp_path, f"c{k}.nc", size=64, t=20, east_m=east, seed=k)
    split = SplitSettings(train=0.5, calibration=0.2, block_deg=0.002, margin_m=0.0, seed=3)
    run(settings_of(tmp_path, CubePatches(cubes=(str(tmp_path / "c*.nc"),)), split=split))
    store = PatchStore.open(tmp_path / "p.zarr")
    assert {f["split"] for f in store.facts} == {"train", "calibration", "test"}
    pixels: dict[tuple[float, float], set[str]] = {}
    for fact in store.facts:  # the slow way: every metre-exact pixel and the splits that hold it
        left, bottom, right, top = fact["extra"]["bounds"]
        for x in np.arange(left, right, 10.0):
            for y in np.arange(bottom, top, 10.0):
                pixels.setdefault((round(x), round(y)), set()).add(fact["split"])
    assert max(len(splits) for splits in pixels.values()) == 1
    left_out = store.manifest["left_out"]
    assert any("border" in reason for reason in left_out)


def test_sites_forced_into_different_splits_on_one_ground_are_refused(tmp_path):
    for k in range(2):
        cube_file(tmp_path, f"c{k}.nc", size=16, t=20, seed=k)
    split = SplitSettings(sites={"c0": "train", "c1": "test"})
    with pytest.raises(StoreError, match="of different splits overlap"):
        run(settings_of(tmp_path, CubePatches(cubes=(str(tmp_path / "c?.nc"),)), split=split))
    assert not (tmp_path / "p.zarr" / "manifest.json").exists()


def test_scenes_keep_truth_and_masks(tmp_path):
    cut = CUT.model_copy(update={"min_observations": 1, "min_clear": 0.01})
    run(settings_of(tmp_path, SimulatedPatches(count=2, seed=5, scene=SMALL), cut=cut))
    store = PatchStore.open(tmp_path / "p.zarr")
    assert len(store) == 8  # 2 x 2 patches a scene
    scene = simulate_observations(SMALL, 5)
    patch = read_patch(store.path, "sim-00000005_r0008_c0000", verify=True)
    np.testing.assert_array_equal(patch.truth_days, scene.truth_days[::5])
    np.testing.assert_allclose(patch.truth, scene.truth[::5, 8:16, 0:8], atol=0.6e-4)
    np.testing.assert_array_equal(patch.cover, scene.cover[8:16, 0:8])
    obs = scene.observations.s2_ndvi[:, 8:16, 0:8]
    kept = np.isfinite(obs).any((1, 2))
    np.testing.assert_array_equal(np.isnan(patch.observations.s2_ndvi), np.isnan(obs[kept]))
    np.testing.assert_array_equal(patch.suspect, scene.suspect[kept, 8:16, 0:8])
    for site in {f["site"] for f in store.facts}:
        assert len({f["split"] for f in store.facts if f["site"] == site}) == 1


def test_manifest_adds_up(tmp_path):
    run(settings_of(tmp_path, SimulatedPatches(count=2, scene=SMALL)))
    store = PatchStore.open(tmp_path / "p.zarr")
    manifest = store.manifest
    values = np.concatenate([p.observations.s2_ndvi[np.isfinite(p.observations.s2_ndvi)] for p in store])
    told = manifest["statistics"]["layers"]["s2_ndvi"]
    assert told["count"] == values.size
    assert told["mean"] == pytest.approx(values.mean(), abs=1e-4) and told["std"] == pytest.approx(
        values.std(), abs=1e-3
    )
    assert manifest["patches"] == sum(manifest["patches_by_split"].values()) == len(store)
    assert manifest["content_sha256"] == store.content_hash()
    assert manifest["source"]["scene"]["height"] == 16 and manifest["versions"]["zarr"]


def test_gap_histogram_by_hand():
    days = np.array([0, 3, 10, 60])
    clear = np.ones((4, 4, 4), bool)
    clear[1] = False
    counts = gap_histogram(days, clear, every=4)  # one pixel: gaps 10 and 50
    assert counts.tolist() == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_equal_settings_give_an_equal_store_and_a_second_run_changes_nothing(tmp_path):
    source = SimulatedPatches(count=2, scene=SMALL)
    run(settings_of(tmp_path, source))
    store = PatchStore.open(tmp_path / "p.zarr")
    first, written = store.content_hash(), [f.stat().st_mtime_ns for f in sorted((store.path / "patch").rglob("*"))]
    run(settings_of(tmp_path, source))
    assert [f.stat().st_mtime_ns for f in sorted((store.path / "patch").rglob("*"))] == written
    run(settings_of(tmp_path, source, out=tmp_path / "other.zarr"))
    assert PatchStore.open(tmp_path / "other.zarr").content_hash() == first
    run(settings_of(tmp_path, source.model_copy(update={"count": 3})))  # more scenes: only the new one is made
    assert {f["site"] for f in PatchStore.open(store.path).facts} == {f"sim-{k:08d}" for k in range(3)}


def test_other_settings_or_another_input_on_an_old_store_are_refused(tmp_path):
    file = cube_file(tmp_path, t=20)
    source, split = CubePatches(cubes=(str(file),)), SplitSettings(sites={"area": "train"})
    run(settings_of(tmp_path, source, split=split))
    with pytest.raises(StoreError, match="cut"):
        run(settings_of(tmp_path, source, split=split, cut=CutSettings(patch_px=16, min_observations=2)))
    cube_file(tmp_path, t=24, seed=1)
    with pytest.raises(SourceError, match="another version"):
        run(settings_of(tmp_path, source, split=split))
    run(settings_of(tmp_path, source, split=split, overwrite=True))


def test_scenes_of_another_simulator_are_not_mixed_into_an_old_store(tmp_path, monkeypatch):
    source = SimulatedPatches(count=1, scene=SceneSettings(height=32, width=32, n_days=200))
    run(settings_of(tmp_path, source))
    monkeypatch.setattr("data_prep.patches.code_hash", lambda module: "another simulator")
    with pytest.raises(SourceError, match="another version"):
        run(settings_of(tmp_path, source))


def test_bad_input_is_named(tmp_path):
    with pytest.raises(SourceError, match="no file matches"):
        plan(CubePatches(cubes=(str(tmp_path / "*.nc"),)), CUT)
    (tmp_path / "broken.nc").write_bytes(b"CDF\x01 and then nothing")
    with pytest.raises(CubeFileError, match=r"broken\.nc cannot be read"):
        plan(CubePatches(cubes=(str(tmp_path / "broken.nc"),)), CUT)
    small = cube_file(tmp_path, "small.nc", size=8, t=10)
    with pytest.raises(SourceError, match="8 x 8"):
        plan(CubePatches(cubes=(str(small),)), CutSettings())
    dark = mock_cube(t=10, y=8, x=8)
    dark.loc[{"bands": "S2NDVI"}] = np.nan
    write_cube(dark, tmp_path / "dark.nc")
    with pytest.raises(SourceError, match="too few observations"):
        run(
            settings_of(
                tmp_path, CubePatches(cubes=(str(tmp_path / "dark.nc"),)), split=SplitSettings(sites={"dark": "train"})
            )
        )


def test_a_failing_cube_stops_or_is_skipped_and_what_was_done_is_kept(tmp_path):
    cube_file(tmp_path, "a.nc", size=8, t=10)
    percent = mock_cube(t=10, y=8, x=8)
    percent.loc[{"bands": "S2NDVI"}] *= 100
    write_cube(percent, tmp_path / "b.nc")
    source, split = CubePatches(cubes=(str(tmp_path / "*.nc"),)), SplitSettings(sites={"a": "train", "b": "train"})
    with pytest.raises(SourceError, match=r"b\.nc.*ranges from"):
        run(settings_of(tmp_path, source, split=split))
    assert len(PatchStore.open(tmp_path / "p.zarr")) == 1
    run(settings_of(tmp_path, source, split=split, on_error="skip"))
    failed = PatchStore.open(tmp_path / "p.zarr").manifest["failed"]
    assert len(failed) == 1 and failed[0]["name"].startswith("b-")


def test_two_runs_on_one_store_are_refused(tmp_path):
    folder = tmp_path / "not made yet"
    with only_run(folder), pytest.raises(SourceError, match="another run"), only_run(folder):
        pass
    assert not folder.exists()


def content_of(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, by name, with the files' bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_refused_by_another_on_the_same_store_leaves_it_untouched(tmp_path, overwrite, monkeypatch):
    source = SimulatedPatches(count=2, scene=SMALL)
    run(settings_of(tmp_path, source))
    store = tmp_path / "p.zarr"
    (store / ".partial" / "being written").mkdir()
    before = content_of(store)
    link = tmp_path / "other name.zarr"
    link.symlink_to(store)
    with only_run(store):
        for out in (store, link):
            with pytest.raises(SourceError, match=r"another run is writing to .*p\.zarr"):
                run(settings_of(tmp_path, source, overwrite=overwrite, out=out))
    assert content_of(store) == before and (store / "manifest.json").is_file()
    run(settings_of(tmp_path, source, overwrite=overwrite))  # the lock has fallen
    assert not (store / ".partial" / "being written").exists()


def test_two_runs_that_begin_together_do_not_meet(tmp_path):
    """The second begins while the first one writes, from a thread of it: the first one's store stays whole."""
    source = SimulatedPatches(count=2, scene=SMALL)
    refused = []

    def at_a_task(done, total):
        with pytest.raises(SourceError, match="another run") as error:
            run(settings_of(tmp_path, source, overwrite=True))
        refused.append(error)

    class Quiet:
        def __init__(self, label):
            pass

        def __enter__(self):
            return at_a_task

        def __exit__(self, *error):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.commands.patches.Progress", Quiet)
        run(settings_of(tmp_path, source))
    store = PatchStore.open(tmp_path / "p.zarr")
    assert len(refused) == 2 and store.manifest["content_sha256"] == store.content_hash()


def test_a_run_refused_for_its_settings_or_input_leaves_the_store_untouched(tmp_path, monkeypatch):
    source = SimulatedPatches(count=1, scene=SMALL)
    run(settings_of(tmp_path, source))
    before = content_of(tmp_path / "p.zarr")
    with pytest.raises(StoreError, match="other settings"):
        run(settings_of(tmp_path, source, split=SplitSettings(seed=3)))
    monkeypatch.setattr("data_prep.patches.code_hash", lambda module: "another simulator")
    with pytest.raises(SourceError, match="another version"):
        run(settings_of(tmp_path, source))
    assert content_of(tmp_path / "p.zarr") == before
    foreign = tmp_path / "mine.zarr"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"(no|not a) patch store"):
            run(settings_of(tmp_path, source, out=foreign, overwrite=overwrite))
    assert content_of(foreign) == {"letter.txt": b"x"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_moment_it_resumes_and_gives_the_same_store(tmp_path, workers):
    """SIGKILL to the process group, several times at different moments, then one run to the end."""
    file = cube_file(tmp_path, size=64, t=20)
    command = [
        sys.executable, "-m", "fusion", "-q", "patches", f"out={tmp_path / 'p.zarr'}", f"workers={workers}",
        "source=cubes", f"source.cubes=[{file}]", "cut.patch_px=8", "cut.tile_px=8", "cut.min_observations=2",
        "+split.sites.area=train",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    where = {"cwd": Path(__file__).parents[3], "env": environment, "stderr": subprocess.DEVNULL}
    seen = []
    for least in (0, 1, 25) if workers == 0 else (25,):
        process = subprocess.Popen(command, start_new_session=True, **where)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if (tmp_path / "p.zarr").exists() and _count(tmp_path / "p.zarr") >= least:
                break
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        if (tmp_path / "p.zarr" / "zarr.json").is_file():
            store = PatchStore.open(tmp_path / "p.zarr")
            for key in store.keys:
                read_patch(store.path, key, verify=True)  # what has its name is whole
            seen.append(len(store))
    assert seen and 25 <= seen[-1] < 64
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "p.zarr" / "patch").glob("area_*")}
    done = subprocess.run(command, check=False, timeout=900, **{**where, "stderr": subprocess.PIPE})
    assert done.returncode == 0, done.stderr.decode()
    store = PatchStore.open(tmp_path / "p.zarr")
    assert len(store) == 64 and store.manifest["patches"] == 64
    for name, written in before.items():  # finished patches were not made again
        assert (store.path / "patch" / name).stat().st_mtime_ns == written
    assert not list((store.path / ".partial").iterdir())
    whole = settings_of(tmp_path, CubePatches(cubes=(str(file),)), out=tmp_path / "whole.zarr")
    run(whole.model_copy(update={"split": SplitSettings(sites={"area": "train"})}))
    assert PatchStore.open(tmp_path / "whole.zarr").content_hash() == store.content_hash()


def _count(store: Path) -> int:
    return len(list((store / "patch").glob("area_*")))
