"""Runs commands from the demo exactly as the command line does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def call(command: str, settings: Mapping[str, Any]) -> Any:
    """Run a command with settings ``{dotted key: value}``; returns what the command prints."""
    from fusion.cli.app import execute

    return execute(command, as_overrides(settings))


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """``key=value`` overrides in Hydra's notation: null, true, false, lists in brackets."""
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
