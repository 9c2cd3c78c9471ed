"""Growth components, dips and tillage of the parcels of one scene, and conditions common to all parcels.

A growth component rises and falls by logistic functions of the day, ``amp / (1 + exp(-(day - half) / scale))`` times
the share left by senescence, and ends with the harvest. A dip removes a share of the green NDVI temporarily. Days count
from 1 January of the first year in the north, and from 2 July of the previous year in the south.

Spring is up to four days later per degree of latitude poleward (Hopkins 1918, Monthly Weather Review Supplement 9);
autumn sowing and leaf fall are earlier. With dry summers (Mediterranean climates, Koppen Csa and Csb) grass withers
from late spring to the autumn rains and cereals ripen early.
"""

import numpy as np

from data_prep.simulator.fields import draw
from data_prep.simulator.settings import PhenologySettings
from data_prep.simulator.weather import Weather

# plant types of the radar model, see data_prep.simulator.radar
CEREAL, RAPE, BROADLEAF, MAIZE, GRASS, TREE = range(6)
GROWTH_COLUMNS = 11
DIP_COLUMNS = 6
HIGHEST_GREEN = 0.8  # largest NDVI above that of the soil; NDVI saturates there
AUTUMN_OVER_SPRING = 0.35  # shift of autumn per degree of latitude, as a share of that of spring
YEAR_DAYS = 365.25
ALWAYS = 1e5  # days, beyond every period


class GrowthBook:
    """Collects the events on the parcels of one scene: ``growth``, ``dips``, ``tillage``, and ``soil`` NDVI."""

    def __init__(self, settings: PhenologySettings, weather: Weather, rng: np.random.Generator):
        self.settings, self.rng = settings, rng
        self.growth: list[tuple[float, ...]] = []
        self.dips: list[tuple[float, ...]] = []
        self.tillage: list[tuple[int, float, float]] = []  # parcel, day, time constant of the roughness (days)
        self.soil: list[float] = []
        self.first, self.last = weather.season[0], weather.season[-1]
        warm = 50 - abs(weather.latitude)
        self.years = range(int(self.first // YEAR_DAYS) - 1, int(self.last // YEAR_DAYS) + 2)
        spring = -draw(rng, settings.latitude_shift_d) * warm
        self.autumn = -AUTUMN_OVER_SPRING * spring  # shift of autumn sowing and of leaf fall, days
        self.shift = {y: spring + rng.normal(0, settings.year_shift_d) for y in self.years}
        self.summer_dry = rng.random() < settings.summer_dry_probability * np.clip(warm / 12, 0, 1)
        self.dry = {y: rng.random() < (0.9 if self.summer_dry else settings.drought_probability) for y in self.years}
        self.vigour = {y: rng.normal(1.0, 0.05) for y in self.years}
        # mildness of the winters, 0..1; growth in winter increases with it
        self.mild = float(np.clip(rng.normal(0.55 + 0.02 * warm, 0.22), 0.05, 1.0))

    def _grow(
        self,
        parcel: int,
        plant: int,
        amp: float,
        rise: tuple[float, float],
        fall: tuple[float, float, float] = (ALWAYS, 5.0, 0.0),
        end: tuple[float, float] = (ALWAYS, 1.0),
        first: float = -ALWAYS,
    ) -> None:
        """Add one; ``rise``: day of half growth, scale; ``fall``: centre, scale, share lost; ``end``: day, scale."""
        self.growth.append((parcel, plant, min(amp, HIGHEST_GREEN), *rise, *fall, *end, first))

    def _dip(self, parcel: int, day: float, share: float, scale: float, back: float, back_scale: float) -> None:
        self.dips.append((parcel, day, share, scale, back, back_scale))

    def _till(self, parcel: int, day: float) -> None:
        self.tillage.append((parcel, day, self.rng.uniform(15, 90)))
