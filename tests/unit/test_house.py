"""Checks of the house: nothing of one machine in the text, nothing left to do, pinned versions, small rooms."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".json", ".ipynb", ".css", ".sh", ""}
# written so that this file does not hold what it looks for
LEFT_TO_DO = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.\-/:<{}])/(" + "|".join(("work", "farm", "root", "tmp", "home", "Users")) + r")/\w")
CONFLICT = re.compile("^(" + "|".join(("<" * 7 + " ", ">" * 7 + " ")) + ")")
INDEX_HOST = re.compile(
    "|".join((r"py" + r"pi\.org", r"python" + "hosted", r"download\.py" + "torch", r"registry\.np" + "mjs"))
)


def project_files() -> list[Path]:
    """Text files under version control; every file of the tree where there is no git (an unpacked archive)."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )
    except (OSError, subprocess.CalledProcessError):
        listed = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if not {".venv", "outputs"} & set(p.parts)]
    files = [ROOT / name for name in listed if name]
    return [p for p in files if p.is_file() and p.suffix in TEXT and p.stat().st_size < 2_000_000]


FILES = project_files()


def hits(pattern: re.Pattern[str], skip: tuple[str, ...] = ()) -> list[str]:
    """``file:line: text`` of every match."""
    found = []
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        if name in skip:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{name}:{number}: {match.group(0)}")
    return found


def test_no_merge_was_left_half_done() -> None:
    assert not hits(CONFLICT)


def test_nothing_is_left_to_do() -> None:
    assert not hits(LEFT_TO_DO)


def test_no_path_of_one_machine() -> None:
    assert not hits(MACHINE_PATH)


def test_no_package_index_host() -> None:
    assert not hits(INDEX_HOST)


def test_constraints_are_names_and_versions() -> None:
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if x and not x.startswith("#")]
    wrong = [x for x in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", x)]
    assert not wrong
    assert "torch==2.13.0" in lines


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[<>=!~; ]", d)[0].lower().replace("_", "-") for d in wanted} - {"ndvi-fusion"}
    text = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}"


def python_files() -> list[Path]:
    return [p for p in FILES if p.suffix == ".py" and "dist" not in p.parts]


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_rooms_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "tests" not in path.parts:
        assert text.count("\n") <= 350, "split the file: one idea each"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                told = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
                size = (node.end_lineno or 0) - (told or 0)
                assert size <= 60, f"{node.name} has {size} lines below its docstring"


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in python_files()
        if p.relative_to(ROOT).parts[0] in ("fusion", "data_prep", "udf")
        or p.relative_to(ROOT).parts[:2] in (("benchmarks", "acceptance"), ("benchmarks", "realism"))
    ],
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_modules_and_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body:
        assert ast.get_docstring(tree), "say in a docstring what the module is for"
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not any(getattr(mark, "id", "") == "overload" for mark in node.decorator_list)
    ]
    assert not bare, f"no docstring: {bare}"


def test_print_is_for_the_command_line() -> None:
    wrong = []
    for path in python_files():
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] not in ("fusion", "data_prep", "udf") or name.startswith("fusion/cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for path in FILES:
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_no_large_file_is_committed() -> None:
    large = [p for p in (ROOT / "fusion" / "pretrained").glob("*.onnx") if p.stat().st_size > 2_000_000]
    assert not large, "the shipped model has to stay below 2 MB"
