"""Every command and every piece of Python of the operator's page, docs/openeo.md, runs offline, in one folder.

The commands run in their order. ``submit=true`` and ``publish=true`` need an account; that they fail in one sentence
without a network is shown in tests/unit/udf/test_nothing_invalid_leaves.py.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

from fusion.cli.app import main
from udf.publish import build_process, call_process
from udf.targets import load_target

PAGE = Path(__file__).parents[2] / "docs" / "openeo.md"
# a smaller scene than the page's, and no archive that has to be downloaded
SMALL = {"simulate": ["scene.height=12", "scene.width=12"], "package": ["dependencies=false"]}


pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    """Words of every command in the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def run_python_of_the_page() -> None:
    """The block about this machine on the scene of the commands; the call of the service on a stand-in connection."""
    here, service = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(here, names)
    ndvi = names["result"].compute()
    assert ndvi.dims == ("t", "y", "x") and ndvi.shape[1:] == (12, 12) and 0.1 < float(ndvi.mean()) < 0.9
    called: dict = {}

    class Remote:
        @staticmethod
        def datacube_from_process(process_id: str, namespace: str, **arguments: object) -> None:
            called.update(arguments, process_id=process_id)

    ring = [[5.07, 51.21], [5.08, 51.21], [5.08, 51.22], [5.07, 51.21]]
    exec(service, {"connection": Remote, "polygon": {"type": "Polygon", "coordinates": [ring]}})
    process = build_process(load_target("cdse"), "https://example.org")
    assert called.pop("process_id") == process.id
    call_process(process, "https://example.org/process.json", called)  # refuses unknown parameters and wrong values


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
    run_python_of_the_page()
