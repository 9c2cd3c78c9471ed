"""The command line ``ndvi-fusion <command> [key=value ...]``: runs any command of :mod:`fusion.cli.table`.

Each command is a module with a function ``run(settings)`` and a pydantic settings class, which holds the defaults;
``configs/<command>.yaml`` lists the required settings. Heavy libraries are imported only after the command is known and
its settings are valid.
A run function may return text or a rich table, which is printed to standard output; everything else goes to standard
error. Exit codes: 0 success, 1 failure, 2 invalid settings or usage, 130 interrupted.
"""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import fusion
from fusion.cli.table import COMMANDS, Command
from fusion.extras import missing_library
from fusion.process_memory import collect_rarely

__all__ = ["COMMANDS", "Command", "describe", "execute", "main"]

DEBUG_VARIABLE = "NDVI_FUSION_DEBUG"
PIPED_WIDTH = 120  # columns of a table that goes to a file or a pipe
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
OPTIONS = {
    "-h", "--help", "--version", "--debug", "-v", "--verbose", "-q", "--quiet", "--settings", "-m", "--multirun",
    "--completion",
}  # fmt: skip
_OURS = ("fusion", "data_prep", "udf")

_log = logging.getLogger("fusion.cli.app")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = {word for word in words if word.startswith("-") and "=" not in word}
    words = [word for word in words if word not in options]
    unknown = options - OPTIONS
    if unknown:
        return _complain(f"unknown option {sorted(unknown)[0]}; settings are written key=value, see --help", USAGE)
    debug = "--debug" in options or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    _set_up(debug or bool(options & {"-v", "--verbose"}), bool(options & {"-q", "--quiet"}))
    if "--version" in options:
        print(f"ndvi-fusion {fusion.__version__}")
        return OK
    if "--completion" in options:
        from fusion.cli.completion import script

        print(script(COMMANDS))
        return OK
    if not words or words[0] == "help":
        options.add("--help")
        words = words[1:]
    from fusion.cli.help import print_command_help, print_overview

    wants_help = bool(options & {"-h", "--help"})
    if not words:
        print_overview(COMMANDS)
        return OK if wants_help and len(sys.argv if arguments is None else ["", *arguments]) > 1 else USAGE
    name, overrides = words[0], words[1:]
    if name not in COMMANDS:
        from fusion.cli.settings import near_miss

        return _complain(f"{name!r} is not a command{near_miss(name, list(COMMANDS))}", USAGE)
    with _reporting(debug) as outcome:
        if wants_help:
            print_command_help(name, COMMANDS[name])
        else:
            _run_all(name, overrides, several=bool(options & {"-m", "--multirun"}), only_show="--settings" in options)
    return outcome.code


def execute(name: str, overrides: list[str]) -> Any:
    """Validate the settings, run the command, save the settings beside its outputs; returns what the command prints."""
    from fusion.cli.settings import load_settings, save_settings, settings_file

    command = COMMANDS[name]
    settings = load_settings(name, command.settings_class(), overrides)
    run = command.run()
    with nullcontext() if command.own_progress else _clock(name):
        shown = run(settings)
    file = settings_file(settings)
    if file is not None:
        save_settings(settings, file, command=name, version=fusion.__version__)
        _log.debug("settings of this run: %s", file)
    return shown


def _run_all(name: str, overrides: list[str], *, several: bool, only_show: bool) -> None:
    """One run, or with ``several`` one for each combination of the values given; all settings are checked first."""
    if not several:
        return _run(name, overrides, only_show=only_show)
    from fusion.cli.multirun import jobs
    from fusion.cli.settings import load_settings

    wanted = jobs(overrides)
    for _, own in wanted:
        load_settings(name, COMMANDS[name].settings_class(), own)
    for number, (label, own) in enumerate(wanted, start=1):
        _log.info("run %d of %d: %s", number, len(wanted), label)
        _run(name, own, only_show=only_show)


def _run(name: str, overrides: list[str], *, only_show: bool) -> None:
    if only_show:
        from omegaconf import OmegaConf

        from fusion.cli.settings import load_settings

        settings = load_settings(name, COMMANDS[name].settings_class(), overrides)
        print(OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json"))), end="")
        return
    shown = execute(name, overrides)
    if shown is not None:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else max(PIPED_WIDTH, Console().width)).print(shown)


@contextmanager
def _clock(name: str) -> Iterator[None]:
    """A spinner and the elapsed time, on a terminal, while a command runs."""
    from rich import get_console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=get_console(), transient=True) as bar:
        bar.add_task(name, total=None)
        yield


class _reporting:
    """Turns any error inside the block into one readable message and an exit code."""

    def __init__(self, debug: bool) -> None:
        self.debug, self.code = debug, OK

    def __enter__(self) -> "_reporting":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            return False
        if isinstance(error, SystemExit):
            self.code = error.code if isinstance(error.code, int) else FAILED
            return True
        if isinstance(error, BrokenPipeError):
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (so that the flush at exit does not fail again)
            return True
        if self.debug and not isinstance(error, KeyboardInterrupt):
            import traceback

            traceback.print_exception(error)
        self.code = _complain(*describe(error))
        return True


def describe(error: BaseException) -> tuple[str, int]:
    """The message for an error, and the exit code."""
    from pydantic import ValidationError

    from fusion.cli.reasons import joined, reason, seen
    from fusion.cli.settings import SettingsError

    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, SettingsError):
        return str(error), USAGE
    if type(error).__name__ == "InstantiationException" and error.__cause__ is not None:
        return describe(error.__cause__)  # Hydra's wrapper around what a _target_ raised
    if isinstance(error, ValidationError):  # settings that no command has checked, such as those of a saved file
        found = [(".".join(map(str, item["loc"])), reason(item), seen(item)) for item in error.errors()]
        return "\n".join(joined(found)), FAILED
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:  # an error of a worker process: its last line is the message
        return text.splitlines()[-1].partition(": ")[2] or text.splitlines()[-1], FAILED
    if isinstance(error, ModuleNotFoundError) and error.name:
        owner = error.name.split(".")[0]
        if owner in _OURS:
            return _missing_module(error.name), FAILED
        return missing_library(error.name), FAILED
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename else ""
        hint = {
            errno.ENOSPC: "; free some space; incomplete files do not keep their final name",
            errno.EACCES: "; choose an output folder that you may write to",
            errno.EROFS: "; choose an output folder that you may write to",
        }.get(error.errno, "")
        return f"{error.strerror}{where}{hint}", FAILED
    if isinstance(error, MemoryError):
        return f"out of memory ({text or 'no details'}); use smaller tiles or a smaller area", FAILED
    ours = type(error).__module__.split(".")[0] in _OURS
    if text and (ours or isinstance(error, ValueError | OSError)):
        return text, FAILED
    return f"{type(error).__name__}: {text}" if text else type(error).__name__, FAILED


def _missing_module(name: str) -> str:
    """Why a module of this project is not found: a file of the user has the name of its package, or it is not there."""
    owner = name.split(".")[0]
    found = getattr(sys.modules.get(owner), "__file__", None)
    if found and Path(found).resolve().parent.parent != Path(fusion.__file__).resolve().parent.parent:
        return f"{found} hides the package {owner!r} of ndvi-fusion; rename it, or run the command in another folder"
    return f"this command is not part of this installation (module {name} is missing)"


def _complain(message: str, code: int) -> int:
    for line in message.splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr)
    return code


def _set_up(verbose: bool, quiet: bool) -> None:
    """Log lines and progress bars share one console on standard error; libraries log warnings, without telemetry."""
    import rich
    from rich.logging import RichHandler

    collect_rarely()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")  # it would read what every installed package declares
    rich.reconfigure(stderr=True)
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = RichHandler(show_path=False, rich_tracebacks=False, log_time_format="%H:%M:%S", markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    for package in _OURS:
        logging.getLogger(package).setLevel(level)
    if not verbose:
        handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.split(".")[0] in _OURS)
        warnings.filterwarnings("ignore", module=rf"(?!({'|'.join(_OURS)})\b)")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        # it warns of missing machine-learning packages, which this project does not use
        logging.getLogger("openeo_processes_dask").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
