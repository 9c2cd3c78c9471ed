"""Drill: settings that name code. Only objects of the project are called, unless the user allows any."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fusion.cli import app as cli
from fusion.cli.foreign_code import ALLOW_VARIABLE, TARGETS
from fusion.cli.settings import SettingsError, load_settings
from fusion.cli.table import COMMANDS

CONFIGS = Path(__file__).parents[2] / "configs"
EVIL = (
    "pandas.read_pickle", "os.system", "builtins.exec", "subprocess.run", "hydra.utils.get_class", "evil.run",
    "fusion.cli.app.os.system", "fusion.whole_file.shutil.rmtree", "data_prep.commands.patches._delete_store",
    "data_prep.cube.open_cube.__globals__", "fusion.data.store.PatchStore", " data_prep.cube.open_cube", "", "null",
)  # fmt: skip
# every way by which settings take an object: command, key of the mapping, what the command needs besides
WAYS = {
    "evaluate reader": ("evaluate", "reader", ["out=o", "cube=c.nc"]),
    "evaluate truth": ("evaluate", "truth", ["out=o"]),
    "evaluate open_store": ("evaluate", "open_store", ["out=o", "store=s.zarr"]),
    "train scenes": ("train", "scenes", ["out=o"]),
    "cube source": ("cube", "source", ["input=i", "out=o.nc"]),
    "workflow target": ("workflow", "target", ["target=local", "out=o"]),
}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose import leaves a trace."""
    (tmp_path / "evil").mkdir()
    trace = tmp_path / "trace"
    body = f"open({str(trace)!r}, 'a').write('imported')\ndef run(*a, **k): open({str(trace)!r}, 'a').write('called')\n"
    (tmp_path / "evil" / "__init__.py").write_text(body)
    (tmp_path / "evil" / "evaluate.yaml").write_text("x: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return trace


@pytest.mark.parametrize("target", EVIL)
@pytest.mark.parametrize("way", WAYS)
def test_foreign_code_is_neither_imported_nor_called(way: str, target: str, trap: Path) -> None:
    command, key, needed = WAYS[way]
    with pytest.raises(SettingsError, match=rf"{key}\._target_: .*is not one of .*{ALLOW_VARIABLE}=1"):
        load_settings(command, COMMANDS[command].settings_class(), [*needed, f"++{key}._target_='{target}'"])
    assert not trap.exists()


@pytest.mark.parametrize(
    "override",
    [
        "++reader={_target_: evil.run}", "++reader.settings._target_=evil.run", "++reader.list=[{_target_: evil.run}]",
        "++reader.deep.deeper._target_=evil.run", "++leave_gap_out._target_=evil.run", "reader._target_=${oc.env:EVIL}",
    ],
)  # fmt: skip
def test_it_is_found_at_any_depth_and_in_any_spelling(
    override: str, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIL", "evil.run")
    words = ["out=o", "cube=c.nc", "reader=cube", override]
    with pytest.raises(SettingsError, match="'evil.run' is not one of"):
        load_settings("evaluate", COMMANDS["evaluate"].settings_class(), words)
    assert not trap.exists()


@pytest.mark.parametrize(
    "override",
    [
        "hydra.searchpath=[pkg://evil]", "+hydra.searchpath=[pkg://evil]", "++hydra.searchpath=[file://evil]",
        "hydra.run.dir=elsewhere", "hydra/launcher=basic", "~hydra.searchpath", "hydra={searchpath: [pkg://evil]}",
    ],
)  # fmt: skip
def test_settings_of_hydra_itself_are_refused(override: str, trap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "out=o", override]) == cli.USAGE
    said = capsys.readouterr().err
    assert "settings of Hydra itself are not taken" in said and ALLOW_VARIABLE in said
    assert not trap.exists()


def test_the_switch_allows_it(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_VARIABLE, "1")
    words = ["out=o", "cube=c.nc", "++reader._target_=evil.run"]
    made = load_settings("evaluate", COMMANDS["evaluate"].settings_class(), words)
    assert made.reader["_target_"] == "evil.run" and trap.read_text() == "imported"
    load_settings("evaluate", COMMANDS["evaluate"].settings_class(), [*words, "hydra.searchpath=[pkg://evil]"])
    monkeypatch.setenv(ALLOW_VARIABLE, "0")
    with pytest.raises(SettingsError, match="is not one of"):
        load_settings("evaluate", COMMANDS["evaluate"].settings_class(), words)


def targets_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {v for k, v in value.items() if k == "_target_"} | {t for v in value.values() for t in targets_in(v)}
    return {t for v in value for t in targets_in(v)} if isinstance(value, list) else set()


def test_what_the_configuration_ships_is_what_is_allowed() -> None:
    shipped = {t for path in CONFIGS.rglob("*.yaml") for t in targets_in(yaml.safe_load(path.read_text()))}
    default = COMMANDS["evaluate"].settings_class().model_fields["open_store"].default["_target_"]
    assert shipped | {default} == TARGETS
