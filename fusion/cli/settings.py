"""Settings of a command: composed by Hydra, validated by pydantic before any work, saved beside the outputs.

The command's pydantic class defines the meaning, the allowed values and the defaults of its settings;
``configs/<command>.yaml`` lists the required settings and the groups of values. An error message names the key, the
value seen, the reason, and the nearest key that exists.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from fusion.cli.foreign_code import foreign_code
from fusion.cli.reasons import joined, reason, seen, without_choices
from fusion.cli.schema import MISSING, default_values, field_names, in_free_mapping, located, owners, target_models
from fusion.config_folder import config_folder
from fusion.whole_file import whole_file

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


def compose_config(command: str, settings_class: type[BaseModel], overrides: list[str]) -> Composed:
    """Compose the defaults of ``settings_class``, ``configs/<command>.yaml`` over them, and then the overrides.

    Raises
    ------
    SettingsError
        Unknown key or group option (with the nearest one that exists), or an override that cannot be read.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    if refusal := foreign_code({}, overrides):  # before Hydra follows a search path
        raise SettingsError(refusal)
    GlobalHydra.instance().clear()
    first = getattr(settings_class, "POSITIONAL", None)  # the setting that a word without "=" gives
    readable = [_readable(f"{first}={text}" if first and "=" not in text else text) for text in overrides]
    known: list[str] = []
    values: dict[str, Any] = {}
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        try:
            config = _compose(command, {}, [])
            groups = config.hydra.runtime.choices
            choices = [text for text in readable if _key(text) in groups]
            config = _compose(command, {}, choices) if choices else config
            given = _plain_values(config)
            defaults = _without_required(default_values(settings_class, given), given)
            known = [*_flat(defaults), *(str(group) for group in groups if not str(group).startswith("hydra/"))]
            plain_keys = [text for text in readable if _is_plain(text, groups)]
            values = _plain_values(OmegaConf.merge(OmegaConf.create(defaults), given))
            others = [text for text in readable if text not in choices and text not in plain_keys]
            marked = [_into_free_mapping(text, settings_class, values) for text in others]
            # without overrides Hydra would compose these same values once more, in a tenth of a second
            composed = _compose(command, defaults, [*choices, *marked]) if marked else OmegaConf.create(values)
            for text in plain_keys:
                _set_plain(composed, text)
        except (HydraException, OmegaConfBaseException) as error:
            raise SettingsError(_compose_message(error, known, settings_class)) from error
        except ValueError as error:
            raise SettingsError(_list_message([_key(text) for text in readable], values) or str(error)) from error
    chosen = {str(k): v for k, v in config.hydra.runtime.choices.items() if not str(k).startswith("hydra/")}
    try:
        return Composed(_plain_values(composed, resolve=True), tuple(sorted(_missing(composed))), chosen)
    except OmegaConfBaseException as error:
        raise SettingsError(f"configs/{command}.yaml: {_one_line(error)}") from error


def _compose(command: str, defaults: dict[str, Any], overrides: list[str]) -> DictConfig:
    """Hydra's composition of a command's YAML over ``defaults``, so that overrides may name any of them."""
    from hydra import compose
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="_pydantic_defaults", node=defaults)
    store.store(name="_over_defaults", node={"defaults": ["_pydantic_defaults", command, "_self_"]})
    return compose("_over_defaults", overrides=overrides, return_hydra_config=True)


def _without_required(defaults: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults without those that the YAML requires anew (``???``), which Hydra would not put over a value."""
    kept = dict(defaults)
    for key, value in given.items():
        if isinstance(value, Mapping) and isinstance(kept.get(key), dict):
            kept[key] = _without_required(kept[key], value)
        elif value == MISSING:
            kept[key] = MISSING
    return kept


def _plain_values(config: Any, *, resolve: bool = False) -> dict[str, Any]:
    values = OmegaConf.to_container(_without_hydra(config), resolve=resolve)
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def _missing(config: DictConfig) -> set[str]:
    return OmegaConf.missing_keys(_without_hydra(config))


def _without_hydra(config: Any) -> Any:
    return OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])


def load_settings(command: str, settings_class: type[SettingsT], overrides: list[str]) -> SettingsT:
    """Validated settings of a command.

    Raises
    ------
    SettingsError
        One line per error: key, value seen, reason, and the fix where it is known.
    """
    composed = compose_config(command, settings_class, overrides)
    if refusal := foreign_code(composed.values, []):
        raise SettingsError(refusal)
    if composed.missing:
        lines = [f"{key}: no value given; add {key}=VALUE" for key in composed.missing]
        raise SettingsError("\n".join(lines))
    try:
        settings = settings_class.model_validate(composed.values)
    except ValidationError as error:
        raise SettingsError(validation_message(error, settings_class)) from error
    _check_targets(composed.values)
    return settings


def _check_targets(values: Mapping[str, Any]) -> None:
    """Refuse settings of a ``_target_`` before any work, as those of the command itself."""
    for name, value in values.items():
        if not (isinstance(value, Mapping) and "_target_" in value):
            continue
        try:
            for key, model, given in target_models(value, name):
                try:
                    model.model_validate(given)
                except ValidationError as error:
                    raise SettingsError(validation_message(error, model, prefix=f"{key}.")) from error
        except KeyError as error:
            key, known = error.args
            raise SettingsError(f"{key}: unknown setting{near_miss(key, known)}") from error
        except ImportError as error:
            raise SettingsError(
                f"{name}._target_: {_one_line(error)}; give the dotted path of something that can be imported"
            ) from error


def validation_message(error: ValidationError, settings_class: type[BaseModel], *, prefix: str = "") -> str:
    """The errors that pydantic found, one line each, phrased for the command line."""
    known = field_names(settings_class, prefix)
    found: list[tuple[str, str, str]] = []
    for item in error.errors():
        names, inner, depth = located(item["loc"], settings_class)
        names = [*names[:depth], *without_choices(names[depth:])]
        key = prefix + ".".join(names) if names else prefix.rstrip(".")
        if item["type"] == "extra_forbidden":
            near = field_names(inner, prefix + "".join(f"{name}." for name in names[:depth]))
            belongs = owners(".".join(names), settings_class)
            found.append((key, f"unknown setting{near_miss(key, [*near, *known], belongs)}", ""))
        elif item["type"] == "missing" and names[-1].isdigit():
            found.append((key.rpartition(".")[0], f"expected a list of {int(names[-1]) + 1} or more", ""))
        elif item["type"] == "missing":
            found.append((key, f"no value given; add {key}=VALUE", ""))
        else:
            found.append((key, reason(item), seen(item)))
    return "\n".join(joined(found))


def near_miss(key: str, known: list[str], belongs: Sequence[str] = ()) -> str:
    """What to write instead of an unknown setting.

    ``belongs`` are choices that have it, such as ``source=stac``. Else the nearest name that is known, never the key
    itself or what it lies under, else how a value without settings of its own is given, else a list of what is known.
    """
    if belongs:
        return f" here; it belongs to {' or '.join(belongs)}"
    parent, _, own = key.rpartition(".")
    others = [name for name in known if name != key and not key.startswith(f"{name}.")]
    beside = [name for name in others if parent and name.startswith(f"{parent}.")]
    if parent in known and not beside:
        return f"; {parent} has no settings of its own, give its value whole: {parent}=VALUE"
    level = key.count(".") if beside else 0
    last = {name.rsplit(".", 1)[-1]: name for name in reversed(others)}
    close = difflib.get_close_matches(key, others, n=1, cutoff=0.8) or [
        last[name] for name in difflib.get_close_matches(own, list(last), n=1)
    ]
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(dict.fromkeys(name for name in beside or others if name.count('.') == level))}"


def save_settings(settings: BaseModel, file: Path, *, command: str, version: str) -> Path:
    """Write settings as YAML; returns the file."""
    text = OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json")))
    with whole_file(file) as partial:
        partial.write_text(f"# settings of: ndvi-fusion {command} (version {version})\n{text}", encoding="utf-8")
    return file


def settings_file(settings: BaseModel) -> Path | None:
    """Path for the settings of a run: in its output folder, or beside its output file; None without ``out``."""
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
        raise SettingsError(f"{text!r} is not a setting; write key=value")
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


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _into_free_mapping(text: str, settings_class: type[BaseModel], values: Mapping[str, Any]) -> str:
    """The override, marked as an addition where it goes into a mapping with free names."""
    free = text[0] not in "+~" and in_free_mapping(_key(text).split("."), settings_class, values)
    return f"++{text}" if free else text


def _is_plain(text: str, groups: DictConfig) -> bool:
    """Whether the key is a setting of this command although another command has a config group of that name."""
    return _key(text) not in groups and (config_folder() / _key(text)).is_dir()


def _set_plain(config: DictConfig, text: str) -> None:
    """Set a value that Hydra would read as the choice of a config group."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(text)
    if override.key_or_group not in config:
        raise SettingsError(
            f"{override.key_or_group}: unknown setting{near_miss(override.key_or_group, [str(k) for k in config])}"
        )
    OmegaConf.update(config, override.key_or_group, override.value())


def _list_message(keys: list[str], values: Any) -> str | None:
    """What to write where a key names a setting of a list and not of one of its entries."""
    for key in keys:
        inside, path = values, key.split(".")
        for k, part in enumerate(path):
            if isinstance(inside, list):
                if part.isdigit():
                    break
                name = ".".join(path[:k])
                entry = ".".join([name, "0", *path[k:]])
                return (
                    f"{key}: {name} is a list of {len(inside)}; name an entry by its number, the first: {entry}=VALUE"
                )
            inside = inside.get(part) if isinstance(inside, dict) else None
    return None


def _compose_message(error: Exception, known: list[str], settings_class: type[BaseModel]) -> str:
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        key = unknown.group(1)
        return f"{key}: unknown setting{near_miss(key, known, owners(key, settings_class))}"
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
