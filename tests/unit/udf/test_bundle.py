# ruff: noqa: E501  (miniature modules stand on one line each)
"""The bundler: same bytes, nothing lost, modules kept apart, and a clear word on what cannot be bundled."""

import ast
import pickle
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import pytest

from udf.bundle import DIST, ENTRIES, MAX_BYTES, ROOT, BundleError, bundle_entry, write_bundles


def tree(tmp_path: Path, **modules: str) -> Path:
    """A miniature project whose entry is ``udf/entry.py``."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.9.9"\n')
    for name, text in {
        "udf__entry": "def go():\n    from fusion.a import one\n\n    return one()\n",
        **modules,
    }.items():
        path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(text: str) -> dict:
    """The bundle executed as a back-end does: from a string, without a name or a file."""
    scope: dict = {}
    exec(compile(text, "bundle", "exec"), scope)
    return scope


@pytest.mark.parametrize("entry", ENTRIES)
def test_committed_bundle_is_current(entry: str) -> None:
    """Fails when a bundled module changed: run `make udf`."""
    assert (DIST / f"{entry}.py").read_text(encoding="utf-8") == bundle_entry(entry), "udf/dist is stale; run: make udf"


def test_written_twice_it_is_the_same(tmp_path: Path) -> None:
    first = [p.read_bytes() for p in write_bundles(tmp_path / "a")]
    second = [p.read_bytes() for p in write_bundles(tmp_path / "b")]
    assert first == second
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["fusion_udf.py", "phenology_udf.py"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_bundle_stands_alone(entry: str) -> None:
    text = (DIST / f"{entry}.py").read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert text.startswith("# ndvi-fusion 0.")
    assert "source sha256 " in text.splitlines()[1]
    assert "# /// script" not in text  # inline dependencies are unpacked again and again on the back-ends
    sources = run(text)["SOURCES"]
    imported = set()
    for node in (n for part in (text, *sources.values()) for n in ast.walk(ast.parse(part))):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported |= {a.name for a in node.names}
    own = {name for name in imported if name.split(".")[0] in ("fusion", "udf")}
    assert own <= set(sources)
    others = {name.split(".")[0] for name in imported - own} - sys.stdlib_module_names
    assert others <= {"numpy", "xarray", "scipy", "openeo", "onnxruntime", "numba"}


def test_modules_keep_their_names_apart(tmp_path: Path) -> None:
    """One name in three modules, an alias, and an import that hides another module's name: all as in the package."""
    root = tree(
        tmp_path,
        fusion__a="from fusion.b import SIZE as OTHER\nfrom math import floor as np\n\nSIZE = 1\n\n\ndef one():\n    from fusion.c import SIZE as third\n    return SIZE, OTHER, third, np(2.5)\n",
        fusion__b="import numpy as np\n\nSIZE = int(np.array(10))\n",
        fusion__c="SIZE = 100\n",
    )
    assert run(bundle_entry("entry", root))["go"]() == (1, 10, 100, 2)


def test_two_versions_in_one_process_never_meet(tmp_path: Path) -> None:
    """Same module names, other sources: each file keeps its answer, its classes and its cache."""
    module = "CACHE = []\n\n\nclass Kept:\n    pass\n\n\ndef one():\n    CACHE.append({0})\n    return {0}, len(CACHE), Kept\n"
    first, second = (run(bundle_entry("entry", tree(tmp_path, fusion__a=module.format(n)))) for n in ("1", "2"))
    (a, a_calls, a_class), (b, b_calls, b_class) = first["go"](), second["go"]()
    assert (a, b) == (1, 2)
    assert (a_calls, b_calls) == (1, 1)
    assert a_class is not b_class
    assert first["go"]()[:2] == (1, 2)
    assert first["go"]()[2] is a_class
    assert first["PACKAGE"] != second["PACKAGE"]
    assert a_class.__module__ == first["PACKAGE"] + ".fusion.a"


def test_the_same_file_run_twice_shares_its_modules(tmp_path: Path) -> None:
    """A back-end may execute the source again in a worker: the model stays loaded."""
    text = bundle_entry(
        "entry", tree(tmp_path, fusion__a="CALLS = []\n\n\ndef one():\n    CALLS.append(0)\n    return len(CALLS)\n")
    )
    assert [run(text)["go"](), run(text)["go"]()] == [1, 2]


def test_first_calls_from_many_threads_load_a_module_once(tmp_path: Path) -> None:
    slow = "import time\n\ntime.sleep(0.05)\nMARK = object()\n\n\ndef one():\n    return MARK\n"
    scope = run(bundle_entry("entry", tree(tmp_path, fusion__a=slow)))
    with ThreadPoolExecutor(8) as pool:
        marks = list(pool.map(lambda _: scope["go"](), range(16)))
    assert len(set(map(id, marks))) == 1


def test_traceback_names_file_and_line_of_the_project(tmp_path: Path) -> None:
    """Docstrings and unreached definitions are blanked, so line numbers are those of the source, and its text shows."""
    module = '"""Two\nlines."""\n\nUNREACHED = 5\n\n\ndef one():\n    """Doc."""\n    if True:\n        return 1 / 0  # why\n'
    scope = run(bundle_entry("entry", tree(tmp_path, fusion__a=module)))
    with pytest.raises(ZeroDivisionError) as caught:
        scope["go"]()
    shown = "".join(traceback.format_exception(caught.value))
    assert f'File "{scope["PACKAGE"]}/fusion/a.py", line 10, in one' in shown
    assert "return 1 / 0  # why" in shown


@pytest.mark.parametrize("entry", ENTRIES)
def test_line_numbers_of_the_committed_files(entry: str) -> None:
    """Every line of a module's text is blank, or the line of the same number in its file."""
    sources = run((DIST / f"{entry}.py").read_text(encoding="utf-8"))["SOURCES"]
    assert len(sources) > 10
    for name, text in sources.items():
        original = ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8").splitlines()
        wrong = [
            (name, number, line)
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() not in ("", "pass") and not original[number - 1].strip().startswith(line.strip())
        ]
        assert not wrong


def test_an_error_of_a_worker_can_be_read_elsewhere(tmp_path: Path) -> None:
    """A process without the bundle cannot know its classes: their errors arrive as ValueError with the message."""
    module = "class OurError(ValueError):\n    pass\n\n\ndef one():\n    raise OurError('value seen, expected, fix')\n"
    scope = run(bundle_entry("entry", tree(tmp_path, fusion__a=module)))
    with pytest.raises(ValueError, match="value seen") as caught:
        scope["go"]()
    assert type(caught.value).__name__ == "OurError"
    script = "import pickle, sys; e = pickle.load(sys.stdin.buffer); print(type(e).__name__, e)"
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(caught.value), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "ValueError value seen, expected, fix"


def test_the_entry_travels_by_value(tmp_path: Path) -> None:
    """Dask and Spark pickle a function that no module holds by value: it brings its modules along."""
    scope = run(bundle_entry("entry", tree(tmp_path, fusion__a="def one():\n    return 'there'\n")))
    assert scope["go"]() == "there"
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    done = subprocess.run(
        [sys.executable, "-c", script], input=cloudpickle.dumps(scope["go"]), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "there"


def test_comments_stay_and_docstrings_go(tmp_path: Path) -> None:
    module = '"""Doc."""\n\n# why one\nONE = 1\n\n\nclass Empty:\n    """Only words."""\n\n\ndef one():\n    """First line.\n\n    More.\n    """\n    return Empty and ONE\n'
    text = bundle_entry("entry", tree(tmp_path, fusion__a=module))
    assert run(text)["go"]() == 1
    assert "# why one" in text
    assert "First line." not in text
    assert "Only words." not in text
    assert "9.9.9" in text.splitlines()[0]


def test_what_the_entry_does_not_reach_is_left_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        fusion__a="import math\n\nUSED, UNUSED = 1, 2\nALONE = [][3]\n\n\ndef helper():\n    return math.pi * USED\n\n\ndef one():\n    return helper()\n\n\ndef other():\n    return ALONE\n",
    )
    text = bundle_entry("entry", root)
    assert run(text)["go"]() == pytest.approx(3.14159, abs=1e-5)
    assert "ALONE" not in text
    assert "def other" not in text


def test_lazy_third_party_import_stays(tmp_path: Path) -> None:
    root = tree(tmp_path, fusion__a="def one():\n    import onnxruntime\n    return onnxruntime\n")
    assert "\n import onnxruntime" in bundle_entry("entry", root)


def test_nothing_is_loaded_before_the_first_call(tmp_path: Path) -> None:
    scope = run(bundle_entry("entry", tree(tmp_path, fusion__a="1 / 0\n\n\ndef one():\n    pass\n")))
    assert scope["PACKAGE"] not in sys.modules
    with pytest.raises(ZeroDivisionError):
        scope["go"]()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"fusion__a": "from __future__ import annotations\n\n\ndef one():\n    pass\n"}, r"fusion.a, line 1: 'from __future__'"),
        ({"fusion__a": "def one():\n    return __file__\n"}, r"__file__ does not exist in a UDF"),
        ({"fusion__a": "def one(data: 'UdfData'):\n    pass\n"}, r"one takes UdfData"),
        ({"fusion__a": "def one(data: 'openeo.udf.UdfData') -> int:\n    pass\n"}, r"one takes UdfData"),
        ({"fusion__a": "def apply_timeseries(series, context):\n    pass\n\n\ndef one():\n    pass\n"}, r"apply_timeseries is a name that the UDF dispatcher"),
        ({"fusion__a": "import torch\n\n\ndef one():\n    pass\n"}, r"import of torch: back-ends do not have it"),
        ({"fusion__a": "import onnxruntime\n\n\ndef one():\n    pass\n"}, r"import of onnxruntime: move it into the function"),
        ({"fusion__a": "def one():\n    import torch\n"}, r"import of torch"),
        ({"fusion__a": "from .b import x\n\n\ndef one():\n    pass\n"}, r"relative import"),
        ({"fusion__a": "from fusion.b import *\n\n\ndef one():\n    pass\n", "fusion__b": "x = 1\n"}, r"import of all of fusion.b; write 'from fusion.b import name'"),
        ({"fusion__a": "import fusion.b\n\n\ndef one():\n    pass\n", "fusion__b": "x = 1\n"}, r"import of all of fusion.b"),
        ({"udf__entry": "from fusion.a import one\n\n\ndef go():\n    return one()\n", "fusion__a": "def one():\n    pass\n"}, r"udf.entry, line 1: write the import of fusion.a in one line inside a function"),
        ({"fusion__a": "def one():\n    return \"\"\"x'''y\"\"\"\n"}, r"ends the text of a module"),
        ({"fusion__a": "class Table:\n    def apply_metadata(self):\n        pass\n\n\ndef one():\n    pass\n"}, r"apply_metadata is a name that the UDF dispatcher"),
        ({"fusion__a": "from fusion.missing import x\n\n\ndef one():\n    pass\n"}, r"fusion.missing is imported but missing.py does not exist"),
        ({"fusion__a": "TEXT = '" + "x" * MAX_BYTES + "'\n\n\ndef one():\n    return TEXT\n"}, r"bytes; at most 120000"),
        ({"fusion__a": "def one():\n    return \"\"\"a\n    b\"\"\"\n"}, r"string literal spans several indented lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_bundled(modules: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=message):
        bundle_entry("entry", tree(tmp_path, **modules))


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_inline_script_metadata(entry: str) -> None:
    """A back-end unpacks the dependencies of a PEP 723 header at every call and deletes them again."""
    assert "# /// script" not in (DIST / f"{entry}.py").read_text(encoding="utf-8")
