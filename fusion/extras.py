"""Libraries that only some commands need: which extra of the package installs them, and what to say without one."""

import logging
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

log = logging.getLogger(__name__)
PACKAGE = "ndvi-fusion"
EXTRA_OF = {  # name of the import -> extra in pyproject.toml
    "numba": "fast",
    "matplotlib": "plots",
    "torch": "train",
    "pytorch_lightning": "train",
    "mlflow": "train",
    "onnx": "train",
    "onnxscript": "train",
    "distributed": "cluster",
    "openeo": "openeo",
    "openeo_processes_dask": "openeo",
    "openeo_pg_parser_networkx": "openeo",
    "dask_geopandas": "openeo",
    "xvec": "openeo",
    "odc.stac": "stac",
    "odc.loader": "stac",
    "pystac": "stac",
    "pystac_client": "stac",
    "planetary_computer": "stac",
    "exactextract": "fields",
    "geopandas": "fields",
    "pyarrow": "fields",
    "pyogrio": "fields",
    "bokeh": "view",
    "panel": "view",
    "nbclient": "notebooks",
    "nbformat": "notebooks",
}


class MissingLibraryError(ImportError):
    """A library that this call needs is not installed; the message gives the pip line."""


def missing_library(name: str, purpose: str = "this command") -> str:
    """The sentence for a library that is not installed.

    Parameters
    ----------
    name : str
        Name of the import that failed, such as ``torch`` or ``odc.stac``.
    purpose : str
        What needs it, the subject of the sentence.
    """
    parts = name.split(".")
    parents = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    known = next((parent for parent in parents if parent in EXTRA_OF), None)
    extra = EXTRA_OF[known] if known else "all"
    return f"{purpose} needs the package {(known or parts[0])!r}; install it with: pip install '{PACKAGE}[{extra}]'"


def needs(name: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Raises
    ------
    MissingLibraryError
        It is not installed; the message names ``purpose`` and the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):  # something that the library itself lacks
            raise
        raise MissingLibraryError(missing_library(name, purpose)) from error


def needs_all(names: Iterable[str], purpose: str) -> None:
    """Refuse at once, before any work, whatever is missing of several optional libraries; imports none of them.

    Raises
    ------
    MissingLibraryError
        The message names them all, and one pip line with all their extras.
    """
    missing = [name for name in names if not _installed(name)]
    if len(missing) == 1:
        raise MissingLibraryError(missing_library(missing[0], purpose))
    if missing:
        extras = ",".join(sorted({EXTRA_OF.get(name, "all") for name in missing}))
        listed = f"{', '.join(map(repr, missing[:-1]))} and {missing[-1]!r}"
        raise MissingLibraryError(
            f"{purpose} needs the packages {listed}; install them with: pip install '{PACKAGE}[{extras}]'"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def can_draw(what: str) -> bool:
    """Whether matplotlib is installed; where it is not, a log line says that ``what`` is left out, and the extra."""
    try:
        needs("matplotlib", f"{what} left out: drawing them")
    except MissingLibraryError as error:
        log.info("%s", error)
        return False
    return True
