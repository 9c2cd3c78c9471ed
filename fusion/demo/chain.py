"""Calling the commands from the demo, exactly as a user would type them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion.settings_io import load_settings


def call(command: str, settings: Mapping[str, Any]) -> Any:
    """Run a command with settings given as ``{dotted key: value}``; composed and validated as on the command line."""
    from fusion.cli import COMMANDS

    row = COMMANDS[command]
    return row.run()(load_settings(command, row.settings_class(), as_overrides(settings)))


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """``key=value`` words; None is null, lists and truth values as Hydra writes them."""
    return [f"{key}={_word(value)}" for key, value in settings.items()]


def command_line(command: str, settings: Mapping[str, Any]) -> str:
    """What a user would type for the same."""
    words = [f"'{w}'" if set(w) & set(" []{}()'\"$") else w for w in as_overrides(settings)]
    return " ".join(["ndvi-fusion", command, *words])


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
