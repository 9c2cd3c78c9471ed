"""Warnings of the regions of a run: those of all processes are told in one, each kind once and at the end how often."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PACKAGES = ("fusion", "data_prep", "udf")
Note = tuple[str, str, str]  # logger, kind (text without its numbers), text

log = logging.getLogger(__name__)
_kept: ContextVar[list[logging.LogRecord] | None] = ContextVar("kept", default=None)


class _Keeping(logging.Filter):
    """Of a handler: keeps back the warnings of a block of :func:`warnings_kept`."""

    def filter(self, record: logging.LogRecord) -> bool:
        kept = _kept.get()
        if kept is None or record.levelno < logging.WARNING or record.name.partition(".")[0] not in PACKAGES:
            return True
        if record not in kept:  # of several handlers
            kept.append(record)
        return False


_KEEPING = _Keeping()


@contextmanager
def warnings_kept() -> Iterator[list[Note]]:
    """A list that holds the warnings of the block at its end; an error lets them out to the log of this process."""
    loggers = [logging.getLogger(), *map(logging.getLogger, PACKAGES)]
    for handler in (handler for logger in loggers for handler in (*logger.handlers, logging.lastResort)):
        if handler is not None:
            handler.addFilter(_KEEPING)
    records: list[logging.LogRecord] = []
    notes: list[Note] = []
    token = _kept.set(records)
    try:
        yield notes
        notes += [(record.name, _kind(record), record.getMessage()) for record in records]
        records.clear()
    finally:
        _kept.reset(token)
        for record in records:
            logging.getLogger(record.name).handle(record)


def _kind(record: logging.LogRecord) -> str:
    names = [value for value in record.args if isinstance(value, str)] if isinstance(record.args, tuple) else []
    return " ".join([str(record.msg), *names])


class Notes:
    """The warnings of all regions so far: the first text of each kind, and the number of regions."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}

    def add(self, notes: Iterable[Note]) -> None:
        """Tell those of a region that are of a new kind."""
        for kind, (name, _, text) in {note[1]: note for note in notes}.items():
            first, count = self._seen.get(kind, (text, 0))
            if not count:
                logging.getLogger(name).warning("%s", text)
            self._seen[kind] = first, count + 1

    def tell(self) -> None:
        """Tell how many regions had each, at the end."""
        for text, count in self._seen.values():
            if count > 1:
                log.warning("%d regions had such a warning, the first: %s", count, text)
