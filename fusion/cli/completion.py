"""Completion of commands, settings and their values in bash: the script that ``ndvi-fusion --completion`` prints."""

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fusion.cli.help import choices, group_options
from fusion.cli.schema import models_in
from fusion.cli.settings import compose_config

if TYPE_CHECKING:
    from pydantic import BaseModel

    from fusion.cli.table import Command

_SCRIPT = """# completion of ndvi-fusion in bash; save it as ~/.local/share/bash-completion/completions/ndvi-fusion
_ndvi_fusion() {
    local line="${COMP_LINE:0:COMP_POINT}" word words
    word="${line##* }"
    case "$line" in
        *\\ *\\ *) case "$(echo $line | cut -d' ' -f2)" in
%s
        esac ;;
        *) words=%s ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    # bash has split the word at its last "=" already
    [[ "$word" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    [[ "${#COMPREPLY[@]}" == 1 && "${COMPREPLY[0]}" != *= ]] || compopt -o nospace 2> /dev/null
}
complete -o default -F _ndvi_fusion ndvi-fusion"""


def script(commands: "Mapping[str, Command]") -> str:
    """The script, with the settings of every command whose libraries are installed."""
    cases = []
    for name, command in commands.items():
        try:
            settings_class = command.settings_class()
        except ImportError:
            continue
        groups = group_options(compose_config(name, settings_class, []))
        words = [f"{group}={option}" for group, options in groups.items() for option in options]
        words = list(dict.fromkeys([*settings_words(settings_class), *words]))
        cases.append(f"            {name}) words={shlex.quote(' '.join(words))} ;;")
    return _SCRIPT % ("\n".join(cases), shlex.quote(" ".join([*commands, "--help", "--version"])))


def settings_words(model: "type[BaseModel]", prefix: str = "") -> Iterator[str]:
    """``key=`` of every setting, and ``key=value`` of those with a choice."""
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        for nested in inner:
            yield from settings_words(nested, f"{prefix}{name}.")
        if inner:
            continue
        values = ["true", "false"] if field.annotation is bool else choices(field.annotation)
        yield from (f"{prefix}{name}={value}" for value in values or [""])
