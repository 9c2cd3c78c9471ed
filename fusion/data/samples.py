"""From scenes to training samples: withhold observations, compute features, cut small crops or one lone pixel."""

from typing import NamedTuple

import numpy as np

from fusion.contract import STEP_DAYS
from fusion.data.scene import Scene, random_pixel
from fusion.data.settings import SampleSettings
from fusion.data.targets import meet, target_on_grid
from fusion.data.withholding import season_shift, withhold
from fusion.features.features import compute_features

LEAST_OBSERVATIONS = 6  # of a lone pixel
LEAST_TARGETS = 2  # dates of a lone pixel, or of as many pixels as a row of a crop has


class Sample(NamedTuple):
    """One crop: ``features`` (C, T, H, W) with channels last in memory, the rest (T, H, W); float32."""

    features: np.ndarray
    target: np.ndarray  # NDVI, NaN where there is nothing to score
    gap_days: np.ndarray  # distance to the nearest visible observation


def grid_of_sample(
    truth_days: np.ndarray | None, obs_days: np.ndarray, steps: int, rng: np.random.Generator, *, use_obs: bool
) -> np.ndarray:
    """The dates of a sample, int64 (steps,): a random part of a long series, a random frame around a short one."""
    days = truth_days if truth_days is not None else obs_days
    slack = int(days[-1] - days[0]) - (steps - 1) * STEP_DAYS
    early = STEP_DAYS if truth_days is not None else STEP_DAYS - slack // 2
    start = int(days[0]) + int(rng.integers(0, slack + 1) if slack > 0 else rng.integers(-early, 1))
    # with observations as targets the grid falls on those of one orbit, which are STEP_DAYS apart
    met = int(rng.choice(obs_days)) if use_obs else None
    return meet(start, truth_days, met) + STEP_DAYS * np.arange(steps)


def visit_scene(scene: Scene, other: Scene, settings: SampleSettings, rng: np.random.Generator) -> list[Sample]:
    """Withhold observations of a scene once and cut adjacent crops at a random position, those with a target.

    As many crops as the scene has room for, at most ``crops_a_side`` along each axis.
    """
    obs = scene.observations
    height, width = obs.shape
    if min(height, width) < settings.crop_px:
        raise ValueError(f"a scene of {height} x {width} px is smaller than a crop of {settings.crop_px} px")
    if scene.suspect is not None and rng.random() < settings.screened_share:  # as in a screened archive
        obs = obs.withhold(s2=scene.suspect)
    visible = withhold(obs, other.observations, settings.withholding, rng)
    shift = season_shift(settings.withholding, rng)
    use_obs = scene.truth is None or bool(rng.random() < settings.observation_target_share)
    grid_days = grid_of_sample(scene.truth_days, obs.s2_days, settings.steps, rng, use_obs=use_obs)
    down, across = (min(settings.crops_a_side, size // settings.crop_px) for size in (height, width))
    top = int(rng.integers(0, height - down * settings.crop_px + 1))
    left = int(rng.integers(0, width - across * settings.crop_px + 1))
    rows, columns = slice(top, top + down * settings.crop_px), slice(left, left + across * settings.crop_px)
    target = target_on_grid(scene, obs, visible, grid_days, use_obs=use_obs)[:, rows, columns]
    features = compute_features(visible, grid_days, rows, columns, season_shift_days=shift)
    target = np.where(np.isfinite(features.linear), target, np.float32(np.nan))
    stack = np.ascontiguousarray(np.moveaxis(features.stack, 0, -1))  # (T, H, W, C)
    samples = []
    for i in range(down):
        for j in range(across):
            cut = (slice(None), *(slice(k * settings.crop_px, (k + 1) * settings.crop_px) for k in (i, j)))
            if np.isfinite(target[cut]).sum() < LEAST_TARGETS * settings.crop_px:
                continue
            crop = np.ascontiguousarray(stack[cut])
            samples.append(Sample(np.moveaxis(crop, -1, 0), target[cut].copy(), features.gap_days[cut].copy()))
    return samples


def visit_pixel(scene: Scene, other: Scene, settings: SampleSettings, rng: np.random.Generator) -> Sample | None:
    """A random pixel of a scene, which knows only itself, as a flux tower or a field mean does.

    Its radar always stays, since training shows every lone pixel with and without it. None where the pixel has too few
    observations or targets.
    """
    point, lender = (random_pixel(s, rng) for s in (scene, other))
    obs = point.observations
    if point.suspect is not None and rng.random() < settings.screened_share:
        obs = obs.withhold(s2=point.suspect)
    known = np.isfinite(obs.s2_ndvi[:, 0, 0])
    if known.sum() < LEAST_OBSERVATIONS:
        return None
    obs = obs.withhold(s2=~known)
    with_radar = settings.withholding.model_copy(update={"no_radar_share": 0.0})
    visible = withhold(obs, lender.observations, with_radar, rng)
    use_obs = point.truth is None or bool(rng.random() < settings.observation_target_share)
    grid_days = grid_of_sample(point.truth_days, obs.s2_days, settings.steps, rng, use_obs=use_obs)
    target = target_on_grid(point, obs, visible, grid_days, use_obs=use_obs)
    if np.isfinite(target).sum() < LEAST_TARGETS:
        return None
    features = compute_features(visible, grid_days, season_shift_days=season_shift(settings.withholding, rng))
    target = np.where(np.isfinite(features.linear), target, np.float32(np.nan))
    if np.isfinite(target).sum() < LEAST_TARGETS:
        return None
    return Sample(features.stack, target, features.gap_days)
