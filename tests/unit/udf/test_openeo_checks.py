"""The table of facts about the back-ends names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "openeo_checks.md"


def test_every_test_of_the_table_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    places = dict(re.findall(r"`(\w+)` is\s+`(tests/[\w/]+\.py)`", text))
    assert len(places) == 7
    checked = 0
    for line in text.splitlines():
        if not line.startswith("| ") or "`test_" not in line:
            continue
        file = None
        for word, quoted in re.findall(r"(\b\w+\b)|`([^`]+)`", line.split(" | ")[-1]):
            if word in places or quoted.endswith(".py"):
                file = ROOT / (places.get(word) or quoted)
            elif quoted.startswith("test_"):
                assert file is not None, line
                assert f"def {quoted}(" in file.read_text(encoding="utf-8"), f"{file.name} lacks {quoted}"
                checked += 1
    assert checked > 80


def test_every_fact_has_a_test() -> None:
    rows = [r for r in PAGE.read_text(encoding="utf-8").splitlines() if r.startswith("| ")]
    facts = [r for r in rows if not re.match(r"\| (fact|what was done|what it lacks)", r)]
    assert len(facts) > 40
    assert all("`test_" in r.split(" | ")[-1] for r in facts)
