"""Main season of a year by periods that begin and end differently, and QFLAG with and without observation counts.

``NDVI_FUSION_REAL_DATA=... python benchmarks/season_years.py`` prints the tables and writes
``benchmarks/results/season_years.json``. Input: a simulated scene of two years (July 2018 to June 2020, 64 x 64 pixels,
crops, grass and forest of the northern mid-latitudes), and ``belgium_2019`` where it is there; both fused with the
shipped model. Nothing is compared with withheld observations, so no accuracy of the model is measured here.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import fusion
from data_prep.cube import open_cube
from fusion.cli.app import main
from fusion.contract import OBS_COUNT
from fusion.data.cube_files import read_cube
from fusion.whole_file import write_json

RESULT = Path(__file__).parent / "results" / "season_years.json"
YEAR = 2019
PERIODS = {
    "simulated": (
        (None, None), ("2018-07-01", "2019-12-31"), ("2018-09-01", "2019-12-31"), ("2018-09-01", "2020-02-29"),
        ("2018-10-01", "2019-12-31"), ("2019-01-01", "2019-12-31"), ("2019-03-01", "2019-10-31"),
    ),
    "belgium_2019": (
        (None, None), ("2018-09-01", None), ("2018-10-01", None), ("2019-01-01", None), ("2019-03-01", "2019-10-31"),
    ),
}  # fmt: skip


def simulated_cube(folder: Path) -> xr.DataArray:
    """Merged cube of a simulated scene of two years."""
    scene = {
        "height": 64, "width": 64, "n_days": 730, "first_year": 2018, "last_year": 2018, "start_day": "[182,182]",
        "phenology.southern_probability": 0, "phenology.latitude_deg": "[46,53]",
    }  # fmt: skip
    main(["simulate", f"out={folder / 'scene'}", "seed=77", *(f"++scene.{k}={v}" for k, v in scene.items())])
    main(["cube", f"input={folder / 'scene'}", f"out={folder / 'cube.nc'}"])
    return read_cube(folder / "cube.nc")


def row(dense: xr.DataArray) -> dict[str, float]:
    """Main season of the year: shares of pixels with dates, median dates, share with QFLAG 10, median gap."""
    data = fusion.seasons(dense, year=YEAR)
    return {
        "sos_percent": round(100 * float(np.isfinite(data.SOSD_main).mean()), 1),
        "eos_percent": round(100 * float(np.isfinite(data.EOSD_main).mean()), 1),
        "maximum_in_year_percent": round(100 * float((data.COUNT > 0).mean()), 1),
        "median_sosd": round(float(data.SOSD_main.median()), 1),
        "median_eosd": round(float(data.EOSD_main.median()), 1),
        "qflag_10_percent": round(100 * float((data.QFLAG_main == 10).mean()), 1),
        "median_longest_gap": round(float(data.LONGEST_GAP_main.median()), 1),
    }


def rows_of(cube: xr.DataArray, periods: tuple) -> list[dict]:
    """A row per period; the last one is the whole cube without the observation counts."""
    dense = fusion.fuse(cube)
    found = [{"period": list(p), **row(dense.sel(t=slice(*p)))} for p in periods]
    return [*found, {"period": [None, None], "without_counts": True, **row(dense.drop_vars(OBS_COUNT))}]


def run() -> None:
    """Measure, print, write."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        results = {"simulated": rows_of(simulated_cube(Path(folder)), PERIODS["simulated"])}
    real = os.environ.get("NDVI_FUSION_REAL_DATA")
    if real:
        results["belgium_2019"] = rows_of(open_cube(Path(real) / "belgium_2019"), PERIODS["belgium_2019"])
    for name, rows in results.items():
        print(f"\n{name}, {YEAR}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for one in rows:
            first = f"{one['period'][0] or 'begin'} to {one['period'][1] or 'end'}"
            first += ", no counts" if one.get("without_counts") else ""
            print(f"| {first} | " + " | ".join(str(one[k]) for k in rows[0] if k != "period") + " |")
    write_json(RESULT, results)


if __name__ == "__main__":
    run()
