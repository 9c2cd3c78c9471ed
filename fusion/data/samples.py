"""From scenes to training samples: withhold observations, compute features, cut small crops, mix many scenes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fusion.contract import STEP_DAYS
from fusion.features.features import YEAR_DAYS, compute_features
from fusion.features.observations import Observations
from fusion.features.truth import nearest_truth_day, truth_on_days


class Scene(Protocol):
    """The attributes of a scene used in training; the scene is simulated or read from a patch store."""

    @property
    def observations(self) -> Observations:
        """The observations of the three sensors."""
        ...

    @property
    def truth_days(self) -> np.ndarray | None:
        """Days since 1970, int64 (n,), sorted; None where there is no truth."""
        ...

    @property
    def truth(self) -> np.ndarray | None:
        """Clean NDVI, float32 (n, H, W); None on real data."""
        ...

    @property
    def suspect(self) -> np.ndarray | None:
        """Observations under undetected cloud, shadow or snow, bool (n_s2, H, W); None where this is unknown."""
        ...


class WithholdingSettings(BaseModel):
    """Random withholding of observations and sensors, so that the network learns to work without them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    windows: tuple[int, int] = Field((1, 6), description="number of withheld windows per sample, inclusive range")
    window_days: tuple[int, int] = Field((5, 65), description="length of a withheld window, days, inclusive range")
    long_share: float = Field(0.2, ge=0, le=1, description="share of samples with one long gap")
    long_days: tuple[int, int] = Field((60, 140), description="length of a long gap, days, inclusive range")
    trailing_share: float = Field(0.2, ge=0, le=1, description="share of samples whose last 5-90 days are withheld")
    thinning_share: float = Field(
        0.3, ge=0, le=1, description="share of samples that lose observations at random dates"
    )
    borrowed_share: float = Field(
        0.25, ge=0, le=1, description="share of samples to which the clouds of another scene are added"
    )
    no_radar_share: float = Field(0.2, ge=0, le=1, description="share of samples without any radar")
    no_coarse_share: float = Field(0.5, ge=0, le=1, description="share of samples without the coarse series")
    no_latitude_share: float = Field(
        0.15, ge=0, le=1, description="share of samples without latitude, hence without season"
    )
    wrong_season_share: float = Field(0.1, ge=0, le=1, description="share of samples with a random season")
    season_shift_days: float = Field(40.0, ge=0, description="largest error of the season in the other samples, days")


class SampleSettings(BaseModel):
    """Shape and mixture of training samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = Field(96, ge=8, description="dates of a sample, STEP_DAYS apart")
    crop_px: int = Field(8, ge=4, description="side of a crop")
    crops_a_side: int = Field(3, ge=1, description="adjacent crops cut per scene visit, along each axis")
    visits: int = Field(6, ge=1, description="times a scene is used, each time with other withheld observations")
    scenes_in_memory: int = Field(16, ge=1, description="scenes kept in memory at a time")
    crops_in_memory: int = Field(192, ge=1, description="crops mixed before they are returned")
    observation_target_share: float = Field(
        0.3, ge=0, le=1, description="share of samples scored against withheld noisy observations"
    )
    lone_share: float = Field(0.1, ge=0, le=1, description="share of visits whose crops are areas of a few pixels")
    screened_share: float = Field(0.2, ge=0, le=1, description="share of visits without undetected cloud or shadow")
    withholding: WithholdingSettings = Field(default_factory=WithholdingSettings)


class Sample(NamedTuple):
    """One crop: ``features`` (C, T, H, W) with channels last in memory, the rest (T, H, W); float32."""

    features: np.ndarray
    target: np.ndarray  # NDVI, NaN where there is nothing to score
    gap_days: np.ndarray  # distance to the nearest visible observation


def withheld_dates(days: np.ndarray, settings: WithholdingSettings, rng: np.random.Generator) -> np.ndarray:
    """The S2 dates withheld from a sample, bool (n,); at least two dates stay."""
    withheld = np.zeros(len(days), bool)
    if len(days) < 3:
        return withheld
    first, last = days[0], days[-1]
    low, high = settings.windows
    for _ in range(rng.integers(low, high + 1)):
        start = rng.integers(first - 10, last + 1)
        withheld |= (days >= start) & (
            days < start + rng.integers(settings.window_days[0], settings.window_days[1] + 1)
        )
    if rng.random() < settings.long_share:
        start = rng.integers(first - 30, last + 1)
        withheld |= (days >= start) & (days < start + rng.integers(settings.long_days[0], settings.long_days[1] + 1))
    if rng.random() < settings.trailing_share:
        withheld |= days > last - rng.integers(5, 91)
    if rng.random() < settings.thinning_share:
        withheld |= rng.random(len(days)) < rng.uniform(0.1, 0.7)
    if (~withheld).sum() < 2:
        withheld[rng.choice(len(days), 2, replace=False)] = False
    return withheld


def borrow_clouds(obs: Observations, other: Observations, rng: np.random.Generator) -> np.ndarray:
    """The missing pixels of another scene, assigned to the dates of this one, bool (n, H, W)."""
    n = len(obs.s2_days)
    height, width = obs.shape
    if len(other.s2_days) == 0 or other.shape[0] < height or other.shape[1] < width:
        return np.zeros((n, height, width), bool)
    pick = (np.arange(n) + rng.integers(len(other.s2_days))) % len(other.s2_days)
    return ~np.isfinite(other.s2_ndvi[pick, :height, :width])


def withhold(
    obs: Observations, other: Observations, settings: WithholdingSettings, rng: np.random.Generator
) -> Observations:
    """A copy of the observations with dates, pixels and sensors withheld at random."""
    gone = np.broadcast_to(withheld_dates(obs.s2_days, settings, rng)[:, None, None], obs.s2_ndvi.shape)
    if rng.random() < settings.borrowed_share:
        gone = gone | borrow_clouds(obs, other, rng)
    visible = obs.withhold(
        s2=gone, s1=bool(rng.random() < settings.no_radar_share), coarse=bool(rng.random() < settings.no_coarse_share)
    )
    return replace(visible, latitude=None) if rng.random() < settings.no_latitude_share else visible


def season_shift(settings: WithholdingSettings, rng: np.random.Generator) -> float:
    """Error of the day of year given to the network for a sample, days.

    Season dates differ between places: spring comes about 4 days later with each degree of latitude (Hopkins 1918,
    Periodical events and natural law as guides to agricultural research and practice). A share of the samples gets a
    random season.
    """
    reach = YEAR_DAYS / 2 if rng.random() < settings.wrong_season_share else settings.season_shift_days
    return float(rng.uniform(-reach, reach))


def target_on_grid(
    scene: Scene, obs: Observations, visible: Observations, grid_days: np.ndarray, *, use_obs: bool
) -> np.ndarray:
    """The training target of a sample, float32 (T, H, W), NaN where unknown.

    The clean truth of the same date where the scene has it. With ``use_obs``, or without truth, the observations of
    ``obs`` that ``visible`` lacks replace it, within a day of a grid date: real archives hold no better target, and the
    network learns the level of a typical observation.
    """
    if scene.truth is not None and scene.truth_days is not None:
        target = truth_on_days(scene.truth_days, scene.truth, grid_days)
    else:
        target = np.full((len(grid_days), *obs.shape), np.nan, np.float32)
        use_obs = True
    if use_obs:
        withheld = withheld_on_grid(obs, visible, grid_days)
        target = np.where(np.isfinite(withheld), withheld, target)
    return target


def withheld_on_grid(obs: Observations, visible: Observations, grid_days: np.ndarray) -> np.ndarray:
    """The observations that ``visible`` lacks, each on the grid date within a day, float32 (T, H, W), else NaN."""
    out = np.full((len(grid_days), *obs.shape), np.nan, np.float32)
    withheld = np.isfinite(obs.s2_ndvi)
    withheld[np.searchsorted(obs.s2_days, visible.s2_days)] &= ~np.isfinite(visible.s2_ndvi)
    for row, day in enumerate(obs.s2_days):
        step = int(np.argmin(np.abs(grid_days - day)))
        if abs(int(grid_days[step]) - int(day)) <= 1:
            out[step] = np.where(withheld[row], obs.s2_ndvi[row], out[step])
    return out


def meet(start: int, truth_days: np.ndarray | None, observed: int | None = None) -> int:
    """The first day of a grid, moved back by less than STEP_DAYS so that its dates fall on days with a target.

    Parameters
    ----------
    start : int
        Requested first day. It stays where truth is daily and no ``observed`` is given.
    truth_days : int64 (n,), optional
        Days with truth, which may have gaps.
    observed : int, optional
        A day with an observation that becomes a grid date. Truth within a day of it is taken instead, since an
        observation counts on the grid date within a day of its own.
    """
    if truth_days is None:
        day = start if observed is None else observed
    elif observed is None:
        early = max(0, int(truth_days[0]) - start)
        inside = start + early + (-early) % STEP_DAYS  # the first grid date on or after the first day with truth
        day = int(truth_days[np.searchsorted(truth_days, inside, side="right") - 1])
    else:
        near = nearest_truth_day(truth_days, observed)
        day = near if abs(near - observed) <= 1 else observed
    return start - (start - day) % STEP_DAYS


def visit_scene(scene: Scene, other: Scene, settings: SampleSettings, rng: np.random.Generator) -> list[Sample]:
    """Withhold observations of a scene once and cut ``crops_a_side`` x ``crops_a_side`` crops at a random position."""
    obs = scene.observations
    if scene.suspect is not None and rng.random() < settings.screened_share:  # as in a screened archive
        obs = obs.withhold(s2=scene.suspect)
    visible = withhold(obs, other.observations, settings.withholding, rng)
    shift = season_shift(settings.withholding, rng)
    days = scene.truth_days if scene.truth_days is not None else obs.s2_days
    slack = int(days[-1] - days[0]) - (settings.steps - 1) * STEP_DAYS
    start = int(days[0]) + (int(rng.integers(0, slack + 1)) if slack > 0 else int(rng.integers(-STEP_DAYS, 1)))
    use_obs = scene.truth is None or bool(rng.random() < settings.observation_target_share)
    # with observations as targets the grid falls on those of one orbit, which are STEP_DAYS apart
    met = int(rng.choice(obs.s2_days)) if use_obs else None
    grid_days = meet(start, scene.truth_days, met) + STEP_DAYS * np.arange(settings.steps)
    side = settings.crop_px * settings.crops_a_side
    height, width = obs.shape
    if min(height, width) < side:
        raise ValueError(f"a scene of {height} x {width} px is smaller than the requested crops ({side} px per side)")
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    rows, columns = slice(top, top + side), slice(left, left + side)
    target = target_on_grid(scene, obs, visible, grid_days, use_obs=use_obs)[:, rows, columns]
    if rng.random() < settings.lone_share:
        return _lone_samples(visible.window(rows, columns), target, grid_days, settings, shift, rng)
    features = compute_features(visible, grid_days, rows, columns, season_shift_days=shift)
    target = np.where(np.isfinite(features.linear), target, np.float32(np.nan))
    stack = np.ascontiguousarray(np.moveaxis(features.stack, 0, -1))  # (T, H, W, C)
    samples = []
    for i in range(settings.crops_a_side):
        for j in range(settings.crops_a_side):
            cut = (slice(None), *(slice(k * settings.crop_px, (k + 1) * settings.crop_px) for k in (i, j)))
            crop = np.ascontiguousarray(stack[cut])
            samples.append(Sample(np.moveaxis(crop, -1, 0), target[cut].copy(), features.gap_days[cut].copy()))
    return samples


def _lone_samples(
    obs: Observations,
    target: np.ndarray,
    grid_days: np.ndarray,
    settings: SampleSettings,
    shift: float,
    rng: np.random.Generator,
) -> list[Sample]:
    """Crops of isolated areas of 1 to ``crop_px`` pixels per side, such as a single flux-tower pixel.

    Border pixels are repeated up to the size of a crop, as in ``fuse``.
    """
    sizes = 2 ** np.arange(int(np.log2(settings.crop_px)) + 1)
    samples = []
    for i in range(settings.crops_a_side):
        for j in range(settings.crops_a_side):
            side = int(rng.choice(sizes))
            top, left = (k * settings.crop_px + int(rng.integers(0, settings.crop_px - side + 1)) for k in (i, j))
            area = (slice(top, top + side), slice(left, left + side))
            features = compute_features(obs.window(*area), grid_days, season_shift_days=shift)
            known = np.where(np.isfinite(features.linear), target[:, *area], np.float32(np.nan))
            wider = [(0, 0), *[(0, settings.crop_px - side)] * 2]
            stack = np.pad(np.moveaxis(features.stack, 0, -1), [*wider, (0, 0)], mode="edge")  # (T, H, W, C)
            padded = (np.pad(a, wider, mode="edge") for a in (known, features.gap_days))
            samples.append(Sample(np.moveaxis(stack, -1, 0), *padded))
    return samples


def mix_samples(scenes: Iterable[Scene], settings: SampleSettings, seed: int) -> Iterator[Sample]:
    """Endless stream of crops drawn at random from many scenes; ends when finite ``scenes`` are used up."""
    rng = np.random.default_rng(seed)
    source = iter(scenes)
    pool: list[tuple[Scene, int]] = []
    crops: list[Sample] = []
    exhausted = False
    while True:
        while not exhausted and len(pool) < settings.scenes_in_memory:
            scene = next(source, None)
            if scene is None:
                exhausted = True
                break
            # the first visits are staggered, so that scenes are not all replaced at once
            visits = settings.visits if len(crops) else int(rng.integers(1, settings.visits + 1))
            pool.append((scene, visits))
            if not crops and len(pool) >= 2:
                break
        if not pool:
            break
        index = int(rng.integers(len(pool)))
        scene, visits = pool[index]
        other = pool[int(rng.integers(len(pool)))][0]
        crops += visit_scene(scene, other, settings, rng)
        if visits > 1:
            pool[index] = (scene, visits - 1)
        else:
            pool.pop(index)
        crops_per_visit = settings.crops_a_side**2
        if len(crops) >= settings.crops_in_memory:
            for _ in range(crops_per_visit):
                yield crops.pop(int(rng.integers(len(crops))))
    while crops:
        yield crops.pop(int(rng.integers(len(crops))))
