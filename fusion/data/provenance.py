"""Which code made some data, and how this program's own files are told from raw ones."""

import datetime
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion.contract import COARSE_NDVI, NDVI_SIGMA, S2NDVI

MADE_BY = {"made_by": "ndvi-fusion"}  # attribute or tag of every raster that this program writes
_OWN_BANDS = {S2NDVI, COARSE_NDVI, NDVI_SIGMA}  # names that no archive uses: files of versions without the attribute


def is_own_output(attrs: Mapping[str, object], bands: Iterable[str]) -> bool:
    """Whether a raster was made by this program, by its attributes and the names of its bands."""
    return any(attrs.get(key) == value for key, value in MADE_BY.items()) or bool(_OWN_BANDS & set(bands))


def history(what: str) -> str:
    """CF attribute ``history``: time in UTC (``SOURCE_DATE_EPOCH`` where it is set), program, and what was made."""
    from importlib.metadata import PackageNotFoundError, version

    given = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.fromtimestamp(int(given), datetime.UTC) if given else datetime.datetime.now(datetime.UTC)
    try:
        number = f" {version('ndvi-fusion')}"
    except PackageNotFoundError:  # a checkout that is not installed
        number = ""
    return f"{now:%Y-%m-%dT%H:%M:%SZ} ndvi-fusion{number}: {what}"


def code_hash(module: str) -> str | None:
    """SHA-256 over the Python files in the folder of a module, sorted by name; None where the module has no file."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(Path(found.origin).parent.rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
