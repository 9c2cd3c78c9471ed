"""Provenance of simulated data: a hash of the code that made them."""

import hashlib
import importlib.util
from pathlib import Path


def code_hash(module: str) -> str | None:
    """SHA-256 over the Python files in the folder of a module, sorted by name; None where the module has no file."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(Path(found.origin).parent.rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
