"""The book of what grows on the parcels of one scene, and the place and years that all of them share.

A growth component rises and falls by logistic functions of the day, ``amp / (1 + exp(-(day - half) / scale))`` times
what senescence leaves, and ends with the harvest. A dip takes a share of the green away and gives it back later.
Days count from 1 January of the first year in the north; in the south they run half a year ahead.

Spring comes up to four days later a degree poleward (Hopkins 1918, Monthly Weather Review Supplement 9), autumn sowing
and leaf fall the other way round; where summers are dry (Mediterranean climates, Koppen Csa and Csb) grass withers from
late spring to the autumn rains and cereals ripen early.
"""

import numpy as np

from data_prep.simulator.fields import draw
from data_prep.simulator.settings import PhenologySettings
from data_prep.simulator.weather import Weather

# what the radar sees of a plant, see radar.py
CEREAL, RAPE, BROADLEAF, MAIZE, GRASS, TREE = range(6)
GROWTH_COLUMNS = 11
DIP_COLUMNS = 6
HIGHEST_GREEN = 0.8  # above the NDVI of the soil; the index saturates there
AUTUMN_OVER_SPRING = 0.35  # a degree of latitude moves autumn by this share of what it moves spring
YEAR_DAYS = 365.25
ALWAYS = 1e5


class GrowthBook:
    """Collects what happens on the parcels of one scene: ``growth``, ``dips``, ``tillage`` and ``soil`` NDVI."""

    def __init__(self, settings: PhenologySettings, weather: Weather, rng: np.random.Generator):
        self.settings, self.rng = settings, rng
        self.growth: list[tuple[float, ...]] = []
        self.dips: list[tuple[float, ...]] = []
        self.tillage: list[tuple[int, float, float]] = []  # parcel, day, days in which the roughness fades
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
        self.mild = float(np.clip(rng.normal(0.55 + 0.02 * warm, 0.22), 0.05, 1.0))  # how much grows in winter

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
        """``rise``: day of half growth, scale; ``fall``: centre, scale, share lost; ``end``: day, scale."""
        self.growth.append((parcel, plant, min(amp, HIGHEST_GREEN), *rise, *fall, *end, first))

    def _dip(self, parcel: int, day: float, share: float, scale: float, back: float, back_scale: float) -> None:
        self.dips.append((parcel, day, share, scale, back, back_scale))

    def _till(self, parcel: int, day: float) -> None:
        self.tillage.append((parcel, day, self.rng.uniform(15, 90)))
