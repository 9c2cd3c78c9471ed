"""Choice of the cover of each parcel, crop calendars, and vegetation between two crops.

Calendars follow the JRC MARS crop calendar and the USDA-FAS calendars for the temperate north; they shift with
latitude, year and field as described in :mod:`data_prep.simulator.growth`.
"""

import numpy as np

from data_prep.simulator.fields import draw
from data_prep.simulator.geometry import BUILDING, HEDGE, ROAD
from data_prep.simulator.growth import BROADLEAF, CEREAL, GRASS, MAIZE, RAPE, YEAR_DAYS
from data_prep.simulator.lasting import LASTING, LastingCover
from data_prep.simulator.settings import PhenologySettings
from data_prep.simulator.weather import Weather

CROPS = ("winter_cereal", "rapeseed", "spring_cereal", "maize", "root_crop", "legume", "double_crop")
COVERS = (*CROPS, *LASTING, "pulses", "smooth")
COVER = {name: index for index, name in enumerate(COVERS)}
CROP_SHARE = np.array([3.0, 0.8, 1.0, 2.2, 1.6, 0.8, 0.9])  # relative areas, as in European lowland farming
DRY_CROP_SHARE = np.array([4.5, 0.3, 1.5, 0.9, 0.8, 0.8, 0.9])  # with dry summers, where summer crops need irrigation
LASTING_SHARE = np.array([3.0, 3.0, 0.7, 1.6, 0.9, 0.5, 0.5, 0.3])  # relative areas, in the order of LASTING
# day of the harvest year
EARLIEST_SOWING = {"winter_cereal": -75, "rapeseed": -120, "spring_cereal": 78, "maize": 128, "root_crop": 112}
AUTUMN_SOWN, SUMMER_CROPS = ("winter_cereal", "rapeseed"), ("maize", "root_crop")
OTHER_SOWING = 100  # the same for all other crops
SUMMER_CROP_SHIFT = 0.6  # share of the spring shift that applies to summer crops


class Grower(LastingCover):
    """Draws cover and growth of the parcels of one scene."""

    def __init__(self, settings: PhenologySettings, weather: Weather, rng: np.random.Generator):
        super().__init__(settings, weather, rng)
        self.arable = draw(rng, settings.arable_share)
        self.cover_crops = draw(rng, settings.cover_crop_probability)
        self.crop_share = rng.dirichlet(0.8 * (DRY_CROP_SHARE if self.summer_dry else CROP_SHARE) + 0.05)
        lasting = LASTING_SHARE * rng.gamma(1.0, 1.0, len(LASTING)) + 1e-3
        self.lasting_share = lasting / lasting.sum()
        self.soil_level = rng.uniform(0.11, 0.2)

    def plant(self, parcel: int, kind: int) -> int:
        """Fill one parcel for all years and return its cover, index into COVERS; call in the order of the labels."""
        rng = self.rng
        self.soil.append(float(np.clip(rng.normal(self.soil_level, 0.025), 0.06, 0.3)))
        if kind in (ROAD, BUILDING):
            self.soil[-1] = rng.uniform(0.05, 0.3)
            return COVER["built"]
        if kind == HEDGE:
            self._deciduous(parcel)
            return COVER["deciduous"]
        dice = rng.random()
        if dice < self.settings.pulses_probability:
            self._pulses(parcel)
            return COVER["pulses"]
        if dice < self.settings.pulses_probability + self.settings.smooth_probability:
            return COVER["smooth"]
        if rng.random() < self.arable:
            return self._rotation(parcel)
        name = LASTING[rng.choice(len(LASTING), p=self.lasting_share)]
        getattr(self, "_" + name)(parcel)
        return COVER[name]

    def _rotation(self, parcel: int) -> int:
        """One crop per year and the vegetation between crops; the cover is the first crop within the period."""
        rng, main, free = self.rng, None, -np.inf
        for year in self.years:
            crop = CROPS[rng.choice(len(CROPS), p=self.crop_share)]
            shift = self.shift[year] + rng.normal(0, self.settings.field_shift_d)
            start = YEAR_DAYS * year
            earliest = EARLIEST_SOWING.get(crop, OTHER_SOWING)
            self._between(parcel, free, start + earliest + self._sowing_shift(crop, shift))
            vigour = self.vigour[year] * rng.normal(1.0, 0.05)
            free = getattr(self, "_" + crop)(parcel, start, shift, vigour, self.dry[year])
            if main is None and free > self.first + 30:
                main = COVER[crop]
        return COVER["maize"] if main is None else main

    def _sowing_shift(self, crop: str, shift: float) -> float:
        """Shift of the sowing date, days, for a spring shift of ``shift`` days."""
        if crop in AUTUMN_SOWN:
            return self.autumn
        return SUMMER_CROP_SHIFT * shift if crop in SUMMER_CROPS else shift

    def _between(self, parcel: int, free: float, sowing: float) -> None:
        """Stubble, volunteer plants, cover crop or weeds between a harvest and the next sowing."""
        rng, gap = self.rng, sowing - free
        if not np.isfinite(gap) or gap < 12:
            self._till(parcel, sowing - rng.uniform(1, 8))
            return
        plough = sowing - rng.uniform(1, 25)
        if gap > 60 and rng.random() < self.cover_crops:
            plough = max(plough, self._cover_crop(parcel, free, sowing))
        elif gap > 25:
            rise = (free + rng.uniform(10, 60), rng.uniform(4, 14))
            self._grow(
                parcel, GRASS, rng.uniform(0.05, 0.4), rise, (plough, 20, 0.1), (plough, rng.uniform(0.3, 3)), free
            )
            if rng.random() < 0.4:  # stubble cultivation
                day = free + rng.uniform(0.1, 0.9) * gap
                self._till(parcel, day)
                self._dip(parcel, day, rng.uniform(0.5, 1.0), 0.5, day + rng.uniform(25, 90), rng.uniform(3, 9))
        self._till(parcel, plough)

    def _cover_crop(self, parcel: int, free: float, sowing: float) -> float:
        """Cover crop such as mustard, phacelia or rye; returns the day on which it ends."""
        rng = self.rng
        sown = free + rng.uniform(3, 30)
        end = sowing - rng.uniform(3, 30) if rng.random() < 0.6 else sown + rng.uniform(70, 150)
        end = min(end, sowing - 2)
        if end <= sown + 25:
            return free
        winter = np.cos(2 * np.pi * (sown + 45 - 15) / YEAR_DAYS)
        amp = rng.uniform(0.45, 0.8) * (1 - 0.35 * max(winter, 0) * (1 - self.mild))
        scale = rng.uniform(3.5, 8)
        killed = 0.5 if rng.random() < 0.25 else 0.1  # share killed by frost
        self._till(parcel, sown)
        self._grow(
            parcel,
            GRASS if rng.random() < 0.5 else BROADLEAF,
            amp,
            (sown + rng.uniform(3.2, 5.5) * scale + 6, scale),
            (sown + rng.uniform(90, 140), 8, killed),
            (end, rng.uniform(0.3, 4.0)),
            sown,
        )
        return end

    def _winter_cereal(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        rng = self.rng
        sown = start + rng.uniform(-95, -45) + self.autumn
        yellow = start + rng.uniform(166, 188) + shift - (rng.uniform(0, 18) if dry else 0)
        harvest = yellow + rng.uniform(18, 42)
        end = (harvest, rng.uniform(0.3, 1.0))
        peak = rng.uniform(0.6, 0.76) * vigour
        autumn = min(rng.uniform(0.15, 0.64) * (0.55 + self.mild), peak)
        emerged = (sown + rng.uniform(22, 45), rng.uniform(4, 10))
        self._grow(parcel, CEREAL, autumn, emerged, (yellow, 5, 0.8), end, sown)
        spring = (start + rng.uniform(58, 106) + shift, rng.uniform(5, 12))
        fall = (yellow, rng.uniform(3.5, 11 if dry else 7), rng.uniform(0.7, 0.95))
        self._grow(parcel, CEREAL, peak, spring, fall, end, start + 30 + shift)
        return harvest

    def _rapeseed(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        rng = self.rng
        sown = start + rng.uniform(-135, -110) + self.autumn
        yellow = start + rng.uniform(168, 190) + shift
        harvest = yellow + rng.uniform(12, 30)
        rosette = (sown + rng.uniform(22, 38), rng.uniform(4, 7))
        losing = (start + rng.uniform(-10, 40), 15, rng.uniform(0.1, 0.45))
        self._grow(parcel, RAPE, rng.uniform(0.4, 0.72), rosette, losing, (harvest, 0.6), sown)
        spring = (start + rng.uniform(70, 92) + shift, rng.uniform(5, 9))
        fall = (yellow, rng.uniform(4, 7), 0.85)
        self._grow(parcel, RAPE, 0.72 * vigour, spring, fall, (harvest, rng.uniform(0.3, 1)), start + 20 + shift)
        flowers = start + rng.uniform(108, 124) + shift
        self._dip(parcel, flowers, rng.uniform(0.15, 0.4), 4.0, flowers + rng.uniform(16, 26), 4.0)
        return harvest

    def _spring_cereal(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        rng = self.rng
        sown = start + rng.uniform(60, 95) + shift
        yellow = start + rng.uniform(178, 205) + shift - (rng.uniform(0, 14) if dry else 0)
        harvest = yellow + rng.uniform(16, 35)
        rise = (sown + rng.uniform(32, 48), rng.uniform(4, 7.5))
        fall = (yellow, rng.uniform(3.5, 10 if dry else 7), 0.85)
        self._grow(parcel, CEREAL, rng.uniform(0.55, 0.75) * vigour, rise, fall, (harvest, rng.uniform(0.3, 1)), sown)
        return harvest

    def _maize(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        rng = self.rng
        sown = start + rng.uniform(106, 138) + SUMMER_CROP_SHIFT * shift
        yellow = start + rng.uniform(248, 285) + 0.4 * shift - (15 if dry else 0)
        harvest = yellow + rng.uniform(-12, 35)
        amp = rng.uniform(0.58, 0.76) * vigour * (rng.uniform(0.6, 0.95) if dry else 1)
        rise = (sown + rng.uniform(38, 58), rng.uniform(4, 8))
        fall = (yellow, rng.uniform(6, 14), rng.uniform(0.4, 0.8))
        self._grow(parcel, MAIZE, amp, rise, fall, (harvest, rng.uniform(0.3, 1)), sown)
        return harvest

    def _root_crop(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        """Potato, which senesces, or sugar beet, which is harvested green."""
        rng = self.rng
        sown = start + rng.uniform(88, 125) + SUMMER_CROP_SHIFT * shift
        if rng.random() < 0.45:
            yellow = start + rng.uniform(205, 262)
            harvest = yellow + rng.uniform(12, 40)
        else:
            yellow = start + rng.uniform(300, 360)
            harvest = start + rng.uniform(255, 335)
        rise = (sown + rng.uniform(38, 60), rng.uniform(4, 7.5))
        fall = (yellow, rng.uniform(2, 9), 0.75)
        end = (harvest, rng.uniform(0.3, 1))
        self._grow(parcel, BROADLEAF, rng.uniform(0.6, 0.76) * vigour, rise, fall, end, sown)
        if dry:
            wilts = start + rng.uniform(185, 215)
            self._dip(parcel, wilts, rng.uniform(0.1, 0.35), 6.0, wilts + rng.uniform(25, 50), 7.0)
        return harvest

    def _legume(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        rng = self.rng
        sown = start + rng.uniform(60, 150) + shift
        yellow = sown + rng.uniform(80, 125)
        harvest = yellow + rng.uniform(-10, 20)
        rise = (sown + rng.uniform(28, 45), rng.uniform(3.5, 7))
        fall, end = (yellow, rng.uniform(3, 8), 0.8), (harvest, rng.uniform(0.3, 1.2))
        self._grow(parcel, BROADLEAF, rng.uniform(0.5, 0.75) * vigour, rise, fall, end, sown)
        return harvest

    def _double_crop(self, parcel: int, start: float, shift: float, vigour: float, dry: bool) -> float:
        """Two or three short crops in one summer (rye, peas, ryegrass, vegetables)."""
        rng, day = self.rng, start + self.rng.uniform(25, 75) + shift
        for _ in range(int(rng.integers(2, 4))):
            scale, length = rng.uniform(3, 7), rng.uniform(55, 105)
            plant = (CEREAL, BROADLEAF, MAIZE, GRASS)[rng.integers(4)]
            rise = (day + 5 * scale + rng.uniform(3, 12), scale)
            fall = (day + length + rng.uniform(-10, 15), rng.uniform(3, 8), rng.uniform(0.1, 0.8))
            self._grow(parcel, plant, rng.uniform(0.4, 0.75), rise, fall, (day + length, rng.uniform(0.3, 1.2)), day)
            day += length + rng.uniform(4, 25)
            self._till(parcel, day - rng.uniform(1, 4))
            if day > start + 280:
                break
        return day
