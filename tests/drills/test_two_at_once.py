"""Drill: two runs at once. One is refused by name or waits; results are never mixed."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from mlflow import MlflowClient

from data_prep.commands import cube as cube_command
from data_prep.commands.cube import CubeSettings
from data_prep.sources.settings import SimulatedSource
from fusion.commands.train import run
from fusion.data.cube_files import CubeFileError, read_cube, write_cube, writing
from fusion.training.checkpoint import WeightsError
from fusion.whole_file import OutputExistsError, only_run, whole_file, whole_set
from tests.factory import mock_cube
from tests.threads import at_once
from tests.unit.fusion.training.test_training import settings

ROOT = Path(__file__).parents[2]
ROUNDS = 40


def test_a_second_training_into_one_folder_is_refused(tmp_path: Path) -> None:
    made = settings(tmp_path)
    with only_run(made.out), pytest.raises(WeightsError, match="another run is writing to .*run; wait for it or use"):
        run(made)
    assert not made.out.exists()


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from fusion.whole_file import only_run\n"
        "with only_run(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with only_run(tmp_path / "run"):
        pass


def test_two_paths_to_one_folder_are_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with only_run(tmp_path / "real"), pytest.raises(ValueError, match="another run"), only_run(tmp_path / "link"):
        pass


@pytest.mark.slow
def test_two_trainings_started_at_once(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fusion", "train", "debug=tiny", f"out={tmp_path}/run", "progress=false"]
    words.append(f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    both = [
        subprocess.Popen([*words, f"seed={k}"], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for k in (1, 2)
    ]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert "another run is writing to" in said[[p.returncode for p in both].index(1)]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert len(client.search_model_versions("name='ndvi-fusion'")) == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_two_new_files_of_one_name_one_is_refused(kind: str, tmp_path: Path) -> None:
    def write(path: Path, text: str) -> str:
        with whole_file(path, replace=False) as partial:
            if kind == "folder":
                partial.mkdir()
            (partial / "part" if kind == "folder" else partial).write_text(text)
        return text

    for k in range(ROUNDS):
        path = tmp_path / f"{k}.nc"
        results = at_once(lambda path=path: write(path, "a"), lambda path=path: write(path, "b"))
        refused = [r for r in results if isinstance(r, OutputExistsError)]
        winner = [r for r in results if isinstance(r, str)]
        assert len(refused) == len(winner) == 1 and "overwrite=true" in str(refused[0])
        assert (path / "part" if kind == "folder" else path).read_text() == winner[0]
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def test_of_two_sets_at_once_none_is_mixed(tmp_path: Path) -> None:
    def write(text: str) -> None:
        with whole_set(tmp_path, ["*.tif"]) as partial:
            for name in ("a.tif", "b.tif", f"{text}.tif"):
                (partial / name).write_text(text)

    for _ in range(ROUNDS):
        assert at_once(lambda: write("x"), lambda: write("y")) == [None, None]
        found = {path.name: path.read_text() for path in tmp_path.iterdir()}
        last = found["a.tif"]
        assert found == {"a.tif": last, "b.tif": last, f"{last}.tif": last}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_cube_never_replaces_one_that_another_run_has_just_written(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run ends between this one's first look and its last step."""
    out, other = tmp_path / f"c{suffix}", mock_cube(t=4, y=3, x=3, seed=5)
    describe = writing.to_dataset

    def slowly(cube: xr.DataArray, title: str = "") -> xr.Dataset:
        with monkeypatch.context() as patch:
            patch.setattr(writing, "to_dataset", describe)
            write_cube(other, out)
        return describe(cube, title)

    monkeypatch.setattr(writing, "to_dataset", slowly)
    made = CubeSettings(source=SimulatedSource(kind="simulated"), out=out)
    monkeypatch.setattr(cube_command, "build_cube", lambda raw, given: mock_cube(t=4, y=3, x=3).assign_attrs(notes=""))
    monkeypatch.setattr(SimulatedSource, "load", lambda self: type("Raw", (), {"notes": []})())
    with pytest.raises(CubeFileError, match=r"of an earlier run; choose another out or set overwrite=true"):
        cube_command.run(made)
    np.testing.assert_array_equal(read_cube(out).values, other.values)
