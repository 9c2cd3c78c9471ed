"""Cold start of both UDFs as on a back-end: a fresh environment, unpacked archives, fifty chunks of different dates.

The environments are installed by pip; where that cannot be, the tests are skipped. Images of the back-ends hold NumPy 1
or 2 and Python 3.11 or later. onnxruntime at both ends of what the model's manifest names, and as shipped between.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.bench_udf import cold_start, fresh_python, lay_out
from udf.archive import PYTHONS, ArchiveError
from udf.commands.package import PackageSettings

# a Python with what a back-end preloads, for example NDVI_FUSION_COLD_PYTHON_PY311_NUMPY1; else the test installs one
COLD_PYTHON = "NDVI_FUSION_COLD_PYTHON_{python}_NUMPY{numpy}"
OLDEST = "1.16.0"  # needs NumPy 1; the oldest for NumPy 2 is 1.19
OLDEST_NUMPY2 = "1.19.2"
SHIPPED = PackageSettings.model_fields["onnxruntime"].default
NEWEST = version("onnxruntime")
pytestmark = pytest.mark.slow
ENVIRONMENTS: dict[tuple[str, int], Path] = {}


def python_of(image: str, numpy: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with openeo, numpy, pandas, xarray and scipy, nothing else."""
    given = os.environ.get(COLD_PYTHON.format(python=image.upper(), numpy=numpy))
    if given:
        return Path(given)
    if (image, numpy) not in ENVIRONMENTS:
        wanted = f"python{PYTHONS[image]}"
        same = sys.version_info[:2] == tuple(map(int, PYTHONS[image].split(".")))
        interpreter = sys.executable if same else shutil.which(wanted)
        if interpreter is None:
            pytest.skip(f"there is no {wanted} on this machine")
        try:
            folder = tmp_path_factory.mktemp("cold") / "venv"
            found = fresh_python(folder, f"numpy>={numpy},<{numpy + 1}", interpreter)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"pip cannot install a fresh environment of {wanted} here ({type(error).__name__})")
        ENVIRONMENTS[image, numpy] = found
    return ENVIRONMENTS[image, numpy]


@pytest.mark.parametrize(
    ("image", "numpy", "onnxruntime", "method"),
    [
        ("py311", 1, OLDEST, "reference"),
        ("py311", 1, SHIPPED, "relative_amplitude"),
        ("py311", 1, NEWEST, "reference"),
        ("py311", 2, OLDEST_NUMPY2, "reference"),
        ("py311", 2, SHIPPED, "relative_amplitude"),
        ("py311", 2, NEWEST, "reference"),
        ("py312", 2, OLDEST_NUMPY2, "reference"),
        ("py312", 2, SHIPPED, "relative_amplitude"),
        ("py312", 2, NEWEST, "reference"),
    ],
)
def test_fifty_chunks(
    image: str, numpy: int, onnxruntime: str, method: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    python = python_of(image, numpy, tmp_path_factory)
    try:
        folder = lay_out(tmp_path / "job", onnxruntime, image)
    except ArchiveError as error:
        pytest.skip(f"the wheels of onnxruntime {onnxruntime} cannot be downloaded here: {error}")
    found = cold_start(folder, python, {"chunks": 50, "pixels": 8, "large_pixels": 0, "days": 365, "method": method})
    assert found["onnxruntime"] == onnxruntime
    assert found["onnxruntime_from_archive"]
    assert not found["project_imported"]
    assert found["numpy"].startswith(f"{numpy}.")
    assert found["chunks"] == 50
    assert found["different_date_counts"] > 10
    assert found["sessions_opened"] == 1
    assert found["different_labels"] == 1  # every chunk answers with the same dates and bands
    assert found["memory_small_mib"] < 1024
