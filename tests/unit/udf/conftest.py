"""One fake model for the whole session."""

from pathlib import Path

import pytest

from tests.unit.udf.fakes import fake_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model that every UDF test may use."""
    return fake_model(tmp_path_factory.mktemp("fake") / "ndvi_fusion_model")
