"""Runs both UDF files chunk after chunk, as a Python worker of a back-end does; this project is not imported.

``python udf_chunks.py REQUEST.json`` inside a folder that holds the two unpacked archives and the UDF files. The
request: ``{"chunks": n, "pixels": p, "large_pixels": q, "windows": w, "days": d, "method": m}``. Prints one JSON line:
seconds and peak memory. ``windows`` are chunks of 128 px with 16 px of overlap, the dates and the context of the graph
of season maps; with ``chunks`` 0 the first of them is cold.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr
from memory import peak_mib
from openeo.udf import UdfData, XarrayDataCube
from openeo.udf.run_code import load_module_from_string, run_udf_code

START = np.datetime64("2019-01-01")
MARGIN_DAYS = 60  # observations before and after the period, as the graph loads them
LEAD_DAYS, WINDOW_PX, OVERLAP_PX = 122, 128, 16  # of the graph of season maps


def chunk(pixels: int, days: int, every: int, seed: int, lead: int = 0) -> xr.DataArray:
    """A chunk with observations every ``every`` days, radar every 6, coarse every 10; dates differ with the seed."""
    rng = np.random.default_rng(seed)
    start = START - MARGIN_DAYS - lead + np.timedelta64(seed % 5, "D")
    steps = sorted({*range(0, days, every), *range(1, days, 6), *range(0, days, 10)})
    t = start + np.array(steps)
    green = 0.5 + 0.3 * np.sin(2 * np.pi * np.array(steps) / 365 - 1.5)
    values = np.full((len(t), 4, pixels, pixels), np.nan, np.float32)
    for k, step in enumerate(steps):
        if step % every == 0 and rng.random() < 0.5:
            values[k, 0] = green[k] + rng.normal(0, 0.02, (pixels, pixels))
        if step % 6 == 1:
            values[k, 1] = -13 + rng.normal(0, 0.5, (pixels, pixels))
            values[k, 2] = -20 + rng.normal(0, 0.5, (pixels, pixels))
        if step % 10 == 0:
            values[k, 3] = green[k]
    values[0, 0] = green[0]
    coords = {
        "t": t.astype("datetime64[ns]"), "bands": ["S2NDVI", "VV", "VH", "COARSE_NDVI"],
        "y": 10.0 * np.arange(pixels)[::-1], "x": 10.0 * np.arange(pixels),
    }  # fmt: skip
    return xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords)


def call(code: str, cube: xr.DataArray, context: dict) -> xr.DataArray:
    """One call of a UDF."""
    data = UdfData(datacube_list=[XarrayDataCube(cube)], user_context=context)
    return run_udf_code(code, data).get_datacube_list()[0].get_array()


def run_windows(codes: list[str], count: int, days: int, fusion: dict, seasons: dict) -> dict:
    """CPU seconds of both UDFs for each of ``count`` windows, and per km2 of the first and of the fastest."""
    told = {"counts": True, "lead_days": LEAD_DAYS, "window_px": WINDOW_PX, "overlap_px": OVERLAP_PX}
    kept, spent = slice(OVERLAP_PX, OVERLAP_PX + WINDOW_PX), []
    for k in range(count):
        cube = chunk(WINDOW_PX + 2 * OVERLAP_PX, days + 2 * MARGIN_DAYS + LEAD_DAYS, 5, k, LEAD_DAYS)
        begin = time.process_time()
        fused = call(codes[0], cube, {**fusion, **told})
        middle = time.process_time()
        call(codes[1], fused.isel(y=kept, x=kept), {**seasons, "start": fusion["start"], "end": fusion["end"]})
        spent.append((round(middle - begin, 2), round(time.process_time() - middle, 2)))
    km2 = (WINDOW_PX / 100) ** 2
    totals = [sum(parts) / km2 for parts in spent]
    return {
        "window_dates": cube.sizes["t"], "window_cpu_s": spent, "first_cpu_s_per_km2": round(totals[0], 2),
        "warm_cpu_s_per_km2": round(min(totals), 2), "window_peak_mib": round(peak_mib()),
    }  # fmt: skip


def main(request: dict) -> dict:
    """Run the request; returns seconds, memory and counts."""
    codes = [Path(f"{name}.py").read_text(encoding="utf-8") for name in ("fusion_udf", "phenology_udf")]
    session = load_module_from_string(codes[0])["bundled"]("fusion.inference.session")
    opened = []
    original = session.open_session
    session.open_session = lambda *args: opened.append(1) or original(*args)
    days = request["days"]
    fusion = {"start": str(START), "end": str(START + (days - 1)), "s1_units": "dB", "threads": 1}
    seasons = {"method": request.get("method", "reference")}
    before, seconds, labels, dates = peak_mib(), [], set(), set()
    for k in range(request["chunks"]):
        cube = chunk(request["pixels"], days + 2 * MARGIN_DAYS, 3 + k % 7, k)
        cube = cube.isel(t=np.flatnonzero(np.arange(cube.sizes["t"]) % (k + 2) != 1))  # dates differ between tiles
        dates.add(cube.sizes["t"])
        begin = time.perf_counter()
        fused = call(codes[0], cube, fusion)
        maps = call(codes[1], fused, seasons)
        seconds.append(time.perf_counter() - begin)
        labels.add((tuple(fused.t.values.tolist()), tuple(maps.t.values.tolist()), tuple(maps.bands.values.tolist())))
        assert fused.shape[2:] == maps.shape[2:] == cube.shape[2:]
        assert np.isfinite(fused.values).all()
    windows = request.get("windows", 0)
    answer = run_windows(codes, windows, days, fusion, seasons) if windows else {}
    runtime = sys.modules["onnxruntime"]
    answer |= {
        "python": sys.version.split()[0], "numpy": np.__version__,
        "onnxruntime": runtime.__version__,
        "onnxruntime_from_archive": Path(runtime.__file__).is_relative_to(Path.cwd() / "ndvi_fusion_deps"),
        "project_imported": bool({"fusion", "udf", "numba"} & set(sys.modules)),
        "sessions_opened": len(opened), "different_labels": len(labels), "chunks": len(seconds),
        "different_date_counts": len(dates),
        "memory_before_mib": round(before), "memory_small_mib": round(peak_mib()),
    }  # fmt: skip
    if seconds:
        answer |= {"first_s": round(seconds[0], 3), "median_s": round(float(np.median(seconds)), 3)}
    if request.get("large_pixels"):
        cube = chunk(request["large_pixels"], days + 2 * MARGIN_DAYS, 5, 1)
        answer["large_dates"] = cube.sizes["t"]
        begin, cpu = time.perf_counter(), time.process_time()
        fused = call(codes[0], cube, fusion)
        answer["large_fusion_s"] = round(time.perf_counter() - begin, 1)
        answer["large_fusion_cpu_s"] = round(time.process_time() - cpu, 1)
        answer["large_fusion_peak_mib"] = round(peak_mib())
        begin, cpu = time.perf_counter(), time.process_time()
        call(codes[1], fused, seasons)
        answer["large_phenology_s"] = round(time.perf_counter() - begin, 1)
        answer["large_phenology_cpu_s"] = round(time.process_time() - cpu, 1)
        answer["large_peak_mib"] = round(peak_mib())
        answer["large_input_mib"] = round(cube.nbytes / 2**20)
    return answer


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
