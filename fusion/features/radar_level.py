"""Level of Sentinel-1 by satellite: steps between satellites of one orbit, found and removed.

The series of an orbit is the mean of the steadiest pixels (buildings, forest, water), since moisture and growth hardly
reach them. A satellite's step is the coefficient of its indicator beside a linear spline in time, with correlated
errors, so that the season is no step. It counts if it is larger than its noise and than what matters.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

KNOT_DAYS = 60.0  # distance of the spline's knots
MIN_IMAGES = 4  # of each satellite
MIN_STEP_DB, MIN_Z = 0.3, 3.0
MAX_SIGMA_DB = 0.5  # a step known less well is not removed: the error of the removal would be larger than most steps
STEADY_SHARE = 0.03  # of the pixels
BOX_PX = 5  # speckle is averaged before pixels are judged


@dataclass(frozen=True)
class Step:
    """A step of level of some images against the others, dB."""

    db: float
    sigma: float


def steady_series(bands: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Level of each image on the pixels that change least from image to image, (n,) per band; images (n, H, W), dB."""
    boxed = {name: _boxed(images).reshape(len(images), -1) for name, images in bands.items()}
    unrest = np.zeros(next(iter(boxed.values())).shape[1])
    for flat in boxed.values():
        apart = np.abs(np.diff(flat, axis=0))
        some = np.isfinite(apart).any(axis=0)
        if not some.any():
            continue
        jumps = np.full(flat.shape[1], np.nan)
        jumps[some] = np.nanmedian(apart[:, some], axis=0)
        unrest = unrest + jumps / max(float(np.nanmedian(jumps)), 1e-6)
    unrest = np.where(np.isfinite(unrest), unrest, np.inf)
    chosen = np.argsort(unrest, kind="stable")[: max(1, round(STEADY_SHARE * np.isfinite(unrest).sum()))]
    return {name: _mean(flat[:, chosen] - _mean(flat[:, chosen], 0), 1) for name, flat in boxed.items()}


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean without NaN; NaN where there is no value."""
    count = np.isfinite(values).sum(axis)
    return np.where(count > 0, np.nansum(values, axis) / np.maximum(count, 1), np.nan)


def _boxed(images: np.ndarray) -> np.ndarray:
    """Means over boxes, every other pixel, NaN where a box holds less than half."""
    seen = np.isfinite(images)
    box = (1, BOX_PX, BOX_PX)
    total, share = (
        uniform_filter(values, box, mode="constant") for values in (np.where(seen, images, 0.0), seen.astype(float))
    )
    mean = np.where(share >= 0.5, total / np.maximum(share, 1.0 / BOX_PX**2), np.nan)
    return mean[:, ::2, ::2]


def step_between(days: np.ndarray, level: np.ndarray, late: np.ndarray) -> Step | None:
    """Step of the images flagged ``late`` against the others, (n,) each; None where there are too few."""
    seen = np.isfinite(level)
    t, y, flag = days[seen].astype(float), level[seen], late[seen]
    if min(flag.sum(), (~flag).sum()) < MIN_IMAGES:
        return None
    knots = np.linspace(t[0], t[-1], max(2, round((t[-1] - t[0]) / KNOT_DAYS) + 1))
    hats = [np.interp(t, knots, row) for row in np.eye(len(knots))]
    design = np.stack([*hats, flag.astype(float)], axis=1)
    if len(y) < design.shape[1] + 3:
        return None
    memory = 0.0
    for _ in range(3):
        white, z = design.copy(), y.copy()
        white[1:] -= memory * design[:-1]
        z[1:] -= memory * y[:-1]
        inverse = np.linalg.inv(white.T @ white + 1e-9 * np.eye(design.shape[1]))
        found = inverse @ (white.T @ z)
        rest = y - design @ found
        memory = float(np.clip((rest[1:] * rest[:-1]).sum() / max((rest**2).sum(), 1e-12) + 2.0 / len(y), 0.0, 0.9))
    noise = z - white @ found
    variance = (noise**2).sum() / (len(y) - design.shape[1])
    return Step(float(found[-1]), float(np.sqrt(max(variance * inverse[-1, -1], 1e-12))))


def is_step(step: Step) -> bool:
    """Whether a step is known well, and larger than its noise and than what matters."""
    return step.sigma <= MAX_SIGMA_DB and abs(step.db) > max(MIN_STEP_DB, MIN_Z * step.sigma)
