"""Field geometry: parcels by recursive splits of a rotated plane or by Voronoi cells, roads, hedges, buildings.

Typical parcels of a scene lie within the classes very small to medium (below 0.64 to 16 ha) of the field sizes that
Lesiv et al. 2019 map (doi:10.1111/gcb.14492); rectangular splits and Voronoi cells are the two tessellations that Le
Ber et al. 2009 compare with real field patterns (doi:10.1016/j.ecolmodel.2009.06.019).
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from data_prep.simulator.fields import draw, smooth_fields
from data_prep.simulator.settings import GeometrySettings

ROAD, HEDGE, BUILDING, FIELD = 1, 2, 3, 0


@dataclass(frozen=True)
class Landscape:
    """Parcel of each pixel, margin included, and kind of each parcel."""

    parcel: np.ndarray  # int32 (H + 2m, W + 2m), labels 0..P-1
    kind: np.ndarray  # int8 (P,): FIELD, ROAD, HEDGE or BUILDING
    variation: np.ndarray  # float32 (H + 2m, W + 2m), unit variance, correlated within fields
    blur: np.ndarray  # float32 (3, 3), weights of the sensor blur
    margin: int  # surroundings of the scene on each side, pixels


def make_landscape(
    settings: GeometrySettings, height: int, width: int, resolution_m: float, rng: np.random.Generator
) -> Landscape:
    """Draw a landscape of ``height + 2 * margin`` by ``width + 2 * margin`` pixels."""
    margin = settings.margin_px
    rows, columns = height + 2 * margin, width + 2 * margin
    area_px = np.exp(draw(rng, tuple(np.log(settings.parcel_ha)))) * 1e4 / resolution_m**2
    u, v = _rotated_grid(rows, columns, rng)
    if rng.random() < settings.voronoi_probability:
        parcel, lines = _voronoi(u, v, area_px, rng), None
    else:
        parcel, lines = _splits(u, v, area_px, rng)
    kinds = [FIELD] * (int(parcel.max()) + 1)
    if lines is not None:
        for distance, inside in lines:
            dice = rng.random()
            if dice < settings.road_probability + settings.hedge_probability:
                line_kind = ROAD if dice < settings.road_probability else HEDGE
                half = rng.uniform(0.3, 0.6) if line_kind == ROAD else rng.uniform(0.3, 1.0)
                parcel[(distance < half) & inside] = len(kinds)
                kinds.append(line_kind)
    count = rng.poisson(draw(rng, settings.buildings) * 10 * rows * columns * resolution_m**2 / 1e7)
    for _ in range(count):
        i, j = rng.integers(rows), rng.integers(columns)
        sides = rng.uniform(0.6, 3.0, 2)
        parcel[(abs(u - u[i, j]) < sides[0]) & (abs(v - v[i, j]) < sides[1])] = len(kinds)
        kinds.append(BUILDING)
    length = draw(rng, settings.variation_length_m) / resolution_m
    variation = (
        0.8 * smooth_fields(rng, 1, rows, columns, length)[0] + 0.6 * smooth_fields(rng, 1, rows, columns, 2.2)[0]
    )
    sigma = draw(rng, settings.edge_blur_px)
    line = np.exp(-0.5 * (np.arange(-1, 2) / sigma) ** 2)
    line /= line.sum()
    parcel, kind = _fewer(parcel, np.array(kinds, np.int8), margin, rng)
    return Landscape(parcel, kind, variation, np.outer(line, line).astype(np.float32), margin)


def _fewer(
    parcel: np.ndarray, kind: np.ndarray, margin: int, rng: np.random.Generator, beside: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Drop labels without pixels, and merge most parcels of the margin, which only the coarse sensor observes.

    All parcels of the scene and up to ``beside`` of the margin keep a label of their own; the others take the label of
    one of these of the same kind. This saves more than half of the computation of the vegetation.
    """
    counts = np.bincount(parcel.ravel(), minlength=len(kind))
    inside = parcel[max(margin - 1, 0) : parcel.shape[0] - max(margin - 1, 0)]
    inside = inside[:, max(margin - 1, 0) : parcel.shape[1] - max(margin - 1, 0)]
    seen = np.bincount(inside.ravel(), minlength=len(kind)) > 0
    outside = np.flatnonzero((counts > 0) & ~seen)
    seen[rng.permutation(outside)[:beside]] = True
    label = np.arange(len(kind))
    for old in np.flatnonzero((counts > 0) & ~seen):
        donors = np.flatnonzero(seen & (kind == kind[old]))
        if len(donors):
            label[old] = donors[rng.integers(len(donors))]
        else:
            seen[old] = True
    new = np.cumsum(seen) - 1
    return new[label][parcel].astype(np.int32), kind[seen]


def _rotated_grid(rows: int, columns: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    bend = smooth_fields(rng, 2, rows, columns, 60.0) * rng.uniform(0, 4)
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * x + np.sin(angle) * y + bend[0]
    v = -np.sin(angle) * x + np.cos(angle) * y + bend[1]
    return u, v


def _voronoi(u: np.ndarray, v: np.ndarray, area_px: float, rng: np.random.Generator) -> np.ndarray:
    count = max(2, int(u.size / area_px))
    stretch = rng.uniform(0.4, 1.0)
    points = np.stack([u.ravel(), v.ravel() * stretch], 1)
    seeds = points[rng.integers(0, len(points), count)]
    return cKDTree(seeds).query(points)[1].reshape(u.shape).astype(np.int32)


def _splits(u: np.ndarray, v: np.ndarray, area_px: float, rng: np.random.Generator) -> tuple[np.ndarray, list]:
    across_u, across_v = u.ravel(), v.ravel()
    boxes = [(float(u.min()), float(u.max()), float(v.min()), float(v.max()), 0, np.arange(u.size))]
    parcel, lines, label = np.zeros(u.size, np.int32), [], 0
    while boxes:
        u0, u1, v0, v1, depth, pixels = boxes.pop()
        wide, high = u1 - u0, v1 - v0
        if len(pixels) == 0:
            continue
        if wide * high < area_px * np.exp(rng.normal(0.25, 0.55)) or min(wide, high) < 5:
            parcel[pixels] = label
            label += 1
            continue
        across = rng.random() < wide**2 / (wide**2 + high**2)
        cut = rng.uniform(0.3, 0.7)
        at = u0 + cut * wide if across else v0 + cut * high
        below = (across_u if across else across_v)[pixels] < at
        near, far = pixels[below], pixels[~below]
        if across:
            boxes += [(u0, at, v0, v1, depth + 1, near), (at, u1, v0, v1, depth + 1, far)]
        else:
            boxes += [(u0, u1, v0, at, depth + 1, near), (u0, u1, at, v1, depth + 1, far)]
        if depth < 5:
            lines.append((abs(u - at), (v >= v0) & (v < v1)) if across else (abs(v - at), (u >= u0) & (u < u1)))
    return parcel.reshape(u.shape), lines
