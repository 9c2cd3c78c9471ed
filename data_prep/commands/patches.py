"""`ndvi-fusion patches`: cut merged cubes or simulated scenes into a patch store, in parallel, resumable."""

import functools
import importlib.metadata
import itertools
import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.commands.settings import PatchesSettings
from data_prep.farm import marker_of, only_run, pending, read_marker, run_all, write_marker
from data_prep.patches import CutSettings, Task, cut_patches, plan
from data_prep.raw.cubes import SourceError
from data_prep.split import Ground, SplitSettings, leaks
from data_prep.statistics import add, patch_statistics, summary
from fusion.data.patch import Patch, StoreError
from fusion.data.store import PatchStore, create_store, write_patch
from fusion.extras import needs_all
from fusion.progress import Progress
from fusion.whole_file import write_json

log = logging.getLogger(__name__)

_TASKS = ".tasks"


def run(settings: PatchesSettings) -> None:
    """List the tasks, run those not finished, check the splits for leakage, write the manifest."""
    _refuse_missing(settings)
    tasks = plan(settings.source, settings.cut)
    with only_run(settings.out):
        store, todo = _prepare_store(settings, tasks)
        if len(todo) < len(tasks):
            log.info("%d of %d tasks are already finished", len(tasks) - len(todo), len(tasks))
        work = functools.partial(do_task, store=store, cut=settings.cut, split=settings.split)
        done = itertools.count(1)
        with Progress("patches") as report:
            failed = run_all(
                todo, work, workers=min(settings.workers, len(todo)), scheduler=settings.scheduler,
                on_error=settings.on_error, on_done=lambda *_: report(next(done), len(todo)),
            )  # fmt: skip
        _finish(store, settings, tasks, failed)


def _refuse_missing(settings: PatchesSettings) -> None:
    """Before there is a store: refuse what the scenes and the processes need and is not installed."""
    of = {"numba": " of simulated scenes"} if settings.source.kind == "simulated" else {}
    if settings.workers > 0 or settings.scheduler is not None:
        of["distributed"] = " in several processes (workers > 0)"
    needs_all(of, f"making patches{''.join(of.values())}")


def do_task(task: Task, *, store: Path, cut: CutSettings, split: SplitSettings) -> dict[str, Any]:
    """Cut and write the patches of one task, then its marker; returns the content of the marker."""
    import dask

    keys: list[str] = []
    reasons: Counter[str] = Counter()
    total: dict[str, Any] = {}
    with dask.config.set(scheduler="synchronous"):
        for patch in cut_patches(task, cut, split):
            if isinstance(patch, Patch):
                write_patch(store, patch)
                keys.append(patch.key)
                total = add(total, patch_statistics(patch))
            else:
                reasons[patch] += 1
    result = {"keys": keys, "left_out": dict(reasons), "statistics": total}
    write_marker(store / _TASKS, task, result)
    return result


def _recipe(settings: PatchesSettings) -> dict[str, Any]:
    recipe = {name: getattr(settings, name).model_dump(mode="json") for name in ("cut", "split")}
    return {**recipe, "kind": settings.source.kind}


def _prepare_store(settings: PatchesSettings, tasks: list[Task]) -> tuple[Path, list[Task]]:
    """Store path and unfinished tasks. ``overwrite`` deletes first; otherwise all checks come before any change."""
    if settings.overwrite:
        _delete_store(settings.out)
    store = create_store(settings.out, {"recipe": _recipe(settings)})
    found = json.loads((store / "zarr.json").read_text())["attributes"].get("recipe")
    if found != _recipe(settings):
        changed = sorted(k for k in _recipe(settings) if (found or {}).get(k) != _recipe(settings)[k])
        raise StoreError(
            f"{store} was made with other settings ({', '.join(changed)} differ); set overwrite=true "
            "or choose another out"
        )
    todo = pending(tasks, store / _TASKS)
    (store / "manifest.json").unlink(missing_ok=True)
    _clear_partial(store)
    return store, todo


def _delete_store(store: Path) -> None:
    if not store.exists():
        return
    if not (store / "zarr.json").is_file():
        raise StoreError(f"{store} is not a patch store; overwrite=true deletes only patch stores; choose another out")
    old = store.with_name(f".{store.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    store.rename(old)
    shutil.rmtree(old)


def _clear_partial(store: Path) -> None:
    shutil.rmtree(store / ".partial", ignore_errors=True)
    (store / ".partial").mkdir(exist_ok=True)


def _finish(store: Path, settings: PatchesSettings, tasks: list[Task], failed: list[tuple[str, str]]) -> None:
    results = [t for task in tasks if (t := read_marker(marker_of(store / _TASKS, task))) is not None]
    left_out: Counter[str] = Counter()
    total: dict[str, Any] = {}
    for one in results:
        left_out.update(one["left_out"])
        total = add(total, one["statistics"])
    opened = PatchStore.open(store)
    if not len(opened):
        why = "; ".join(f"{n} windows: {reason}" for reason, n in left_out.most_common(4))
        more = f"; {len(failed)} inputs failed, first: {': '.join(failed[0])}" if failed else ""
        raise SourceError(
            f"{store} contains no patch ({why or 'no window was cut'}{more}); "
            "reduce cut.min_observations or change the split"
        )
    placed = zip(opened.keys, opened.facts, strict=True)
    found = leaks((key, fact["split"], ground) for key, fact in placed if (ground := _ground(fact)))
    if found:
        raise StoreError(
            f"{len(found)} pairs of patches of different splits overlap, first: {found[0]}; "
            "assign overlapping cubes to the same split in split.sites"
        )
    write_json(store / "manifest.json", _manifest(opened, settings, total, left_out, failed))
    counts = Counter(f["split"] for f in opened.facts)
    log.info("%s: %d patches (%s)", store, len(opened), ", ".join(f"{s} {n}" for s, n in sorted(counts.items())))
    for reason, n in left_out.most_common():
        log.info("%d windows left out: %s", n, reason)
    for split in ("train", "calibration", "test"):
        if not counts[split]:
            log.warning(
                "split %s is empty, probably because of few blocks or sites; set split.sites or another split.seed",
                split,
            )


def _ground(facts: dict[str, Any]) -> Ground | None:
    box = facts["extra"].get("ground")
    return None if box is None else Ground(*box)


def _manifest(
    store: PatchStore, settings: PatchesSettings, total: dict[str, Any], left_out: Counter[str],
    failed: list[tuple[str, str]],
) -> dict[str, Any]:  # fmt: skip
    facts = store.facts
    extents: dict[str, list[float]] = {}
    for fact in facts:
        crs, box = fact["extra"].get("crs"), fact["extra"].get("bounds")
        if crs and box:
            old = extents.get(crs, box)
            extents[crs] = [min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3])]
    firsts = sorted(f["extra"]["first"] for f in facts if "first" in f["extra"])
    lasts = sorted(f["extra"]["last"] for f in facts if "last" in f["extra"])
    return {
        "patches": len(store),
        "patches_by_split": dict(Counter(f["split"] for f in facts)),
        "patches_by_year": {str(y): n for y, n in sorted(Counter(f["year"] for f in facts).items())},
        "sites": len({f["site"] for f in facts}),
        "sources": sorted({f["extra"].get("source", "unknown") for f in facts}),
        "extents": extents,
        "dates": [firsts[0], lasts[-1]] if firsts else None,
        "left_out": dict(left_out),
        "failed": [{"name": name, "reason": reason} for name, reason in failed],
        "statistics": summary(total),
        "content_sha256": store.content_hash(),
        "recipe": _recipe(settings),
        "source": settings.source.model_dump(mode="json"),
        "versions": {name: _version(name) for name in ("ndvi-fusion", "numpy", "xarray", "zarr")},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
