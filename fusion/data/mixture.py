"""Training batches drawn from several sources by their shares: crops of scenes, and lone pixels."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fusion.data.samples import Sample, SampleSettings, visit_pixel, visit_scene
from fusion.data.scene import Scene, random_pixel

SceneSource = Callable[[int], Iterable[Scene]]
"""Given a seed, an endless or finite iterable of scenes."""

MOST_TRIES = 1000  # visits without any target in a row, after which a source is given up


@dataclass(frozen=True)
class Source:
    """One source of scenes: its name in messages, its share, and whether it has scenes as wide as a crop."""

    name: str
    share: float
    scenes: SceneSource
    wide: bool


class Drawn(NamedTuple):
    """A sample, and the number of the source that it is from."""

    sample: Sample
    source: int


class ScenePool:
    """The scenes of one source that are in memory. Finite scenes are kept and used again."""

    def __init__(self, source: Source, settings: SampleSettings, seed: int) -> None:
        self.name, self.settings = source.name, settings
        self.rng = np.random.default_rng(seed)
        self._scenes = iter(source.scenes(seed))
        self._pool: list[tuple[Scene, int]] = []
        self._started, self._ended = 0, False

    def draw(self, *, spend: bool = True) -> tuple[Scene, Scene]:
        """A random scene and another one (the same if there is only one); with ``spend`` it counts as a visit."""
        if not self._pool:
            self._read()
        if len(self._pool) < self.settings.scenes_in_memory:
            self._read()
        index, other = (int(self.rng.integers(len(self._pool))) for _ in range(2))
        scene, visits = self._pool[index]
        lender = self._pool[other][0]
        if spend and not self._ended:
            self._pool[index] = (scene, visits - 1)
            if visits <= 1:
                self._pool.pop(index)
        return scene, lender

    def _read(self) -> None:
        scene = None if self._ended else next(self._scenes, None)
        if scene is None:
            self._ended = True
            if not self._pool:
                raise ValueError(f"source {self.name} gave no scene; check the split of the store")
            return
        # the first visits are staggered, so that scenes are not all replaced at once
        first = self._started < self.settings.scenes_in_memory
        visits = int(self.rng.integers(1, self.settings.visits + 1)) if first else self.settings.visits
        self._started += 1
        self._pool.append((scene, visits))


class CropBuffer:
    """Crops of one source, mixed over many visits."""

    def __init__(self, pool: ScenePool, settings: SampleSettings, size: int) -> None:
        self.pool, self.settings, self.size = pool, settings, size
        self._crops: list[Sample] = []

    def draw(self) -> Sample:
        """A random crop; visits are added until the buffer is full."""
        tries = 0
        while len(self._crops) < self.size:
            scene, other = self.pool.draw()
            found = []
            if min(scene.observations.shape) >= self.settings.crop_px:  # a store may hold narrow patches, too
                found = visit_scene(scene, other, self.settings, self.pool.rng)
            self._crops += found
            tries = 0 if found else tries + 1
            if tries > MOST_TRIES:
                raise ValueError(
                    f"source {self.pool.name} gives no crop of {self.settings.crop_px} px with a target; give it "
                    "share 0 or check its observations"
                )
        return self._crops.pop(int(self.pool.rng.integers(len(self._crops))))


class PointReservoir:
    """Lone pixels, each returned several times before it is replaced, since their features are expensive."""

    def __init__(self, draw: Callable[[], Drawn], settings: SampleSettings, rng: np.random.Generator) -> None:
        self.draw, self.settings, self.rng = draw, settings, rng
        self._points: list[Drawn] = []
        self._left: list[int] = []

    def take(self, count: int) -> list[Drawn]:
        """``count`` different pixels. The reservoir grows by as many as it loses, until it is full."""
        size = max(self.settings.points_in_memory, count)
        fresh = 2 * math.ceil(count / self.settings.point_uses)
        while len(self._points) < min(2 * count, size) or (fresh > 0 and len(self._points) < size):
            self._points.append(self.draw())
            self._left.append(self.settings.point_uses)
            fresh -= 1
        picked = self.rng.choice(len(self._points), count, replace=False)
        taken = [self._points[i] for i in picked]
        for i in picked:
            self._left[i] -= 1
        kept = [i for i, left in enumerate(self._left) if left > 0]
        self._points, self._left = [self._points[i] for i in kept], [self._left[i] for i in kept]
        return taken


def draw_by(shares: Sequence[float], rng: np.random.Generator) -> int:
    """Number of a source, with probability in proportion to its share."""
    edges = np.cumsum(shares)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


class Mixture:
    """Endless batches of ``crops`` crops and ``points`` lone pixels, each from a source drawn by its share.

    Crops come from the sources that are wide enough, lone pixels from all; the shares hold among those.
    """

    def __init__(
        self, sources: Sequence[Source], settings: SampleSettings, *, crops: int, points: int, seed: int
    ) -> None:
        self.settings, self.points = settings, points
        used = [(k, s) for k, s in enumerate(sources) if s.share > 0]
        self._pools = {k: ScenePool(s, settings, seed + 7_654_321 * k) for k, s in used}
        self._wide = [k for k, s in used if s.wide]
        self._all = [k for k, _ in used]
        self.crops = crops if self._wide else 0
        if not self.crops and not points:
            raise ValueError(
                f"no source has scenes of {settings.crop_px} px or more, and points_per_step is 0; "
                "set points_per_step=64 to train on lone pixels"
            )
        total = sum(sources[k].share for k in self._wide)
        self._buffers = {
            k: CropBuffer(self._pools[k], settings, math.ceil(settings.crops_in_memory * sources[k].share / total))
            for k in self._wide
        }
        self._shares = {k: s.share for k, s in used}
        self._crop_rng, self._point_rng, reservoir_rng = np.random.default_rng(seed).spawn(3)
        self._reservoir = PointReservoir(self._draw_point, settings, reservoir_rng)

    def __iter__(self) -> Iterator[tuple[list[Drawn], list[Drawn]]]:
        while True:
            yield [self._draw_crop() for _ in range(self.crops)], self._reservoir.take(self.points)

    def _draw_crop(self) -> Drawn:
        source = self._wide[draw_by([self._shares[k] for k in self._wide], self._crop_rng)]
        return Drawn(self._buffers[source].draw(), source)

    def _draw_point(self) -> Drawn:
        source = self._all[draw_by([self._shares[k] for k in self._all], self._point_rng)]
        pool = self._pools[source]
        spend = source not in self._buffers or not self.crops
        for _ in range(MOST_TRIES):
            scene, other = pool.draw(spend=spend)
            sample = visit_pixel(scene, other, self.settings, pool.rng)
            if sample is not None:
                return Drawn(sample, source)
        raise ValueError(
            f"source {pool.name} gives no pixel with enough observations and targets; give it share 0 or check it"
        )


def held_scenes(
    sources: Sequence[Source], settings: SampleSettings, seed: int, *, point_weight: float, points_a_visit: int = 16
) -> Iterator[list[Scene]]:
    """Scenes for calibration, drawn by share: at each visit a wide one, or ``points_a_visit`` lone pixels of many.

    Each wide visit has a scene of its own; lone pixels of wide sources are taken from those in memory.
    """
    used = [s for s in sources if s.share > 0]
    once = settings.model_copy(update={"visits": 1})
    pools = [ScenePool(s, once, seed + 7_654_321 * k) for k, s in enumerate(used)]
    rng = np.random.default_rng(seed)
    wide = [k for k, s in enumerate(used) if s.wide]
    while True:
        if wide and rng.random() >= point_weight:
            yield [pools[wide[draw_by([used[k].share for k in wide], rng)]].draw()[0]]
            continue
        picked = [draw_by([s.share for s in used], rng) for _ in range(points_a_visit)]
        yield [random_pixel(pools[k].draw(spend=k not in wide)[0], rng) for k in picked]
