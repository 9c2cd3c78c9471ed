"""What the documents tell a reader to type is accepted, and the README's Python runs."""

import re
import shlex
from pathlib import Path

import pytest

from fusion.cli.settings import load_settings
from fusion.cli.table import COMMANDS
from tests.factory import mock_cube, write_cube

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed_commands() -> list[tuple[str, str]]:
    """(document, command line) of every line in a code block that calls the command line with settings."""
    found = []
    for path in DOCUMENTS:
        for _, block in FENCE.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True) if re.match(r"(\.venv/bin/)?ndvi-fusion ", line) else []
                if len(words) > 2 and all("=" in word for word in words[2:]) and "..." not in line:
                    found.append((path.name, " ".join(map(shlex.quote, words))))
    return found


TYPED = typed_commands()


def test_documents_hold_commands() -> None:
    assert len(TYPED) > 25
    assert {"README.md", "evaluation.md", "data_prep.md", "openeo.md", "simulator.md"} <= {name for name, _ in TYPED}


@pytest.mark.parametrize(("document", "line"), TYPED, ids=lambda text: text[:60])
def test_commands_in_documents_are_accepted(
    document: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path" / "to" / "folder").mkdir(parents=True)
    name, *overrides = shlex.split(line)[1:]
    load_settings(name, COMMANDS[name].settings_class(), overrides)


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("Agg")
    (block,) = [code for language, code in FENCE.findall((ROOT / "README.md").read_text()) if language == "python"]
    write_cube(tmp_path / "cube.nc", mock_cube(t=73, y=12, x=12, start="2019-01-01"))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["dense"].sizes["t"] == 49 and names["dense"].rio.crs is not None
    assert names["seasons"].SOSD.notnull().any()
    assert names["suspect"].dims == ("t", "y", "x")
