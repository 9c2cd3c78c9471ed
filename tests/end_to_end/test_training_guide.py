"""The guide "Train on your own area" of docs/training.md, command by command on a cube of 640 m, with fewer steps."""

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from fusion.cli import app as cli
from fusion.data.cube_files import read_cube
from fusion.training.checkpoint import load_weights

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
FEWER = ["validation_batches=2", "calibration_batches=4", "tracking.min_steps=0", "progress=false", "workers=0"]
LITTLE = ["leave_gap_out.max_dates=1", "leave_gap_out.gaps_days=[2]"]


def section(title: str, language: str) -> list[str]:
    """Code blocks of one language in a section of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(block: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.slow
def test_the_guide_on_a_cube_of_640_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    guide, sweep = section("Train on your own area", "sh")
    for program, command, *words in typed(guide):
        assert program == "ndvi-fusion"
        more = {"train": [*FEWER, "optimiser.max_steps=12"], "evaluate": LITTLE}.get(command, [])
        assert cli.main([command, *words, *more]) == cli.OK, command
    assert load_weights(tmp_path / "area/tuned/generator.pt").record["steps"] == 12
    dense = read_cube(tmp_path / "area/ndvi.nc")
    assert dense.shape[2:] == (64, 64) and np.isfinite(dense.values).all()
    scores = (tmp_path / "area/evaluation").rglob("*.csv")
    assert any("tuned" in file.read_text(encoding="utf-8") for file in scores)

    ((_, *words),) = typed(sweep)
    assert cli.main([*words, *FEWER, "optimiser.max_steps=1"]) == cli.OK
    made = {file.parent.name for file in (tmp_path / "area/sweep").glob("*/generator.pt")}
    assert made == {f"optimiser.learning_rate={rate},seed={seed}" for rate in ("0.0001", "0.0003") for seed in (1, 2)}

    (python,) = section("In MLflow", "python")
    names: dict = {"cube": read_cube(tmp_path / "area/cube.nc")}
    first, last = (str(day)[:10] for day in names["cube"].t.values[[0, -1]])
    exec(python.replace("2021-03-01", first).replace("2021-10-31", last), names)
    assert names["dense"].sizes["bands"] == 2 and np.isfinite(names["dense"].values).all()
    the_ui_answers(tmp_path)


def the_ui_answers(folder: Path) -> None:
    """The page's `mlflow ui` command, on a free port, serves the store of the guide."""
    (block,) = section("In MLflow", "sh")
    ((program, *words),) = typed(block)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found is not None
    server = subprocess.Popen([found, *words, "--port", str(port)], cwd=folder, start_new_session=True)
    try:
        for _ in range(120):
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert b"MLflow" in page.read()
                    return
            except OSError:
                assert server.poll() is None
        raise AssertionError("mlflow ui does not answer")
    finally:
        subprocess.run(["kill", "--", f"-{server.pid}"], check=False)
        server.wait(30)
