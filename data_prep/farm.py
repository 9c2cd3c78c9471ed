"""Run many independent tasks on Dask workers: bounded in flight, resumable, safe against a kill at any moment.

A task that is done has a marker file, written after everything it made and under a temporary name first. Whatever is
killed, the next run does exactly the tasks without a marker. Memory holds a few tasks and never the list's results.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from data_prep.raw.cubes import SourceError
from fusion.whole_file import write_json

log = logging.getLogger(__name__)


class NamedTask(Protocol):
    """Work with a name that is unique in its list and an identity that changes with its input."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...


def marker_of(folder: Path, task: NamedTask) -> Path:
    """Where the marker of a task lies."""
    return folder / f"{task.name}.json"


def pending(tasks: Iterable[NamedTask], folder: Path) -> list[Any]:
    """The tasks without a marker.

    Raises
    ------
    SourceError
        A task was done on another input of the same name.
    """
    todo = []
    for task in tasks:
        told = read_marker(marker_of(folder, task))
        if told is None:
            todo.append(task)
        elif told["identity"] != task.identity:
            raise SourceError(
                f"{task.name} was made from another version of its input; write to another place or set overwrite=true"
            )
    return todo


def read_marker(path: Path) -> dict[str, Any] | None:
    """What a finished task told, or None if it is not done."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("%s is unreadable; its task is done again", path)
        return None


def write_marker(folder: Path, task: NamedTask, told: dict[str, Any]) -> None:
    """Say that a task is done; the last thing that a task does."""
    write_json(marker_of(folder, task), {"identity": task.identity, **told})


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Refuse a second run on the same folder; the lock falls with the process, also when that is killed.

    The lock is a hidden file beside the folder and not in it, so that it can be taken before the folder is made, and
    kept while the folder is deleted and made anew. Nothing in the folder is touched.
    """
    folder = folder.resolve()  # one lock, whatever way leads to the folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0).acquire()
    except Timeout as error:
        raise SourceError(f"another run is writing to {folder}; wait for it or name another place") from error
    with lock:
        yield


def run_all(
    tasks: list[Any],
    work: Callable[[Any], dict[str, Any]],
    *,
    workers: int,
    scheduler: str | None = None,
    on_error: str = "stop",
    on_done: Callable[[Any, dict[str, Any]], None] = lambda task, told: None,
) -> list[tuple[str, str]]:
    """Do the tasks; returns (name, reason) of those that failed, when ``on_error`` is "skip".

    Parameters
    ----------
    work : callable
        Importable function (or ``functools.partial`` of one) of a task; returns small, plain data.
    workers : int
        Processes; 0 = in this process.
    scheduler : str, optional
        Address of a Dask scheduler that runs already; ``workers`` is then the number of tasks kept in flight.

    Raises
    ------
    Exception
        The first failure of a task, with ``on_error="stop"``; what was finished stays finished.
    """
    failed: list[tuple[str, str]] = []

    def settle(task: Any, outcome: Callable[[], dict[str, Any]]) -> None:
        try:
            told = outcome()
        except (SourceError, ValueError, OSError, RuntimeError) as error:
            if on_error == "stop":
                raise
            log.warning("%s failed: %s", task.name, error)
            failed.append((task.name, str(error)))
            return
        on_done(task, told)

    if workers == 0 and scheduler is None:
        for task in tasks:
            settle(task, functools.partial(work, task))
        return failed
    with _client(workers, scheduler) as client:
        _stream(client, tasks, work, settle, in_flight=2 * max(1, workers))
    return failed


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    for name in ("distributed", *(n for n in logging.Logger.manager.loggerDict if n.startswith("distributed."))):
        logging.getLogger(name).setLevel(logging.ERROR)
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.ERROR,
        memory_limit=0,
    )
    with cluster, Client(cluster) as client:
        yield client


def _stream(client: Any, tasks: list[Any], work: Any, settle: Any, *, in_flight: int) -> None:
    from distributed import as_completed

    waiting = iter(tasks)
    running: dict[str, Any] = {}

    def submit(task: Any) -> Any:
        future = client.submit(work, task, pure=False)
        running[future.key] = task
        return future

    done = as_completed([submit(task) for _, task in zip(range(in_flight), waiting, strict=False)])
    for future in done:
        settle(running.pop(future.key), future.result)
        future.release()
        following = next(waiting, None)
        if following is not None:
            done.add(submit(following))
