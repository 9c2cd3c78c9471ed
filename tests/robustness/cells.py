"""Kinds of bad input, paths on which they arrive, and the tests of each cell, as ``cells.yaml`` lists them."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PATHS = {
    "files": "local files", "stac": "STAC", "openeo": "openEO download", "cube": "merged cube read back",
    "fuse": "`fuse`", "seasons": "`seasons`, `smooth`", "fusion_udf": "fusion UDF", "phenology_udf": "phenology UDF",
    "graph": "process graph", "commands": "`predict`, `phenology`, `workflow`",
    "train": "`patches`, `train`, `evaluate`",
}  # fmt: skip
KINDS: dict[str, dict[str, list[str]]] = yaml.safe_load(Path(__file__).with_name("cells.yaml").read_text())
OPEN = {kind: cells.pop("open", []) for kind, cells in KINDS.items()}


def entries() -> list[str]:
    """All entries, each once, in order."""
    return list(dict.fromkeys(entry for cells in KINDS.values() for tests in cells.values() for entry in tests))


def node_of(entry: str) -> str:
    """The node of pytest that an entry means, without the values of parameters."""
    place, test = entry.split("[")[0].split("::")
    folder, _, name = place.rpartition("/")
    top = "tests" if folder in ("properties", "drills", "end_to_end") else "tests/unit"
    return f"{top}/{folder}/test_{name}.py::{test}".replace("//", "/")


def holds(entry: str, node: str) -> bool:
    """Whether a test that ran, ``file::test[values]``, is one of an entry."""
    test, _, values = node.partition("[")
    asked = entry.partition("[")[2].rstrip("]")
    return test == node_of(entry) and (not asked or set(asked.split("-")) <= set(values.rstrip("]").split("-")))
