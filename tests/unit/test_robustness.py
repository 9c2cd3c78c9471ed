"""``docs/robustness.md`` and the list of tests behind it."""

import ast
import re
from pathlib import Path

import pytest

from tests.robustness.cells import KINDS, OPEN, PATHS, ROOT, entries, holds, node_of
from tests.robustness.page import PAGE, constellation, guards, limits, satellites


def rows_of_the_page() -> list[list[str]]:
    """Cells of the first table, head first."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("| kind |"))
    table = [line for line in lines[first : first + 2 + len(KINDS) + 1] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [table[0], *table[2:]]]


def test_the_page_has_the_kinds_and_paths_of_the_list() -> None:
    head, *rows = rows_of_the_page()
    assert head == ["kind", *PATHS.values()]
    assert [row[0] for row in rows] == list(KINDS)
    for kind, *cells in rows:
        for path, cell in zip(PATHS, cells, strict=True):
            if path in KINDS[kind]:
                assert int(cell) > 0, f"{kind}, {path}: run `make robustness`"
            else:
                assert cell == ("open" if path in OPEN[kind] else "-"), f"{kind}, {path}: run `make robustness`"


def test_the_list_names_known_paths_and_no_cell_is_both_tested_and_open() -> None:
    for kind, cells in KINDS.items():
        assert set(cells) | set(OPEN[kind]) <= set(PATHS) and not set(cells) & set(OPEN[kind]), kind
        assert all(tests and len(set(tests)) == len(tests) for tests in cells.values()), kind


def test_every_test_of_the_list_exists() -> None:
    found: dict[str, set[str]] = {}
    for node in map(node_of, entries()):
        file, name = node.split("::")
        if file not in found:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            found[file] = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}
        assert name in found[file], node


@pytest.mark.parametrize("part", [guards, satellites, constellation, limits])
def test_tables_of_measurements_are_current(part) -> None:
    assert part() in PAGE.read_text(encoding="utf-8"), "run `make robustness`"


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("entry", "node", "right"),
    [
        ("cli::test_a", "tests/unit/test_cli.py::test_a", True),
        ("cli::test_a", "tests/unit/test_cli.py::test_a[x]", True),
        ("cli::test_a", "tests/unit/test_cli.py::test_ab", False),
        ("udf/x::test_a[p-q]", "tests/unit/udf/test_x.py::test_a[q-1-p]", True),
        ("udf/x::test_a[p-q]", "tests/unit/udf/test_x.py::test_a[q-1]", False),
        ("udf/x::test_a[p]", "tests/unit/udf/test_x.py::test_a[pp-1]", False),
        ("drills/x::test_a", "tests/drills/test_x.py::test_a", True),
    ],
)
def test_an_entry_means_its_own_cases_only(entry: str, node: str, right: bool) -> None:
    assert holds(entry, node) is right


def test_make_runs_it() -> None:
    text = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^robustness:.*\n\t.*-m tests\.robustness ", text, re.MULTILINE)
