"""Settings of a command: composed by Hydra, validated by pydantic before any work, saved beside the outputs.

``configs/<command>.yaml`` holds the values, the command's pydantic class says what they mean and what is allowed. A
mistake is answered with the key, the value seen, the reason, and the nearest key that exists.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from fusion.whole_file import whole_file

CONFIG_PACKAGE = "configs"
SETTINGS_FILE = "settings.yaml"

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class SettingsError(ValueError):
    """Settings that cannot be used; the message names key, value, reason and fix."""


@dataclass(frozen=True)
class Composed:
    """A composed configuration: plain values, and the config groups with the option chosen in each."""

    values: dict[str, Any]
    missing: tuple[str, ...]
    groups: dict[str, str | None]


def compose_config(command: str, overrides: list[str]) -> Composed:
    """Compose ``configs/<command>.yaml`` with overrides of the form ``key=value``.

    Raises
    ------
    SettingsError
        Unknown key or group option (with the nearest one that exists), or an override that cannot be read.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()
    with initialize_config_module(CONFIG_PACKAGE, version_base="1.3"):
        readable = [_readable(text) for text in overrides]
        try:
            defaults = compose(command, return_hydra_config=True)
            used = defaults.hydra.runtime.choices
            readable = [_into_open_mapping(text, defaults) for text in readable]
            plain_keys = [text for text in readable if _is_plain(text, used)]
            config = compose(command, overrides=[t for t in readable if t not in plain_keys], return_hydra_config=True)
            for text in plain_keys:
                _set_plain(config, text)
        except (HydraException, OmegaConfBaseException) as error:
            raise SettingsError(_compose_message(command, error)) from error
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(choices, dict)
    groups = {str(k): v for k, v in choices.items() if not str(k).startswith("hydra/")}
    plain = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
    try:
        missing = tuple(sorted(OmegaConf.missing_keys(plain)))
        values = OmegaConf.to_container(plain, resolve=True)
    except OmegaConfBaseException as error:
        raise SettingsError(f"configs/{command}.yaml: {_one_line(error)}") from error
    assert isinstance(values, dict)
    return Composed({str(k): v for k, v in values.items()}, missing, groups)


def load_settings(command: str, settings_class: type[SettingsT], overrides: list[str]) -> SettingsT:
    """Validated settings of a command.

    Raises
    ------
    SettingsError
        One line a mistake: key, value seen, reason, and the fix where it is known.
    """
    composed = compose_config(command, overrides)
    if composed.missing:
        lines = [f"{key}: no value given; add {key}=VALUE" for key in composed.missing]
        raise SettingsError("\n".join(lines))
    try:
        return settings_class.model_validate(composed.values)
    except ValidationError as error:
        raise SettingsError(validation_message(error, settings_class)) from error


def validation_message(error: ValidationError, settings_class: type[BaseModel]) -> str:
    """What pydantic refused, one line a mistake, in words for the command line."""
    known = field_names(settings_class)
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown setting{near_miss(key, known)}")
        elif item["type"] == "missing":
            lines.append(f"{key}: no value given; add {key}=VALUE")
        else:
            reason = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            seen = item.get("input")
            shown = f" (seen: {seen!r})" if key and isinstance(seen, str | int | float | bool | None) else ""
            lines.append(f"{key + ': ' if key else ''}{reason}{shown}")
    return "\n".join(lines)


def field_names(settings_class: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every setting, nested models included."""
    names = []
    for name, field in settings_class.model_fields.items():
        full = f"{prefix}{name}"
        inner = nested_model(field.annotation)
        names += [full, *field_names(inner, full + ".")] if inner else [full]
    return names


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in an annotation such as ``Model`` or ``Model | None``."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def near_miss(key: str, known: list[str]) -> str:
    """``"; did you mean 'x'?"`` where something known is close, else the list of what is known."""
    last = {name.rsplit(".", 1)[-1]: name for name in known}
    close = difflib.get_close_matches(key, known, n=1) or [
        last[name] for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(last), n=1)
    ]
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(name for name in known if '.' not in name)}"


def save_settings(settings: BaseModel, file: Path, *, command: str, version: str) -> Path:
    """Write settings as YAML; returns the file."""
    text = OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json")))
    with whole_file(file) as partial:
        partial.write_text(f"# settings of: ndvi-fusion {command} (version {version})\n{text}", encoding="utf-8")
    return file


def settings_file(settings: BaseModel) -> Path | None:
    """Where the settings of a run belong: in its output folder, or beside its output file or store."""
    out = getattr(settings, "out", None)
    if not isinstance(out, str | Path) or not str(out):
        return None
    path = Path(out)
    if path.is_dir() and path.suffix != ".zarr":
        return path / SETTINGS_FILE
    return path.with_name(f"{path.name}.{SETTINGS_FILE}") if path.parent.is_dir() else None


def _readable(text: str) -> str:
    """The override, its value quoted where Hydra's grammar cannot read it bare (brackets or quotes in a path)."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{text!r} is no setting; write key=value")
    parser = OverridesParser.create()
    try:
        if not parser.parse_overrides([text])[0].is_sweep_override():
            return text
    except OverrideParseException:
        pass
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    quoted = f"{key}='{escaped}'"
    try:
        parser.parse_overrides([quoted])
    except OverrideParseException as error:
        raise SettingsError(f"{text!r} cannot be read; write key=value ({_one_line(error)})") from error
    return quoted


def _into_open_mapping(text: str, defaults: DictConfig) -> str:
    """The override, marked as an addition where the setting is an empty mapping that takes names of one's own."""
    name = text.partition("=")[0].partition(".")[0]
    open_mapping = name in defaults and not OmegaConf.is_missing(defaults, name) and defaults[name] == {}
    return f"++{text}" if open_mapping else text


def _is_plain(text: str, used: DictConfig) -> bool:
    """Whether the key is a setting of this command although another command has a config group of that name."""
    key = text.partition("=")[0].lstrip("+")
    return key not in used and resources.files(CONFIG_PACKAGE).joinpath(key).is_dir()


def _set_plain(config: DictConfig, text: str) -> None:
    """Set a value that Hydra would take for the choice of a group."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(text)
    if override.key_or_group not in config:
        raise SettingsError(
            f"{override.key_or_group}: unknown setting{near_miss(override.key_or_group, [str(k) for k in config])}"
        )
    OmegaConf.update(config, override.key_or_group, override.value())


def _compose_message(command: str, error: Exception) -> str:
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        plain = compose_config(command, [])
        known = [*_flat(plain.values), *plain.groups]
        return f"{unknown.group(1)}: unknown setting{near_miss(unknown.group(1), known)}"
    option = re.search(r"Could not find '([^']+)'\s+Available options in '([^']+)':((?:\s*\n\t\S+)*)", text)
    if option:
        return f"{option.group(1)}: no such option; {option.group(2)} has {', '.join(option.group(3).split())}"
    return _one_line(error)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, dict):
            names += _flat(value, f"{prefix}{key}.")
    return names


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
