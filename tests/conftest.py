"""What every test shares: quiet threads, fixed seeds, the real data where they are."""

import logging
import os
import random
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import numpy as np
import pytest

from tests.factory import mock_cube

REAL_DATA = "NDVI_FUSION_REAL_DATA"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="the tests write their screenshots to docs/pictures")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Global generators start alike in every test; code of ours takes explicit seeds, libraries may not."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(autouse=True)
def _log_levels() -> None:
    """A command sets the level of our log lines; it does not reach the next test."""
    for package in ("fusion", "data_prep", "udf"):
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.fixture
def cube():
    """A small merged cube with all sensors: t 24, y 8, x 12."""
    return mock_cube()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; the test is skipped where there is none."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"needs the real files: set {REAL_DATA} to their folder")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{REAL_DATA} names {folder}, which is not a folder")
    return path
