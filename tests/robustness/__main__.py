"""Write the page from a run of its tests.

``python -m tests.robustness [options of pytest]`` runs them; ``python -m tests.robustness --logs FILE ...`` reads what
``pytest -v`` said of runs already made. Exit code 1 where a test of the list failed or did not run; the page names it.
"""

import re
import sys
from pathlib import Path

import pytest

from fusion.whole_file import whole_file
from tests.robustness.cells import entries, holds, node_of
from tests.robustness.page import PAGE, page

ORDER = re.compile(r"^\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR) (tests/\S+::.*?) *$")  # with xdist
PLAIN = re.compile(r"^(tests/\S+::.*?) (PASSED|FAILED|ERROR) +\[ *\d+%\]$")


class Recorder:
    """Outcomes of the tests that ran: True where they passed."""

    def __init__(self) -> None:
        self.outcome: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for setup, call and teardown of each test."""
        if report.when == "call" or report.failed:
            self.outcome[report.nodeid] = report.passed and self.outcome.get(report.nodeid, True)

    def read(self, log: Path) -> None:
        """What a log of ``pytest -v`` says; a later log counts more."""
        for line in log.read_text(encoding="utf-8").splitlines():
            if found := ORDER.match(line):
                self.outcome[found[2]] = found[1] == "PASSED"
            elif found := PLAIN.match(line):
                self.outcome[found[1]] = found[2] == "PASSED"


def main(words: list[str]) -> int:
    """Exit code."""
    recorder = Recorder()
    if words[:1] == ["--logs"]:
        for log in words[1:]:
            recorder.read(Path(log))
    else:
        pytest.main([*dict.fromkeys(map(node_of, entries())), *words], plugins=[recorder])
    passed = sorted(node for node, well in recorder.outcome.items() if well)
    failed = [node for node, well in recorder.outcome.items() if not well]
    missing = [
        entry
        for entry in entries()
        if any(holds(entry, node) for node in failed) or not any(holds(entry, node) for node in passed)
    ]
    with whole_file(PAGE) as partial:
        partial.write_text(page(passed, missing), encoding="utf-8")
    for entry in missing:
        sys.stderr.write(f"not shown: {entry}\n")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
