"""The table of facts about the back-ends names tests that exist."""

import re
from pathlib import Path

from udf.targets import load_target

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
    text = PAGE.read_text(encoding="utf-8").partition("## Which code ran what")[0]
    rows = [r for r in text.splitlines() if r.startswith("| ")]
    facts = [r for r in rows if not re.match(r"\| (fact|what was done|what it lacks)", r)]
    assert len(facts) > 40
    assert all("`test_" in r.split(" | ")[-1] for r in facts)


def test_every_name_that_a_back_end_must_know_is_registered_with_a_date() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Registered names")[2]
    rows = re.findall(
        r"^\| (cdse|terrascope) \| (\w+) \| `([^`]+)` \| .+ \| (\d{4}-\d\d-\d\d|-) \|$", table, re.MULTILINE
    )
    found = {row[:3] for row in rows}
    wanted = set()
    for name in ("cdse", "terrascope"):
        target = load_target(name)
        for key in ("connection", "platform", "s2_collection", "s1_collection", "s1_pass_property"):
            wanted.add((name, key, getattr(target, key)))
        wanted.add((name, "s1_satellite_property", target.s1_satellite_property))
        wanted |= {(name, "coarse", source.collection) for source in target.coarse}
    assert found == {row for row in wanted if row[2] is not None}
