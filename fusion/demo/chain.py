"""Calling the commands from the demo, exactly as a user would type them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def call(command: str, settings: Mapping[str, Any]) -> Any:
    """Run a command with settings given as ``{dotted key: value}``, exactly as the command line does."""
    from fusion.cli.app import execute

    return execute(command, as_overrides(settings))


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """``key=value`` words; None is null, lists and truth values as Hydra writes them."""
    return [f"{key}={_word(value)}" for key, value in settings.items()]


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(_word(v) for v in value) + "]"
    if isinstance(value, Path):
        return str(value)
    return str(value)
