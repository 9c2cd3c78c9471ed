"""Scenes without end, for a training loop that makes its data where it trains."""

from collections.abc import Iterator

from omegaconf import OmegaConf

from data_prep.simulator.scene import SimulatedScene, simulate_observations
from data_prep.simulator.settings import SceneSettings


class SimulatedScenes:
    """Iterate over the scenes of seeds ``seed + start``, ``seed + start + step``, ... for ever.

    Parameters
    ----------
    settings : SceneSettings or mapping
        Scene settings; a mapping (from Hydra) is validated.
    seed : int
        First seed of the stream.
    start : int
        Scenes to skip, to resume a run.
    step : int
        Distance of consecutive seeds; workers take ``start=worker, step=workers``.
    """

    def __init__(self, settings: SceneSettings | dict | None = None, seed: int = 0, start: int = 0, step: int = 1):
        told = OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else settings
        self.settings = told if isinstance(told, SceneSettings) else SceneSettings.model_validate(told or {})
        self.seed, self.start, self.step = int(seed), int(start), int(step)

    def __iter__(self) -> Iterator[SimulatedScene]:
        index = self.start
        while True:
            yield self[index]
            index += self.step

    def __getitem__(self, index: int) -> SimulatedScene:
        """The scene of seed ``seed + index``."""
        return simulate_observations(self.settings, self.seed + int(index))
