"""Drill: a write that stops half way. A final name means a whole file, and a set of files is of one run."""

import ast
import errno
import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from data_prep.sources.openeo import download
from fusion.cli import app as cli
from fusion.data.cube_files import write_cube as write_cube_file
from fusion.data.geotiff import write_series_geotiff
from fusion.evaluation.plots import save
from fusion.evaluation.report import Evaluation, write_report
from fusion.whole_file import OutputExistsError, whole_file, whole_set
from tests.factory import mock_cube, write_cube
from udf.commands.settings import WorkflowSettings
from udf.commands.workflow import run as workflow
from udf.targets import load_target

ROOT = Path(__file__).parents[2]
WRITERS = {
    "savefig", "write_text", "write_bytes", "to_netcdf", "write_netcdf", "netcdf_to_fill", "to_zarr", "to_raster",
    "to_csv", "copyfile", "ZipFile",
}  # fmt: skip
APART = {"fusion/demo/figures.py:_png"}  # into memory


def unguarded(path: Path) -> list[str]:
    """Functions that write a file, but neither inside a block of ``whole_file`` or its kin nor to a ``partial``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and any("whole_" in ast.unparse(item) for item in block.items)
        for inner in ast.walk(block)
    }
    found = []
    for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
        parameters = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}
        for call in [n for n in ast.walk(function) if isinstance(n, ast.Call)]:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            reads = name == "ZipFile" and "w" not in [getattr(a, "value", None) for a in call.args]
            if name in WRITERS and not reads and id(call) not in guarded and not {"partial", "sink"} & parameters:
                found.append(f"{path.relative_to(ROOT).as_posix()}:{function.name}")
    return found


def test_every_writer_takes_the_way_over_a_temporary_name() -> None:
    paths = [p for package in ("fusion", "data_prep", "udf") for p in (ROOT / package).rglob("*.py")]
    found = {place for path in paths if "dist" not in path.parts for place in unguarded(path)}
    assert found == APART


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is cut off by a full disk."""

    def half(self: Figure, target: Path, **options: object) -> None:
        Path(target).write_bytes(b"\x89PNG half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(Figure, "savefig", half)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.usefixtures("full_disk")
def test_a_figure_that_is_cut_off_has_no_final_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        save(Figure(), tmp_path / "figures", "mae")
    assert names(tmp_path) == []


@pytest.mark.usefixtures("full_disk")
def test_season_maps_that_are_cut_off_leave_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cube(tmp_path / "c.nc", mock_cube(t=73, y=3, x=4, cloud=0.0, start="2019-01-01"))
    words = ["phenology", f"cube={tmp_path}/c.nc", f"out={tmp_path}/o", "sigma=0.02"]
    assert cli.main(words) == cli.FAILED
    assert "No space left on device" in capsys.readouterr().err
    assert names(tmp_path) == ["c.nc"]


def fused(value: float) -> xr.DataArray:
    cube = mock_cube(t=2, y=3, x=4, radar=False, coarse=False)
    both = xr.concat([xr.full_like(cube, value), xr.full_like(cube, value / 10)], "bands")
    return both.assign_coords(bands=["NDVI", "NDVI_SIGMA"]).transpose("t", "bands", "y", "x")


def pair(folder: Path) -> tuple[float, float]:
    with xr.open_dataset(folder / "d.tif", engine="rasterio") as a, xr.open_dataset(folder / "d_sigma.tif") as b:
        return round(float(a.band_data.mean()), 4), round(float(b.band_data.mean()), 4)


def test_ndvi_and_sigma_are_replaced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series_geotiff(fused(0.5), tmp_path / "d.tif")
    assert pair(tmp_path) == (0.5, 0.05)

    from fusion.data import geotiff

    write = geotiff._write_band

    def second_fails(series: xr.DataArray, partial: Path, file: Path, name: str) -> None:
        if name == "NDVI_SIGMA":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(series, partial, file, name)

    with monkeypatch.context() as patch:
        patch.setattr(geotiff, "_write_band", second_fails)
        with pytest.raises(OSError, match="No space"):
            write_series_geotiff(fused(0.8), tmp_path / "d.tif")
    assert pair(tmp_path) == (0.5, 0.05)
    write_series_geotiff(fused(0.8), tmp_path / "d.tif")
    assert pair(tmp_path) == (0.8, 0.08) and names(tmp_path) == ["d.tif", "d_sigma.tif"]


def test_a_model_can_be_exported_again_into_its_folder(tmp_path: Path) -> None:
    """The settings that the command line saves there are not in the way."""
    words = ["export", f"checkpoint={ROOT / 'fusion' / 'pretrained' / 'generator.pt'}", f"out={tmp_path}/model"]
    for _ in range(2):
        assert cli.main(words) == cli.OK
        assert names(tmp_path / "model") == ["manifest.json", "model.onnx", "settings.yaml"]


def write_set(folder: Path, content: dict[str, str], earlier: tuple[str, ...] = (), overwrite: bool = True) -> None:
    with whole_set(folder, earlier, overwrite=overwrite) as partial:
        for name, text in content.items():
            (partial / name).write_text(text)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_set_replaces_all_that_an_earlier_run_made_and_nothing_else(tmp_path: Path) -> None:
    write_set(tmp_path, {"a_2018.tif": "1", "a_2019.tif": "1"})
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(OutputExistsError, match=r"holds a_2018.tif, a_2019.tif of an earlier run.*overwrite=true"):
        write_set(tmp_path, {"a_2019.tif": "2"}, ("a_*.tif",), overwrite=False)
    write_set(tmp_path, {"a_2019.tif": "2", "b": "2"}, ("a_*.tif",))
    assert texts(tmp_path) == {"a_2019.tif": "2", "b": "2", "mine.txt": "kept"}


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_rename_that_fails_brings_the_earlier_set_back(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path, {"a": "1", "b": "1"})
    rename, count = os.rename, iter(range(100))

    def some_fail(source: Path, target: Path) -> None:
        if next(count) == failing:
            raise OSError(errno.EIO, "input/output error")
        rename(source, target)

    monkeypatch.setattr("fusion.whole_file.os.rename", some_fail)
    with pytest.raises(OSError, match="input/output"):
        write_set(tmp_path, {"a": "2", "b": "2"})
    assert texts(tmp_path) == {"a": "1", "b": "1"}


def test_a_set_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="in the way"):
        write_set(tmp_path, {"a": "2"})
    assert names(tmp_path) == ["a"]


def test_results_of_an_earlier_run_do_not_stay_beside_new_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cube(tmp_path / "c.nc", mock_cube(t=146, y=3, x=4, cloud=0.0, start="2018-01-01"))
    words = ["phenology", f"cube={tmp_path}/c.nc", f"out={tmp_path}/o", "sigma=0.02"]
    assert cli.main(words) == cli.OK
    made = set(names(tmp_path / "o"))
    assert {"seasons_2018_s1.tif", "seasons_2019_s1.tif", "SOSD_2018_main.png"} <= made
    (tmp_path / "o" / "mine.txt").touch()
    assert cli.main([*words, "year=2019"]) == cli.FAILED
    assert "of an earlier run; choose another out or set overwrite=true" in capsys.readouterr().err
    assert set(names(tmp_path / "o")) == made | {"mine.txt"}
    assert cli.main([*words, "year=2019", "maps=false", "overwrite=true"]) == cli.OK
    left = set(names(tmp_path / "o"))
    assert not [name for name in left if "2018" in name or name.endswith(".png")]
    assert {"seasons.nc", "seasons_2019_s1.tif", "settings.yaml", "mine.txt"} <= left


def test_tables_of_an_earlier_evaluation_do_not_stay(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"predictor": ["a"], "bin": ["<5"], "mae": [0.1], "coverage_90": [np.nan]})
    write_report(Evaluation("simulated", {"old": table}, {}, ["a"]), tmp_path, figures=False)
    (tmp_path / "tables" / "mine.txt").touch()
    write_report(Evaluation("simulated", {"new": table}, {}, ["a"]), tmp_path, figures=False)
    assert names(tmp_path) == ["scores.json", "tables", "tables/mine.txt", "tables/new.csv"]


# a process that is killed while it writes
HALF = {
    "file": "whole_file(out / 'a.nc')",
    "folder": "whole_file(out / 'a.zarr')",
    "set": "whole_set(out)",
}
BLOCK = """
import os, signal, sys
from pathlib import Path
from fusion.whole_file import whole_file, whole_set
out = Path(sys.argv[1])
with {block} as partial:
    target = partial / "zarr.json" if "{kind}" == "folder" else partial / "a.nc" if "{kind}" == "set" else partial
    target.parent.mkdir(exist_ok=True)
    target.write_text("half")
    if sys.argv[2] == "wait":
        print("waiting", flush=True)
        sys.stdin.read()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(kind: str, out: Path) -> None:
    code = BLOCK.format(block=HALF[kind], kind=kind)
    assert subprocess.run([sys.executable, "-c", code, str(out), "die"], cwd=ROOT).returncode == -signal.SIGKILL


def write(kind: str, out: Path) -> None:
    if kind == "set":
        write_set(out, {"a.nc": "whole"})
        return
    with whole_file(out / ("a.nc" if kind == "file" else "a.zarr")) as partial:
        if kind == "folder":
            partial.mkdir()
        (partial if kind == "file" else partial / "zarr.json").write_text("whole")


@pytest.mark.parametrize("kind", HALF)
def test_the_next_run_removes_what_a_killed_one_left(kind: str, tmp_path: Path) -> None:
    killed(kind, tmp_path)
    assert names(tmp_path)[0].startswith(".") and "partial" in names(tmp_path)[0]
    write(kind, tmp_path)
    expected = {"folder": ["a.zarr", "a.zarr/zarr.json"]}.get(kind, ["a.nc"])
    assert names(tmp_path) == expected and (tmp_path / expected[-1]).read_text() == "whole"


@pytest.mark.parametrize("there", [False, True], ids=["to nothing", "to an earlier one"])
@pytest.mark.parametrize("kind", HALF)
def test_what_a_link_points_to_is_written(kind: str, there: bool, tmp_path: Path) -> None:
    """As by ``cp`` and ``>``: the results are on the disk that the link names, not in place of the link."""
    name = {"file": "a.nc", "folder": "a.zarr", "set": "a"}[kind]
    link, large = tmp_path / "small" / name, tmp_path / "large disk" / "results" / name
    link.parent.mkdir()
    link.symlink_to(large)
    for _ in range(1 + there):
        write(kind, link if kind == "set" else link.parent)
    assert link.is_symlink() and names(link.parent)[0] == name and large.exists()
    found = large if kind == "file" else large / ("a.nc" if kind == "set" else "zarr.json")
    assert found.read_text() == "whole" and len(names(large.parent)) == (1 if kind == "file" else 2)


def leftover(path: Path, folder: bool) -> Path:
    """What a process that was killed while it wrote ``path`` leaves."""
    code = (
        "import os, sys; from pathlib import Path; from fusion.whole_file import _beside\n"
        "path = _beside(Path(sys.argv[1]), 'partial'); path.mkdir(parents=True) if sys.argv[2] else path.touch()"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-c", code, str(path), "1" if folder else ""], cwd=ROOT, check=True)
    (left,) = [p for p in path.parent.iterdir() if "partial" in p.name]
    return left


@functools.cache
def one_raster() -> bytes:
    return bytes(mock_cube(t=2, y=3, x=3).to_dataset("bands")[["VV"]].to_netcdf())


class Job:
    """A finished job with one small raster."""

    job_id = "j"

    def get_results(self) -> "Job":
        return self

    def get_assets(self) -> list:
        return [self]

    name = "openEO.nc"

    def download(self, path: Path) -> None:
        path.write_bytes(one_raster())

    def describe(self) -> dict:
        return {"id": self.job_id}

    get_metadata = describe


def by_cube(folder: Path) -> None:
    write_cube_file(mock_cube(t=2, y=3, x=3), folder / "c.nc")


def by_graph(folder: Path) -> None:
    area = {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}
    workflow(WorkflowSettings(target=load_target("cdse"), out=folder, area=area, overwrite=True))


def by_download(folder: Path) -> None:
    download(Job(), folder / "s1")


WAYS = {"cube": (by_cube, "c.nc", False), "graph": (by_graph, "set", True), "download": (by_download, "s1", True)}


@pytest.mark.parametrize("way", WAYS)
def test_every_path_removes_what_a_killed_run_left(way: str, tmp_path: Path) -> None:
    run, name, folder = WAYS[way]
    left = leftover(tmp_path / name, folder)
    run(tmp_path)
    assert not left.exists() and not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    run(tmp_path)  # and again


@pytest.mark.parametrize("way", ["graph", "download"])
def test_two_runs_of_a_path_at_once_leave_one_whole_result(way: str, tmp_path: Path) -> None:
    run, _, _ = WAYS[way]
    alone = tmp_path / "alone"
    alone.mkdir()
    run(alone)
    both = tmp_path / "both"
    both.mkdir()
    threads = [threading.Thread(target=run, args=(both,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [n for n in names(both) if not n.startswith(".")] == names(alone)
    same = [n for n in names(alone) if n.endswith(".json")]
    assert same and all((both / n).read_bytes() == (alone / n).read_bytes() for n in same)


@pytest.mark.parametrize("kind", HALF)
def test_what_a_living_process_writes_is_left_alone(kind: str, tmp_path: Path) -> None:
    code = BLOCK.format(block=HALF[kind], kind=kind)
    words = [sys.executable, "-c", code, str(tmp_path), "wait"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "waiting\n"
        write(kind, tmp_path)
        assert [name for name in names(tmp_path) if "partial" in name]
        other.communicate()
    assert other.returncode == 0
    assert not [name for name in names(tmp_path) if "partial" in name]


def test_an_old_folder_that_a_killed_run_moved_aside_comes_back(tmp_path: Path) -> None:
    write("folder", tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; from fusion import whole_file\n"
        "rename = os.rename\n"
        "def once(a, b):\n    rename(a, b); os.kill(os.getpid(), signal.SIGKILL)\n"
        "whole_file.os.rename = once\n"
        "with whole_file.whole_file(Path(sys.argv[1]) / 'a.zarr') as partial: partial.mkdir()\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT).returncode == -signal.SIGKILL
    assert not (tmp_path / "a.zarr").exists()
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.zarr"):
        raise RuntimeError
    assert names(tmp_path) == ["a.zarr", "a.zarr/zarr.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_run_leaves_no_empty_folder(error: type[BaseException], tmp_path: Path) -> None:
    for block in (whole_file(tmp_path / "a" / "b" / "c.nc"), whole_set(tmp_path / "a" / "b")):
        with pytest.raises(error), block:
            raise error
        assert names(tmp_path) == []
