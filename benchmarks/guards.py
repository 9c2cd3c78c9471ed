"""False alarms and detections of the guards on simulated scenes: impossible values, and the offset of Sentinel-2.

``python -m benchmarks.guards [--scenes 100]`` writes ``benchmarks/results/guards.json``. A false alarm masks, leaves
out or refuses something in a scene without a fault. A fault is missed where a wrong number is used without a word.
"""

import argparse
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings, reflectance
from data_prep.optical_offset import BASELINE_DAY, decide_offsets, offset_evidence
from data_prep.raw.bands import RawBand
from data_prep.raw.cubes import RawCubes, SourceError
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.settings import SceneSettings
from fusion.contract import CUBE_BANDS, ContractError, ndvi_marks
from fusion.features.measured import measured_cube
from fusion.whole_file import write_json

OUT = Path(__file__).parent / "results" / "guards.json"
SCENE = SceneSettings(height=32, width=32, n_days=365)
CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))
SENTINELS = (-9999.0, -32768.0, 0.0, 1.0, 255.0, 32767.0, 65535.0, 1e20, float("inf"))
SHARES = (0.0, 0.01, 0.3)  # 0: one pixel of one date
AFTER = np.datetime64("2022-02-01")


def digital_numbers(s2: xr.Dataset) -> dict[str, xr.DataArray]:
    """Red and near infrared as uint16 of Sen2Cor, which writes what it corrected to 0 or below as 1, kept apart."""
    return {band: (s2[band].fillna(0) * 1e4).round().clip(2, 60_000) for band in ("B04", "B08")}


def value_alarms(raw: RawCubes, cube: xr.DataArray) -> dict[str, int]:
    """Values that the guards take out of a scene without a fault, per band."""
    clean = measured_cube(cube)
    lost = {
        str(band): int((cube.sel(bands=band).notnull() & clean.sel(bands=band).isnull()).sum())
        for band in cube.bands.values
    }
    for band, numbers in digital_numbers(raw.s2).items():
        told = RawBand(band, Path("scene"), numbers.rio.write_crs(raw.s2.rio.crs), np.dtype("uint16"), False, {})
        found = reflectance(told, scale=None, offset_dn=0, notes=[])
        lost[band] = int(found.isnull().sum())
    return lost


def value_faults(cube: xr.DataArray, rng: np.random.Generator) -> dict[str, Counter]:
    """What becomes of sentinels in a merged cube, by band."""
    found: dict[str, Counter] = {}
    for band in CUBE_BANDS:
        k = [str(b) for b in cube.bands.values].index(band)
        seen = np.isfinite(cube.values[:, k])
        for value in SENTINELS:
            for share in SHARES:
                where = seen & (rng.random(seen.shape) < share)
                if not where.any():
                    where.flat[rng.choice(np.flatnonzero(seen))] = True
                dirty = cube.copy(deep=True)
                dirty.values[:, k][where] = value
                tally = found.setdefault(band, Counter())
                try:
                    got = measured_cube(dirty).values[:, k][where]
                except ContractError:
                    tally["refused"] += 1
                    continue
                left = np.isfinite(got)
                agrees = value in (0.0, 1.0) and not ndvi_marks(dirty.values[:, k])[where][left].any()
                tally["missing" if not left.any() else "within 0.1 of the neighbours" if agrees else "missed"] += 1
    return found


def offset_cases(days: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray, list]]:
    """Per case: dates, whether each image holds the offset, and what its metadata say."""
    n = len(days)
    early, late = days - (days[-1] - AFTER) - 120, days - days[0] + AFTER
    across = days - days[n // 2] + BASELINE_DAY
    every, none = np.ones(n, bool), np.zeros(n, bool)
    after = across >= BASELINE_DAY
    return {
        "right: before 2022, removed, no flag": (early, none, [None] * n),
        "right: from 2022 on, removed, no flag": (late, none, [None] * n),
        "right: from 2022 on, held, flagged": (late, every, [-1000] * n),
        "right: across 2022, flagged": (across, after, [-1000 if a else 0 for a in after]),
        "right: across 2022, no flag": (across, after, [None] * n),
        "right: Collection-1 before 2022, flagged": (early, every, [-1000] * n),
        "fault: held, no flag": (late, every, [None] * n),
        "fault: held, flagged as removed": (late, every, [0] * n),
        "fault: removed, flagged as held": (late, none, [-1000] * n),
        "fault: Collection-1 before 2022, no flag": (early, every, [None] * n),
        "fault: half of the images hold it, no flag": (late, rng.random(n) < 0.5, [None] * n),
        "fault: one image in twenty holds it, no flag": (late, np.arange(n) % 20 == 7, [None] * n),
    }


def offset_verdict(s2: xr.Dataset, dates: np.ndarray, held: np.ndarray, said: list) -> str:
    """right, refused, left out (images), or wrong."""
    plain = digital_numbers(s2)
    added = xr.DataArray(np.where(held, 1000, 0).astype(np.float32), dims="t")
    red, nir = (values.assign_coords(t=dates.astype("datetime64[ns]")) + added for values in plain.values())
    red, nir = red.rio.write_crs(s2.rio.crs), nir.rio.write_crs(s2.rio.crs)
    classes = s2.SCL.assign_coords(t=red.t).rio.write_crs(s2.rio.crs)
    evidence = offset_evidence(red, nir, classes)
    try:
        offsets = decide_offsets(red.t.values, evidence, said, "auto", "scene", [])
    except SourceError:
        return "refused"
    used = np.isfinite(offsets)
    if (offsets[used] != np.where(held, -1000, 0)[used]).any():
        return "wrong, some images" if (offsets == np.where(held, -1000, 0)).mean() > 0.5 else "wrong"
    return "right" if used.all() else "images left out"


def measure(scenes: int) -> dict[str, object]:
    """All rates."""
    alarms: Counter = Counter()
    values: Counter = Counter()
    faults: dict[str, Counter] = {}
    offsets: dict[str, Counter] = {}
    observed = 0
    for seed in range(scenes):
        rng = np.random.default_rng(seed)
        raw = simulate_raw(SCENE, seed).raw
        cube = build_cube(raw, CLEAR).transpose("t", "bands", "y", "x").compute()
        lost = value_alarms(raw, cube)
        values.update(lost)
        alarms.update({band: int(count > 0) for band, count in lost.items()})
        observed += int(cube.notnull().sum())
        if set(CUBE_BANDS) <= set(map(str, cube.bands.values)) and seed < scenes // 10:
            for band, tally in value_faults(cube, rng).items():
                faults.setdefault(band, Counter()).update(tally)
        days = raw.s2.t.values.astype("datetime64[D]")
        for case, (dates, held, said) in offset_cases(days, rng).items():
            offsets.setdefault(case, Counter())[offset_verdict(raw.s2, dates, held, said)] += 1
    return {
        "scenes": scenes,
        "values seen": observed,
        "scenes with a value masked wrongly, by band": dict(alarms),
        "values masked wrongly, by band": dict(values),
        "sentinels, by band": {band: dict(tally) for band, tally in faults.items()},
        "sentinels, scenes": scenes // 10,
        "offset, scenes by verdict": {case: dict(tally) for case, tally in offsets.items()},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    print(json.dumps(json.loads(write_json(given.out, measure(given.scenes)).read_text()), indent=1))


if __name__ == "__main__":
    main()
