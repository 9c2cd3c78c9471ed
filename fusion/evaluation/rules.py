"""Base class of the settings of evaluation protocols."""

from pydantic import BaseModel, ConfigDict


class Rules(BaseModel):
    """Immutable settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
