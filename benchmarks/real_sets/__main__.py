"""``python -m benchmarks.real_sets DATA OUT``: a patch store of every real set to learn from.

Three quarters of the groups of a set (plots, fields, places) are its training split; the quarter that
:func:`data_prep.split.held_quarter` keeps, by name, is for calibration and validation. Stores that are complete stay.
"""

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.real_sets import no_red, vietnam
from benchmarks.real_sets.series import RealPatch
from data_prep.commands.patches import PatchesSettings
from data_prep.commands.patches import run as make_store
from data_prep.settings import TablePatches
from data_prep.split import SplitSettings, split_of_group
from fusion.data.patch import Patch
from fusion.data.store import PatchStore, create_store, write_patch
from fusion.whole_file import write_json

LEAST_OBSERVATIONS = 8
SNOW = "not (ndvi < {below} and (date.dt.month <= 3 or date.dt.month >= 11))"  # snow counts as clear in these tables
TABLES: dict[str, dict] = {
    "grassland_slovakia": {
        "where": f"cloud_score > 0.75 and {SNOW.format(below=0.25)}",
        "group_pattern": "^[^_]+",  # a plot has one sample a year
    },
    "points_france_2023": {"where": "red < 0.3", "shift_days": 5},  # dekads are dated by their first day
    "points_flanders_2021": {"where": "red < 0.3", "shift_days": 5},
    "fields_bavaria_2018": {"where": f"cloud_fraction < 0.1 and red < 0.3 and {SNOW.format(below=0.2)}"},
    "fields_central_asia_2016": {"where": "cloud_fraction < 0.1 and red < 0.35"},
}
READERS: dict[str, Callable[[Path], Iterator[RealPatch]]] = {
    vietnam.NAME: vietnam.read,
    "no_red_flanders": partial(no_red.read, cube=no_red.FLEMISH),
    "no_red_tanzania": partial(no_red.read, cube=no_red.TANZANIA),
}


def write_table(data: Path, name: str, store: Path) -> None:
    """Make the store of a table with the ordinary command."""
    source = TablePatches(table=data / name / "series.parquet", name=name, **TABLES[name])
    make_store(PatchesSettings(source=source, out=store, workers=0))


def write_set(name: str, patches: Iterator[RealPatch], store: Path) -> None:
    """Make the store of a set that is no table; like ``patches`` it writes the manifest last."""
    create_store(store, {"set": name})
    for patch in patches:
        obs = patch.observations
        if len(obs.s2_days) < LEAST_OBSERVATIONS:
            continue
        first, last = (str(obs.s2_days[k].astype("datetime64[D]")) for k in (0, -1))
        split = split_of_group(name, patch.group, SplitSettings())
        extra = {"source": name, "group": patch.group, "first": first, "last": last}
        key = f"{name}_{patch.name}"
        write_patch(store, Patch(obs, split, f"{name}:{patch.group}", int(first[:4]), key, extra=extra))
    opened = PatchStore.open(store)
    counts = Counter(fact["split"] for fact in opened.facts)
    facts = {"patches": len(opened), "patches_by_split": dict(counts), "content_sha256": opened.content_hash()}
    write_json(store / "manifest.json", {**facts, "sources": [name], "sites": len({f["site"] for f in opened.facts})})


def main() -> None:
    """Make the stores that are missing or incomplete, and print what each holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the real sets")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the stores, NAME.zarr")
    arguments = parser.parse_args()
    logging.getLogger("data_prep").setLevel(logging.ERROR)
    for name in (*TABLES, *READERS):
        store = arguments.out / f"{name}.zarr"
        if not (store / "manifest.json").is_file():
            if name in TABLES:
                write_table(arguments.data, name, store)
            else:
                write_set(name, READERS[name](arguments.data), store)
        counts = Counter(fact["split"] for fact in PatchStore.open(store).facts)
        print(f"{store}: {', '.join(f'{split} {n}' for split, n in sorted(counts.items()))}", flush=True)


if __name__ == "__main__":
    main()
