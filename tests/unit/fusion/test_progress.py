"""Progress of a long step: one bar for every command, log lines where there is no terminal."""

import logging
from pathlib import Path

import pytest
from rich import get_console
from rich.console import Console

from fusion import progress

ROOT = Path(__file__).parents[3]
SPINNER = "fusion/cli/app.py"  # of commands that cannot count what they do


def test_log_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with progress.Progress("fusing") as report:
        report(50, 100)
    assert caplog.text == ""  # a short step
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.Progress("fusing") as report:
        for done in range(101):
            report(done, 100)
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 10 and lines[0].startswith("fusing: 10 of 100 (10 %) after")


def test_an_item_counts_when_the_next_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    seen = [(item, len(caplog.records)) for item in progress.tracked("abc", "scenes", 3)]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert [r.getMessage()[:23] for r in caplog.records] == [
        "scenes: 1 of 3 (30 %) a", "scenes: 2 of 3 (60 %) a", "scenes: 3 of 3 (100 %) "
    ]  # fmt: skip


def test_the_bar_shares_the_console_of_the_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """On consoles of their own, a log line would be written into the bar."""
    terminal = Console(force_terminal=True, stderr=True)
    monkeypatch.setattr("rich._console", terminal)
    bar = progress.Progress("fusing")
    assert bar.bar.console is terminal is get_console() and bar.terminal


def test_there_is_no_other_bar() -> None:
    files = [f for folder in ("fusion", "data_prep", "udf", "benchmarks") for f in (ROOT / folder).rglob("*.py")]
    others = [
        str(file.relative_to(ROOT))
        for file in files
        if any(word in file.read_text(encoding="utf-8") for word in ("rich.progress", "tqdm"))
    ]
    assert sorted(others) == [SPINNER, "fusion/progress.py"]
