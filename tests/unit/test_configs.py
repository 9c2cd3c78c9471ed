"""Every YAML under configs/ composes, validates and is used; every setting says what it means."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from pydantic import BaseModel

from fusion.cli.help import group_options, setting_rows
from fusion.cli.schema import nested_model
from fusion.cli.settings import compose_config, load_settings
from fusion.cli.table import COMMANDS

CONFIGS = Path(__file__).parents[2] / "configs"
YAMLS = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.rglob("*.yaml"))
# the least a command needs to be told: that is what its first example tells it
EXAMPLES = [(name, example) for name, command in COMMANDS.items() for example in command.examples]
# options of the group `source` that are for the other of its two commands
FOREIGN = {
    ("cube", "cubes"), ("cube", "scenes"),
    ("patches", "files"), ("patches", "openeo"), ("patches", "stac"), ("patches", "simulated"),
}  # fmt: skip
OPTIONS = [
    (name, group, option)
    for name in COMMANDS
    if f"{name}.yaml" in YAMLS
    for group, options in group_options(compose_config(name, COMMANDS[name].settings_class(), [])).items()
    for option in options
    if (name, option) not in FOREIGN
]

# options that make no sense without these
NEEDED = {
    ("cube", "source", "openeo"): [
        "input=null", "source.areas={a:[5.0,51.0,5.1,51.1]}", "source.start=2019-01-01", "source.end=2019-12-31",
        "source.folder=outputs/jobs",
    ],
    ("cube", "source", "stac"): [
        "input=null", "source.catalog=outputs/catalog.json", "source.bbox=[5.0,51.0,5.1,51.1]",
        "source.start=2019-01-01", "source.end=2019-12-31",
    ],
    ("patches", "source", "cubes"): ["source.cubes=[outputs/cube.nc]"],
    ("train", "experiment", "demo"): ["store=outputs/patches.zarr"],
    ("train", "experiment", "fine_tune"): ["store=outputs/patches.zarr", "start_from=outputs/generator.pt"],
    ("train", "experiment", "shipped_cpu_adversarial"): ["start_from=outputs/generator.pt"],
}  # fmt: skip


def make_inputs(folder: Path, overrides: list[str]) -> None:
    """Files and folders that the settings of an example name, so that a check for their presence passes."""
    for text in overrides:
        key, _, value = text.partition("=")
        if "/" not in value or key == "out":
            continue
        path = folder / value
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in ("", ".zarr"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_config_of_its_name(name: str) -> None:
    assert f"{name}.yaml" in YAMLS


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_validate(name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = example.split()
    make_inputs(tmp_path, overrides)
    settings = load_settings(name, COMMANDS[name].settings_class(), overrides)
    dumped = settings.model_dump(mode="json")
    assert OmegaConf.to_container(OmegaConf.create(dumped)) == dumped  # it can be saved beside the outputs
    for text in overrides:
        key, _, value = text.partition("=")
        if key in dumped and not isinstance(dumped[key], dict | list):
            assert str(dumped[key]) == value or dumped[key] == yaml.safe_load(value)


@pytest.mark.parametrize(("name", "group", "option"), OPTIONS)
def test_group_options_validate(
    name: str, group: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [text for text in COMMANDS[name].examples[0].split() if not text.startswith(f"{group}=")]
    overrides += NEEDED.get((name, group, option), [])
    make_inputs(tmp_path, overrides)
    load_settings(name, COMMANDS[name].settings_class(), [*overrides, f"{group}={option}"])


def test_every_yaml_is_used() -> None:
    used = {f"{name}.yaml" for name in COMMANDS} | {f"{group}/{option}.yaml" for _, group, option in OPTIONS}
    assert set(YAMLS) <= used, f"no command uses {sorted(set(YAMLS) - used)}"


@pytest.mark.parametrize("file", YAMLS)
def test_defaults_lists_end_with_self(file: str) -> None:
    content = yaml.safe_load((CONFIGS / file).read_text(encoding="utf-8"))
    defaults = content.get("defaults") if isinstance(content, dict) else None
    if defaults is None:
        return
    names = [str(next(iter(d)) if isinstance(d, dict) else d) for d in defaults]
    assert not any(name.startswith("optional ") for name in names), "a mistyped option would be passed over in silence"
    assert [n for n in names if n not in ("experiment", "debug")][-1] == "_self_"  # those two override what stands here


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_says_what_it_means(name: str) -> None:
    settings_class = COMMANDS[name].settings_class()
    rows = setting_rows(settings_class, compose_config(name, COMMANDS[name].settings_class(), []))
    silent = [key for key, _, meaning in rows if not meaning and not key.endswith(".kind")]
    assert not silent, f"{settings_class.__name__}: Field(description=...) is missing for {silent}"


def models(settings_class: type[BaseModel]) -> list[type[BaseModel]]:
    """A settings class and the models nested in it."""
    inner = [nested_model(field.annotation) for field in settings_class.model_fields.values()]
    return [settings_class, *(m for found in inner if found for m in models(found))]


@pytest.mark.parametrize("name", COMMANDS)
def test_settings_refuse_unknown_keys(name: str) -> None:
    for model in models(COMMANDS[name].settings_class()):
        assert model.model_config.get("extra") == "forbid", f"{model.__name__} accepts unknown keys"
