"""Help of the command line: every command, and every setting with its value and meaning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from fusion.cli.schema import nested_model
from fusion.cli.settings import Composed, compose_config
from fusion.config_folder import config_folder

if TYPE_CHECKING:
    from pydantic import BaseModel

    from fusion.cli.table import Command

PURPOSE = "Dense NDVI with uncertainty and season dates from cloudy Sentinel-2, Sentinel-1 and coarse NDVI."

REQUIRED = "[red]required[/]"


def print_overview(commands: "Mapping[str, Command]") -> None:
    """The list of commands."""
    console = _console()
    console.print("usage: [bold]ndvi-fusion[/] [cyan]COMMAND[/] [green]key=value ...[/]\n", highlight=False)
    console.print(f"{PURPOSE}\n")
    table = _table()
    for name, command in commands.items():
        table.add_row(f"[cyan]{name}[/]", command.summary)
    console.print(Padding(table, (0, 0, 1, 2)))
    console.print("[bold]ndvi-fusion COMMAND --help[/] lists the settings of a command.", highlight=False)
    _print_options(console)


def print_command_help(name: str, command: "Command") -> None:
    """Summary, every setting with its value and meaning, examples."""
    console = _console()
    settings_class = command.settings_class()
    composed = compose_config(name, settings_class, [])
    console.print(f"usage: [bold]ndvi-fusion {name}[/] [green]key=value ...[/]\n", highlight=False)
    console.print(f"{command.summary}.\n", highlight=False, markup=False)
    table = _table("setting", "value", "meaning")
    rows = setting_rows(settings_class, composed)
    for key, value, meaning in sorted(rows, key=lambda row: row[1] != REQUIRED):
        table.add_row(f"[green]{key}[/]", value, meaning)
    console.print(Padding(table, (0, 0, 1, 0)))
    for group, options in group_options(composed).items():
        chosen = composed.groups.get(group)
        console.print(f"[green]{group}[/]=NAME  a set of values: {', '.join(options)}  (default: {chosen or 'none'})\n")
    console.print("examples:", highlight=False)
    for example in command.examples:
        console.print(f"  ndvi-fusion {name} {example}".rstrip(), highlight=False, markup=False, soft_wrap=True)
    _print_options(console)


def setting_rows(settings_class: "type[BaseModel]", composed: Composed) -> list[tuple[str, str, str]]:
    """(key, value, meaning) of every setting, nested ones dotted; the value is the composed one."""
    rows: list[tuple[str, str, str]] = []

    def walk(model: "type[BaseModel]", values: Mapping[str, Any], prefix: str) -> None:
        for name, field in model.model_fields.items():
            key = f"{prefix}{name}"
            value = values.get(name)
            inner = nested_model(field.annotation, value)
            if inner is not None and isinstance(value, dict):
                if field.description:
                    rows.append((key, "", field.description))
                walk(inner, value, key + ".")
                continue
            shown = REQUIRED if key in composed.missing else _shown(value)
            rows.append((key, shown, _meaning(field.description or "", field.annotation)))

    walk(settings_class, composed.values, "")
    return rows


def group_options(composed: Composed) -> dict[str, list[str]]:
    """The options of every config group that the command uses."""
    found = {group: sorted(file.stem for file in (config_folder() / group).glob("*.yaml")) for group in composed.groups}
    return {group: options for group, options in found.items() if options}


def choices(annotation: Any) -> list[str]:
    """The allowed words of a setting: ``Literal``, also inside ``tuple`` and ``| None``; empty for other types."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for inner in get_args(annotation) for word in choices(inner)]


def _meaning(description: str, annotation: Any) -> str:
    allowed = [word for word in choices(annotation) if word not in description]
    return escape(f"{description}; one of: {', '.join(choices(annotation))}" if allowed else description)


def _shown(value: Any) -> str:
    if value is None:
        return "[dim]none[/]"
    if isinstance(value, dict) and "_target_" in value:
        return f"{value['_target_']}(...)" if len(value) > 1 else str(value["_target_"])
    if isinstance(value, bool):
        return str(value).lower()
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return escape(text if len(text) <= 60 else text[:57] + "...")


def _table(*headers: str) -> Table:
    table = Table(box=None, show_header=bool(headers), header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers or ("", ""):
        table.add_column(header, overflow="fold", no_wrap=header == "setting")
    return table


def _print_options(console: Console) -> None:
    table = _table()
    table.add_row("-h, --help", "this text")
    table.add_row("-m, --multirun", "run every combination of settings with several values, such as seed=1,2")
    table.add_row("--settings", "print the validated settings as YAML and exit")
    table.add_row("-v, -q", "more, or fewer, messages")
    table.add_row("--debug", "print the traceback of an error")
    table.add_row("--version", "the version")
    table.add_row("--completion", "print the completion script for bash")
    console.print("\noptions:")
    console.print(Padding(table, (0, 0, 0, 2)))


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)
