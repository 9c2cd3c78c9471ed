"""What the UDFs would refuse inside a job is refused before a graph is written; what is written can be read."""

import json
from pathlib import Path

import pytest

from udf.archive import MODEL_ARCHIVE, ArchiveError
from udf.commands import package
from udf.commands.package import PackageSettings
from udf.commands.workflow import WorkflowSettings, run
from udf.graph_options import WorkflowOptions
from udf.publish import BackEndError, build_process
from udf.steps import mermaid, step_lines
from udf.targets import TargetSettings, load_target
from udf.workflow import build_workflow

BOX = {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}
WRONG = [
    ({"method": "nonsense"}, "method is 'nonsense'; expected one of relative_amplitude"),
    ({"method": "nonsense", "output": "fused"}, "method is 'nonsense'"),
    ({"method": "phenolopy"}, "does not run inside a UDF"),
    ({"context": {"min_observation": 3}}, "did you mean 'min_observations'"),
    ({"context": {"phenology": {"strat": 0.2}}}, "did you mean 'start'"),
    ({"context": {"smoothing": {"lamda": 1}}, "output": "smoothed"}, "option 'lamda' is unknown"),
    ({"context": {"threads": 0}}, "threads is 0; expected 1 to 64"),
    ({"context": {"step_days": 3}}, "the graph sets for both UDFs; give it outside of context"),
    ({"context": {"end": "2022-01-01"}}, "the graph sets for both UDFs"),
    ({"area": {"west": 5, "south": 51}}, "expected"),
]


def settings(out: Path, **changes: object) -> WorkflowSettings:
    """Settings for a back-end."""
    given = {"target": load_target("cdse"), "out": out, "start": "2021", "end": "2021", "area": BOX, **changes}
    return WorkflowSettings(**given)


@pytest.mark.parametrize("how", [{}, {"dry_run": True}, {"archives_url": "https://x.org", "publish": True}])
@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_the_command_writes_nothing(changes: dict, message: str, how: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run(settings(tmp_path / "out", **changes, **how))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changes", "message"), [w for w in WRONG if "area" not in w[0]])
def test_python_builds_no_such_graph(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_workflow(load_target("cdse"), WorkflowOptions(start="2021-01-01", end="2021-12-31", **changes))


def test_options_of_a_published_process_are_checked() -> None:
    with pytest.raises(ValueError, match="did you mean 'insufficient'"):
        build_process(
            load_target("cdse"), None, options=WorkflowOptions("2021", "2021", context={"insuficient": "nan"})
        )


def test_without_archives_the_output_says_so(tmp_path: Path) -> None:
    line = run(settings(tmp_path / "a"))
    assert line.splitlines()[-1].startswith("WARNING: without archives_url") and "ndvi-fusion package" in line
    assert "WARNING" in run(settings(tmp_path / "b", dry_run=True))
    assert "WARNING" not in run(settings(tmp_path / "c", archives_url="https://x.org"))
    with pytest.raises(ValueError, match="service_url needs archives_url"):
        settings(tmp_path / "d", service_url="https://raw.example.org")


def nowhere() -> TargetSettings:
    """A back-end at a port where nobody listens."""
    return load_target("cdse").model_copy(update={"connection": "http://127.0.0.1:9"})


@pytest.mark.parametrize("how", ["submit", "publish"])
def test_offline_nothing_is_written_and_one_sentence_says_why(how: str, tmp_path: Path) -> None:
    with pytest.raises(BackEndError, match="http://127.0.0.1:9 cannot be used .*check the network") as caught:
        run(settings(tmp_path / "out", target=nowhere(), archives_url="https://x.org", **{how: True}))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert not (tmp_path / "out").exists()


def test_a_package_whose_wheels_cannot_be_had_is_not_begun(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise ArchiveError("pip could not download the wheels")

    monkeypatch.setattr(package, "write_dependency_archive", offline)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MODEL_ARCHIVE).write_bytes(b"of an earlier run")
    with pytest.raises(ArchiveError):
        package.run(PackageSettings(out=tmp_path / "out", model=str(model)))
    assert [p.name for p in (tmp_path / "out").iterdir()] == [MODEL_ARCHIVE]
    assert (tmp_path / "out" / MODEL_ARCHIVE).read_bytes() == b"of an earlier run"


# --- a graph for people -----------------------------------------------------------------------------------------------


def graph() -> dict:
    """A flat graph of a back-end."""
    built = build_workflow(load_target("cdse"), WorkflowOptions("2021", "2021", source=None))
    return json.loads(json.dumps(built.flat_graph()))


def test_steps_are_numbered_and_short() -> None:
    flat = graph()
    lines = step_lines(flat)
    assert len(lines) == len(flat)
    assert lines[0].startswith("  1. load_collection: ") and "SENTINEL2_L2A" in lines[0]
    assert max(map(len, lines)) < 700  # no source, no kernel
    (fusion,) = [line for line in lines if "apply_neighborhood" in line]
    assert "run_udf (" in fusion and "characters)" in fusion and "start: 2021-01-01" in fusion
    assert any("kernel = <81 x 81 numbers>" in line for line in lines)
    merge = next(line for line in lines if "merge_cubes" in line and "overlap_resolver" not in line)
    first = int(merge.split("cube1 = step ")[1].split(",")[0])
    assert lines[first - 1].split(". ")[1].startswith("add_dimension")


def test_picture_has_every_step_and_every_arrow() -> None:
    flat = graph()
    text = mermaid(flat)
    assert text.startswith("flowchart TD\n")
    assert text.count('["') == len(flat)
    inputs = json.dumps(flat).count('"from_node"')
    inner = sum(
        json.dumps(n["arguments"].get(k, {})).count('"from_node"')
        for n in flat.values()
        for k in ("process", "reducer")
    )
    assert text.count("-->") == inputs - inner


def test_dry_run_prints_both_and_writes_nothing(tmp_path: Path) -> None:
    text = run(settings(tmp_path / "out", dry_run=True, archives_url="https://x.org"))
    assert "apply_neighborhood" in text and "```mermaid\nflowchart TD" in text
    assert not (tmp_path / "out").exists()
