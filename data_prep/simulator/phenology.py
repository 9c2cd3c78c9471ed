"""Daily NDVI of each parcel: crop rotations, grassland, trees, bare and built ground, and random curves.

Growth and senescence are logistic (Zhang et al. 2003, doi:10.1016/S0034-4257(02)00135-9; Beck et al. 2006,
doi:10.1016/j.rse.2005.10.021). Crop calendars follow the JRC MARS crop calendar and USDA-FAS calendars for the
temperate north and shift with latitude, year and field; the southern hemisphere is half a year ahead. Regrowth after
mowing takes 10-25 days (Schwieder et al. 2022, doi:10.1016/j.rse.2021.112795).

Each parcel gets two versions of its curve, an early strong and a late weak one with the *same* management dates;
within-field variation blends between them, so that harvest stays sharp while growth differs from place to place.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from data_prep.simulator.fields import autoregressive, draw, smooth_series
from data_prep.simulator.geometry import BUILDING, FIELD, HEDGE, ROAD, Landscape
from data_prep.simulator.settings import PhenologySettings
from data_prep.simulator.weather import Weather

COVERS = (
    "winter_cereal", "rapeseed", "spring_cereal", "maize", "root_crop", "legume", "double_crop",
    "grass_mown", "grass_grazed", "orchard", "deciduous", "evergreen", "bare", "built", "water", "pulses", "smooth",
)  # fmt: skip
COVER = {name: index for index, name in enumerate(COVERS)}
CROPS = COVERS[:7]
# radar archetype of a growth component, see radar.py
CEREAL, RAPE, BROADLEAF, MAIZE, GRASS, TREE = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0

# emergence, days to half growth, growth scale, peak, senescence centre, scale, depth, end day, end scale; doy of harvest year
# columns of a growth component
_PARCEL, _AMP, _START, _HALF, _SCALE, _SEN, _SENSCALE, _SENDEPTH, _END, _ENDSCALE, _FIRST, _ARCH = range(12)


@dataclass(frozen=True)
class Vegetation:
    """Daily curves of P parcels over n days."""

    ndvi: np.ndarray  # float32 (2, P, n): early strong and late weak version
    cover: np.ndarray  # int8 (P,), index into COVERS
    archetype: np.ndarray  # int8 (P, n): which radar archetype grows
    cleared: np.ndarray  # float32 (P, n): share of the canopy that harvest, cutting or ploughing takes on a day
    tilled: np.ndarray  # float32 (P, n): roughness after tillage, 1 at ploughing, decaying
    soil: np.ndarray  # float32 (P,): NDVI of the bare ground


def make_vegetation(settings: PhenologySettings, land: Landscape, weather: Weather, rng: np.random.Generator) -> Vegetation:
    """Draw what grows on every parcel and its daily NDVI."""
    grower = _Grower(settings, weather, rng)
    parcels = len(land.kind)
    cover = np.array([grower.plant(p, int(land.kind[p])) for p in range(parcels)], np.int8)
    n = len(weather.days)
    soil = np.array(grower.soil)
    growth = np.array(grower.growth, np.float64).reshape(-1, 12)
    dips = np.array(grower.dips, np.float64).reshape(-1, 6)
    strength = rng.uniform(*settings.field_variation, parcels)
    shift = 2 * rng.uniform(*settings.field_timing_d, parcels)
    season0 = weather.season[0]
    ndvi = np.empty((2, parcels, n))
    arch, cleared = np.full((parcels, n), int(GRASS), np.int8), np.zeros((parcels, n), np.float32)
    _grow(growth, dips, soil, season0, -shift / 2, 1 + strength, ndvi[0], arch, cleared)
    _grow(growth, dips, soil, season0, shift / 2, 1 - strength, ndvi[1], arch, cleared)
    _random_curves(ndvi, cover, soil, rng)
    ndvi += _winter_green(settings, ndvi, soil, cover, weather, rng)
    wander = draw(rng, settings.wander) * smooth_series(rng, parcels, n, rng.uniform(6, 25))
    still = np.isin(cover, (COVER["built"], COVER["water"]))
    ndvi += np.where(still[:, None], 0.2, 1.0) * wander
    tilled = np.zeros((parcels, n), np.float32)
    for parcel, day, fade in grower.tillage:
        first = max(0, int(np.ceil(day - season0)))
        if first < n:
            tilled[parcel, first:] = np.maximum(tilled[parcel, first:], np.exp(-(season0 + np.arange(first, n) - day) / fade))
    return Vegetation(np.clip(ndvi, -0.2, 0.97).astype(np.float32), cover, arch, cleared, tilled, soil.astype(np.float32))


class _Grower:
    """Collects growth components, dips and tillage events parcel by parcel."""

    def __init__(self, settings: PhenologySettings, weather: Weather, rng: np.random.Generator):
        self.settings, self.rng = settings, rng
        self.growth: list = []
        self.dips: list = []
        self.tillage: list = []
        self.soil: list = []
        self.first, self.last = weather.season[0], weather.season[-1]
        warm = 50 - abs(weather.latitude)
        self.years = range(int(self.first // 365.25) - 1, int(self.last // 365.25) + 2)
        self.shift = {y: -0.8 * warm + rng.normal(0, settings.year_shift_d) for y in self.years}
        self.drought = {y: rng.random() < settings.drought_probability for y in self.years}
        self.vigour = {y: rng.normal(1.0, 0.05) for y in self.years}
        self.winter_growth = np.clip(rng.normal(0.45 + 0.012 * warm, 0.22), 0.05, 1.0)
        self.arable = draw(rng, settings.arable_share)
        self.cover_crops = draw(rng, settings.cover_crop_probability)
        self.crop_weights = rng.dirichlet(np.array([3.0, 0.8, 1.0, 2.2, 1.6, 0.8, 0.9]) * 0.8 + 0.05)
        other = np.array([3.0, 3.0, 0.7, 1.6, 0.9, 0.5, 0.5, 0.3]) * rng.gamma(1.0, 1.0, 8) + 1e-3
        self.other_weights = other / other.sum()
        self.soil_level = rng.uniform(0.11, 0.2)

    def plant(self, parcel: int, kind: int) -> int:
        rng = self.rng
        self.soil.append(float(np.clip(rng.normal(self.soil_level, 0.025), 0.06, 0.3)))
        if kind in (ROAD, BUILDING):
            self.soil[-1] = rng.uniform(0.05, 0.3)
            return COVER["built"]
        if kind == HEDGE:
            self._deciduous(parcel)
            return COVER["deciduous"]
        assert kind == FIELD
        dice = rng.random()
        if dice < self.settings.pulses_probability:
            self._pulses(parcel)
            return COVER["pulses"]
        if dice < self.settings.pulses_probability + self.settings.smooth_probability:
            return COVER["smooth"]
        if rng.random() < self.arable:
            return self._rotation(parcel)
        name = ("grass_mown", "grass_grazed", "orchard", "deciduous", "evergreen", "bare", "built", "water")[
            rng.choice(8, p=self.other_weights)
        ]
        getattr(self, "_" + name)(parcel)
        return COVER[name]

    def _add(self, parcel, amp, half, scale, sen, sen_scale, sen_depth, end, end_scale, first, arch):
        self.growth.append((parcel, amp, 0.0, half, scale, sen, sen_scale, sen_depth, end, end_scale, first, arch))

    def _till(self, parcel: int, day: float) -> None:
        self.tillage.append((parcel, day, self.rng.uniform(15, 90)))

    # --- crops -------------------------------------------------------------------------------------------------
    def _rotation(self, parcel: int) -> int:
        rng, main = self.rng, None
        free = -1e9  # day from which the field is free
        for year in self.years:
            crop = CROPS[rng.choice(len(CROPS), p=self.crop_weights)]
            shift = self.shift[year] + rng.normal(0, self.settings.field_shift_d)
            base = 365.25 * year
            vigour = self.vigour[year] * rng.normal(1.0, 0.05)
            start = {"winter_cereal": -75, "rapeseed": -120, "spring_cereal": 78, "maize": 128, "root_crop": 112}.get(crop, 100)
            self._between(parcel, free, base + start + shift)
            free = getattr(self, "_" + crop)(parcel, base, shift, vigour, self.drought[year])
            if main is None and free > self.first + 30:
                main = COVER[crop]
        return COVER["maize"] if main is None else main

    def _between(self, parcel: int, free: float, sowing: float) -> None:
        """Stubble, volunteers, cover crop or weeds between harvest and the next sowing."""
        rng, gap = self.rng, sowing - free
        if free < -1e8 or gap < 12:
            self._till(parcel, sowing - rng.uniform(1, 8))
            return
        plough = sowing - rng.uniform(1, 25)
        if gap > 60 and rng.random() < self.cover_crops:
            sown = free + rng.uniform(3, 30)
            end = sowing - rng.uniform(3, 30) if rng.random() < 0.6 else sown + rng.uniform(70, 150)
            end = min(end, sowing - 2)
            if end > sown + 25:
                winter = np.cos(2 * np.pi * (sown + 45 - 15) / 365.25)
                amp = rng.uniform(0.35, 0.75) * (1 - 0.35 * max(winter, 0) * (1 - self.winter_growth))
                scale = rng.uniform(3.5, 8)
                arch = GRASS if rng.random() < 0.5 else BROADLEAF
                self._till(parcel, sown)
                frost_kill = rng.random() < 0.25
                self._add(
                    parcel, amp, sown + rng.uniform(3.2, 5.5) * scale + 6, scale, sown + rng.uniform(90, 140), 8,
                    0.5 if frost_kill else 0.1, end, rng.uniform(0.3, 4.0), sown, arch,
                )  # fmt: skip
                plough = max(end, plough)
        elif gap > 25:
            amp = rng.uniform(0.05, 0.4)
            scale = rng.uniform(4, 14)
            self._add(
                parcel, amp, free + rng.uniform(10, 60), scale, plough, 20, 0.1, plough, rng.uniform(0.3, 3), free, GRASS
            )
            if rng.random() < 0.4:
                mid = free + rng.uniform(0.1, 0.9) * gap
                self._till(parcel, mid)
                self.dips.append((parcel, mid, rng.uniform(0.5, 1.0), 0.5, mid + rng.uniform(25, 90), rng.uniform(3, 9)))
        self._till(parcel, plough)

    def _winter_cereal(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        sown = base + rng.uniform(-95, -45) + 0.5 * shift
        autumn = rng.uniform(0.1, 0.55) * (0.5 + self.winter_growth)
        sen = base + rng.uniform(166, 188) + shift - (8 if drought else 0)
        harvest = sen + rng.uniform(18, 42)
        end_scale = rng.uniform(0.3, 1.0)
        peak = min(rng.uniform(0.6, 0.76) * vigour, 0.82)
        self._add(parcel, min(autumn, peak), sown + rng.uniform(22, 45), rng.uniform(4, 10), sen, 5, 0.8, harvest, end_scale, sown, CEREAL)
        self._add(parcel, peak, base + rng.uniform(68, 108) + shift, rng.uniform(5, 12), sen, rng.uniform(3.5, 7),
                  rng.uniform(0.7, 0.95), harvest, end_scale, base + 30 + shift, CEREAL)  # fmt: skip
        return harvest

    def _rapeseed(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        sown = base + rng.uniform(-135, -110) + 0.5 * shift
        sen = base + rng.uniform(168, 190) + shift
        harvest = sen + rng.uniform(12, 30)
        flower = base + rng.uniform(108, 124) + shift
        self._add(parcel, rng.uniform(0.4, 0.72), sown + rng.uniform(22, 38), rng.uniform(4, 7), base + rng.uniform(-10, 40), 15,
                  rng.uniform(0.1, 0.45), harvest, 0.6, sown, RAPE)  # fmt: skip
        self._add(parcel, min(0.72 * vigour, 0.8), base + rng.uniform(70, 92) + shift, rng.uniform(5, 9), sen, rng.uniform(4, 7), 0.85,
                  harvest, rng.uniform(0.3, 1), base + 20 + shift, RAPE)  # fmt: skip
        self.dips.append((parcel, flower, rng.uniform(0.15, 0.4), 4.0, flower + rng.uniform(16, 26), 4.0))
        return harvest

    def _spring_cereal(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        sown = base + rng.uniform(60, 95) + shift
        sen = base + rng.uniform(178, 205) + shift
        harvest = sen + rng.uniform(16, 35)
        self._add(parcel, min(rng.uniform(0.55, 0.75) * vigour, 0.8), sown + rng.uniform(32, 48), rng.uniform(4, 7.5), sen,
                  rng.uniform(3.5, 7), 0.85, harvest, rng.uniform(0.3, 1), sown, CEREAL)  # fmt: skip
        return harvest

    def _maize(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        sown = base + rng.uniform(106, 138) + 0.6 * shift
        sen = base + rng.uniform(248, 285) + 0.4 * shift - (15 if drought else 0)
        harvest = sen + rng.uniform(-12, 35)
        amp = min(rng.uniform(0.58, 0.76) * vigour * (rng.uniform(0.6, 0.95) if drought else 1), 0.8)
        self._add(parcel, amp, sown + rng.uniform(38, 58), rng.uniform(4, 8), sen, rng.uniform(6, 14), rng.uniform(0.4, 0.8),
                  harvest, rng.uniform(0.3, 1), sown, MAIZE)  # fmt: skip
        return harvest

    def _root_crop(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        potato = rng.random() < 0.45
        sown = base + rng.uniform(88, 125) + 0.6 * shift
        if potato:
            sen = base + rng.uniform(205, 262)
            harvest = sen + rng.uniform(12, 40)
        else:
            sen = base + rng.uniform(300, 360)
            harvest = base + rng.uniform(255, 335)
        amp = min(rng.uniform(0.6, 0.76) * vigour, 0.8)
        self._add(parcel, amp, sown + rng.uniform(38, 60), rng.uniform(4, 7.5), sen, rng.uniform(2, 9), 0.75, harvest,
                  rng.uniform(0.3, 1), sown, BROADLEAF)  # fmt: skip
        if drought:
            dip = base + rng.uniform(185, 215)
            self.dips.append((parcel, dip, rng.uniform(0.1, 0.35), 6.0, dip + rng.uniform(25, 50), 7.0))
        return harvest

    def _legume(self, parcel, base, shift, vigour, drought):
        rng = self.rng
        sown = base + rng.uniform(60, 150) + shift
        sen = sown + rng.uniform(80, 125)
        harvest = sen + rng.uniform(-10, 20)
        self._add(parcel, min(rng.uniform(0.5, 0.75) * vigour, 0.8), sown + rng.uniform(28, 45), rng.uniform(3.5, 7), sen,
                  rng.uniform(3, 8), 0.8, harvest, rng.uniform(0.3, 1.2), sown, BROADLEAF)  # fmt: skip
        return harvest

    def _double_crop(self, parcel, base, shift, vigour, drought):
        """A crop cut early (rye, peas, ryegrass) and a second one in the same summer; vegetables where it is short."""
        rng, day = self.rng, base + self.rng.uniform(25, 75) + shift
        for _ in range(int(rng.integers(2, 4))):
            scale = rng.uniform(3, 7)
            length = rng.uniform(55, 105)
            arch = (CEREAL, BROADLEAF, MAIZE, GRASS)[rng.integers(4)]
            self._add(parcel, rng.uniform(0.4, 0.75), day + 5 * scale + rng.uniform(3, 12), scale, day + length + rng.uniform(-10, 15),
                      rng.uniform(3, 8), rng.uniform(0.1, 0.8), day + length, rng.uniform(0.3, 1.2), day, arch)  # fmt: skip
            day += length + rng.uniform(4, 25)
            self._till(parcel, day - rng.uniform(1, 4))
            if day > base + 280:
                break
        return day

    # --- grass and trees ---------------------------------------------------------------------------------------
    def _sward(self, parcel: int, arch: float) -> None:
        rng = self.rng
        floor = rng.uniform(0.3, 0.7) * (0.6 + 0.6 * self.winter_growth)
        self._add(parcel, floor, -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, arch)
        for year in self.years:
            base, shift = 365.25 * year, self.shift[year] + rng.normal(0, self.settings.field_shift_d)
            peak = max(rng.uniform(0.55, 0.75) * self.vigour[year], floor)
            self._add(parcel, min(peak, 0.8), base + rng.uniform(60, 105) + shift, rng.uniform(6, 14), base + rng.uniform(270, 350), rng.uniform(10, 25),
                      rng.uniform(0.3, 1.0), base + 440, 20, base - 20, arch)  # fmt: skip
            if self.drought[year]:
                dry = base + rng.uniform(165, 210) + shift
                self.dips.append((parcel, dry, rng.uniform(0.2, 0.65), rng.uniform(4, 12), dry + rng.uniform(30, 75), rng.uniform(5, 9)))

    def _grass_mown(self, parcel: int) -> None:
        rng = self.rng
        self._sward(parcel, GRASS)
        cuts = int(rng.integers(2, 7))
        for year in self.years:
            day = 365.25 * year + rng.uniform(112, 165) + self.shift[year]
            for _ in range(cuts):
                regrowth = rng.uniform(10, 25)
                self.dips.append((parcel, day, rng.uniform(0.25, 0.75), rng.uniform(0.3, 1.2), day + 0.5 * regrowth, regrowth / 5.5))
                day += rng.uniform(24, 44) * (4 / max(cuts, 3))
                if day > 365.25 * year + 310:
                    break

    def _grass_grazed(self, parcel: int) -> None:
        rng = self.rng
        self._sward(parcel, GRASS)
        for year in self.years:
            day = 365.25 * year + rng.uniform(85, 140)
            while day < 365.25 * year + rng.uniform(290, 340):
                length = rng.uniform(3, 25)
                self.dips.append((parcel, day, rng.uniform(0.05, 0.4), rng.uniform(0.8, 4), day + length, rng.uniform(2, 5)))
                day += length + rng.uniform(12, 45)

    def _orchard(self, parcel: int) -> None:
        self._add(parcel, self.rng.uniform(0.15, 0.5), -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, TREE)
        self._deciduous(parcel, low=0.35)

    def _deciduous(self, parcel: int, low: float = 0.58) -> None:
        rng = self.rng
        floor, peak = rng.uniform(0.12, 0.45), rng.uniform(low, 0.76)
        late = rng.normal(0, 6)
        self._add(parcel, floor, -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, TREE)
        for year in self.years:
            base = 365.25 * year
            self._add(parcel, peak, base + 112 + late + self.shift[year], rng.uniform(2.5, 7), base + rng.uniform(285, 312), rng.uniform(5, 11),
                      0.98, base + 380, 10, base, TREE)  # fmt: skip

    def _evergreen(self, parcel: int) -> None:
        rng = self.rng
        floor = rng.uniform(0.4, 0.7)
        self._add(parcel, floor, -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, TREE)
        for year in self.years:
            base = 365.25 * year
            self._add(parcel, floor + rng.uniform(0, 0.12), base + 110 + self.shift[year], 18, base + 300, 20, 1, base + 400, 15, base, TREE)

    def _bare(self, parcel: int) -> None:
        self._add(parcel, self.rng.uniform(0, 0.15), -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, GRASS)

    def _built(self, parcel: int) -> None:
        self.soil[-1] = self.rng.uniform(0.03, 0.2)
        self._add(parcel, self.rng.uniform(0, 0.25), -1e4, 5, 1e5, 5, 0, 1e5, 1, -1e5, TREE)

    def _water(self, parcel: int) -> None:
        self.soil[-1] = self.rng.uniform(-0.2, 0.05)

    def _pulses(self, parcel: int) -> None:
        rng, day = self.rng, self.first - rng_exponential(self.rng)
        while day < self.last:
            length = rng.uniform(15, 160)
            scale = rng.uniform(1.5, 14)
            self._add(parcel, rng.uniform(0.1, 0.8), day + 3 * scale, scale, day + length, rng.uniform(2, 20), rng.uniform(0, 1),
                      day + length + rng.uniform(0, 30), rng.uniform(0.3, 6), day, float(rng.integers(0, 5)))  # fmt: skip
            if rng.random() < 0.5:
                self._till(parcel, day)
            day += rng.exponential(70) + 10


def rng_exponential(rng: np.random.Generator) -> float:
    """How long before the first day the pulses start."""
    return 60 + float(rng.exponential(60))


def _random_curves(ndvi: np.ndarray, cover: np.ndarray, soil: np.ndarray, rng: np.random.Generator) -> None:
    """Fill the parcels of class ``smooth`` with squashed Gaussian-process curves, in place."""
    rows = np.flatnonzero(cover == COVER["smooth"])
    for row in rows:
        curve = smooth_series(rng, 2, ndvi.shape[2], float(np.exp(rng.uniform(np.log(12), np.log(70)))))
        level, swing = rng.normal(0.2, 0.6), rng.uniform(0.4, 1.6)
        for version, share in enumerate((0.0, 0.25)):
            mixed = level + swing * (np.sqrt(1 - share**2) * curve[0] + share * curve[1])
            ndvi[version, row] = 0.1 + 0.8 / (1 + np.exp(-mixed))


def _winter_green(
    settings: PhenologySettings, ndvi: np.ndarray, soil: np.ndarray, cover: np.ndarray, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """What weeds, moss and wet stubble add to ground that is otherwise bare in a mild winter, (2, P, n)."""
    gain = draw(rng, settings.winter_green) * rng.uniform(0.3, 1.3, (len(soil), 1))
    gain[np.isin(cover, (COVER["built"], COVER["water"]))] *= 0.2
    bare = np.clip(1 - (ndvi - soil[:, None]) / 0.5, 0, 1)
    return bare * gain * np.clip(0.3 + 0.9 * weather.winter, 0, 1)


@njit(cache=False)
def _logistic(x):
    if x > 30.0:
        return 1.0
    if x < -30.0:
        return 0.0
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=False)
def _grow(growth, dips, soil, season0, shift, strength, out, arch, cleared):
    """Curves of all parcels: soil + the strongest growth component, times what the dips leave of it."""
    parcels, n = out.shape
    out[:] = 0.0
    for k in range(growth.shape[0]):
        p = int(growth[k, 0])
        amp, half, scale = growth[k, 1] * strength[p], growth[k, 3] + shift[p], growth[k, 4]
        sen, sen_scale, depth = growth[k, 5] + shift[p], growth[k, 6], growth[k, 7]
        end, end_scale, first = growth[k, 8], growth[k, 9], growth[k, 10]
        lo = max(0, int(np.ceil(first - season0)))
        hi = min(float(n), np.ceil(end - season0 + 6 * end_scale) + 1)
        if end_scale < 5 and season0 <= end < season0 + n:
            cleared[p, int(end - season0)] = 1.0
        for i in range(lo, int(hi)):
            t = season0 + i
            f = amp * _logistic((t - half) / scale) * (1 - depth * _logistic((t - sen) / sen_scale))
            f *= _logistic((end - t) / end_scale)
            if f > out[p, i]:
                out[p, i] = f
                if f > 0.03:
                    arch[p, i] = int(growth[k, 11])
    for k in range(dips.shape[0]):
        p = int(dips[k, 0])
        day, depth, scale, back, back_scale = dips[k, 1], dips[k, 2], dips[k, 3], dips[k, 4], dips[k, 5]
        lo = max(0, int(np.floor(day - season0 - 6 * scale)))
        hi = min(float(n), np.ceil(back - season0 + 8 * back_scale) + 1)
        if scale < 2.5 and season0 <= day < season0 + n:
            cleared[p, int(day - season0)] = max(cleared[p, int(day - season0)], depth)
        for i in range(lo, int(hi)):
            t = season0 + i
            out[p, i] *= 1 - depth * _logistic((t - day) / scale) * _logistic((back - t) / back_scale)
    for p in range(parcels):
        for i in range(n):
            out[p, i] += soil[p]
