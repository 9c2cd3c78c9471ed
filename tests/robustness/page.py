"""The text of ``docs/robustness.md``, from the tests that passed and the results in ``benchmarks/results``."""

import json
from typing import Any

from tests.drills.test_kills import COMMANDS, KILLS
from tests.properties.test_no_wrong_value import CASES, REACH_PX
from tests.properties.test_udf_fuzz import CASES as FUZZ_CASES
from tests.robustness.cells import KINDS, OPEN, PATHS, ROOT, entries, holds, node_of

PAGE = ROOT / "docs" / "robustness.md"
RESULTS = ROOT / "benchmarks" / "results"
HEAD = """# Robustness

Written by `make robustness` from a run of the tests that `tests/robustness/cells.yaml` lists. More measurements:
[Benchmarks](benchmarks.md); what is trusted: [Security](security.md).

A number: so many tests ran and passed. Each shows that the input is read right, counts as missing, or is refused by a
message. `-`: the kind cannot occur on this path. `open`: it can, and no test says what happens. `not shown`: no test of
the cell passed in the run. A test may count in several cells.
"""
DRILLS = {
    "killed commands": ("drills/kills::", "data_prep/patches::test_killed"),
    "full disk, folders that cannot be made": ("end_to_end/failed_writes::",),
    "files and sets cut off or half replaced": ("drills/finals::", "fusion/whole_file::"),
    "two runs, or threads, at once": ("drills/two_at_once::", "netcdf_threads::", "data_prep/patches::test_two"),
    "hostile or damaged models": ("drills/hostile_models::",),
    "code named in settings": ("drills/foreign_code::",),
    "damaged files, closed folders, silent servers": ("drills/messages::",),
}
NO_WRONG = "properties/no_wrong_value::test_a_fill_value_in_a_"
PROPERTIES = {
    "fill values in a merged cube (value, band, share)": NO_WRONG + "merged_cube",
    "fill values in a Sentinel-2 file (value, dtype, band, share)": NO_WRONG + "file_of_sentinel2",
    "fill values in a series for `seasons` (value, share)": NO_WRONG + "series",
    "any cube and context to the fusion UDF": "properties/udf_fuzz::test_fusion",
    "any cube and options to the phenology UDF": "properties/udf_fuzz::test_phenology",
}
VERDICTS = ("right", "images left out", "refused", "wrong", "wrong, some images")


def loaded(name: str) -> Any:
    """Results of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(head: list[str], rows: list[list[object]]) -> str:
    """A table in Markdown; numbers to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def matrix(passed: list[str]) -> str:
    """Kinds by paths."""
    rows: list[list[object]] = []
    for kind, cells in KINDS.items():
        row: list[object] = [kind]
        for path in PATHS:
            tests = cells.get(path, [])
            found = sum(any(holds(entry, node) for entry in tests) for node in passed)
            row.append((found or "not shown") if tests else "open" if path in OPEN[kind] else "-")
        rows.append(row)
    return table(["kind", *PATHS.values()], rows)


def count(passed: list[str], starts: tuple[str, ...]) -> int:
    """Passed tests of the entries that begin so."""
    tests = {node_of(entry) for entry in entries() if entry.startswith(starts)}
    return sum(node.partition("[")[0] in tests for node in passed)


def drills(passed: list[str]) -> str:
    """Drills and property tests with their numbers of tests and cases."""
    rows: list[list[object]] = [[name, count(passed, starts)] for name, starts in DRILLS.items()]
    cases: list[list[object]] = []
    for name, start in PROPERTIES.items():
        tests, each = count(passed, (start,)), FUZZ_CASES if "fuzz" in start else CASES.max_examples
        cases.append([name, tests, f"{tests * each:,}"])
    return f"""## Drills and property tests

{table(["drill", "tests passed"], rows)}
The kill drill kills each of {len(COMMANDS)} commands up to {KILLS} times in the second half of its time: no final file
is broken, the next run gives the result of an undisturbed one and leaves nothing behind. `predict` by regions is killed
at ten random moments: no finished region is computed again.

Property tests draw their cases by Hypothesis. A case fails where a number that nobody measured is used, or where an
error is no sentence of this project.

{table(["property", "tests passed", "cases drawn, at most"], cases)}
One bad pixel moves no result farther away than {REACH_PX} px, the reach of the features and of the network.
"""


def guards() -> str:
    """False alarms and detections of the guards of values and of the offset."""
    found = loaded("guards")
    masked = sum(found["values masked wrongly, by band"].values())
    kinds = found["sentinels, by band"].values()
    near = sum(got.get("within 0.1 of the neighbours", 0) for got in kinds)
    total = sum(sum(got.values()) for got in kinds)
    cases = found["offset, scenes by verdict"].items()
    rows: list[list[object]] = [[name, *(got.get(verdict, 0) for verdict in VERDICTS)] for name, got in cases]
    return f"""## False alarms and detections

*Simulated* scenes; `python -m benchmarks.guards`, `benchmarks/results/guards.json`.
Of {found["values seen"]:,} good values in {found["scenes"]} scenes {masked} were masked. Of {total:,} trials with a
sentinel in a merged cube {total - near:,} ended as missing; in {near} it was NDVI of 0 or 1 within 0.1 of the date
before or after, which stays.

Offset of baseline 04.00 of Sentinel-2: {found["scenes"]} scenes a case, by verdict.

{table(["case", *VERDICTS], rows)}"""


def satellites() -> str:
    """Steps between satellites of Sentinel-1."""
    rows: list[list[object]] = []
    for r in loaded("satellite_steps")["rows"]:
        step = "none" if r["change"] == "none" else f"{r['size']} {r['change']}"
        measured = r["change"] != "dB" and r["satellites"] != "alternating"
        place = r["place_found"] if measured else "not measured"
        rows.append([r["satellites"], step, r["cubes"], r["level_found"], place, r["level_left_db"]])
    return f"""## Steps between Sentinel-1 satellites

*Simulated* cubes; `python benchmarks/satellite_steps.py`, `benchmarks/results/satellite_steps.json`. `change`: at one
date all orbits change the satellite; `alternating`: both take turns; `unknown`: a change, and the images do not tell
the satellite. Finds in rows without a step, and of level in rows of pixels, are false alarms.

{table(["satellites", "step", "cubes", "level found", "place found", "level left, dB"], rows)}"""


def constellation() -> str:
    """What gaps and steps in the constellation cost."""
    found = loaded("constellation")
    change: dict[str, dict[str, str]] = {}
    for r in found["rows"]:
        name, _, kind = r["constellation"].partition(", ")
        change.setdefault(name, {})[kind or "as it is"] = f"{r['change_percent']:+.1f} % ({r['mae']:.4f})"
    rows: list[list[object]] = [[name, got["as it is"], got.get("levelled", "-")] for name, got in change.items()]
    return f"""## Constellation

*Simulated* hold-out, shipped weights, {found["scenes"]} scenes of {found["size"]} x {found["size"]} px;
`python benchmarks/constellation.py`, `benchmarks/results/constellation.json`. The goal is less than 2 % more error,
except where data are missing.

{table(["constellation", "change of MAE (MAE), as it is", "levelled by `cube`, passes by the graph"], rows)}"""


def limits() -> str:
    """What the guards do not find, from the same results."""
    offset, steps = loaded("guards")["offset, scenes by verdict"], loaded("satellite_steps")["rows"]
    lone, silent = offset["fault: one image in twenty holds it, no flag"], offset["right: across 2022, no flag"]
    plain = offset["right: from 2022 on, removed, no flag"]
    change = [r for r in steps if r["satellites"] == "change" and r["change"] == "dB"]
    found = ", ".join(f"{r['level_found']} of {r['cubes']} at {r['size']} dB" for r in change)
    rows = {r["constellation"]: r["change_percent"] for r in loaded("constellation")["rows"]}
    return f"""## Limits

- One image in twenty that still holds the offset, without a flag: not found in {lone["wrong, some images"]} of 100.
- Series without a flag: {plain["refused"]} of 100 right scenes are refused, {plain["images left out"]} lose images;
  across 2022 {silent["refused"]} are refused and {silent["wrong"]} is wrong in silence. `source.s2_offset_dn` decides.
- An offset that is still in the numbers cannot be told from NDVI. The fusion UDF finds one that was removed twice.
- NDVI of exactly 0, 1 or -1 stays where the date before or after is within 0.1.
- A step of level at one date is not removed ({found}).
  It cannot be told from weather on 64 x 64 px; it is named with its sigma.
- Not told from right input: a coarse NDVI of another scale within 0.2 of Sentinel-2, latitude and longitude exchanged
  where both are latitudes and no attribute says so, the CRS of another projection, a constant floor of radar above
  -50 dB in a merged cube (in raw files it is masked).
- Named only: NDVI above 0.5 all year ((NDVI + 1) / 2, or evergreen forest), and VV and VH that lie as amplitudes do.
- The process graph levels ascending against descending passes where the target tells them apart (not on Terrascope);
  it levels no relative orbits and no satellites.
- Error grows by {rows["one S2 satellite missing"]:+.1f} % with one Sentinel-2 satellite missing.
- Small sample: {loaded("constellation")["scenes"]} scenes of the constellation. All measurements here are simulated.
"""


def page(passed: list[str], missing: list[str]) -> str:
    """The whole page, of the tests that passed and of the entries that failed or did not run."""
    parts = [HEAD, matrix(passed), drills(passed), guards(), satellites(), constellation(), limits()]
    if missing:
        tests = dict.fromkeys(node_of(entry).removeprefix("tests/") for entry in missing)
        parts.append("Failed or not run in this run: " + ", ".join(f"`{test}`" for test in tests) + ".\n")
    return "\n".join(parts)
