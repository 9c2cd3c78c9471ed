"""Values of Sentinel-1 that are no echo, or of another kind, told by their distribution over all images."""

import numpy as np
import xarray as xr

from data_prep.raw.decisions import once

FLOOR_VALUES = 25  # of the sample, exactly equal
FLOOR_RATIO = 5  # so many times more than the values of the next decibel
MIN_DISTINCT = 100  # other values
# Medians of real land: VV -12 to -9 dB, VH 6 to 7.5 dB below it. Amplitudes taken for power halve both.
AMPLITUDE_VV_DB, AMPLITUDE_RATIO_DB = -7.5, -4.5


def floor_of(thin: xr.DataArray, name: str, notes: list[str]) -> float | None:
    """A constant that stands in place of the lowest values of backscatter in dB (a fill value, a floor), if any.

    ``thin``: the values of :func:`data_prep.raw.bands.every_image`.
    """
    return once(f"floor of {name}", lambda: _floor(thin.values, name, notes))


def _floor(thin: np.ndarray, name: str, notes: list[str]) -> float | None:
    found = thin[np.isfinite(thin)]
    if found.size == 0:
        return None
    lowest = found.min()
    count, next_db = int((found == lowest).sum()), int(((found > lowest) & (found <= lowest + 1)).sum())
    if count < FLOOR_VALUES or count < FLOOR_RATIO * next_db or len(np.unique(found)) <= MIN_DISTINCT:
        return None
    notes.append(
        f"{name}: {100 * count / found.size:.2g} % of the values are exactly {lowest:.2f} dB, the lowest, and hardly "
        "any lie near: they count as missing"
    )
    return float(lowest)


def note_amplitudes(vv: xr.DataArray, vh: xr.DataArray, notes: list[str]) -> None:
    """Say where VV and VH lie as amplitudes do that were taken for power: both, and their difference, halved in dB."""
    a, b = (np.asarray(band.values) for band in (vv, vh))
    if a.shape != b.shape:
        return
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < FLOOR_VALUES:
        return
    level, ratio = float(np.median(a[both])), float(np.median((b - a)[both]))
    if level > AMPLITUDE_VV_DB and ratio > AMPLITUDE_RATIO_DB:
        notes.append(
            f"Sentinel-1: the median of VV is {level:.1f} dB, and VH lies {-ratio:.1f} dB below it; land lies near "
            "-11 and 7 dB: these may be amplitudes declared as power; square them, if so"
        )
