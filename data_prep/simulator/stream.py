"""Endless stream of simulated scenes, generated during training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from data_prep.simulator.settings import SceneSettings

if TYPE_CHECKING:
    from data_prep.simulator.scene import SimulatedScene


class SimulatedScenes:
    """Endless iterator over the scenes of seeds ``seed + start``, ``seed + start + step``, ...

    Parameters
    ----------
    settings : SceneSettings or mapping
        Scene settings; a mapping (from Hydra) is validated.
    seed : int
        First seed of the stream.
    start : int
        Number of scenes to skip, to resume a run.
    step : int
        Difference of consecutive seeds; workers use ``start=worker, step=workers``.
    """

    def __init__(self, settings: SceneSettings | dict | None = None, seed: int = 0, start: int = 0, step: int = 1):
        plain = OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else settings
        self.settings = plain if isinstance(plain, SceneSettings) else SceneSettings.model_validate(plain or {})
        self.seed, self.start, self.step = int(seed), int(start), int(step)

    def __iter__(self) -> "Iterator[SimulatedScene]":
        index = self.start
        while True:
            yield self[index]
            index += self.step

    def __getitem__(self, index: int) -> "SimulatedScene":
        """Scene of seed ``seed + index``."""
        from data_prep.simulator.scene import simulate_observations

        return simulate_observations(self.settings, self.seed + int(index))
