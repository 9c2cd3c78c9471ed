"""Daily 10 m NDVI from parcel curves, with variation within fields and mixed pixels at field edges."""

import numpy as np

from data_prep.simulator.compiled import njit
from data_prep.simulator.geometry import Landscape

LOW, HIGH = np.float32(-0.2), np.float32(0.98)  # lower limit of the contract, and NDVI of the densest canopy
VARIATION_LIMIT = 2.5  # standard deviations; limit of extrapolation between the two curves of a parcel


def daily_truth(land: Landscape, curves: np.ndarray) -> np.ndarray:
    """True NDVI of every pixel and day, float32 (n, H, W), without the margin.

    ``curves``: daily NDVI of the parcels, (2, P, n). Each pixel is a blend of the two curves of its parcel by
    ``land.variation``; pixels with neighbours in other parcels mix them with the weights ``land.blur``.
    """
    mean = np.ascontiguousarray(0.5 * (curves[0] + curves[1]).T)
    half = np.ascontiguousarray(0.5 * (curves[0] - curves[1]).T)
    height, width = (size - 2 * land.margin for size in land.parcel.shape)
    start, parcels, shares, tilts = _mixture(land.parcel, clipped_variation(land), land.blur, land.margin)
    return _blend(mean, half, start, parcels, shares, tilts).reshape(-1, height, width)


def clipped_variation(land: Landscape) -> np.ndarray:
    """Position of each pixel between the two curves of its parcel, float32 (H + 2 margin, W + 2 margin)."""
    return np.clip(land.variation, -VARIATION_LIMIT, VARIATION_LIMIT)


@njit(cache=False)
def _mixture(parcel, variation, blur, margin):
    """Parcels of each pixel, their shares, and share times variation, as rows of a sparse matrix."""
    rows, columns = parcel.shape
    pixels = (rows - 2 * margin) * (columns - 2 * margin)
    start = np.zeros(pixels + 1, np.int64)
    parcels, shares, tilts = (
        np.empty(9 * pixels, np.int32),
        np.empty(9 * pixels, np.float32),
        np.empty(9 * pixels, np.float32),
    )
    fill, k = 0, 0
    for y in range(margin, rows - margin):
        for x in range(margin, columns - margin):
            first = fill
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    a, b = min(max(y + di, 0), rows - 1), min(max(x + dj, 0), columns - 1)
                    q, share = parcel[a, b], blur[di + 1, dj + 1]
                    at = first
                    while at < fill and parcels[at] != q:
                        at += 1
                    if at == fill:
                        parcels[at], shares[at], tilts[at] = q, 0.0, 0.0
                        fill += 1
                    shares[at] += share
                    tilts[at] += share * variation[a, b]
            if fill == first + 1:  # inside a field: the variation is not blurred
                tilts[first] = variation[y, x]
            k += 1
            start[k] = fill
    return start, parcels[:fill], shares[:fill], tilts[:fill]


@njit(cache=False, fastmath=True)
def _blend(mean, half, start, parcels, shares, tilts):
    days, pixels = mean.shape[0], len(start) - 1
    first, tilt = np.empty(pixels, np.int32), np.empty(pixels, np.float32)
    mixed = np.empty(pixels, np.int32)
    count = 0
    for i in range(pixels):
        first[i], tilt[i] = parcels[start[i]], tilts[start[i]]
        if start[i + 1] > start[i] + 1:
            mixed[count] = i
            count += 1
    out = np.empty((days, pixels), np.float32)
    for d in range(days):
        level, change, line = mean[d], half[d], out[d]
        for i in range(pixels):
            line[i] = min(max(level[first[i]] + tilt[i] * change[first[i]], LOW), HIGH)
        for m in range(count):
            i = mixed[m]
            total = np.float32(0.0)
            for k in range(start[i], start[i + 1]):
                total += shares[k] * level[parcels[k]] + tilts[k] * change[parcels[k]]
            line[i] = min(max(total, LOW), HIGH)
    return out
