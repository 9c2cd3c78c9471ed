"""Additive statistics of patches: each task stores its own, the manifest stores the sum."""

from typing import Any

import numpy as np

from fusion.data.patch import Patch

GAP_EDGES_D = (0, 5, 10, 15, 20, 30, 45, 60, 80, 100, 150, 400)  # bin edges of gap lengths, days
_LAYERS = ("s2_ndvi", "vv_db", "vh_db", "coarse_ndvi")
# range of the histogram, NDVI or dB; values outside count in the outermost bins
_BINS = {"s2_ndvi": (-0.2, 1.0), "vv_db": (-35.0, 5.0), "vh_db": (-40.0, 0.0), "coarse_ndvi": (-0.2, 1.0)}
_BIN_COUNT = 60  # histogram bins per layer


def patch_statistics(patch: Patch) -> dict[str, Any]:
    """Counts, sums and histograms of the valid values of one patch, as plain numbers for :func:`add`."""
    observations = patch.observations
    layers = {}
    for name in _LAYERS:
        values = getattr(observations, name)
        valid = values[np.isfinite(values)].astype(np.float64)
        histogram = np.histogram(np.clip(valid, *_BINS[name]), bins=_BIN_COUNT, range=_BINS[name])[0]
        layers[name] = {
            "count": int(valid.size),
            "sum": float(valid.sum()),
            "squares": float((valid**2).sum()),
            "histogram": histogram.tolist(),
        }
    clear = np.isfinite(observations.s2_ndvi)
    return {
        "patches": 1,
        "layers": layers,
        "s2_pixel_dates": int(clear.size),
        "s2_clear": int(clear.sum()),
        "gaps": gap_histogram(observations.s2_days, clear).tolist(),
    }


def gap_histogram(days: np.ndarray, clear: np.ndarray, every: int = 4) -> np.ndarray:
    """Histogram of the gaps between consecutive clear observations of a pixel, in bins of ``GAP_EDGES_D``.

    ``days``: (n,); ``clear``: bool (n, H, W); ``every``: only each such row and column is counted.
    """
    days = np.asarray(days)
    series = clear[:, ::every, ::every].reshape(len(days), -1)
    date, pixel = np.nonzero(series)
    order = np.lexsort((date, pixel))
    gaps, same = np.diff(days[date[order]]), np.diff(pixel[order]) == 0
    return np.histogram(gaps[same], bins=GAP_EDGES_D)[0]


def add(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Sum of two results of :func:`patch_statistics`; an empty one counts as zero."""
    if not a or not b:
        return a or b
    out: dict[str, Any] = {}
    for key, value in a.items():
        other = b[key]
        if isinstance(value, dict):
            out[key] = add(value, other)
        elif isinstance(value, list):
            out[key] = [x + y for x, y in zip(value, other, strict=True)]
        else:
            out[key] = value + other
    return out


def summary(total: dict[str, Any]) -> dict[str, Any]:
    """Mean, standard deviation and percentiles per layer, clear share, gap histogram, for the manifest."""
    if not total:
        return {}
    layers: dict[str, dict[str, float]] = {}
    for name, part in total["layers"].items():
        count = part["count"]
        if not count:
            layers[name] = {"count": 0}
            continue
        mean = part["sum"] / count
        edges = np.linspace(*_BINS[name], _BIN_COUNT + 1)
        share = np.cumsum(part["histogram"]) / count
        percentiles = {f"p{p}": round(float(edges[1:][np.searchsorted(share, p / 100)]), 4) for p in (5, 50, 95)}
        spread = max(0.0, part["squares"] / count - mean**2) ** 0.5
        layers[name] = {"count": count, "mean": round(mean, 5), "std": round(spread, 5), **percentiles}
    return {
        "layers": layers,
        "s2_clear_share": round(total["s2_clear"] / max(1, total["s2_pixel_dates"]), 4),
        "gap_edges_d": list(GAP_EDGES_D),
        "gaps": total["gaps"],
    }
