"""The simulator as a source: a scene with known truth."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data_prep.raw.cubes import RawCubes
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.settings import SceneSettings


class SimulatedSource(BaseModel):
    """A simulated scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["simulated"] = "simulated"
    scene: SceneSettings = Field(
        SceneSettings(height=128, width=128), description="size, period and randomised ranges of the scene"
    )
    seed: int = Field(0, ge=0, description="seed; equal settings and seed give an equal scene")

    def load(self) -> RawCubes:
        """Raw cubes of the scene; :func:`data_prep.simulator.raw.simulate_raw` also returns its truth."""
        return simulate_raw(self.scene, self.seed).raw
