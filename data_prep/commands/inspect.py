"""`ndvi-fusion inspect`: validate a patch store or a merged cube and summarise its content."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)

from data_prep.commands.settings import InspectSettings
from data_prep.contact_sheet import contact_sheet
from data_prep.split import Ground, leaks
from data_prep.statistics import add, patch_statistics, summary
from fusion.contract import CUBE_BANDS, NDVI, S2NDVI, check_cube
from fusion.data.cube_files import is_cube_file, read_cube
from fusion.data.patch import SPLITS, StoreError
from fusion.data.store import PatchStore, read_patch
from fusion.extras import needs_all
from fusion.layout import with_roles

log = logging.getLogger(__name__)


def run(settings: InspectSettings) -> Any:
    """Validate, draw the contact sheet if requested, and return a table to print.

    Raises
    ------
    StoreError, fusion.contract.ContractError
        Damaged patches, leakage between splits, or a cube that violates the contract; the message names the items.
    """
    if settings.store.suffix == ".nc" or any(is_cube_file(settings.store, band) for band in (S2NDVI, NDVI)):
        if settings.sheet is not None:
            raise StoreError(f"{settings.store} is a cube; contact sheets require a patch store; remove sheet")
        return _cube_table(settings.store)
    if settings.sheet is not None:
        needs_all(["matplotlib"], "sheet=FILE")
    store = PatchStore.open(settings.store)
    if not len(store):
        raise StoreError(f"{settings.store} contains no patch; complete it with `ndvi-fusion patches`")
    damaged, total = _check_patches(store, settings.verify)
    leaking = _leaking(store)
    if settings.sheet is not None:
        chosen = np.unique(np.linspace(0, len(store) - 1, settings.sheet_patches).astype(int))
        sheet = contact_sheet(
            [store[int(i)] for i in chosen], settings.sheet, f"{store.path.name}: {len(store)} patches"
        )
        log.info("contact sheet: %s", sheet)
    if damaged or leaking:
        lines = [*damaged[:10], *(f"{a} and {b} overlap but belong to different splits" for a, b in leaking[:10])]
        raise StoreError(f"{settings.store}: {len(damaged)} damaged patches, {len(leaking)} leaks\n" + "\n".join(lines))
    return _store_table(store, total, verified=settings.verify)


def _check_patches(store: PatchStore, verify: bool) -> tuple[list[str], dict[str, Any]]:
    damaged: list[str] = []
    total: dict[str, Any] = {}
    for key in store.keys if verify else ():
        try:
            patch = read_patch(store.path, key, verify=True)
        except StoreError as error:
            damaged.append(str(error))
            continue
        total = add(total, patch_statistics(patch))
    manifest = store.manifest
    if manifest and manifest["content_sha256"] != store.content_hash():
        damaged.append(
            f"the manifest lists {manifest['patches']} patches, which are not the {len(store)} found; run patches again"
        )
    return damaged, total


def _leaking(store: PatchStore) -> list[tuple[str, str]]:
    placed = [
        (key, fact["split"], Ground(*fact["extra"]["ground"]))
        for key, fact in zip(store.keys, store.facts, strict=True)
        if "ground" in fact["extra"]
    ]
    sites: dict[str, set[str]] = {}
    for fact in store.facts:
        if "ground" not in fact["extra"]:
            sites.setdefault(fact["site"], set()).add(fact["split"])
    return leaks(placed) + [(site, "itself") for site, splits in sites.items() if len(splits) > 1]


def _table(title: str) -> Any:
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    return table


def _store_table(store: PatchStore, total: dict[str, Any], *, verified: bool) -> Any:
    manifest = store.manifest
    stats = summary(total) if total else manifest.get("statistics", {})
    table = _table(f"{store.path}")
    state = "finished" if manifest else "incomplete: no manifest, run patches again to complete it"
    table.add_row("state", state + (", all hashes checked" if verified else ", hashes not checked"))
    table.add_row("patches", f"{len(store)} of {' x '.join(map(str, store.facts[0]['shape']))} px")
    table.add_row("splits", ", ".join(f"{s} {len(store.indices(s))}" for s in SPLITS) + "; no overlap between splits")
    years = [f["year"] for f in store.facts]
    table.add_row("years", ", ".join(f"{y} ({years.count(y)})" for y in sorted(set(years))))
    table.add_row(
        "sites", f"{len({f['site'] for f in store.facts})} from {', '.join(manifest.get('sources', []))[:80] or '?'}"
    )
    for name, part in stats.get("layers", {}).items():
        if part["count"]:
            text = f"mean {part['mean']:.3f}, std {part['std']:.3f}, 5 % {part['p5']:.2f}, 95 % {part['p95']:.2f}"
        else:
            text = "absent"
        table.add_row(name, text)
    if stats:
        table.add_row("clear", f"{100 * stats['s2_clear_share']:.1f} % of the Sentinel-2 pixel-dates")
        table.add_row("gaps, days", _gap_text(stats))
    if manifest.get("left_out"):
        table.add_row("left out", "; ".join(f"{n} windows: {reason}" for reason, n in manifest["left_out"].items()))
    if manifest.get("failed"):
        table.add_row("failed", "; ".join(f"{f['name']}: {f['reason']}" for f in manifest["failed"][:5]))
    table.add_row("content", store.content_hash()[:16])
    return table


def _gap_text(stats: dict[str, Any]) -> str:
    edges, counts = stats["gap_edges_d"], np.asarray(stats["gaps"], float)
    share = 100 * counts / max(1.0, counts.sum())
    return ", ".join(f"{a}-{b}: {s:.0f} %" for a, b, s in zip(edges[:-1], edges[1:], share, strict=True) if s >= 0.5)


def _cube_table(path: Path) -> Any:
    cube = with_roles(read_cube(path))
    check_cube(cube)
    table = _table(str(path))
    days = cube.t.values.astype("datetime64[D]")
    table.add_row("state", "complies with the contract of a merged cube")
    table.add_row("dates", f"{len(days)}, {days[0]}..{days[-1]}")
    table.add_row("area", f"{cube.sizes['y']} x {cube.sizes['x']} px, {cube.rio.crs}")
    table.add_row("s1_units", str(cube.attrs.get("s1_units", "not stated")))
    for band in map(str, cube.bands.values):
        values = cube.sel(bands=band).values
        valid = np.isfinite(values)
        dates = valid.any(axis=(1, 2))
        if not dates.any():
            table.add_row(band, "empty")
            continue
        text = f"{int(dates.sum())} dates, {100 * valid[dates].mean():.0f} % of their pixels"
        low, middle, high = np.nanpercentile(values, (1, 50, 99))
        table.add_row(band, f"{text}, 1 % {low:.2f}, median {middle:.2f}, 99 % {high:.2f}")
        if band == S2NDVI:
            gaps = np.diff(days[dates].astype(int))
            table.add_row("longest gap", f"{gaps.max() if len(gaps) else 0} days without a clear pixel")
    missing = [b for b in CUBE_BANDS if b not in map(str, cube.bands.values)]
    if missing:
        table.add_row("absent", ", ".join(missing))
    return table
