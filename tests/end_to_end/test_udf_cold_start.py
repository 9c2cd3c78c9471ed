"""Cold start as on a back-end: a fresh environment, two unpacked archives, fifty chunks of different dates.

The environment is installed by pip; where that cannot be, the tests are skipped. Three levels of onnxruntime: the
oldest that the manifest of the model names, the one that ``ndvi-fusion package`` ships, and the newest that this
project knows.
"""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.bench_udf import cold_start, fresh_python, lay_out
from udf.archive import ArchiveError
from udf.commands.package import PackageSettings

COLD_PYTHON = "NDVI_FUSION_COLD_PYTHON"  # a Python with what a back-end preloads; without it the test installs one
OLDEST = "1.16.0"
SHIPPED = PackageSettings.model_fields["onnxruntime"].default
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cold_start")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with openeo, numpy, pandas, xarray and scipy, nothing else; numpy 1, which the oldest level needs."""
    if os.environ.get(COLD_PYTHON):
        return Path(os.environ[COLD_PYTHON])
    try:
        return fresh_python(tmp_path_factory.mktemp("cold") / "venv", "numpy<2")
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"pip cannot install a fresh environment here ({type(error).__name__})")


@pytest.mark.parametrize(
    ("onnxruntime", "method"),
    [
        (OLDEST, "reference"),
        (SHIPPED, "reference"),
        (SHIPPED, "relative_amplitude"),
        (version("onnxruntime"), "reference"),
    ],
)
def test_fifty_chunks(onnxruntime: str, method: str, python: Path, tmp_path: Path) -> None:
    try:
        folder = lay_out(tmp_path / "job", onnxruntime)
    except ArchiveError as error:
        pytest.skip(f"the wheels of onnxruntime {onnxruntime} cannot be downloaded here: {error}")
    found = cold_start(folder, python, {"chunks": 50, "pixels": 8, "large_pixels": 0, "days": 365, "method": method})
    assert found["onnxruntime"] == onnxruntime
    assert found["onnxruntime_from_archive"]
    assert not found["project_imported"]
    assert found["numpy"].startswith("1.")
    assert found["chunks"] == 50
    assert found["different_date_counts"] > 10
    assert found["sessions_opened"] == 1
    assert found["different_labels"] == 1  # every chunk answers with the same dates and bands
    assert found["memory_small_mib"] < 1024
