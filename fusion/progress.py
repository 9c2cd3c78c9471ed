"""Progress of a long step: a bar in a terminal, log lines elsewhere."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")
LINE_SECONDS = 5.0  # at least, between two lines, so that a short step has none


class Progress:
    """A bar in a terminal; elsewhere a log line for every 10 % and at most every ``LINE_SECONDS``.

    >>> with Progress("fusing") as report:
    ...     report(1, 2)  # done, all
    """

    def __init__(self, label: str) -> None:
        from rich import get_console
        from rich.progress import Progress

        console = get_console()  # on the command line that of the log lines, which then appear above the bar
        self.bar = Progress(console=console, transient=True)
        self.terminal = console.is_terminal
        self.label = label
        self.began = self.logged = time.monotonic()
        self.tenths = 0

    def __enter__(self) -> Callable[[int, int], None]:
        if self.terminal:
            self.bar.start()
        self.task = self.bar.add_task(self.label, total=None)
        return self._report

    def __exit__(self, *exception: object) -> None:
        if self.terminal:
            self.bar.stop()

    def _report(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
        now, tenths = time.monotonic(), 10 * done // max(total, 1)
        if not self.terminal and tenths > self.tenths and now - self.logged >= LINE_SECONDS:
            log.info("%s: %d of %d (%d %%) after %.0f s", self.label, done, total, 10 * tenths, now - self.began)
            self.tenths, self.logged = tenths, now


def tracked(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """The items, each of which counts as done when the next one is taken."""
    with Progress(label) as report:
        for done, item in enumerate(items, 1):
            yield item
            report(done, total)
