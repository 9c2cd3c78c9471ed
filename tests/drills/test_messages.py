"""Drill: what a user is told when files are damaged, folders closed, or servers silent: the cause, and what helps."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from data_prep.cube import open_cube
from fusion.commands import evaluate
from fusion.commands.train import run
from fusion.data.cube_files import CubeFileError
from fusion.evaluation.tracking import open_experiment
from fusion.inference.locate import TrackingError, locate_model
from fusion.training.checkpoint import WeightsError
from tests.factory import write_cube
from tests.unit.fusion.training.test_training import settings

DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "one byte": lambda file: file.write_bytes(b"\x80"),
    "text": lambda file: file.write_text("not a checkpoint"),
    "cut off": lambda file: file.write_bytes(whole()[: len(whole()) // 2]),
    "end lost": lambda file: file.write_bytes(whole()[:-1]),
    "a list": lambda file: torch.save([1, 2], file),
    "a number": lambda file: torch.save(3, file),
    "no weights": lambda file: torch.save({"epoch": 1}, file),
    "weights null": lambda file: torch.save({"state_dict": None}, file),
    "other weights": lambda file: torch.save({"state_dict": {"a": torch.zeros(2)}}, file),
    "a pickle": lambda file: torch.save({"state_dict": Path("x")}, file),
}


def whole() -> bytes:
    import io

    held = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(5000)}}, held)
    return held.getvalue()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_last_checkpoint_that_is_damaged_is_named(kind: str, tmp_path: Path) -> None:
    made = settings(tmp_path, "tracking.enabled=false")
    made.out.mkdir()
    DAMAGE[kind](made.out / "last.ckpt")
    with pytest.raises(WeightsError, match=r"last.ckpt cannot be resumed .*\(.+\).*or start a new .*resume=false"):
        run(made)


@pytest.mark.parametrize("text", ["opened", "listed"])
def test_a_file_that_needs_too_much_memory_is_not_said_to_lack_a_band(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_cube(tmp_path / "c.nc")

    def too_large(*given: Any, **options: Any) -> Any:
        raise np.exceptions.AxisError("x") if text == "listed" else MemoryError("Unable to allocate 74 GiB")

    monkeypatch.setattr(xr, "open_dataset", too_large)
    expected = {"opened": r"c.nc is too large .*74 GiB.*smaller area", "listed": "c.nc cannot be read"}[text]
    with pytest.raises(CubeFileError, match=expected):
        open_cube(file)


def test_a_damaged_cube_is_not_said_to_lack_a_band(tmp_path: Path) -> None:
    file = write_cube(tmp_path / "c.nc")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CubeFileError, match=r"c.nc cannot be read .*download it again"):
        open_cube(file)
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "d.nc")
    with pytest.raises(CubeFileError, match="d.nc has variables .*'a'.*expected bands with dims"):
        open_cube(tmp_path / "d.nc")


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder in which nobody but root may write, seen by another user."""
    import mlflow
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    monkeypatch.chdir(folder)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users as POSIX has them")
@pytest.mark.usefixtures("closed")
def test_a_read_only_working_folder_is_said_to_hold_the_tracking_store() -> None:
    with pytest.raises(TrackingError, match=r"sqlite:///outputs/mlflow.db cannot be written .*ermission.*tracking.uri"):
        open_experiment("sqlite:///outputs/mlflow.db", "e")
    assert os.listdir(".") == []  # by its absolute name this user may not reach it


def file_in_the_way(folder: Path) -> None:
    (folder / "outputs").write_text("a file")


def no_database(folder: Path) -> None:
    (folder / "outputs").mkdir()
    (folder / "outputs" / "mlflow.db").write_text("no database " * 500)


@pytest.mark.parametrize("prepare", [file_in_the_way, no_database])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_store_that_cannot_be_used_is_named_before_any_work(
    command: str, prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"sqlite:///outputs/mlflow.db cannot be written .*tracking.uri="):
        start(command, tmp_path, "sqlite:///outputs/mlflow.db")
    assert time.monotonic() - began < 10
    assert not (tmp_path / "run").exists()


def start(command: str, folder: Path, uri: str) -> None:
    if command == "train":
        run(settings(folder, f"tracking.uri={uri}"))
    elif command == "evaluate":
        tracking = {"uri": uri}
        evaluate.run(evaluate.EvaluateSettings(out=folder / "run", tracking=tracking, truth={"_target_": "x"}))
    else:
        locate_model("ndvi-fusion@newest", uri)


@pytest.fixture(params=["nobody", "silent", "cut"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A port at which nobody listens, one that accepts and says nothing, one that hangs up."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param != "nobody":
            server.listen()
        if request.param == "cut":
            import threading

            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("command", ["train", "evaluate", "model"])
def test_a_tracking_server_that_does_not_answer_is_named_within_ten_seconds(
    command: str, address: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(TrackingError, match=rf"the MLflow server {address} does not answer .*tracking.uri"):
        start(command, tmp_path, address)
    assert time.monotonic() - began < 10
    assert not (tmp_path / "run").exists()
