"""Defaults of the graph, and settings of price and service. Imports no library that computes."""

from pydantic import BaseModel, ConfigDict, Field

OVERLAP_PX = 16  # required by the manifest of the shipped model
MARGIN_DAYS = 60  # observations loaded before and after the period, so that its ends have some on both sides
LEAD_DAYS = 122  # the fused series of season maps begins so long before the period: 1 September for a calendar year
PLACEHOLDER = "to be filled in"


class PriceSettings(BaseModel):
    """Price of computing on a back-end, in platform credits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_hour: float = Field(1.5, ge=0, description="credits per CPU hour (example of the openEO platform's accounting)")
    gb_hour: float = Field(1.0, ge=0, description="credits per GB of memory and hour (the same example)")
    job: float = Field(2.0, ge=0, description="credits to start a batch job (Copernicus Data Space)")


class ServiceSettings(BaseModel):
    """Who provides the service; what stands in the catalogue's records."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(PLACEHOLDER, description="folder of the provider in the catalogue, such as my-institute")
    organization: str = Field(PLACEHOLDER, description="name of the provider")
    website: str = Field(PLACEHOLDER, description="URL of the provider")
    investigator: str = Field(PLACEHOLDER, description="name of the principal investigator")
    instructions: str = Field("See the provider's website.", description="how users reach the contacts")
    logo_light: str = Field(PLACEHOLDER, description="URL of the provider's logo on a light background")
    logo_dark: str = Field(PLACEHOLDER, description="URL of the provider's logo on a dark background")
    code: str = Field("https://github.com/ndvi-fusion/ndvi-fusion", description="URL of the source code")
    cost_km2: float | None = Field(
        100.0,
        gt=0,
        description="area, a square in km2, whose cost of a year the record states per km2; null: unstated",
    )
    reference: str | None = Field(
        None, description="URL of the accepted result of the benchmark scenario on this back-end; null: none yet"
    )
