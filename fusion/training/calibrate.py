"""Fits the calibration tables of the uncertainty on scenes outside the training split."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from fusion.contract import STEP_DAYS
from fusion.data.scene import Scene
from fusion.data.settings import SampleSettings
from fusion.data.targets import meet, reach_days, target_on_grid, withheld_on_grid
from fusion.data.withholding import season_shift, withhold
from fusion.features.calibration import (
    CALIBRATION_EDGES,
    LAPLACE_STD,
    UNCALIBRATED,
    Calibration,
    covering_factor,
    covering_noise,
)
from fusion.features.features import compute_features
from fusion.model.generator import Generator

log = logging.getLogger(__name__)
ENOUGH = 500  # pixel-dates needed for a separate table entry of a bin
UNDISTURBED = {"borrowed_share": 0.0, "foreign_radar_share": 0.0, "radar_noise_share": 0.0}
MOST_PER_VISIT = 4000  # pixel-dates counted of a visit, so that large scenes do not drown lone pixels


def calibrate(
    generator: Generator, scenes: Iterable[Sequence[Scene]], settings: SampleSettings, *, visits: int, seed: int
) -> Calibration:
    """Predict withheld dates of unseen scenes and scale the uncertainty so that 90 % intervals cover 90 %.

    Every visit predicts one or more scenes, of each a random window of up to ``crop_px * crops_a_side`` pixels per
    side, and counts ``MOST_PER_VISIT`` pixel-dates at most. A bin with fewer than ``ENOUGH`` pixel-dates of both kinds
    of error gets no entry; one without enough errors against truth has factor 1, one without enough errors against
    observations takes its noise from the neighbouring bins.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[np.ndarray, ...]] = []
    source = iter(scenes)
    for _ in range(visits):
        visit = next(source, None)
        if visit is None:
            break
        parts = [_errors_of_scene(generator, scene, settings, rng) for scene in visit]
        found = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        if len(found[0]) > MOST_PER_VISIT:
            pick = rng.choice(len(found[0]), MOST_PER_VISIT, replace=False)
            found = tuple(column[pick] for column in found)
        rows.append(found)
    gap, error, obs_error, scale = (np.concatenate(column) for column in zip(*rows, strict=True))
    sigma = scale * LAPLACE_STD
    nodes, factors, noises = [], [], []
    for low, high in zip(CALIBRATION_EDGES, (*CALIBRATION_EDGES[1:], np.inf), strict=True):
        inside = (gap >= low) & (gap < high)
        known, observed = inside & np.isfinite(error), inside & np.isfinite(obs_error)
        if known.sum() < ENOUGH and observed.sum() < ENOUGH:
            continue
        factor = covering_factor(error[known], sigma[known]) if known.sum() >= ENOUGH else 1.0
        noise = covering_noise(obs_error[observed], factor * sigma[observed]) if observed.sum() >= ENOUGH else np.nan
        nodes.append(float(np.median(gap[inside])))
        factors.append(round(factor, 4))
        noises.append(noise)
    if not nodes:
        log.warning("no distance to an observation has %d pixel-dates: uncertainty stays uncalibrated", ENOUGH)
        return UNCALIBRATED
    filled = _fill_gaps(np.array(noises))
    log.info("calibration nodes %s factors %s noise %s", np.round(nodes), factors, np.round(filled, 3))
    return Calibration(tuple(nodes), tuple(factors), tuple(round(float(v), 4) for v in filled))


def _fill_gaps(values: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        return np.zeros_like(values)
    return np.interp(np.arange(len(values)), known, values[known])


def _errors_of_scene(generator, scene: Scene, settings: SampleSettings, rng) -> tuple[np.ndarray, ...]:
    """Gap, error against truth, error against withheld observations, and scale: flat arrays over scored pixel-dates."""
    obs = scene.observations
    visible = withhold(obs, obs, settings.withholding.model_copy(update=UNDISTURBED), rng)
    first, last = (scene.truth_days if scene.truth_days is not None else obs.s2_days)[[0, -1]]
    phase = int(rng.integers(0, STEP_DAYS))
    grid_days = np.arange(meet(int(first) + phase, scene.truth_days), int(last) + 1, STEP_DAYS)
    side = min(settings.crop_px * settings.crops_a_side, *obs.shape)
    top, left = (int(rng.integers(0, size - side + 1)) for size in obs.shape)
    window = (slice(top, top + side), slice(left, left + side))
    shift = season_shift(settings.withholding, rng)
    features = compute_features(visible, grid_days, *window, season_shift_days=shift)
    with torch.no_grad():
        ndvi, scale = generator(torch.from_numpy(features.stack)[None])
    ndvi, scale = ndvi[0].numpy(), scale[0].numpy()
    nothing = np.full_like(ndvi, np.nan)
    truth = nothing
    if scene.truth is not None:
        truth = target_on_grid(scene, obs, visible, grid_days, use_obs=False)[:, *window]
    withheld = withheld_on_grid(obs, visible, grid_days, reach_days(scene))[:, *window]
    known = np.isfinite(features.linear) & (np.isfinite(truth) | np.isfinite(withheld))
    if scene.truth is None:  # real scenes have no clean NDVI: the withheld observation replaces it
        truth = withheld
    return tuple(a[known] for a in (features.gap_days, ndvi - truth, ndvi - withheld, scale))
