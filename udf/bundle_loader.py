"""The modules of this UDF are included as text (``SOURCES``) and loaded at first use, under a private package name with
their hash, so that two versions in one process do not mix. A traceback names file and line of the project.
``python -m udf.bundle`` copies this file into both UDFs.
"""

import ast
import copyreg
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "_ndvi_fusion_000000000000"  # udf.bundle writes the hash
SOURCES: dict[str, str] = {}


class BundledModules:
    """Finder and loader of PACKAGE for the import system, which locks between threads."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] != PACKAGE:
            return None
        source = BundledModules.get_source(name)
        return ModuleSpec(name, BundledModules, is_package=source is None)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    @staticmethod
    def get_source(name: str) -> str | None:
        return SOURCES.get(name.removeprefix(PACKAGE + "."))

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        tree = ast.parse(BundledModules.get_source(module.__name__) or "")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in SOURCES:
                node.module = f"{PACKAGE}.{node.module}"
        exec(compile(tree, module.__name__.replace(".", "/") + ".py", "exec"), vars(module))
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, ValueError) and value.__module__ == module.__name__:
                # another process cannot import PACKAGE, so an error of a worker is pickled as a plain ValueError
                copyreg.pickle(value, lambda error: (ValueError, error.args))


def bundled(name: str) -> ModuleType:
    """The module ``name`` from SOURCES."""
    if PACKAGE not in sys.modules:
        sys.meta_path.append(BundledModules)  # type: ignore[arg-type]
    return import_module(f"{PACKAGE}.{name}")
