"""Sentinel-1 by satellite: level and place of each satellite of an orbit against the one with most images.

S1A, S1B and S1C share orbits. Their calibration may differ by some tenths of a decibel and their images by up to two
pixels; where the satellite of an orbit changes (S1C since 2025), the series has a step that looks like growth.
"""

import numpy as np
import xarray as xr
from scipy import ndimage

from data_prep.coregistration import Shift, edges, measure_shift
from data_prep.raw.cubes import SourceError
from data_prep.raw.decisions import in_window, once
from data_prep.raw.means import time_means
from data_prep.settings import SatelliteRule
from fusion.features.radar_level import MAX_SIGMA_DB, MIN_IMAGES, is_step, steady_series, step_between

MIN_SHIFT_PX = 0.4
AGREE_PX = 0.4  # largest difference between shifts of halves of the images
MIN_SIDE_PX = 32
MOST_SIDE_PX = 512
UNKNOWN = ("", "unknown", "none", "nan")


def passes_apart(values: xr.DataArray, labels: list[tuple[str, str]], seen: dict[int, tuple[str, str]]) -> xr.DataArray:
    """Images of another pass or satellite at the same time (dates without hours) one nanosecond apart, so that passes
    are levelled before those of a day are averaged; ``seen`` collects the labels by time."""
    times = values.t.values.astype("datetime64[ns]")
    moved = times.astype("int64").tolist()
    for k, label in enumerate(labels):
        while seen.setdefault(moved[k], label) != label:
            moved[k] += 1
    return values if moved == times.astype("int64").tolist() else values.assign_coords(t=np.array(moved, times.dtype))


def even_out(
    bands: dict[str, xr.DataArray], orbits: np.ndarray | None, rule: SatelliteRule, notes: list[str]
) -> dict[str, xr.DataArray]:
    """VV and VH (t, y, x) in dB with the steps between satellites removed, or named only.

    The coordinate ``platform`` (t,) tells the satellite. Where it is missing, a change of place within an orbit is
    looked for and named, never removed.

    Raises
    ------
    SourceError
        ``rule="refuse"`` and a step or a shift between satellites is found.
    """
    if rule == "off":
        return bands
    first = next(iter(bands.values()))
    count = first.sizes["t"]
    platform = first.coords.get("platform")
    satellites = np.full(count, "unknown") if platform is None else platform.values.astype(str)
    passes = np.full(count, "all passes") if orbits is None else orbits
    days = first.t.values.astype("datetime64[D]").astype("int64")
    for orbit in np.unique(passes):
        at = np.flatnonzero(passes == orbit)
        names, counts = np.unique(satellites[at], return_counts=True)
        known = [str(name) for name in names if name.lower() not in UNKNOWN]
        if not known:
            notes += [] if in_window() else _unknown_changes(bands, at, str(orbit))
            continue
        reference = max(known, key=lambda name: counts[list(names).index(name)])
        for name in known:
            if name != reference:
                late = satellites[at] == name
                bands = _one_satellite(bands, days, at, late, f"{name} on {orbit}", reference, rule, notes)
    return bands


def _one_satellite(
    bands: dict[str, xr.DataArray], days: np.ndarray, at: np.ndarray, late: np.ndarray, who: str, reference: str,
    rule: SatelliteRule, notes: list[str],
) -> dict[str, xr.DataArray]:  # fmt: skip
    """Move and level the images ``at[late]`` against ``at[~late]``."""
    others = at[late]
    if min(late.sum(), (~late).sum()) < MIN_IMAGES:
        notes.append(f"Sentinel-1: {who} has too few images beside {reference} to compare level and place")
        return bands
    place, steps, found = once(f"steps of {who}", lambda: _compared(bands, days, at, late, who, reference, notes))
    shift = None if place is None else Shift(*place)
    if not found:
        return bands
    told = f"Sentinel-1: {who}: {'; '.join(found)}"
    if rule == "refuse":
        raise SourceError(f"{told}; set radar.satellite_steps=level to remove it")
    if rule == "report":
        notes.append(f"{told}; kept (radar.satellite_steps=report)")
        return bands
    notes.append(f"{told}; removed")
    out = {}
    for band, values in bands.items():
        moved = values.isel(t=others)
        moved = moved if shift is None else moved_back(moved, shift)
        moved = (moved - np.float32(steps.get(band, 0.0))).astype(np.float32)
        rest = np.setdiff1d(np.arange(values.sizes["t"]), others)
        order = np.argsort(np.concatenate([rest, others]), kind="stable")
        out[band] = xr.concat([values.isel(t=rest), moved], "t").isel(t=order)
    return out


def _compared(
    bands: dict[str, xr.DataArray], days: np.ndarray, at: np.ndarray, late: np.ndarray, who: str, reference: str,
    notes: list[str],
) -> tuple[list[float] | None, dict[str, float], list[str]]:  # fmt: skip
    """Shift (rows, columns) and steps (dB by band) of the images ``at[late]``, and a part of a sentence on each."""
    found, steps = [], {}
    shift = place_between(bands, at[~late], at[late])
    if shift is not None:
        found.append(f"lies {shift.columns:+.1f} px right and {shift.rows:+.1f} px down of {reference}")
    level = steady_series({band: _thin(values.isel(t=at)) for band, values in bands.items()})
    for band, series in level.items():
        step = step_between(days[at], series, late)
        if step is not None and is_step(step):
            steps[band] = float(step.db)
            found.append(f"{band} {step.db:+.2f} dB (one sigma {step.sigma:.2f}) against {reference}")
        elif step is not None and step.sigma > MAX_SIGMA_DB:
            notes.append(
                f"Sentinel-1: {who}: {band} differs from {reference} by {step.db:+.1f} dB, one sigma {step.sigma:.1f}: "
                "not compared better, kept"
            )
    return None if shift is None else [shift.rows, shift.columns], steps, found


def _unknown_changes(bands: dict[str, xr.DataArray], at: np.ndarray, orbit: str) -> list[str]:
    """A sentence on a shift in time within an orbit whose satellites are not known."""
    half = len(at) // 2
    shift = place_between(bands, at[:half], at[half:]) if half >= MIN_IMAGES else None
    if shift is None:
        return []
    return [
        f"Sentinel-1, {orbit}: the second half lies {shift.columns:+.1f} px right and {shift.rows:+.1f} px down of the "
        "first; kept, since the files do not tell the satellite; name it (variable platform along t, or S1A_ in the "
        "file name) to have it removed"
    ]


def place_between(bands: dict[str, xr.DataArray], first: np.ndarray, second: np.ndarray) -> Shift | None:
    """Shift of the mean of the images ``second`` against ``first``, if halves of both agree on it."""
    crops = {name: _central(values) for name, values in bands.items()}
    if any(min(values.shape[1:]) < MIN_SIDE_PX for values in crops.values()):
        return None
    means = time_means(crops, [first[::2], second[::2], first[1::2], second[1::2]])
    shifts = []
    for images in means.values():
        a, b, c, d = (_edges_of(image) for image in images)
        shifts += [measure_shift(x, y, max_shift=5.0) for x, y in ((a, b), (c, d)) if x is not None and y is not None]
    if len(shifts) < 2:
        return None
    found = np.array([(s.rows, s.columns) for s in shifts])
    middle = np.median(found, axis=0)
    if np.median(np.hypot(*(found - middle).T)) > AGREE_PX or np.hypot(*middle) < MIN_SHIFT_PX:
        return None
    return Shift(float(middle[0]), float(middle[1]))


def _central(values: xr.DataArray) -> xr.DataArray:
    crop = {}
    for axis in ("y", "x"):
        extra = max(0, values.sizes[axis] - MOST_SIDE_PX) // 2
        crop[axis] = slice(extra, values.sizes[axis] - extra)
    return values.isel(crop)


def _edges_of(mean: np.ndarray) -> np.ndarray | None:
    """Edges of a mean image; None where a third of it was never seen."""
    return edges(mean) if np.isfinite(mean).mean() > 2 / 3 else None


def _thin(values: xr.DataArray) -> np.ndarray:
    every = max(1, max(values.sizes["y"], values.sizes["x"]) // 64)
    return np.asarray(values.isel(y=slice(None, None, every), x=slice(None, None, every)).values, np.float64)


def moved_back(values: xr.DataArray, shift: Shift) -> xr.DataArray:
    """Images (t, y, x) moved by the opposite of a shift: whole pixels are copied, others interpolated; NaN stays."""
    back = [-(round(v) if abs(v - round(v)) < 0.15 else v) for v in (shift.rows, shift.columns)]

    def one(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(-1, *images.shape[-2:])
        seen = np.isfinite(flat).astype(np.float64)
        total = ndimage.shift(np.where(seen > 0, flat, 0.0), (0, *back), order=1, mode="constant", cval=0.0)
        weight = ndimage.shift(seen, (0, *back), order=1, mode="constant", cval=0.0)
        moved = np.where(weight > 0.5, total / np.maximum(weight, 1e-6), np.nan)
        return moved.reshape(images.shape).astype(np.float32)

    chunked = values.chunk({"y": -1, "x": -1}) if values.chunks else values
    return xr.apply_ufunc(
        one, chunked, input_core_dims=[["y", "x"]], output_core_dims=[["y", "x"]], dask="parallelized",
        output_dtypes=[np.float32],
    )  # fmt: skip
