"""Small scenes that the simulator's tests share."""

import pytest

from data_prep.simulator.scene import SceneParts, SimulatedScene, simulate_observations, simulate_parts
from data_prep.simulator.settings import PhenologySettings, SceneSettings


@pytest.fixture(scope="session")
def settings() -> SceneSettings:
    return SceneSettings(height=36, width=44, n_days=240)


@pytest.fixture(scope="session")
def scene(settings: SceneSettings) -> SimulatedScene:
    return simulate_observations(settings, 7)


@pytest.fixture(scope="session")
def parts(settings: SceneSettings) -> SceneParts:
    return simulate_parts(settings, 7)


@pytest.fixture(scope="session")
def north_year() -> SceneSettings:
    """A calendar year at 50 degrees north, nothing random beside the crops."""
    return SceneSettings(
        height=24,
        width=24,
        n_days=365,
        start_day=(0, 0),
        phenology=PhenologySettings(
            southern_probability=0.0,
            latitude_deg=(50.0, 50.0),
            pulses_probability=0.0,
            smooth_probability=0.0,
            arable_share=(1.0, 1.0),
            wander=(0.0, 0.0),
        ),
    )
