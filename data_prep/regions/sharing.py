"""Processes that compute one region store together: who takes part, who computes a region, who writes the output.

Each of these is a lock on a file in the store's folder (:func:`fusion.whole_file.claimed`). It ends with its process,
also when that is killed, and another process takes over. ``door.lock`` is held for a moment, to join and to leave.
"""

import gc
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from data_prep.farm import pending, run_all
from data_prep.regions.notes import Notes, warnings_kept
from data_prep.regions.store import Region, RegionStore
from fusion.contract import ContractError
from fusion.data.cube_files import CubeFileError
from fusion.extras import needs, needs_all
from fusion.whole_file import claimed

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
OF_A_SESSION = 10_000  # objects; Python itself may freeze some, a process that has computed a region has more
WRITTEN_ELSEWHERE = "written by another process, which shared the regions with this one"


@dataclass(frozen=True)
class SharedRun:
    """This process's part in a store; ``stamp`` tells its store from a later one of the same output."""

    store: RegionStore
    regions: tuple[Region, ...]
    stamp: tuple[int, int] | None

    def goes_on(self) -> bool:
        """False as soon as a process has written the output and begun to remove the store."""
        return _stamp(self.store) == self.stamp

    @contextmanager
    def last(self) -> Iterator[bool]:
        """Yields True in the one process that has to write the output, all regions being finished."""
        with claimed(self.store.folder / "output.lock") as mine:
            yield mine and self.goes_on()


@dataclass(frozen=True)
class ClaimedTask:
    """``task`` for those regions that no other process computes or has computed."""

    run: SharedRun
    task: Callable[[Region], dict[str, Any]]

    def __call__(self, region: Region) -> dict[str, Any]:
        """Compute the region if it is free."""
        markers = self.run.store.markers
        if not self.run.goes_on():
            return {}
        with claimed(markers / f".{region.name}.lock") as mine:
            if mine and pending([region], markers) and self.run.goes_on():  # in this order: the note is removed first
                with warnings_kept() as notes:
                    result = self.task(region)
                _free_cycles()
                return {**result, "notes": notes}
        return {}


def _free_cycles() -> None:
    """Free the arrays that xarray and Dask hold in cycles, some 20 MiB a region, which would stay for long.

    From the first region on, the 300,000 objects of imported modules are left out of the search.
    """
    gc.collect()
    if gc.get_freeze_count() < OF_A_SESSION:
        gc.freeze()


@contextmanager
def _thawing() -> Iterator[None]:
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def taking_part(store: RegionStore, template: xr.Dataset, made_of: dict[str, Any]) -> Iterator[SharedRun]:
    """Begin, resume or join the computation of a store; after an error, what is finished stays, and no empty folder.

    Raises
    ------
    CubeFileError
        Another run writes something else to this output, or an error in writing.
    """
    try:
        try:
            with ExitStack() as part:
                with _door(store):
                    others = _others(store)
                    regions = tuple(store.prepare(template, made_of, shared=others > 0))
                    run = SharedRun(store, regions, _stamp(store))
                    part.enter_context(claimed(_members(store) / f"{uuid.uuid4().hex}.lock"))
                if others:
                    log.info("other processes compute %s as well (%d); the regions are shared", store.output, others)
                yield run
        except BaseException:
            with _door(store):
                _settle_failure(store)
            raise
        if not run.goes_on():
            with _door(store):
                if not _others(store) and not store.note.exists():  # what this process's own locks kept
                    store.remove()
    except OSError as error:
        raise CubeFileError(
            f"{store.output} could not be written ({type(error).__name__}: {error}); check the folder's permission and "
            "the free space"
        ) from error


def compute_regions(
    store: RegionStore,
    template: xr.Dataset,
    made_of: Callable[[], dict[str, Any]],
    task: Callable[[Region], dict[str, Any]],
    *,
    workers: int,
    scheduler: str | None,
    save: Callable[[xr.Dataset], str],
    report: Callable[[int, int], None],
) -> str:
    """Compute the regions that are not finished, ``save`` the whole, lazily given, and remove the store.

    Processes that are started with the same arguments share the regions. One of them saves and returns what that
    returns; the others return ``WRITTEN_ELSEWHERE`` when it has.

    Parameters
    ----------
    template, made_of
        See :meth:`RegionStore.prepare`; with another ``made_of()`` than an unfinished run, all begins anew. It is
        called again before the output is written.
    task : callable
        Computes a region and gives it to :meth:`RegionStore.write`; importable, with plain data, for other processes.
    workers : int
        Processes; 1 = this one.
    report : callable
        Called with (finished regions, all regions).

    Raises
    ------
    CubeFileError
        The input changed meanwhile, so that some regions are of another version; an error in writing.
    """
    alone = workers == 1 and scheduler is None
    before = made_of()
    with taking_part(store, template, before) as run, _thawing():
        total = len(run.regions)
        report(store.finished(), total)

        notes = Notes()

        def count(region: Region, result: dict[str, Any]) -> None:
            notes.add(result.get("notes", ()))
            if run.goes_on():
                report(store.finished(), total)

        todo = ClaimedTask(run, task)
        left = pending(run.regions, store.markers)
        run_all(
            left, todo, workers=0 if alone else workers, scheduler=scheduler, on_done=count,
            advice=f"use a smaller region= than {store.px}, or fewer workers=",
        )  # fmt: skip
        notes.tell()
        while run.goes_on():
            left = pending(left, store.markers)  # other processes compute these, or none any more
            if left:
                run_all(left, todo, workers=0, on_done=count)
            with run.last() if not left else nullcontext(False) as mine:
                if mine:
                    _refuse_changed(store, before, made_of())
                    line = save(store.filled(template))
                    store.remove()
                    return line
            time.sleep(POLL_SECONDS)
    return WRITTEN_ELSEWHERE


def _refuse_changed(store: RegionStore, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse regions of two versions of the input; a later run sees the new one and begins anew."""
    changed = sorted(key for key in before if now.get(key) != before[key])
    if changed:
        raise CubeFileError(
            f"the input of {store.output} was written again while it was computed (another {', '.join(changed)}), so "
            "its regions do not fit together; run the command again, which begins anew, when the input is complete"
        )


def _settle_failure(store: RegionStore) -> None:
    if _others(store):
        return
    finished = store.finished()
    if finished == 0:
        store.remove()
        return
    log.warning(
        "%d finished regions are kept in %s: the same command resumes; delete the folder to give them up",
        finished, store.folder,
    )  # fmt: skip


def _stamp(store: RegionStore) -> tuple[int, int] | None:
    try:
        state = store.note.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns


def _members(store: RegionStore) -> Path:
    return store.folder / "members"


def _others(store: RegionStore) -> int:
    """Number of other processes that take part; forgets those that have ended."""
    number = 0
    for file in _members(store).glob("*.lock"):
        with claimed(file) as ended:
            if ended:
                file.unlink()
        number += not ended
    return number


@contextmanager
def _door(store: RegionStore) -> Iterator[None]:
    """For one process at a time; waits."""
    with ExitStack() as stack:
        while not stack.enter_context(claimed(store.folder / "door.lock")):
            time.sleep(POLL_SECONDS)
        yield


def refuse_without_workers(workers: int, scheduler: str | None) -> None:
    """Before any work: what several processes need is installed, and the scheduler answers.

    Raises
    ------
    fusion.contract.ContractError
        No scheduler answers at this address.
    fusion.extras.MissingLibraryError
    """
    if scheduler is not None:
        refuse_unreachable(scheduler)
    elif workers > 1:
        needs_all(["distributed"], f"workers={workers}")


def threads_of_each(workers: int, scheduler: str | None) -> int:
    """Threads for each of the processes: its share of this machine's cores; of a scheduler's worker, one."""
    return 1 if scheduler else max(1, (os.cpu_count() or 1) // workers)


def refuse_unreachable(scheduler: str) -> None:
    """Connect to a Dask scheduler once, before any work; its own client tries for half a minute.

    Raises
    ------
    fusion.contract.ContractError
        None answers at this address.
    fusion.extras.MissingLibraryError
    """
    comm = needs("distributed.comm", "scheduler=ADDRESS")
    try:
        socket.create_connection(comm.get_address_host_port(scheduler, strict=True), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ContractError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` and give the address "
            "that it prints, such as tcp://127.0.0.1:8786, or set workers=2 without a scheduler"
        ) from error
