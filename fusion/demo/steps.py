"""Resumable steps: a step that finished with the same settings is not run again."""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fusion.whole_file import whole_file

_log = logging.getLogger("fusion.demo")


@dataclass(frozen=True)
class StepRecord:
    """Result of a step, shown in the report and kept on disk."""

    name: str
    title: str
    seconds: float
    fingerprint: str
    facts: dict[str, Any]


class StepRunner:
    """Runs named steps in order and remembers each that finished.

    A step is run again when its settings or those of an earlier step changed, when one of its products is missing, or
    when ``resume`` is off. The record of a step is written after its work, so an interrupted step is not marked done.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder, self.resume = folder, resume
        self.records: list[StepRecord] = []
        self._chain = ""
        folder.mkdir(parents=True, exist_ok=True)

    def do(
        self,
        name: str,
        title: str,
        work: Callable[[], dict[str, Any] | None],
        *,
        settings: Any,
        products: tuple[Path, ...] = (),
    ) -> dict[str, Any]:
        """Run a step, or read its record; returns its facts (JSON values only)."""
        self._chain = hashlib.sha256(
            json.dumps([self._chain, name, settings], sort_keys=True, default=str).encode()
        ).hexdigest()
        number = len(self.records) + 1
        known = self._known(name)
        if known is not None and known.fingerprint == self._chain and all(p.exists() for p in products):
            _log.info("%d. %s: finished earlier (%.0f s), kept", number, title, known.seconds)
            self.records.append(known)
            return known.facts
        _log.info("%d. %s ...", number, title)
        begin = time.perf_counter()
        facts = work() or {}
        seconds = time.perf_counter() - begin
        missing = [str(p) for p in products if not p.exists()]
        if missing:
            raise RuntimeError(f"step {name!r} ended without its product {missing[0]}")
        record = StepRecord(name, title, round(seconds, 2), self._chain, facts)
        self._write(record)
        _log.info("%d. %s: %.0f s", number, title, seconds)
        self.records.append(record)
        return record.facts

    def _known(self, name: str) -> StepRecord | None:
        file = self.folder / f"{name}.json"
        if not (self.resume and file.is_file()):
            return None
        try:
            return StepRecord(**json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return None

    def _write(self, record: StepRecord) -> None:
        with whole_file(self.folder / f"{record.name}.json") as partial:
            partial.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
