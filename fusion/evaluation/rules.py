"""The common base of all settings of a protocol."""

from pydantic import BaseModel, ConfigDict


class Rules(BaseModel):
    """Frozen settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
