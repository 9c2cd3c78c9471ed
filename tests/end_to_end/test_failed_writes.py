"""Outputs that cannot be written: a readable error, exit code 1, and no half-written file under a final name."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion.data.cube_files import read_cube
from fusion.inference.locate import SHIPPED
from tests.factory import mock_cube, write_cube

LIMIT = 16_384  # bytes that a file may grow to: every output below is larger
COMMANDS = {
    "predict.nc": ["predict", "cube=cube.nc", "out=dense.nc"],
    "predict.zarr": ["predict", "cube=cube.nc", "out=dense.zarr"],
    "predict.tif": ["predict", "cube=cube.nc", "out=dense.tif"],
    "over an old file": ["predict", "cube=cube.nc", "out=old.nc", "overwrite=true"],
    "cube": ["cube", "source.folder=scene", "out=merged.nc"],
    "phenology": ["phenology", "cube=cube.nc", "out=seasons", "maps=false"],
    "export": ["export", f"checkpoint={SHIPPED / 'generator.pt'}", "out=model"],
    "simulate": ["simulate", "out=fresh", "++scene.height=24", "++scene.width=24", "++scene.n_days=200"],
    "package": ["package", "out=package", "dependencies=false"],
    "evaluate": [
        "evaluate", "cube=cube.nc", "out=scores", "model=none", "baselines=[linear]", "leave_gap_out.min_clear=0.5",
        "leave_gap_out.edge_days=10", "tracking.enabled=false",
    ],
}  # fmt: skip
DRIVER = """
import contextlib, io, json, sys
from fusion.cli.app import main
results = {}
for name, words in json.loads(sys.argv[1]).items():
    text = io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    results[name] = [code, text.getvalue()]
print(json.dumps(results))
"""


def run_all(folder: Path, commands: dict[str, list[str]], limit: int | None) -> dict[str, tuple[int, str]]:
    """Exit code and messages of each command, run one after the other in a process whose files may not grow."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        cwd=folder, capture_output=True, text=True, timeout=600, preexec_fn=restrict, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: (code, text) for name, (code, text) in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, an older answer, and a simulated scene."""
    made = tmp_path_factory.mktemp("full")
    write_cube(made / "cube.nc", mock_cube(t=40, y=32, x=32))
    write_cube(made / "old.nc", mock_cube(t=3, y=2, x=2))
    (made / "a file").write_text("in the way of a folder")
    scene = ["simulate", "out=scene", "++scene.height=24", "++scene.width=24", "++scene.n_days=200"]
    assert run_all(made, {"scene": scene}, None)["scene"][0] == 0
    return made


def test_a_full_disk_leaves_no_final_name(folder: Path) -> None:
    before = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    old = read_cube(folder / "old.nc")
    results = run_all(folder, COMMANDS, LIMIT)
    for name, (code, text) in results.items():
        assert code == 1, f"{name}: exit code {code}\n{text}"
        assert "error: " in text and "Traceback" not in text, f"{name}: {text}"
    after = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    finals = [p for p in after - before if not any(part.startswith(".") or "partial" in part for part in p.parts)]
    whole = {Path("package/fusion_udf.py"), Path("package/phenology_udf.py")}  # may stand: each file is whole by itself
    assert not [p for p in finals if (folder / p).stat().st_size >= LIMIT], "a cut-off file carries a final name"
    assert not {p for p in finals if p.suffix in (".nc", ".tif", ".onnx", ".zip")} - whole
    assert not (folder / "dense.zarr").exists() and not (folder / "model" / "model.onnx").exists()
    np.testing.assert_array_equal(read_cube(folder / "old.nc").values, old.values)


def test_an_output_that_cannot_be_made_is_named(folder: Path) -> None:
    moved = {
        name: [w.replace("out=", "out=a file/") for w in words]
        for name, words in COMMANDS.items()
        if name != "over an old file"
    }
    for name, (code, text) in run_all(folder, moved, None).items():
        assert code == 1, f"{name}: exit code {code}\n{text}"
        assert "a file" in text and "Traceback" not in text, f"{name}: {text}"
    assert (folder / "a file").read_text() == "in the way of a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_said(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    words = ["predict", "cube=cube.nc", f"out={closed}/dense.nc"]
    code, text = run_all(folder, {"predict": words}, None)["predict"]
    assert code == 1 and "ermission" in text and not list(closed.iterdir())
