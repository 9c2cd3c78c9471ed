"""Permanent covers (grass, trees, bare ground, buildings, water), and green pulses without a calendar.

Meadows are cut several times per year and green up within weeks, visible as dips in satellite time series (Schwieder
et al. 2022, doi:10.1016/j.rse.2021.112795); the duration of regrowth is an assumption of this module.
"""

from data_prep.simulator.growth import ALWAYS, GRASS, TREE, YEAR_DAYS, GrowthBook

LASTING = ("grass_mown", "grass_grazed", "orchard", "deciduous", "evergreen", "bare", "built", "water")


class LastingCover(GrowthBook):
    """Fills a parcel with a permanent cover: one method per cover of ``LASTING``, and ``_pulses``."""

    def _lasting(self, parcel: int, plant: int, green: float) -> None:
        self._grow(parcel, plant, green, (-ALWAYS, 5.0))

    def _sward(self, parcel: int) -> None:
        rng = self.rng
        winter = rng.uniform(0.42, 0.76) * (0.65 + 0.5 * self.mild)
        self._lasting(parcel, GRASS, winter)
        for year in self.years:
            start, shift = YEAR_DAYS * year, self.shift[year] + rng.normal(0, self.settings.field_shift_d)
            peak = max(rng.uniform(0.55, 0.75) * self.vigour[year], winter)
            rise = (start + rng.uniform(60, 105) + shift, rng.uniform(6, 14))
            fall = (start + rng.uniform(270, 350), rng.uniform(10, 25), rng.uniform(0.3, 1.0))
            self._grow(parcel, GRASS, peak, rise, fall, (start + 440, 20), start - 20)
            if self.summer_dry:
                self._wither(parcel, start, (0.4, 0.95))
            elif self.dry[year]:
                wilts = start + rng.uniform(165, 210) + shift
                green_again = wilts + rng.uniform(30, 75)
                self._dip(parcel, wilts, rng.uniform(0.2, 0.65), rng.uniform(4, 12), green_again, rng.uniform(5, 9))

    def _grass_mown(self, parcel: int) -> None:
        rng = self.rng
        self._sward(parcel)
        cuts = int(rng.integers(2, 7))
        for year in self.years:
            day = YEAR_DAYS * year + rng.uniform(112, 165) + self.shift[year]
            for _ in range(cuts):
                regrowth = rng.uniform(10, 25)
                back = (day + 0.5 * regrowth, regrowth / 5.5)
                self._dip(parcel, day, rng.uniform(0.25, 0.75), rng.uniform(0.3, 1.2), *back)
                day += rng.uniform(24, 44) * 4 / max(cuts, 3)
                if day > YEAR_DAYS * year + 310:
                    break

    def _grass_grazed(self, parcel: int) -> None:
        rng = self.rng
        self._sward(parcel)
        for year in self.years:
            day, stop = YEAR_DAYS * year + rng.uniform(85, 140), YEAR_DAYS * year + rng.uniform(290, 340)
            while day < stop:
                length = rng.uniform(3, 25)
                self._dip(parcel, day, rng.uniform(0.05, 0.4), rng.uniform(0.8, 4), day + length, rng.uniform(2, 5))
                day += length + rng.uniform(12, 45)

    def _wither(self, parcel: int, start: float, share: tuple[float, float]) -> None:
        """Add a dry-summer dip, from late spring to the autumn rains; ``share``: lowest and highest share lost."""
        rng = self.rng
        wilts, rains = start + rng.uniform(115, 170), start + rng.uniform(262, 320)
        self._dip(parcel, wilts, rng.uniform(*share), rng.uniform(4, 14), rains, rng.uniform(6, 14))

    def _orchard(self, parcel: int) -> None:
        self._lasting(parcel, TREE, self.rng.uniform(0.15, 0.5))
        self._deciduous(parcel, low=0.35)
        if self.summer_dry:
            for year in self.years:
                self._wither(parcel, YEAR_DAYS * year, (0.1, 0.5))

    def _deciduous(self, parcel: int, low: float = 0.58) -> None:
        rng = self.rng
        floor, peak, late = rng.uniform(0.12, 0.45), rng.uniform(low, 0.76), rng.normal(0, 6)
        self._lasting(parcel, TREE, floor)
        for year in self.years:
            start = YEAR_DAYS * year
            rise = (start + 112 + late + self.shift[year], rng.uniform(2.5, 7))
            fall = (start + rng.uniform(285, 312) + self.autumn, rng.uniform(5, 11), 0.98)
            self._grow(parcel, TREE, peak, rise, fall, (start + 380, 10), start)

    def _evergreen(self, parcel: int) -> None:
        rng = self.rng
        floor = rng.uniform(0.4, 0.7)
        self._lasting(parcel, TREE, floor)
        for year in self.years:
            start = YEAR_DAYS * year
            rise = (start + 110 + self.shift[year], 18.0)
            self._grow(
                parcel, TREE, floor + rng.uniform(0, 0.12), rise, (start + 300, 20, 1.0), (start + 400, 15), start
            )

    def _bare(self, parcel: int) -> None:
        self._lasting(parcel, GRASS, self.rng.uniform(0, 0.15))

    def _built(self, parcel: int) -> None:
        self.soil[-1] = self.rng.uniform(0.03, 0.2)
        self._lasting(parcel, TREE, self.rng.uniform(0, 0.25))

    def _water(self, parcel: int) -> None:
        self.soil[-1] = self.rng.uniform(-0.2, 0.05)

    def _pulses(self, parcel: int) -> None:
        """Green pulses at random dates, so that a model cannot rely on crop calendars alone."""
        rng = self.rng
        day = self.first - 60 - rng.exponential(60)
        while day < self.last:
            length, scale = rng.uniform(15, 160), rng.uniform(1.5, 14)
            rise = (day + 3 * scale, scale)
            fall = (day + length, rng.uniform(2, 20), rng.uniform(0, 1))
            end = (day + length + rng.uniform(0, 30), rng.uniform(0.3, 6))
            self._grow(parcel, int(rng.integers(0, 5)), rng.uniform(0.1, 0.8), rise, fall, end, day)
            if rng.random() < 0.5:
                self._till(parcel, day)
            day += rng.exponential(70) + 10
