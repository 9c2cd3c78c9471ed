"""Every command of the operator's page, docs/openeo.md, runs offline, in its order, in one folder."""

import json
import re
import shlex
from pathlib import Path

import pytest

from fusion.cli.app import main

PAGE = Path(__file__).parents[2] / "docs" / "openeo.md"
# a smaller scene than the page's, and no archive that has to be downloaded
SMALL = {"simulate": ["scene.height=12", "scene.width=12"], "package": ["dependencies=false"]}


pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    """Words of every command in the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for program, command, *overrides in commands():
        assert program == "ndvi-fusion"
        code = main([command, *overrides, *SMALL.get(command, [])])
        output = capsys.readouterr()
        assert code == 0, f"{command} {overrides}: {output.out} {output.err}"
        said.append(output.out)
    assert len(said) >= 8
    text = "".join(said)
    assert "agrees with seasons.nc" in " ".join(text.split())
    assert "flowchart TD" in text and "credits" in text and "MiB per Python process" in text
    service = tmp_path / "outputs" / "publish" / "service" / "algorithm_catalog" / "my-institute" / "ndvi_fusion"
    assert json.loads((service / "records" / "ndvi_fusion.json").read_text())["properties"]["cost_estimate"] > 0
    assert not (tmp_path / "outputs" / "cdse").exists(), "a dry run and an estimate write nothing"
