"""Imports go one way, as docs/architecture.md draws it, and the bundled rooms keep the rules of a one-file UDF."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("fusion", "data_prep", "udf")

# package -> packages whose names it may import; the longest prefix wins
GROUND = {  # facts and tools for everyone
    "fusion.contract",
    "fusion.dates",
    "fusion.date_settings",
    "fusion.place",
    "fusion.layout",
    "fusion.whole_file",
    "fusion.config_folder",
    "fusion.cloud_mask",
    "fusion.same_day",
    "fusion.extras",
    "fusion.progress",
    "fusion.process_memory",
    "fusion.netcdf",
}
RAW_BANDS = {"data_prep.raw", "data_prep.grid", "data_prep.settings"}
ROOMS = {
    "fusion.contract": set(),
    "fusion.dates": {"fusion.contract"},
    "fusion.date_settings": {"fusion.dates"},
    "fusion.place": {"fusion.contract"},
    "fusion.layout": {"fusion.contract", "fusion.place"},
    "fusion.whole_file": set(),
    "fusion.config_folder": set(),
    "fusion.cloud_mask": set(),
    "fusion.same_day": set(),
    "fusion.extras": set(),
    "fusion.progress": set(),
    "fusion.process_memory": set(),
    "fusion.netcdf": set(),
    "fusion.features": {"fusion.contract"},
    "fusion.phenology": {"fusion.contract", "fusion.dates"},
    "fusion.inference": {"fusion.contract", "fusion.features", "fusion.extras"},  # extras: not in what UDFs hold
    "fusion.model": {"fusion.contract"},
    "fusion.data": GROUND | {"fusion.features"},
    "fusion.evaluation": GROUND | {"fusion.features", "fusion.phenology", "fusion.inference"},
    "fusion.fields": GROUND | {"fusion.features", "fusion.phenology", "fusion.inference", "fusion.data"},
    "fusion.training": GROUND | {
        "fusion.features", "fusion.data", "fusion.model", "fusion.inference", "fusion.evaluation",
    },
    "data_prep.settings": GROUND | {"fusion.data", "data_prep.simulator"},  # of the cube and of patches
    "fusion.viewer": GROUND | {"fusion.data", "fusion.phenology", "fusion.fields", "fusion.evaluation"},
    "data_prep.raw": GROUND | {"fusion.data"},
    "data_prep.grid": GROUND | {"data_prep.raw"},
    "data_prep.optical": GROUND | RAW_BANDS | {"data_prep.optical_offset"},
    "data_prep.optical_offset": GROUND | RAW_BANDS,
    "data_prep.mosaic": GROUND | RAW_BANDS,
    "data_prep.satellites": GROUND | RAW_BANDS | {"fusion.features", "data_prep.coregistration"},
    "data_prep.radar": GROUND
    | RAW_BANDS
    | {"fusion.features", "data_prep.satellites", "data_prep.radar_values", "data_prep.radar_levels"},
    "data_prep.radar_levels": GROUND | RAW_BANDS,
    "data_prep.radar_values": GROUND | RAW_BANDS,
    "data_prep.coarse": GROUND | RAW_BANDS,
    "data_prep.coregistration": GROUND | RAW_BANDS,
    "data_prep.simulator": GROUND | RAW_BANDS | {"fusion.features", "fusion.data", "data_prep.optical"},
    "data_prep.sources": GROUND | RAW_BANDS | {
        "fusion.data", "data_prep.optical", "data_prep.optical_offset", "data_prep.radar", "data_prep.coarse",
        "data_prep.simulator", "data_prep.mosaic", "data_prep.satellites",
        "udf.targets",
    },
    "data_prep": GROUND | {
        "fusion.features", "fusion.data", "data_prep.raw", "data_prep.grid", "data_prep.optical", "data_prep.radar",
        "data_prep.settings", "data_prep.coarse", "data_prep.coregistration", "data_prep.simulator",
        "data_prep.sources", "data_prep.mosaic", "data_prep.satellites", "data_prep.regions.store",
    },
    "data_prep.regions.store": GROUND | {"fusion.data", "data_prep"},
    "udf.targets": GROUND,  # collections of the back-ends: also read by data_prep.sources
    "udf": GROUND | {
        "fusion.features", "fusion.phenology", "fusion.inference", "fusion.fields", "udf.targets",
        "fusion.data", "data_prep.regions.store",  # of results that are larger than a region
    },
}  # fmt: skip

# the public calls, the command line and what it runs stand above them
ABOVE = ("fusion", "fusion.__main__", "fusion.api", "fusion.pyfunc", "fusion.cli", "fusion.commands", "fusion.demo")
# a command's shell reads and writes files and may use what the command line offers for that
COMMANDS = ("data_prep.commands", "udf.commands")
BUNDLED = (
    "fusion.contract",
    "fusion.dates",
    "fusion.same_day",
    "fusion.features",
    "fusion.phenology",
    "fusion.inference",
)
NOT_BUNDLED = (
    "fusion.inference.blas",
    "fusion.inference.lazy",
    "fusion.inference.locate",
    "fusion.phenology.plots",
)
THIRD_PARTY_IN_BUNDLE = {"numpy", "xarray", "scipy", "pandas", "onnxruntime", "numba"}
LAZY_IN_BUNDLE = {"onnxruntime", "numba"}
DOTTED = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+")  # a string such as "fusion.api", or a Hydra _target_
FORBIDDEN = {"utils", "helpers", "misc", "common"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the project."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "dist" in path.parts:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(name: str) -> str:
    """The room that a module lies in."""
    hits = [room for room in (*ROOMS, *ABOVE) if name == room or (room != "fusion" and name.startswith(room + "."))]
    return max(hits, key=len) if hits else name


@cache
def imported(path: Path) -> list[tuple[str, int, bool]]:
    """(absolute module name, line, at import time) of every import statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(scope)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((full if full in MODULES else str(node.module), node.lineno, id(node) not in inner))
    return found


def module_of(dotted: str) -> str:
    """The module that a dotted name leads to: the name itself, or the module that holds the attribute."""
    parts = dotted.split(".")
    return next((m for n in range(len(parts), 0, -1) if (m := ".".join(parts[:n])) in MODULES), parts[0])


def named(text: str) -> list[tuple[str, int]]:
    """(module, line) of every string constant of a source text that names something of this project."""
    strings = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [(module_of(n.value), n.lineno) for n in strings if DOTTED.fullmatch(n.value)]


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute (of an attribute) of one."""
    found = import_module(module := module_of(dotted))
    for part in dotted.removeprefix(module).strip(".").split("."):
        if part and not hasattr(found, part):
            return False
        found = getattr(found, part) if part else found
    return True


def targets(value: object) -> Iterator[str]:
    """Every ``_target_`` in the values of a YAML file."""
    if isinstance(value, dict):
        yield from (str(inner) for key, inner in value.items() if key == "_target_")
        for inner in value.values():
            yield from targets(inner)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name: str) -> None:
    room = room_of(name)
    if room in ABOVE:
        return
    allowed = ROOMS[room] | {room}
    if name.startswith(COMMANDS):
        allowed = allowed | {"fusion.cli.settings", "fusion.api"}
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{line} imports {target} ({room_of(target)}); {room} sees {sorted(allowed)}"
        for target, line in [
            *((target, line) for target, line, _ in imported(MODULES[name])),
            *named(MODULES[name].read_text(encoding="utf-8")),  # a name in a string is an import as well
        ]
        if target.split(".")[0] in PACKAGES and room_of(target) not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_names_in_strings_count_as_imports() -> None:
    text = 'opener = {"_target_": "data_prep.cube.open_cube"}\nlog = "fusion.phenology"\nname = "fusion"\n'
    assert sorted(named(text)) == [("data_prep.cube", 1), ("fusion.phenology", 2)]
    assert room_of("data_prep.cube") not in ROOMS["fusion.training"]


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_targets_of_the_yaml_exist(file: Path) -> None:
    missing = [name for name in targets(yaml.safe_load(file.read_text(encoding="utf-8"))) if not exists(name)]
    assert not missing, f"{file.name}: no such thing: {missing}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_docstrings_refer_to_exists(package: str) -> None:
    reference = re.compile(rf":(?:func|class|mod|data|meth|attr):`~?((?:{'|'.join(PACKAGES)})\.[\w.]+)`")
    told = {
        (name, target)
        for name, path in MODULES.items()
        if name.split(".")[0] == package
        for target in reference.findall(path.read_text(encoding="utf-8"))
    }
    assert not (lost := sorted(pair for pair in told if not exists(pair[1]))), f"module, lost reference: {lost}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_product_does_not_import_the_laboratory(name: str) -> None:
    """Benchmarks and tests are not installed, so an import of them works in a checkout only."""
    outside = [f"{target}, line {line}" for target, line, _ in imported(MODULES[name])
               if target.split(".")[0] in ("benchmarks", "tests")]  # fmt: skip
    assert not outside, f"{MODULES[name].relative_to(ROOT)} imports {outside}"


def test_who_uses_the_rio_accessor_registers_it() -> None:
    """`cube.rio` exists only where rioxarray was imported; that another module did so depends on the file's format."""
    without = [
        name
        for name, path in MODULES.items()
        if any(isinstance(n, ast.Attribute) and n.attr == "rio" for n in ast.walk(ast.parse(path.read_text("utf-8"))))
        and "rioxarray" not in {target.split(".")[0] for target, _, _ in imported(path)}
    ]
    assert not without, f"import rioxarray in {without}"


def test_only_the_simulator_needs_numba() -> None:
    """Nothing else imports what cannot be imported without it: STAC, files and season dates work without."""
    arrows, needing, before = at_import_time(), {"data_prep.simulator.compiled"}, 0
    while len(needing) > before:
        before = len(needing)
        needing |= {name for name, targets in arrows.items() if targets & needing}
    assert needing - {"data_prep.commands.simulate"} == {n for n in needing if n.startswith("data_prep.simulator.")}
    guarded_imports = {name for name, path in MODULES.items() if any(t == "numba" for t, _, _ in imported(path))}
    assert guarded_imports == {"fusion.phenology.compiled"}


def at_import_time() -> dict[str, set[str]]:
    """Module -> modules of the project that it imports when it is imported itself."""
    return {
        name: {target for target, _, top in imported(path) if top and target in MODULES and target != name}
        for name, path in MODULES.items()
    }


def test_no_circles() -> None:
    arrows = at_import_time()
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import circle: " + " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for target in sorted(arrows[name]):
            visit(target, (*trail, name))
        done.add(name)

    for name in sorted(arrows):
        visit(name, ())


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith(BUNDLED) and n not in NOT_BUNDLED))
def test_bundled_modules_keep_the_udf_rules(name: str) -> None:
    path = MODULES[name]
    where = path.relative_to(ROOT)
    text = path.read_text(encoding="utf-8")
    assert "from __future__" not in text, f"{where}: a UDF with __future__ imports is not recognised"
    assert "__file__" not in text, f"{where}: a UDF has no __file__"
    for target, line, top in imported(path):
        package = target.split(".")[0]
        if package in PACKAGES or package in sys.stdlib_module_names:
            continue
        assert package in THIRD_PARTY_IN_BUNDLE, f"{where}:{line}: {package} is not there on an openEO back-end"
        assert not (top and package in LAZY_IN_BUNDLE and not guarded(path, line)), f"{where}:{line}: import it lazily"


def guarded(path: Path, line: int) -> bool:
    """Whether the import on this line stands in a ``try`` block."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(n, ast.Try) and n.lineno <= line <= (n.end_lineno or n.lineno) for n in ast.walk(tree))


def test_module_names_say_what_is_in_them() -> None:
    vague = [name for name in MODULES if name.rsplit(".", 1)[-1] in FORBIDDEN]
    assert not vague, f"name the idea instead: {vague}"
