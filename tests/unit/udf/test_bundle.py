# ruff: noqa: E501  (miniature modules stand on one line each)
"""The bundler: same bytes, nothing lost, and a clear word on what cannot be inlined."""

import ast
from pathlib import Path

import pytest

from udf.bundle import DIST, ENTRIES, MAX_BYTES, BundleError, bundle_entry, write_bundles

HEAD = "import numpy as np\n"


def tree(tmp_path: Path, **modules: str) -> Path:
    """A miniature project whose entry is ``udf/entry.py``."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.9.9"\n')
    for name, text in {"udf__entry": "from fusion.a import one\n\n\ndef go():\n    return one()\n", **modules}.items():
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
    assert len(text.encode()) < MAX_BYTES == 100_000
    assert text.startswith("# ndvi-fusion 0.")
    assert "source sha256 " in text.splitlines()[1]
    assert "# /// script" not in text  # inline dependencies are unpacked again and again on the back-ends
    packages = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            packages.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            packages |= {a.name.split(".")[0] for a in node.names}
    assert not packages & {"fusion", "udf", "torch", "numba", "rioxarray", "dask"} - {"numba"}


def test_dependencies_come_first_and_comments_stay(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        fusion__a='"""Doc."""\n\nfrom fusion.b import TWO\n\n# why one\nONE = 1\n\n\ndef one():\n    """First line.\n\n    More.\n    """\n    return ONE + TWO\n',
        fusion__b="import math\n\nTWO = math.floor(2.5)\n",
    )
    text = bundle_entry("entry", root)
    assert run(text)["go"]() == 3
    assert text.index("TWO = ") < text.index("ONE = 1") < text.index("def go")
    assert "# why one" in text
    assert "First line." not in text  # docstrings stand in the package
    assert "9.9.9" in text.splitlines()[0]


def test_what_the_entry_does_not_reach_is_left_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        fusion__a="import json\nimport math\n\nUSED, UNUSED = 1, 2\nALONE = json.dumps({})\n\n\ndef helper():\n    return math.pi * USED\n\n\ndef one():\n    return helper()\n\n\ndef other():\n    return json\n",
    )
    text = bundle_entry("entry", root)
    assert run(text)["go"]() == pytest.approx(3.14159, abs=1e-5)
    assert "import math" in text
    assert "json" not in text
    assert "def other" not in text


def test_lazy_local_import_disappears(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        fusion__a="def one():\n    from fusion.b import two\n    return two()\n",
        fusion__b="def two():\n    return 2\n",
    )
    assert run(bundle_entry("entry", root))["go"]() == 2


def test_lazy_third_party_import_stays(tmp_path: Path) -> None:
    root = tree(tmp_path, fusion__a="def one():\n    import onnxruntime\n    return onnxruntime\n")
    assert "\n import onnxruntime" in bundle_entry("entry", root)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"fusion__a": "from fusion.b import x\n\n\ndef one():\n    return x\n", "fusion__b": "x = 1\n\n\ndef one():\n    return 2\n"}, r"'one' is defined in fusion.b and in fusion.a"),
        ({"fusion__a": "from __future__ import annotations\n\n\ndef one():\n    pass\n"}, r"fusion.a, line 1: 'from __future__'"),
        ({"fusion__a": "def one():\n    return __file__\n"}, r"__file__ does not exist in a UDF"),
        ({"fusion__a": "def one(data: 'UdfData'):\n    pass\n"}, r"one takes UdfData"),
        ({"fusion__a": "def one(data: 'openeo.udf.UdfData') -> int:\n    pass\n"}, r"one takes UdfData"),
        ({"fusion__a": "def apply_timeseries(series, context):\n    pass\n\n\ndef one():\n    pass\n"}, r"apply_timeseries is a name that the UDF dispatcher"),
        ({"fusion__a": "import torch\n\n\ndef one():\n    pass\n"}, r"import of torch: back-ends do not have it"),
        ({"fusion__a": "import onnxruntime\n\n\ndef one():\n    pass\n"}, r"import of onnxruntime: move it into the function"),
        ({"fusion__a": "def one():\n    import torch\n"}, r"import of torch"),
        ({"fusion__a": "from .b import x\n\n\ndef one():\n    pass\n"}, r"relative import"),
        ({"fusion__a": "from fusion.b import x as y\n\n\ndef one():\n    pass\n", "fusion__b": "x = 1\n"}, r"with another name"),
        ({"fusion__a": "from fusion.b import *\n\n\ndef one():\n    pass\n", "fusion__b": "x = 1\n"}, r"with another name"),
        ({"fusion__a": "import fusion.b\n\n\ndef one():\n    pass\n", "fusion__b": "x = 1\n"}, r"write 'from fusion.b import name'"),
        ({"fusion__a": "from fusion.missing import x\n\n\ndef one():\n    pass\n"}, r"fusion.missing is imported but missing.py does not exist"),
        ({"fusion__a": "from fusion.b import x\n\n\ndef one():\n    pass\n", "fusion__b": "from fusion.a import one\n\nx = 1\n"}, r"circular import: fusion.a -> fusion.b -> fusion.a"),
        ({"fusion__a": "for k in range(3):\n    pass\n\n\ndef one():\n    pass\n"}, r"statement with side effects"),
        ({"fusion__a": "import numpy as np\nfrom fusion.b import x\n\n\ndef one():\n    pass\n", "fusion__b": "np = 1\nx = 2\n"}, r"imports numpy as np as 'np', which fusion.b defines"),
        ({"fusion__a": "from math import floor as f\nfrom fusion.b import x\n\n\ndef one():\n    pass\n", "fusion__b": "from math import ceil as f\n\nx = 2\n"}, r"another module means"),
        ({"fusion__a": "TEXT = '" + "x" * MAX_BYTES + "'\n\n\ndef one():\n    return TEXT\n"}, r"bytes; at most 100000"),
        ({"fusion__a": "def one():\n    return '''a\n    b'''\n"}, r"string literal over several indented lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_inlined(modules: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=message):
        bundle_entry("entry", tree(tmp_path, **modules))


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_inline_script_metadata(entry: str) -> None:
    """A back-end unpacks the dependencies of a PEP 723 header at every call and deletes them again."""
    assert "# /// script" not in (DIST / f"{entry}.py").read_text(encoding="utf-8")
