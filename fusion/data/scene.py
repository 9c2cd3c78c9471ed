"""What training needs of a scene, simulated or read from a patch store, and the cut of one pixel."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fusion.features.observations import Observations


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


@dataclass(frozen=True)
class PixelScene:
    """One pixel of a scene, as a scene of 1 x 1 pixels."""

    observations: Observations
    truth_days: np.ndarray | None
    truth: np.ndarray | None
    suspect: np.ndarray | None


def random_pixel(scene: Scene, rng: np.random.Generator) -> PixelScene:
    """A random pixel of a scene."""
    row, column = (int(rng.integers(size)) for size in scene.observations.shape)
    at = (slice(None), slice(row, row + 1), slice(column, column + 1))
    truth = None if scene.truth is None else scene.truth[at]
    suspect = None if scene.suspect is None else scene.suspect[at]
    return PixelScene(scene.observations.window(*at[1:]), scene.truth_days, truth, suspect)
