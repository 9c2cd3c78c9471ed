"""From parcel curves to daily 10 m NDVI: variation within fields and mixed pixels at edges."""

import numpy as np
from numba import njit

from data_prep.simulator.geometry import Landscape


def daily_truth(land: Landscape, curves: np.ndarray) -> np.ndarray:
    """Clean NDVI of every pixel and day, float32 (n, H, W), margin cut off.

    ``curves`` are (2, P, n): each pixel blends the two versions of its parcel by ``land.variation``; pixels whose
    neighbours belong to other parcels mix them by ``land.blur``.
    """
    mean, half = 0.5 * (curves[0] + curves[1]), 0.5 * (curves[0] - curves[1])
    variation = np.clip(land.variation, -2.5, 2.5)
    flat = _mix(land.parcel, variation, land.blur, mean, half, max(land.margin, 0))
    m = 2 * land.margin
    height, width = land.parcel.shape[0] - m, land.parcel.shape[1] - m
    return np.ascontiguousarray(flat.T).reshape(-1, height, width)


@njit(cache=False)
def _mix(parcel, variation, blur, mean, half, margin):
    rows, columns = parcel.shape
    height, width, n = rows - 2 * margin, columns - 2 * margin, mean.shape[1]
    out = np.zeros((height * width, n), np.float32)
    for i in range(height):
        for j in range(width):
            y, x = i + margin, j + margin
            p = parcel[y, x]
            pure = True
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    a, b = min(max(y + di, 0), rows - 1), min(max(x + dj, 0), columns - 1)
                    if parcel[a, b] != p:
                        pure = False
            line = out[i * width + j]
            if pure:
                w = variation[y, x]
                for d in range(n):
                    line[d] = mean[p, d] + w * half[p, d]
                continue
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    a, b = min(max(y + di, 0), rows - 1), min(max(x + dj, 0), columns - 1)
                    q, share = parcel[a, b], blur[di + 1, dj + 1]
                    w = share * variation[a, b]
                    for d in range(n):
                        line[d] += share * mean[q, d] + w * half[q, d]
    return out
