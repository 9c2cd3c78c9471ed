"""Run many independent tasks on Dask workers: bounded memory, resumable after an interruption at any moment.

A finished task has a marker file, which is written after all its output, under a temporary name first. After an
interruption the next run does exactly the tasks without a marker. Only a few tasks are in memory at a time.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from data_prep.raw.cubes import SourceError
from fusion import whole_file
from fusion.extras import needs
from fusion.process_memory import bounded_gdal_cache, collect_rarely, keep_freed_memory
from fusion.whole_file import write_json

log = logging.getLogger(__name__)


class WorkersLostError(RuntimeError):
    """Processes were ended while they worked; the message says for which task, and what helps."""


class NamedTask(Protocol):
    """A task with a name that is unique in its list and an identity that changes with its input."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...


def marker_of(folder: Path, task: NamedTask) -> Path:
    """Path of the marker file of a task."""
    return folder / f"{task.name}.json"


def pending(tasks: Iterable[NamedTask], folder: Path) -> list[Any]:
    """Tasks without a marker.

    Raises
    ------
    SourceError
        A task of the same name was finished with a different input.
    """
    todo = []
    for task in tasks:
        result = read_marker(marker_of(folder, task))
        if result is None:
            todo.append(task)
        elif result["identity"] != task.identity:
            raise SourceError(
                f"{task.name} was made from another version of its input; use another output or set overwrite=true"
            )
    return todo


def read_marker(path: Path) -> dict[str, Any] | None:
    """Result of a finished task as written to its marker, or None if it is not finished."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("%s is unreadable; its task is repeated", path)
        return None


def write_marker(folder: Path, task: NamedTask, result: dict[str, Any]) -> None:
    """Mark a task as finished and store its result; called last in a task."""
    write_json(marker_of(folder, task), {"identity": task.identity, **result})


def only_run(folder: Path) -> AbstractContextManager[None]:
    """Lock a folder against a second run, see :func:`fusion.whole_file.only_run`."""
    return whole_file.only_run(folder, SourceError)


def run_all(
    tasks: list[Any],
    work: Callable[[Any], dict[str, Any]],
    *,
    workers: int,
    scheduler: str | None = None,
    on_error: str = "stop",
    on_done: Callable[[Any, dict[str, Any]], None] = lambda task, result: None,
    advice: str = "use fewer workers=",
) -> list[tuple[str, str]]:
    """Run the tasks; returns (name, reason) of those that failed with ``on_error="skip"``.

    Parameters
    ----------
    work : callable
        Importable function of one task (or a ``functools.partial`` of it); returns small, plain data.
    workers : int
        Number of processes; 0 = run in this process.
    scheduler : str, optional
        Address of a running Dask scheduler, whose workers compute in place of processes of this call. Twice as many
        tasks are submitted at a time as they have threads, at least twice ``workers``.
    on_error : {"stop", "skip"}
        Raise the first failure, or continue and return the failures.
    on_done : callable
        Called in this process with each finished task and its result.
    advice : str
        What helps where a task needs more memory than there is.

    Raises
    ------
    WorkersLostError
        The processes that worked on a task were killed, again and again, or the scheduler was.
    Exception
        The first failure of a task, with ``on_error="stop"``; finished tasks stay finished.
    """
    failed: list[tuple[str, str]] = []

    def settle(task: Any, outcome: Callable[[], dict[str, Any]]) -> None:
        try:
            result = outcome()
        except (SourceError, ValueError, OSError, RuntimeError) as error:
            if on_error == "stop":
                raise
            log.warning("%s failed: %s", task.name, error)
            failed.append((task.name, str(error)))
            return
        on_done(task, result)

    thrifty = functools.partial(_with_kept_memory, work)
    if workers == 0 and scheduler is None:
        for task in tasks:
            settle(task, functools.partial(thrifty, task))
        return failed
    with _client(workers, scheduler) as client:
        threads = sum(client.nthreads().values())
        _stream(client, tasks, thrifty, settle, in_flight=2 * max(1, workers, threads), advice=advice)
    return failed


def _with_kept_memory(work: Callable[[Any], dict[str, Any]], task: Any) -> dict[str, Any]:
    """``work(task)`` in a process that keeps what it frees for its next array, and little of rasters."""
    keep_freed_memory()
    with bounded_gdal_cache():
        return work(task)


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    needs("distributed", "work in several processes, workers > 0,")
    from distributed import Client, LocalCluster

    for name in ("distributed", *(n for n in logging.Logger.manager.loggerDict if n.startswith("distributed."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what ends a task is told by its error
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        memory_limit=0,
    )
    with cluster, Client(cluster) as client:
        client.run(collect_rarely)
        yield client


def _stream(client: Any, tasks: list[Any], work: Any, settle: Any, *, in_flight: int, advice: str) -> None:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker, as_completed
    from distributed.comm import CommClosedError

    waiting = iter(tasks)
    running: dict[str, Any] = {}

    def submit(task: Any) -> Any:
        future = client.submit(work, task, pure=False)
        running[future.key] = task
        return future

    def outcome(task: Any, future: Any) -> dict[str, Any]:
        try:
            return future.result()
        except KilledWorker as error:
            raise WorkersLostError(
                f"{task.name} was given up: {error.allowed_failures + 1} processes were killed while they computed it, "
                f"most likely for lack of memory; {advice}. What is finished is kept"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise WorkersLostError(
                "the Dask scheduler ended or lost its connection; start it again and run the same command. What is "
                "finished is kept"
            ) from error

    done = as_completed([submit(task) for _, task in zip(range(in_flight), waiting, strict=False)])
    for future in done:
        task = running.pop(future.key)
        settle(task, functools.partial(outcome, task, future))
        future.release()
        following = next(waiting, None)
        if following is not None:
            done.add(submit(following))
