"""The command line: help, refusals with a reason, exit codes, saved settings."""

import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fusion.cli import app as cli
from fusion.cli.completion import script
from fusion.cli.help import choices
from fusion.cli.settings import SettingsError, compose_config, load_settings, save_settings, settings_file
from fusion.cli.table import COMMANDS
from fusion.demo.chain import call


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = Field(4, description="how wide")


class Fake(BaseModel):
    model_config = ConfigDict(extra="forbid")
    out: Path = Field(description="where to")
    step_days: int = Field(5, ge=1, description="time step, days")
    start: str | None = Field(None, description="first day")
    end: str | None = Field(None, description="last day")
    net: Inner = Field(default_factory=Inner)

    @model_validator(mode="after")
    def _order(self) -> "Fake":
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}; swap them")
        return self


class OurOwn(RuntimeError):
    """An error class of this project."""

    __module__ = "fusion.somewhere"


def in_worker(text: str) -> RuntimeError:
    """What a data-loading worker's error looks like in the parent."""
    return RuntimeError(
        f"Caught in worker 0.\nTraceback (most recent call last):\n  File 1\nfusion.x.StoreError: {text}"
    )


def use_configs(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``files`` (name -> text) in ``folder``, and that the folder of the YAML files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr("fusion.cli.settings.config_folder", lambda: folder)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command ``fake`` with its own config folder; ``fake.calls`` collects what ran."""
    use_configs(tmp_path / "fakeconfigs", {"fake.yaml": "out: ???\n"}, monkeypatch)
    calls: list[Fake] = []
    outcome: list[BaseException | str | None] = [None]

    def run(settings: Fake) -> Any:
        calls.append(settings)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        settings.out.mkdir(parents=True, exist_ok=True)
        return outcome[0]

    monkeypatch.setitem(sys.modules, "fake_command", SimpleNamespace(Fake=Fake, run=run))
    monkeypatch.setitem(cli.COMMANDS, "fake", cli.Command("Does nothing", "fake_command", "Fake", ("out=x",)))
    return SimpleNamespace(calls=calls, outcome=outcome)


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == cli.OK
    out = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"  {name} " in out


def test_no_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.USAGE
    assert "usage:" in capsys.readouterr().out


def test_overview_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fusion.cli.app import main; main(['--help']); "
        "heavy = {'torch', 'xarray', 'mlflow', 'dask', 'pandas', 'onnxruntime', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_command_names_the_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predicct"]) == cli.USAGE
    assert "did you mean 'predict'?" in capsys.readouterr().err


def test_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--out"]) == cli.USAGE
    assert "key=value" in capsys.readouterr().err


def test_command_help_shows_every_setting(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fake", "--help"]) == cli.OK
    out = capsys.readouterr().out
    for part in ("out", "required", "step_days", "time step, days", "net.width", "how wide", "ndvi-fusion fake out=x"):
        assert part in out
    assert not fake.calls


def test_help_names_what_a_setting_may_be() -> None:
    assert choices(Literal["a", "b"]) == ["a", "b"]
    assert choices(tuple[Literal["a", "b"], ...] | None) == ["a", "b"]
    assert choices(int | None) == choices(dict[str, str]) == []


def test_help_of_a_real_command_lists_the_words_that_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--help"]) == cli.OK
    out = " ".join(capsys.readouterr().out.split())
    assert "one of: observation, ndvi" in out and "one of: dB, linear" in out
    assert "ndvi-fusion predict cube=outputs/cube.nc out=outputs/ndvi.nc" in out


def test_a_clock_runs_beside_commands_without_progress_of_their_own(
    fake: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    started: list[str] = []
    monkeypatch.setattr(cli, "_clock", lambda name: started.append(name) or nullcontext())
    assert cli.main(["fake", f"out={tmp_path}/a"]) == cli.OK
    assert started == ["fake"]
    monkeypatch.setitem(cli.COMMANDS, "fake", replace(cli.COMMANDS["fake"], own_progress=True))
    assert cli.main(["fake", f"out={tmp_path}/b"]) == cli.OK
    assert started == ["fake"]


def test_the_clock_is_drawn_on_a_terminal_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    import rich
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, force_terminal=True, width=60))
    with cli._clock("phenology"):
        pass
    assert "phenology" in screen.getvalue() and "0:00:00" in screen.getvalue()


def test_the_demo_calls_commands_as_the_command_line_does(fake: Any, tmp_path: Path) -> None:
    fake.outcome[0] = "done"
    assert call("fake", {"out": tmp_path / "a", "net.width": 8, "start": None}) == "done"
    assert fake.calls == [Fake(out=tmp_path / "a", net=Inner(width=8))]
    assert yaml.safe_load((tmp_path / "a" / "settings.yaml").read_text())["net"] == {"width": 8}


def test_runs_and_saves_settings(fake: Any, tmp_path: Path) -> None:
    assert cli.main(["fake", f"out={tmp_path}/a", "step_days=10", "net.width=8"]) == cli.OK
    assert fake.calls == [Fake(out=tmp_path / "a", step_days=10, net=Inner(width=8))]
    saved = yaml.safe_load((tmp_path / "a" / "settings.yaml").read_text())
    assert saved == {"out": f"{tmp_path}/a", "step_days": 10, "start": None, "end": None, "net": {"width": 8}}


def test_result_goes_to_standard_output(fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcome[0] = "a table"
    assert cli.main(["fake", f"out={tmp_path}/a"]) == cli.OK
    assert capsys.readouterr().out.strip() == "a table"


def test_settings_option_runs_nothing(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fake", "out=a", "--settings"]) == cli.OK
    assert yaml.safe_load(capsys.readouterr().out)["step_days"] == 5
    assert not fake.calls


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "out: no value given; add out=VALUE"),
        (["out=a", "stepdays=3"], "stepdays: unknown setting; did you mean 'step_days'?"),
        (["out=a", "+stepdays=3"], "stepdays: unknown setting; did you mean 'step_days'?"),
        (["out=a", "net.widht=3"], "net.widht: unknown setting; did you mean 'net.width'?"),
        (["out=a", "step_days=0"], "step_days: expected greater than or equal to 1 (seen: 0)"),
        (["out=a", "step_days=often"], "step_days: expected a whole number (seen: 'often')"),
        (["out=a", "start=2020-01-01", "end=2019-01-01"], "end 2019-01-01 is before start 2020-01-01; swap them"),
        (["out"], "'out' is not a setting; write key=value"),
    ],
)
def test_bad_settings_are_refused_before_work(
    fake: Any, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fake", *words]) == cli.USAGE
    err = capsys.readouterr().err
    assert expected in err
    assert "Traceback" not in err
    assert not fake.calls


@pytest.mark.parametrize(
    ("command", "word", "expected"),
    [
        ("train", "store=[]", "store: expected a path or a list of at least 1, and it has 0 (seen: [])"),
        ("train", "store={a:1}", "store: expected a path or a list such as [a,b]"),
        ("train", "devices=two", "devices: expected a whole number or 'auto' (seen: 'two')"),
        ("train", "samples.withholding.long_days=[5]", "samples.withholding.long_days: expected a list of 2 or more"),
        ("patches", "source=cubes source.cubes=5", "source.cubes: expected a list such as [a,b] (seen: 5)"),
        ("cube", "source.kind=tape", "source: expected one of 'files', 'stac', 'openeo', 'simulated' (seen: 'tape')"),
        ("cube", "source.s2_offset_dn=x", "source.s2_offset_dn: expected 'auto' or 'by_date' or a whole number"),
        ("evaluate", "others=5", "others: expected names and values such as {a:1} (seen: 5)"),
    ],
)
def test_mistakes_are_told_without_the_validators_own_words(command: str, word: str, expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(command, COMMANDS[command].settings_class(), ["out=x.zarr", *word.split()])
    assert expected in str(refused.value)
    assert not re.search(r"lax-or-strict|json-or-python|tuple\[|pydantic|Input should|valid", str(refused.value))


def test_settings_that_fail_inside_a_command_are_told_alike() -> None:
    with pytest.raises(ValidationError) as error:
        Fake.model_validate({"out": "a", "step_days": "often", "net": 5})
    text, code = cli.describe(error.value)
    assert code == cli.FAILED and "step_days: expected a whole number (seen: 'often')" in text
    assert "pydantic" not in text


@pytest.mark.parametrize("experiment", ["fine_tune", "shipped_cpu_adversarial"])
def test_a_recipe_that_needs_weights_is_refused_without_them(experiment: str) -> None:
    given = [f"experiment={experiment}", "store=a.zarr", "out=x"]
    with pytest.raises(SettingsError, match=r"^start_from: no value given; add start_from=VALUE$"):
        load_settings("train", COMMANDS["train"].settings_class(), given)
    loaded = load_settings("train", COMMANDS["train"].settings_class(), [*given, "start_from=shipped"])
    assert str(loaded.start_from) == "shipped"  # type: ignore[attr-defined]


def test_examples_are_printed_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cube", "train"):
        assert cli.main([name, "--help"]) == cli.OK
        told = capsys.readouterr().out
        assert all(f"ndvi-fusion {name} {example}" in told for example in COMMANDS[name].examples)


def test_several_values_run_one_after_another(fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fake", "-m", f"out={tmp_path}/sweep", "step_days=1,5", "net.width=range(8,10)"]) == cli.OK
    assert [(c.step_days, c.net.width) for c in fake.calls] == [(1, 8), (1, 9), (5, 8), (5, 9)]
    assert [c.out.relative_to(tmp_path).as_posix() for c in fake.calls][1] == "sweep/step_days=1,net.width=9"
    fake.calls.clear()
    assert cli.main(["fake", "-m", f"out={tmp_path}/a.nc", "step_days=1,5"]) == cli.OK
    assert [c.out.relative_to(tmp_path).as_posix() for c in fake.calls] == ["a/step_days=1.nc", "a/step_days=5.nc"]
    fake.calls.clear()
    for words, told in (
        (["out=a", "step_days=1,0"], "step_days: expected greater than or equal to 1"),
        (["out=a", "step_days=1"], "none has; write seed=1,2"),
        (["step_days=1,2"], "-m needs out=FOLDER"),
    ):
        assert cli.main(["fake", "-m", *words]) == cli.USAGE
        assert told in capsys.readouterr().err and not fake.calls  # nothing runs where a later one is wrong


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_in_a_real_bash(tmp_path: Path) -> None:
    commands = {name: cli.COMMANDS[name] for name in ("cube", "phenology", "predict")}
    (tmp_path / "script").write_text(script(commands))
    asked = {
        "ndvi-fusion ph": ["phenology"],
        "ndvi-fusion predict step": ["step_days="],
        "ndvi-fusion cube input=a optical.flag": ["optical.flag_dips=true", "optical.flag_dips=false"],
        "ndvi-fusion phenology cube=a.nc method=g": ["gu"],
        "ndvi-fusion cube source=s": ["scenes", "simulated", "stac"],
        "ndvi-fusion phenology maps=": ["true", "false"],
    }
    lines = [f"source {shlex.quote(str(tmp_path / 'script'))}"]
    for line in asked:
        lines += [f"COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)}; _ndvi_fusion; echo ${{COMPREPLY[@]}}"]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert [line.split() for line in done.stdout.splitlines()] == list(asked.values())


def test_every_mistake_is_told_at_once(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fake", "out=a", "step_days=0", "net.width=x"]) == cli.USAGE
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert all(line.startswith("error: ") for line in err)


@pytest.mark.parametrize("name", ["with space", "br(ackets)", "eq=uals", "quo'te", "com,ma", "br[2]", "ümlaut", "a{b}"])
def test_paths_with_odd_signs(fake: Any, tmp_path: Path, name: str) -> None:
    assert cli.main(["fake", f"out={tmp_path / name}"]) == cli.OK
    assert fake.calls[0].out == tmp_path / name


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("dates are not sorted"), cli.FAILED, "error: dates are not sorted\n"),
        (RuntimeError("boom"), cli.FAILED, "error: RuntimeError: boom\n"),
        (KeyError("S2NDVI"), cli.FAILED, "error: KeyError: 'S2NDVI'\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.nc"), cli.FAILED, "No space left on device: x.nc; free"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), cli.FAILED, "Permission denied: x; choose"),
        (ModuleNotFoundError("no", name="openeo.local"), cli.FAILED, "needs the package 'openeo'"),
        (MemoryError(), cli.FAILED, "out of memory"),
        (FileNotFoundError("there is no model x"), cli.FAILED, "error: there is no model x\n"),
        (FileExistsError(errno.EEXIST, "File exists", "a.nc"), cli.FAILED, "error: File exists: a.nc\n"),
        (OurOwn("two words"), cli.FAILED, "error: two words\n"),
        (in_worker("store is empty"), cli.FAILED, "error: store is empty\n"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "error: interrupted\n"),
        (SystemExit(3), 3, ""),
    ],
)
def test_failures_exit_with_one_line(
    fake: Any, error: BaseException, code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.outcome[0] = error
    assert cli.main(["fake", f"out={tmp_path}/a"]) == code
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not (tmp_path / "a" / "settings.yaml").exists()


def test_debug_shows_the_traceback(
    fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.outcome[0] = RuntimeError("boom")
    assert cli.main(["fake", f"out={tmp_path}/a", "--debug"]) == cli.FAILED
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    assert cli.main(["fake", f"out={tmp_path}/a"]) == cli.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_missing_option_of_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"size/big.yaml": "# @package _global_\nwidth: 9\n", "made.yaml": "defaults:\n  - size: null\n  - _self_\n"}
    use_configs(tmp_path, files, monkeypatch)
    assert compose_config("made", Inner, ["size=big"]).values == {"width": 9}
    with pytest.raises(SettingsError, match="size/huge: no such option; size has big"):
        compose_config("made", Inner, ["size=huge"])


class Files(BaseModel):
    kind: Literal["files"] = "files"
    folder: str = "here"
    names: dict[str, int] = {}


class Box(BaseModel):
    width: int = 4
    depth: int = 2


class Scenes(BaseModel):
    kind: Literal["scenes"] = "scenes"
    box: Box = Box(width=8)
    count: int = 3


class Grouped(BaseModel):
    source: Files | Scenes = Field(discriminator="kind")
    input: str | None = None


class Plain(BaseModel):
    source: str | None = None
    width: int = 1


GROUPED = {
    "source/files.yaml": "kind: files\nfolder: ${input}\n",
    "source/scenes.yaml": "kind: scenes\ncount: 5\n",
    "grouped.yaml": "defaults:\n  - source: files\n  - _self_\n",
    "plain.yaml": "",
}


def test_a_setting_may_bear_the_name_of_another_commands_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_configs(tmp_path, GROUPED, monkeypatch)
    made = compose_config("plain", Plain, ["source=/a/b c", "width=2"])
    assert made.values == {"source": "/a/b c", "width": 2}
    with pytest.raises(SettingsError, match="source: unknown setting"):
        compose_config("plain", Inner, ["source=x"])


def test_defaults_of_the_chosen_kind_stand_under_the_yaml_and_the_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_configs(tmp_path, GROUPED, monkeypatch)

    def source(*overrides: str) -> dict[str, Any]:
        return compose_config("grouped", Grouped, list(overrides)).values["source"]

    assert source("input=there") == {"kind": "files", "folder": "there", "names": {}}  # YAML refers to a default
    assert source("source=scenes") == {"kind": "scenes", "box": {"width": 8, "depth": 2}, "count": 5}
    # one key of a nested default leaves its other keys alone, although the class itself has another width
    assert source("source=scenes", "source.box.depth=9")["box"] == {"width": 8, "depth": 9}
    assert source("source.folder=${input}x", "input=y")["folder"] == "yx"
    assert source("source.names.mine=4")["names"] == {"mine": 4}  # a mapping with names of one's own
    with pytest.raises(SettingsError, match=r"source\.cuont: unknown setting; did you mean 'source\.count'"):
        source("source=scenes", "source.cuont=4")


class Called(BaseModel):
    made: dict[str, Any] = Field({"_target_": "data_prep.simulator.stream.SimulatedScenes"})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("made.settings.heigth=9", "made.settings.heigth: unknown setting; did you mean 'made.settings.height'?"),
        ("made.settings.height=1", "made.settings.height: expected greater than or equal to 8 (seen: 1)"),
        ("made.sed=1", "made.sed: unknown setting; did you mean 'made.seed'?"),
        ("made._target_=data_prep.nowhere.x", "made._target_: "),
    ],
)
def test_settings_of_a_target_are_checked_before_work(
    override: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_configs(tmp_path, {"called.yaml": ""}, monkeypatch)
    assert load_settings("called", Called, ["made.settings.height=9"]).made["settings"] == {"height": 9}
    with pytest.raises(SettingsError) as refusal:
        load_settings("called", Called, [override])
    assert str(refusal.value).startswith(expected)


def test_settings_lie_beside_a_file_and_inside_a_folder(tmp_path: Path) -> None:
    (tmp_path / "store.zarr").mkdir()
    assert settings_file(Fake(out=tmp_path)) == tmp_path / "settings.yaml"
    assert settings_file(Fake(out=tmp_path / "a.nc")) == tmp_path / "a.nc.settings.yaml"
    assert settings_file(Fake(out=tmp_path / "store.zarr")) == tmp_path / "store.zarr.settings.yaml"
    assert settings_file(Inner()) is None


def test_settings_are_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").mkdir()  # stands in the way
    (tmp_path / "settings.yaml" / "kept").touch()
    with pytest.raises(OSError):
        save_settings(Inner(), tmp_path / "settings.yaml", command="fake", version="1")
    assert [path.name for path in tmp_path.rglob("*")] == ["settings.yaml", "kept"]


def test_load_settings_reports_a_broken_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_configs(tmp_path, {"made.yaml": "width: ${nowhere}\n"}, monkeypatch)
    with pytest.raises(SettingsError, match="nowhere"):
        load_settings("made", Inner, [])


def test_a_folder_named_configs_where_the_user_works_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('not of this project')\n")
    (tmp_path / "configs" / "predict.yaml").write_text("step_days: 99\n")
    words = [sys.executable, "-m", "fusion", "predict", "cube=a.nc", "out=b.nc", "--settings"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["step_days"] == 5


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("cube", "input=a ++source.bbox=[1,2,3,4]", "source.bbox: unknown setting here; it belongs to source=stac"),
        ("cube", "input=a source.bbox=[1,2,3,4]", "source.bbox: unknown setting here; it belongs to source=stac"),
        ("cube", "source=stac source.catalog=c source.bbox=[1,2,3,4] source.start=2021 source.end=2021 ++source.url=u",
         "source.url: unknown setting here; it belongs to source=openeo"),
        ("cube", "input=a source.foldr=b", "source.foldr: unknown setting; did you mean 'source.folder'?"),
        ("workflow", "target=cdse ++target.nam=a", "target.nam: unknown setting; did you mean 'target.name'?"),
        ("workflow", "target=cdse area.west=3",
         "area.west: unknown setting; area has no settings of its own, give its value whole: area=VALUE"),
        ("phenology", "cube=a smoother.lam=3",
         "smoother.lam: unknown setting; smoother has no settings of its own, give its value whole: smoother=VALUE"),
        ("train", "loss.zzz=1", "loss.zzz: unknown setting; known are loss.l1, loss.nll"),
        ("workflow", "target=cdse target.coarse.scale=3",
         "target.coarse.scale: target.coarse is a list of 2; name an entry by its number, the first: "
         "target.coarse.0.scale=VALUE"),
        ("phenology", "cube=a year=2021-05", "year: expected a calendar year such as 2019, or a list [2018,2019] "),
    ],
)  # fmt: skip
def test_advice_is_never_what_was_written(command: str, arguments: str, message: str) -> None:
    out = "out=o.nc" if command == "cube" else "out=o"
    with pytest.raises(SettingsError) as refused:
        load_settings(command, COMMANDS[command].settings_class(), [out, *arguments.split()])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
