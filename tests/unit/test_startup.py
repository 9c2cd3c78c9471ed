"""What is imported, and when: the package and its command line start without the libraries that a call may need."""

import tomllib
from pathlib import Path

import pytest

import fusion

ROOT = Path(__file__).parents[2]


def test_the_package_names_its_version_and_public_calls() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert fusion.__version__ in (project["version"], "0+unknown")
    assert {*fusion.__all__, "__version__"} <= set(dir(fusion))
    assert all(callable(getattr(fusion, name)) for name in fusion.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fuze'; public are"):
        _ = fusion.fuze
