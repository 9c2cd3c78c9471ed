"""The original workflow's algorithm beside this project's on one simulated scene, both against its truth.

``python -m benchmarks.original_beside_ours [seed=0] [pixels=48] [out=FILE.json]`` simulates a scene, merges and masks
it with the graph, and follows three chains: the original's smoothing and dates (``method=reference``) on linearly
interpolated Sentinel-2 and on the fused NDVI, and this project's dates on the fused NDVI. Dates are compared with those
that the same method finds in the true daily series, so no definition is preferred. The original's own network is not
published; where it stood, the first chain interpolates and the second takes ours.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import fusion
from data_prep.commands.simulate import write_scene
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.settings import SceneSettings
from fusion.contract import NDVI, S2NDVI
from fusion.inference.locate import locate_model
from fusion.phenology.reference import SPRING, reference_phenology, reference_smoothing
from udf.graph_options import WorkflowOptions
from udf.local_backend import execute_graph
from udf.targets import load_target
from udf.workflow import merged_cube


def simulated(folder: Path, seed: int, pixels: int) -> tuple[xr.DataArray, xr.DataArray, int]:
    """Merged cube, true daily NDVI (t, bands, y, x), and the calendar year that both cover."""
    write_scene(simulate_raw(SceneSettings(height=pixels, width=pixels, n_days=600), seed), folder)
    with xr.open_dataset(folder / "truth.nc", decode_coords="all") as data:
        truth = data[NDVI].load().astype("float32").expand_dims(bands=[NDVI], axis=1)
    first, last = (truth.t.values[k].astype("datetime64[D]") for k in (0, -1))
    year = next(
        y for y in range(2000, 2100) if np.datetime64(f"{y}-01-01") >= first and np.datetime64(f"{y}-12-31") <= last
    )
    options = WorkflowOptions(str(year), str(year), source=folder, context={"model_dir": str(locate_model())})
    return execute_graph(merged_cube(load_target("local"), options)).compute(), truth, year


def interpolated(cube: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Masked Sentinel-2 NDVI, linear in time between observations, on the dates of ``like``."""
    days = cube.t.values.astype("datetime64[D]").astype(float)
    grid = like.t.values.astype("datetime64[D]").astype(float)
    dense = like.copy(data=np.empty(like.shape, np.float32))
    values = cube.sel(bands=S2NDVI).transpose("t", "y", "x").values
    for y, x in np.ndindex(*like.shape[2:]):
        seen = values[:, y, x]
        held = np.isfinite(seen)
        dense.values[:, 0, y, x] = np.interp(grid, days[held], seen[held])
    return dense


def reference_dates(series: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """SOS and EOS by the original's method, day of year from 1, NaN = none."""
    found = reference_phenology(reference_smoothing(series)).isel(t=0).astype("float64")
    sos, eos = (found.sel(bands=band).where(lambda v: v > 0).values for band in ("sos", "eos"))
    return sos, eos


def our_dates(series: xr.DataArray, year: int, maximum: xr.DataArray | None = None) -> tuple[np.ndarray, ...]:
    """SOS, EOS and date of the maximum of one season by the default method, day of year from 1, NaN = none.

    It is the season with the largest amplitude, or the one whose maximum is nearest to ``maximum`` (y, x).
    """
    found = fusion.seasons(series, year=year)
    nearness = found.AMPL if maximum is None else -np.abs(found.MAXD + 1 - maximum)
    chosen = found.isel(season=nearness.fillna(-1e9).argmax("season"))
    return tuple(chosen[name] + 1 for name in ("SOSD", "EOSD", "MAXD"))


def errors(found: tuple, true: tuple) -> dict[str, float]:
    """Median and mean absolute error of both dates in days, and the share of pixels that have them in both series."""
    row: dict[str, float] = {}
    for name, a, b in zip(("sos", "eos"), map(np.asarray, found[:2]), map(np.asarray, true[:2]), strict=True):
        difference = np.abs(a - b)
        row[f"{name}_median_days"] = round(float(np.nanmedian(difference)), 1)
        row[f"{name}_mean_days"] = round(float(np.nanmean(difference)), 1)
        row[f"{name}_off_by_30_share"] = round(float((difference >= 30).mean()), 3)
        row[f"{name}_share"] = round(float(np.isfinite(difference).sum() / np.isfinite(b).sum()), 3)
    return row


def at_the_edge(found: np.ndarray, true: np.ndarray, year: int) -> dict[str, float]:
    """How often the original's start is the last day of its window: in the true series, and where both are equal."""
    last = (np.datetime64(f"{year}-{SPRING[1][0]:02d}-{SPRING[1][1]:02d}") - np.datetime64(f"{year}-01-01")).astype(int)
    equal = found == true
    return {
        "sos_equal_share": round(float(equal.mean()), 3),
        "of_these_on_the_last_day": round(float((true[equal] == last + 1).mean()), 3),
        "true_sos_on_the_last_day": round(float((true == last + 1).mean()), 3),
    }


def run(seed: int, pixels: int) -> dict[str, dict[str, float]]:
    """Chain -> its differences to the truth."""
    with tempfile.TemporaryDirectory(prefix="ndvi-fusion-bench-") as scratch:
        cube, truth, year = simulated(Path(scratch), seed, pixels)
    dense = fusion.fuse(cube, start=str(year), end=str(year), s1_units="dB")
    fused = dense.sel(bands=[NDVI]).transpose("t", "bands", "y", "x").astype("float32")
    linear = interpolated(cube, fused)
    within = truth.sel(t=slice(f"{year}-01-01", f"{year}-12-31"))
    true_reference, true_ours = reference_dates(within), our_dates(within, year)
    at = truth.sel(t=fused.t)
    chains = {
        "original, linear interpolation": (linear, reference_dates(linear), true_reference),
        "original, our network": (fused, reference_dates(fused), true_reference),
        "ours": (fused, our_dates(dense, year, true_ours[2]), true_ours),
    }
    rows = {
        name: {"ndvi_mae": round(float(np.abs(series.values - at.values).mean()), 4), **errors(found, true)}
        for name, (series, found, true) in chains.items()
    }
    for name, (_, found, true) in chains.items():
        if name != "ours":
            rows[name] |= at_the_edge(found[0], true[0], year)
    starts = np.asarray(true_ours[0])
    rows["ours"]["true_sos_before_window"] = round(float((starts < 92).mean()), 3)
    rows["ours"]["true_sos_after_window"] = round(float((starts >= 162).mean()), 3)
    return rows


def main(arguments: list[str]) -> None:
    """Print one line per chain."""
    given = {"seed": "0", "pixels": "48"} | dict(a.split("=", 1) for a in arguments)
    found = run(int(given["seed"]), int(given["pixels"]))
    for name, row in found.items():
        print(f"{name:32} {row}")
    if "out" in given:
        Path(given["out"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
