"""Cost of a workflow before it runs: windows, CPU hours, memory, credits; both UDFs are timed here on one window.

That window has the size, overlap and dates of the graph; the rest of the graph (reading files, masks, merging, writing)
are :data:`GRAPH_CPU_S` and :data:`SAVE_CPU_S`, measured by ``benchmarks/bench_cost.py``. A back-end's own reading of
products and its backscatter processing are not known here and not included.
"""

import datetime
import time
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from openeo.api.process import Parameter

from fusion.contract import CUBE_BANDS
from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from udf.area import Area
from udf.fuse_chunk import fuse_chunk
from udf.graph_loading import MASK_REACH_M
from udf.graph_options import WorkflowOptions
from udf.local.loading import CHUNK_PX, open_raster
from udf.local.regions import REGION_PX
from udf.season_chunk import season_chunk
from udf.settings import PriceSettings
from udf.targets import TargetSettings

PIXEL_M = 10.0
REVISIT_DAYS = (5, 6, 10)  # Sentinel-2, Sentinel-1 and coarse dates that a back-end is taken to hold
PROBE_PX = 128  # side of the largest window that is timed
# CPU seconds of everything but the UDFs (benchmarks/bench_cost.py): building the graph and opening the session; per
# pixel and date loaded, of all sensors; per number written
START_CPU_S, GRAPH_CPU_S, SAVE_CPU_S = 0.85, 1.45e-7, 8e-8
MEMORY_BASE_MIB, MEMORY_BYTES = 330.0, 133.0  # of the Python process: at rest; per pixel of a window and date


@dataclass(frozen=True)
class Estimate:
    """Cost of one run; ``km2`` is the area requested, ``windows`` those that are computed."""

    km2: float
    windows: int
    dates: int
    cpu_s: float
    memory_mib: float
    credits: float


def estimate(
    target: TargetSettings, options: WorkflowOptions, *, model: str | None = None, price: PriceSettings | None = None
) -> Estimate:
    """Estimate the cost of a graph; takes some seconds, since a small window is computed.

    Raises
    ------
    ValueError
        No area is given for a back-end.
    """
    price = price or PriceSettings()
    columns, rows, km2 = _size(target, options)
    steps = loaded_dates(target, options)
    probe = probe_seconds(steps, options, model)
    window, overlap = options.window_px, options.overlap_px
    around = network_margin_px(overlap, model)
    fused = _computed(columns, window, around) * _computed(rows, window, around)
    cpu = START_CPU_S + probe.fusion * fused + probe.phenology * columns * rows
    cpu += _loaded(columns, overlap) * _loaded(rows, overlap) * GRAPH_CPU_S * sum(map(len, steps))
    cpu += columns * rows * SAVE_CPU_S * probe.numbers
    dates = len(set().union(*map(set, steps)))
    memory = MEMORY_BASE_MIB + MEMORY_BYTES * (window + 2 * overlap) ** 2 * dates / 2**20
    windows = -(-columns // window) * -(-rows // window)
    return Estimate(km2, windows, dates, cpu, memory, _credits(cpu, target, price))


@dataclass(frozen=True)
class StatedCost:
    """What a service states: credits per km2 and year to two digits, and a sentence on how they were found."""

    credits_per_km2: float
    basis: str


def stated_cost(
    target: TargetSettings, options: WorkflowOptions, km2: float, price: PriceSettings, *, model: str | None = None
) -> StatedCost:
    """The cost of the year 2021 on a square of ``km2``, with the options of a graph, timed on this machine."""
    side = 20 * round(1000 * km2**0.5 / 20)
    square = Area(600_000, 5_650_000, 600_000 + side, 5_650_000 + side, 32631)
    found = estimate(target, replace(options, area=square, source=None), model=model, price=price)
    return StatedCost(
        float(f"{found.credits / found.km2:.2g}"),
        f"Cost of one year on {km2:g} km²: {found.cpu_s / found.km2:.1f} CPU seconds per km², measured with the UDFs, "
        f"at {price.cpu_hour:g} credits per CPU hour, {price.gb_hour:g} per GB hour of {_reserved_gb(target):g} GB and "
        f"{price.job:g} per job; reading of products and Sentinel-1 backscatter are not included.",
    )


def _credits(cpu_s: float, target: TargetSettings, price: PriceSettings) -> float:
    return price.job + cpu_s / 3600 * (price.cpu_hour + price.gb_hour * _reserved_gb(target))


def estimate_text(
    target: TargetSettings, options: WorkflowOptions, model: str | None, price: PriceSettings | None = None
) -> str:
    """The estimate as lines for the terminal."""
    price = price or PriceSettings()
    found = estimate(target, options, model=model, price=price)
    lines = [
        f"area             {found.km2:.2f} km2",
        f"windows          {found.windows} of {options.window_px} px, {found.dates} dates",
        f"CPU              {found.cpu_s / 3600:.2f} hours, {found.cpu_s / found.km2:.1f} s per km2, on this machine",
        f"memory           {found.memory_mib:,.0f} MiB per Python process",
    ]
    if target.remote:
        lines.append(
            f"credits          {found.credits:.1f} ({found.credits / found.km2:.2f} per km2) at {price.cpu_hour:g} per "
            f"CPU hour, {price.gb_hour:g} per GB hour of {_reserved_gb(target):g} GB reserved, {price.job:g} per job"
        )
        lines.append("not included     reading products and Sentinel-1 backscatter processing on the back-end")
    return "\n".join(lines)


def _size(target: TargetSettings, options: WorkflowOptions) -> tuple[int, int, float]:
    """Columns and rows that are loaded and computed, and the area requested in km2."""
    if isinstance(options.area, Area):
        width, height = options.area.east - options.area.west, options.area.north - options.area.south
        margin = MASK_REACH_M + PIXEL_M * options.overlap_px
        loaded = (round((side + 2 * margin) / PIXEL_M) for side in (width, height))
        columns, rows = loaded
        return columns, rows, width * height / 1e6
    if options.source is None:
        raise ValueError("an estimate for a back-end needs an area; set area")
    with open_raster(options.source / target.s2_collection) as files:
        columns, rows = files.sizes["x"], files.sizes["y"]
        metres = abs(float(files.x[1] - files.x[0]))
    return columns, rows, columns * rows * metres**2 / 1e6


def loaded_dates(target: TargetSettings, options: WorkflowOptions) -> list[np.ndarray]:
    """Dates per sensor that the graph loads: those of the files, or regular ones."""
    assert options.start is not None and options.end is not None
    margin, lead = (datetime.timedelta(days=days) for days in (options.margin_days, options.lead_days))
    first, last = np.datetime64(options.start - margin - lead), np.datetime64(options.end + margin)
    names = [target.s2_collection, target.s1_collection, target.coarse[-1].collection if target.coarse else None]
    found = []
    for name, every in zip(names, REVISIT_DAYS, strict=True):
        days = np.arange(first, last + 1, every)
        if options.source is not None:
            days = np.array([], "datetime64[D]")
            if name is not None and (options.source / name).exists():
                with open_raster(options.source / name) as files:
                    held = np.unique(files.t.values.astype("datetime64[D]"))
                days = held[(held >= first) & (held <= last)]
        found.append(days)
    return found


@dataclass(frozen=True)
class Probe:
    """CPU seconds per pixel of the two UDFs once they are loaded, and numbers that a pixel has in the result."""

    fusion: float
    phenology: float
    numbers: int


def probe_seconds(steps: list[np.ndarray], options: WorkflowOptions, model: str | None) -> Probe:
    """Time both UDFs on a window with the overlap and the dates of the graph; ``steps`` are dates per sensor."""
    side, overlap = min(options.window_px, PROBE_PX), options.overlap_px
    cube = _probe_cube(steps, side + 2 * overlap)
    context = {
        "start": str(options.start), "end": str(options.end), "s1_units": "dB", "latitude": options.latitude,
        "deps_dir": None, "model_dir": str(locate_model(model)), "lead_days": options.lead_days,
        "counts": options.lead_days > 0, "window_px": side, "overlap_px": overlap, **options.context,
    }  # fmt: skip
    if not isinstance(options.step_days, Parameter):
        context["step_days"] = options.step_days
    seasons = {"method": options.method, "output": options.output, "start": context["start"], "end": context["end"]}
    seasons |= {k: v for k, v in options.context.items() if k in ("phenology", "smoothing")}
    small = fuse_chunk(cube.isel(y=slice(0, 8), x=slice(0, 8)), context)
    begin = time.process_time()
    result = fuse_chunk(cube, context)
    fusion = time.process_time() - begin
    result, phenology = result.isel(y=slice(overlap, overlap + side), x=slice(overlap, overlap + side)), 0.0
    if options.output != "fused":
        season_chunk(small, seasons)
        begin = time.process_time()
        result = season_chunk(result, seasons)
        phenology = time.process_time() - begin
    numbers = result.sizes["t"] * result.sizes["bands"]
    return Probe(fusion / (side + 2 * network_margin_px(overlap, model)) ** 2, phenology / side**2, numbers)


def network_margin_px(overlap: int, model: str | None) -> int:
    """Pixels around a window in which the network computes as well: its radius, cut to the overlap of the windows."""
    _, manifest = read_model_files(locate_model(model))
    return min(overlap, manifest.network_radius_px)


def _probe_cube(steps: list[np.ndarray], side: int) -> xr.DataArray:
    """A window of observations with half of the Sentinel-2 dates cloudy; values have no effect on the time."""
    days = np.unique(np.concatenate(steps))
    rng = np.random.default_rng(0)
    values = np.full((len(days), len(CUBE_BANDS), side, side), np.nan, np.float32)
    noise = rng.normal(0, 0.02, (len(days), side, side)).astype(np.float32)
    green = 0.5 - 0.3 * np.cos(2 * np.pi * days.astype("datetime64[D]").astype(int) / 365.25)
    ndvi = green[:, None, None] + noise
    levels = (ndvi, -12 + 20 * noise, -18 + 20 * noise, ndvi)
    for band, sensor in ((0, 0), (1, 1), (2, 1), (3, 2)):
        held = np.isin(days, steps[sensor])
        if sensor == 0:
            held &= np.isin(days, steps[0][::2])
        values[held, band] = levels[band][held]
    axis = PIXEL_M * np.arange(side)
    coords = {"t": days.astype("datetime64[ns]"), "bands": list(CUBE_BANDS), "y": axis[::-1], "x": axis}
    return xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords)


def _computed(pixels: int, window: int, overlap: int) -> int:
    """Sum of the widths of all windows along one axis, overlap included and cut at the image's border."""
    starts = range(0, pixels, window)
    return sum(min(start + window + overlap, pixels) - max(start - overlap, 0) for start in starts)


def _loaded(pixels: int, overlap: int) -> int:
    """Sum of the pixels along one axis that the regions of the result load, in whole chunks, as on this machine."""
    total = 0
    for start in range(0, pixels, REGION_PX):
        end = min(start + REGION_PX, pixels)
        total += min(-(-(end + overlap) // CHUNK_PX) * CHUNK_PX, pixels)
        total -= max((start - overlap) // CHUNK_PX * CHUNK_PX, 0)
    return total


def _reserved_gb(target: TargetSettings) -> float:
    """GB that one task reserves by the job options."""
    keys = ("executor-memory", "executor-memoryOverhead")
    return sum(float(str(target.job_options.get(key, "0")).upper().rstrip("GB")) for key in keys)
