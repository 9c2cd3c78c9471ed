"""What people and tools expect of a repository: metadata that agree, forms and workflows that can be read."""

import datetime
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("fusion", "data_prep", "udf")


def read_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_installed(package: str) -> None:
    """PEP 561: the marker lies in the package and is installed with it."""
    assert (ROOT / package / "py.typed").is_file()
    assert "py.typed" in PYPROJECT["tool"]["setuptools"]["package-data"][package]


def test_citation_agrees_with_the_package() -> None:
    """The keys that the Citation File Format 1.2.0 requires, and the facts that stand elsewhere, too."""
    citation, project = read_yaml(ROOT / "CITATION.cff"), PYPROJECT["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all({"name"} <= set(a) or {"family-names", "given-names"} <= set(a) for a in citation["authors"])
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Repository"]
    assert all(isinstance(word, str) for word in citation["keywords"])


def test_urls_name_one_repository() -> None:
    urls = PYPROJECT["project"]["urls"]
    assert set(urls) >= {"Homepage", "Repository", "Issues", "Changelog"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    assert f"repo_url: {urls['Repository']}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["test", "lint", "docs"])
def test_workflows_run_the_targets_of_make(name: str) -> None:
    workflow = read_yaml(ROOT / ".github" / "workflows" / f"{name}.yml")
    assert workflow["name"] == name
    events = workflow[True]  # YAML 1.1 reads the key "on" as true
    assert set(events) == {"push", "pull_request"}
    steps = workflow["jobs"][name]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [f"make {name}"]
    assert f"\n{name}: $(STAMP)" in (ROOT / "Makefile").read_text(encoding="utf-8")
    (python,) = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    assert PYPROJECT["project"]["requires-python"] == f">={python}"


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_are_complete(name: str) -> None:
    form = read_yaml(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    assert all(field["type"] in kinds and field["attributes"]["label"] for field in form["body"])
    identifiers = [field["id"] for field in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_decisions_have_date_status_and_a_place_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    index = (folder / "index.md").read_text(encoding="utf-8")
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [int(p.name[:4]) for p in records] == list(range(1, len(records) + 1))
    for path in records:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(f"# {int(path.name[:4])}. ")
        date, status = lines[2].removeprefix("- Date: "), lines[3].removeprefix("- Status: ")
        datetime.date.fromisoformat(date)
        assert f"({path.name}) | {lines[0].split('. ', 1)[1]} | {date} | {status} |" in index
        assert f"decisions/{path.name}\n" in nav
