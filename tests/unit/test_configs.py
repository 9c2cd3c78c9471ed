"""Every YAML under configs/ composes, validates and is used, and repeats no default; settings say what they mean."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from fusion.cli.help import group_options, setting_rows
from fusion.cli.schema import MISSING, default_values, models_in, target_models
from fusion.cli.settings import compose_config, load_settings
from fusion.cli.table import COMMANDS

CONFIGS = Path(__file__).parents[2] / "configs"
YAMLS = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.rglob("*.yaml"))
# the least a command needs to be told: that is what its first example tells it
EXAMPLES = [(name, example) for name, command in COMMANDS.items() for example in command.examples]
# options of the group `source` that are for the other of its commands
FOREIGN = {
    ("cube", "cubes"), ("cube", "scenes"), ("cube", "table"),
    ("patches", "files"), ("patches", "openeo"), ("patches", "stac"), ("patches", "simulated"),
    ("predict", "cubes"), ("predict", "scenes"), ("predict", "table"), ("predict", "openeo"), ("predict", "simulated"),
    ("predict", "stac"), ("predict", "files"),  # they stand in the place of cube=..., which the example gives
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
    ("patches", "source", "table"): ["source.table=outputs/fields.csv"],
    ("train", "experiment", "demo"): ["store=outputs/patches.zarr"],
    ("train", "experiment", "fine_tune"): ["store=outputs/patches.zarr", "start_from=outputs/generator.pt"],
    ("train", "experiment", "shipped_cpu_adversarial"): ["start_from=outputs/generator.pt"],
    ("train", "experiment", "shipped_real_adversarial"): ["start_from=outputs/generator.pt"],
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
    inner = [found for field in settings_class.model_fields.values() for found in models_in(field.annotation)]
    return [settings_class, *(m for found in inner for m in models(found))]


@pytest.mark.parametrize("name", COMMANDS)
def test_settings_refuse_unknown_keys(name: str) -> None:
    for model in models(COMMANDS[name].settings_class()):
        assert model.model_config.get("extra") == "forbid", f"{model.__name__} accepts unknown keys"


# one fact, one place: a default stands in its pydantic class (or in the signature of what a _target_ names)


def yaml_values(file: str) -> tuple[dict[str, Any], list[str]]:
    """Values of a YAML file under the keys of the command's settings, and the files of its group it builds upon."""
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / file)) or {}
    assert isinstance(content, dict)
    group = file.rpartition("/")[0]
    below = [f"{group}/{entry}.yaml" for entry in content.pop("defaults", []) if group and entry != "_self_"]
    is_global = "# @package _global_" in (CONFIGS / file).read_text(encoding="utf-8")
    return (content if is_global or not group else {group: content}), below


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other, the last on top."""
    out: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            under = out.get(key)
            both = isinstance(under, dict) and isinstance(value, Mapping)
            out[key] = merged(under, value) if both else value
    return out


def standing_before(file: str, settings_class: type[BaseModel]) -> dict[str, Any]:
    """What every key has without the file: the defaults, then what the files it builds upon say."""
    said = said_by(file)
    below = (said_by(other) for other in yaml_values(file)[1])
    return merged(default_values(settings_class, said), target_defaults(said), *below)


def said_by(file: str) -> dict[str, Any]:
    """Values of a file and of all files that it builds upon."""
    values, below = yaml_values(file)
    return merged(*(said_by(other) for other in below), values)


def target_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of the parameters of every ``_target_``, and of the settings inside it."""
    from hydra.utils import get_object

    out: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, Mapping):
            continue
        out[name] = target_defaults(value)
        if "_target_" in value:
            parameters = inspect.signature(get_object(value["_target_"])).parameters.values()
            out[name] |= {p.name: to_jsonable_python(p.default) for p in parameters if p.default is not p.empty}
            for key, model, given in target_models(value, ""):
                inner = default_values(model, given)
                for part in reversed(key.strip(".").split(".") if key else []):
                    inner = {part: inner}
                out[name] = merged(out[name], inner)
    return out


def repeats(values: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys whose value says what would hold without it; a tag that picks a class (``kind``) is no setting."""
    for name, value in values.items():
        old = before.get(name)
        if isinstance(value, Mapping) and value:
            yield from repeats(value, old if isinstance(old, Mapping) else {}, f"{prefix}{name}.")
        elif name in before and name != "kind" and to_jsonable_python(value) == old != MISSING:
            yield f"{prefix}{name}"


@pytest.mark.parametrize(("name", "group", "option"), OPTIONS)
def test_no_group_option_repeats_a_default(name: str, group: str, option: str) -> None:
    file = f"{group}/{option}.yaml"
    before = standing_before(file, COMMANDS[name].settings_class())
    found = list(repeats(yaml_values(file)[0], before))
    assert not found, f"configs/{file} repeats the defaults of {found}; delete them there"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_yaml_of_a_command_holds_groups_and_what_must_be_given(name: str) -> None:
    values, _ = yaml_values(f"{name}.yaml")
    required = {key for key, value in values.items() if value == MISSING}
    assert not set(values) - required, f"{sorted(set(values) - required)}: defaults stand in the pydantic class"
    fields = COMMANDS[name].settings_class().model_fields
    assert all(fields[key].is_required() for key in required), "has a default, so nobody must give it"


def test_repeats_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "low.yaml").write_text("# @package _global_\nbatch_size: 9\nloss: {l1: 2.0}\n")
    (tmp_path / "experiment" / "high.yaml").write_text(
        "# @package _global_\ndefaults: [low, _self_]\nbatch_size: 12\nloss: {l1: 2.0, nll: 0.5}\n"
        "samples: {crop_px: 8, steps: 24, withholding: {windows: [1, 6]}}\n"
        "scenes: {_target_: data_prep.simulator.stream.SimulatedScenes, seed: 0, settings: {height: 64, width: 24}}\n"
    )
    monkeypatch.setattr(f"{__name__}.CONFIGS", tmp_path)
    file = "experiment/high.yaml"
    found = list(repeats(yaml_values(file)[0], standing_before(file, COMMANDS["train"].settings_class())))
    assert found == [
        "loss.l1", "loss.nll", "samples.crop_px", "samples.withholding.windows", "scenes.seed",
        "scenes.settings.height",
    ]  # fmt: skip


# group=option wherever a person is told to type one
GROUPS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and any(folder.glob("*.yaml")))
HISTORY = ("docs/model_card.md", "docs/log/")  # they cite recipes of the commits that they name
TOLD = re.compile(rf"(?<![\w./-])({'|'.join(GROUPS)})=([a-z_0-9]+(?:\|[a-z_0-9]+)*)(?![\w/(.{{<])")


def told_options() -> Iterator[tuple[str, str, str]]:
    """(where, group, option) of every ``group=option`` in comments, examples, descriptions, messages and documents."""
    root = CONFIGS.parent
    texts = {file: (CONFIGS / file).read_text(encoding="utf-8") for file in YAMLS}
    for path in (*root.glob("*.md"), *(root / "docs").rglob("*.md"), root / "Makefile"):
        texts[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
    for path in (p for package in ("fusion", "data_prep", "udf") for p in (root / package).rglob("*.py")):
        strings = (
            n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)
        )
        texts[path.relative_to(root).as_posix()] = "\n".join(text for text in strings if isinstance(text, str))
    for where, text in texts.items():
        if where.startswith(HISTORY):
            continue
        for group, options in TOLD.findall(text):
            yield from ((where, group, option) for option in options.split("|"))


def test_options_that_a_person_is_told_of_exist() -> None:
    told = list(told_options())
    assert {("workflow.yaml", "target", "cdse"), ("train.yaml", "experiment", "shipped_cpu")} <= set(told)
    wrong = [f"{where}: {g}={o}" for where, g, o in told if f"{g}/{o}.yaml" not in YAMLS]
    assert not wrong, "no such option: " + ", ".join(wrong)


@pytest.mark.parametrize("name", COMMANDS)
def test_descriptions_name_options_of_their_own_command(name: str) -> None:
    settings_class = COMMANDS[name].settings_class()
    composed = compose_config(name, settings_class, [])
    options = group_options(composed)
    text = " ".join([*(row[2] for row in setting_rows(settings_class, composed)), *COMMANDS[name].examples])
    told = [(group, option) for group, found in TOLD.findall(text) for option in found.split("|") if group in options]
    assert all(o in options[g] and (name, o) not in FOREIGN for g, o in told), f"not for {name}: {told}"
