"""Steps between Sentinel-1 satellites on simulated cubes: how often found, how often without cause, what is left.

``python benchmarks/satellite_steps.py [--cubes 100]`` prints a table; ``benchmarks/results/satellite_steps.json``.

Each cube: 64 x 64 px, 400 days, one or two orbits. ``change``: at a date within the middle third all orbits change
their satellite from S1A to S1C. ``alternating``: both take turns. ``unknown``: a change, and the images do not tell the
satellite. The second satellite's images are higher or lower by a step in both bands, or lie off in a random direction
(cubic interpolation). Place is measured in the rows of shifts and where nothing changes.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_prep import satellites
from data_prep.satellites import even_out
from data_prep.simulator.scene import simulate_parts
from data_prep.simulator.settings import SceneSettings

SIDE, DAYS = 64, 400
CHANGES = (("none", 0.0), *(("dB", v) for v in (0.5, 1.0, 2.0)), *(("px", v) for v in (0.5, 1.0, 2.0)))


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Days, orbits and images (n, SIDE, SIDE) in dB of a simulated scene."""
    parts = simulate_parts(SceneSettings(height=SIDE, width=SIDE, n_days=DAYS), seed)
    assert parts.radar is not None
    days = parts.weather.days[parts.radar.index]
    orbits = np.array([f"ascending {k + 1}" for k in parts.radar.orbit])
    return days, orbits, {"VV": parts.radar.vv_db, "VH": parts.radar.vh_db}


def changed(images: np.ndarray, late: np.ndarray, kind: str, size: float, direction: tuple[float, float]) -> np.ndarray:
    """Images of which those flagged ``late`` are shifted or have another level."""
    out = images.copy()
    if kind == "dB":
        out[late] += np.float32(size * np.sign(direction[0]))
    if kind == "px":
        out[late] = ndimage.shift(out[late], (0, *(size * d for d in direction)), order=3, mode="nearest")
    return out


def judged(days, orbits, images, late, names, kind, size, direction, *, place: bool) -> dict:
    """What is found, and the error that is left in level, of one cube."""
    coords = {"t": days.astype("datetime64[D]").astype("datetime64[ns]"), "platform": ("t", names)}
    bands = {
        band: xr.DataArray(changed(values, late, kind, size, direction), dims=("t", "y", "x"), coords=coords)
        for band, values in images.items()
    }
    notes: list[str] = []
    satellites.MIN_SIDE_PX = 32 if place else SIDE + 1  # place takes most of the time, and steps do not change it
    out = even_out(bands, orbits, "level", notes)
    text = " ".join(note for note in notes if "not compared better" not in note)
    left = [float(np.nanmedian(out[b].values[late] - images[b][late])) for b in out]
    return {"level": "dB" in text, "place": "px right" in text, "left": float(np.mean(np.abs(left)))}


def of_seed(seed: int) -> list[tuple[tuple, dict]]:
    """All cases of one cube."""
    days, orbits, images = scene(seed)
    rng = np.random.default_rng(seed)
    cut = days[0] + rng.uniform(0.35, 0.65) * (days[-1] - days[0])
    angle = rng.uniform(0, 2 * np.pi)
    direction = (float(np.cos(angle)), float(np.sin(angle)))
    turn = np.zeros(len(days), bool)
    for orbit in np.unique(orbits):
        turn[np.flatnonzero(orbits == orbit)[1::2]] = True
    cases = []
    kinds = {"change": ("none", "dB", "px"), "alternating": ("none", "dB"), "unknown": ("none", "px")}
    for labels, flag in (("change", days > cut), ("alternating", turn), ("unknown", days > cut)):
        names = np.where(flag, "S1C", "S1A") if labels != "unknown" else np.full(len(days), "unknown")
        for kind, size in CHANGES:
            if kind in kinds[labels]:
                place = kind != "dB" and labels != "alternating"
                one = judged(days, orbits, images, flag, names, kind, size, direction, place=place)
                cases.append(((labels, kind, size), one))
    return cases


def rows_of(found: dict[tuple, list[dict]]) -> list[dict]:
    """One row per change and kind of labels."""
    rows = []
    for (labels, kind, size), cases in found.items():
        level, place = (sum(c[what] for c in cases) for what in ("level", "place"))
        left = round(float(np.median([c["left"] for c in cases])), 3)
        rows.append(
            {"satellites": labels, "change": kind, "size": size, "cubes": len(cases), "level_found": level,
             "place_found": place, "level_left_db": left}
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cubes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "satellite_steps.json")
    args = parser.parse_args()
    found: dict[tuple, list[dict]] = {}
    for done in range(1, args.cubes + 1):
        for key, one in of_seed(args.seed + done - 1):
            found.setdefault(key, []).append(one)
        if done % 10 == 0 or done == args.cubes:
            rows = rows_of(found)
            args.out.write_text(json.dumps({"seed": args.seed, "rows": rows}, indent=1) + "\n")
    print("satellites   change      level found  place found  level left")
    for r in rows:
        change = "none" if r["change"] == "none" else f"{r['size']} {r['change']}"
        print(
            f"{r['satellites']:12s} {change:10s} {r['level_found']:6d} of {r['cubes']} {r['place_found']:6d} "
            f"{r['level_left_db']:10.2f} dB"
        )


if __name__ == "__main__":
    main()
