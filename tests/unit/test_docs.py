"""Commands in the documents are accepted, the README's Python runs, words are standard, figures are those measured."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from fusion.cli.settings import load_settings
from fusion.cli.table import COMMANDS
from tests.factory import mock_cube, write_cube

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
PROSE = [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
# in radar a look is a sample of the averaging that reduces speckle; nothing else is called so
LOOK = re.compile(r"\blooks?\b", re.IGNORECASE)
LOOK_IN_RADAR = re.compile(r"number of looks|word look is used here in no other sense", re.IGNORECASE)
PRIVATE_WORDS = re.compile(r"\b(slices?|rooms?|sigmas? of (a|an|the) (look|signal))\b", re.IGNORECASE)


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
    write_cube(tmp_path / "cube.nc", mock_cube(t=98, y=12, x=12, start="2018-09-01"))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["dense"].sizes["t"] == 98 and names["dense"].rio.crs is not None
    assert float(names["seasons"].SOSD_main.notnull().mean()) >= 0.9
    assert set(names["table"].year) == {2019}
    assert names["suspect"].dims == ("t", "y", "x")


def prose_lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without code blocks and inline code; a notebook's lines as they are."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = FENCE.sub(lambda block: "\n" * block.group(0).count("\n"), text)
        text = CODE.sub("", text)
    return list(enumerate(text.splitlines(), 1))


def found(path: Path, lines: list[tuple[int, str]], pattern: re.Pattern[str]) -> list[str]:
    return [f"{path.name}:{number}: {line.strip()[:100]}" for number, line in lines if pattern.search(line)]


def test_a_look_is_a_term_of_radar_only() -> None:
    """Code counts too, except in the changelog, whose table of renamed things has to name the old ones."""
    wrong = []
    for path in PROSE:
        text = path.read_text(encoding="utf-8")
        lines = prose_lines(path) if path.name == "CHANGELOG.md" else list(enumerate(text.splitlines(), 1))
        wrong += found(path, [(number, LOOK_IN_RADAR.sub("", line)) for number, line in lines], LOOK)
    assert not wrong, "say observation, acquisition or composite: " + "; ".join(wrong)


def test_words_of_the_workshop_stay_out_of_the_documents() -> None:
    wrong = [line for path in PROSE if path.suffix == ".md" for line in found(path, prose_lines(path), PRIVATE_WORDS)]
    assert not wrong


def test_glossary_defines_what_it_forbids() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for term in ("observation", "acquisition", "composite", "number of looks", "withheld observation"):
        assert f"\n| {term} |" in glossary, term
    for term in ("standard deviation of one observation", "standard deviation of the NDVI itself"):
        assert f"\n| {term} |" in glossary, term


def measured(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))


def card() -> tuple[dict, str]:
    """Metadata header and text of the model card."""
    _, header, text = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), text


def test_header_of_the_model_card_holds_measured_figures() -> None:
    header, _ = card()
    assert {"license", "library_name", "pipeline_tag", "tags", "metrics", "model-index"} <= set(header)
    (model,) = header["model-index"]
    (result,) = model["results"]
    stated = {int(re.findall(r"\d+", metric["name"])[0]): metric["value"] for metric in result["metrics"]}
    rows = measured("belgium_2019.json")["by_gap"]
    assert stated == {r["gap_days"]: round(r["mae"], 4) for r in rows if r["predictor"] == "model"}
    assert len(stated) == 4


def row_of(text: str, label: str) -> list[float]:
    """The MAE of a row of a table: the first number of each cell."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [float(re.findall(r"\.\d+", cell)[0]) for cell in line.strip("|").split("|")[1:]]


def test_tables_of_the_model_card_hold_measured_figures() -> None:
    _, text = card()
    real, simulated = text.split("### Real series")[0], text.split("### Simulated hold-out")[1]
    rows = measured("belgium_2019.json")["by_gap"]
    for label, predictor in {
        "model": "model",
        "model without radar": "model, minus S1",
        "linear interpolation": "linear",
        "Whittaker, lambda 1e3": "whittaker 1e3",
    }.items():
        expected = [r["mae"] for r in rows if r["predictor"] == predictor]
        assert row_of(real, label) == pytest.approx(expected, abs=6e-5), label
    holdout = measured("simulated_holdout.json")
    for label, predictor in {
        "model": "model",
        "without radar": "model, minus S1",
        "linear interpolation": "linear",
    }.items():
        expected = [r["mae"] for r in [*holdout["by_bin"], *holdout["overall"]] if r["predictor"] == predictor]
        assert row_of(simulated, label) == pytest.approx(expected, abs=6e-5), label


def test_model_card_is_two_pages() -> None:
    _, text = card()
    assert len(text.split()) < 1100
