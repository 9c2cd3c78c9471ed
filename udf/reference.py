"""Reference results of a scene: written by ``ndvi-fusion package scene=...``, and compared with later ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fusion.netcdf import open_netcdf
from fusion.phenology.reference import BANDS as REFERENCE_BANDS
from fusion.phenology.settings import DATES
from fusion.whole_file import write_json

FOLDER = "reference"
SCENARIO_FILE = "scenario.json"
# largest difference of one value: absolute in days for dates, in its own unit else; relative for what is no date
TOLERANCES = {"days": 2.0, "value": 0.005, "relative": 0.02}
SHARE = 0.99  # of the values that must be within the tolerance: one pixel in a hundred may pass a threshold elsewhere


class ResultDiffersError(ValueError):
    """A result differs from the reference by more than the tolerance; the message names the band that differs most."""


def check_result(result: Path, folder: Path) -> str:
    """Compare a NetCDF result with the reference of the same bands in ``folder``; returns a line for the terminal.

    Raises
    ------
    ResultDiffersError
        Other dates, another size, or more than 1 % of the values of a band differ by more than the tolerance.
    ValueError
        ``folder`` holds no reference with these bands.
    """
    found = _open(result)
    for file in sorted((folder / FOLDER).glob("*.nc")):
        expected = _open(file)
        if set(map(str, expected.data_vars)) == set(map(str, found.data_vars)):
            shares = {band: _share_within(found, expected, band) for band in map(str, expected.data_vars)}
            worst = min(shares, key=lambda band: shares[band])
            if shares[worst] < SHARE:
                raise ResultDiffersError(
                    f"{result}: {shares[worst]:.1%} of the values of {worst} agree with {file}; at least {SHARE:.0%} "
                    "are required. Was the same scene, period and model used?"
                )
            return f"{result} agrees with {file.name}: {len(shares)} bands, at least {shares[worst]:.2%} of the values"
    raise ValueError(
        f"{folder / FOLDER} holds no result with the bands {sorted(map(str, found.data_vars))}; write one with "
        f"`ndvi-fusion package out={folder} scene=FOLDER`"
    )


def _share_within(found: xr.Dataset, expected: xr.Dataset, band: str) -> float:
    """Share of the values of a band that agree: both no data, or within the tolerance."""
    a, b = found[band], expected[band]
    if a.sizes != b.sizes or any(not np.array_equal(a[d].values, b[d].values) for d in ("t", "y", "x")):
        raise ResultDiffersError(
            f"{band} covers {dict(a.sizes)} from {a.t.values[0]}, the reference {dict(b.sizes)} from {b.t.values[0]}, "
            "or another grid; use the scene, the period and the step of the reference"
        )
    values, reference = (np.asarray(v.transpose("t", "y", "x").values, np.float64) for v in (a, b))
    limit: np.ndarray | float = TOLERANCES["value"] + TOLERANCES["relative"] * np.abs(reference)
    if band.partition("_s")[0] in (*DATES, *REFERENCE_BANDS):
        limit = TOLERANCES["days"]
    both_missing = np.isnan(values) & np.isnan(reference)
    return float((both_missing | (np.abs(values - reference) <= limit)).mean())


def _open(file: Path) -> xr.Dataset:
    """The bands of a result in memory, without the variable that holds the CRS."""
    if not file.is_file() or file.suffix != ".nc":
        raise ValueError(f"{file} is no NetCDF file; give the openEO.nc that `ndvi-fusion workflow` wrote")
    with open_netcdf(file, decode_coords="all", decode_timedelta=False) as data:
        return data.load()


def scenario(graphs: dict[str, Any], files: dict[str, str]) -> list[dict[str, Any]]:
    """Scenarios in the catalogue's form, one per output: graph on the scene's files, reference, tolerance."""
    return [
        {
            "id": f"ndvi_fusion_{name}",
            "type": "openeo",
            "description": f"Output {name} of the scene beside this file, on client-side processing.",
            "backend": "local",
            "process_graph": json.loads(json.dumps(graph)),
            "reference_data": {"openEO.nc": files[name]},
            "reference_options": {
                "rtol": TOLERANCES["relative"],
                "atol": TOLERANCES["days" if name == "seasons" else "value"],
            },
        }
        for name, graph in graphs.items()
    ]


def write_scenario(folder: Path, graphs: dict[str, Any], files: dict[str, str]) -> Path:
    """Write :func:`scenario` into ``folder``."""
    return write_json(folder / SCENARIO_FILE, scenario(graphs, files))
