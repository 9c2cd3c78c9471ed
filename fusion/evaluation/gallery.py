"""What figures need beyond tables, collected while scoring: a density of pixels, an example series and image."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.evaluation.gap_example import EXAMPLES, GapExample, gap_example
from fusion.evaluation.holdout import WithheldScene
from fusion.evaluation.images import gradient_spectrum
from fusion.evaluation.predictor import SIDE_BY_SIDE, Prediction, Predictor, s2_obs
from fusion.evaluation.scenes import TruthScene

DENSITY_BINS = 120
EXAMPLE_GAP_DAYS = 30.0  # the middle of a 60-day gap


@dataclass
class Gallery:
    """Grows by :meth:`add`; holds no more than one scene's example at a time.

    ``density``: predictor -> counts (reference, prediction) on :data:`DENSITY_BINS` equal NDVI bins each.
    ``frames``: label -> image (y, x) at ``frame_date``. ``series``: predictor -> (ndvi (n,), sigma (n,) or None) of one
    pixel at ``series_days``; ``observations`` and ``withheld`` are (days, ndvi). ``gaps``: the same date in a 60-day
    gap as the methods of :data:`SIDE_BY_SIDE` fill it, of the first scenes that have a place for it. ``spectra``:
    "truth" or predictor -> sum of log10 radial power spectra of the gradient magnitude, and the number of frames.
    """

    density: dict[str, np.ndarray] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    frame_date: str = ""
    series: dict[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)
    series_days: np.ndarray | None = None
    observations: tuple[np.ndarray, np.ndarray] | None = None
    withheld: tuple[np.ndarray, np.ndarray] | None = None
    gaps: list[GapExample] = field(default_factory=list)
    spectra: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)
    _best: float = -np.inf
    _current: tuple[str, int, tuple[int, int]] | None = None
    _truth_of: str = ""

    def count(self, predictor: str, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Add pixels to the density of a predictor; NaN does not count."""
        pair = np.isfinite(prediction) & np.isfinite(reference)
        span = [(NDVI_MIN, NDVI_MAX)] * 2
        counts, _, _ = np.histogram2d(reference[pair], prediction[pair], bins=DENSITY_BINS, range=span)
        self.density[predictor] = self.density.get(predictor, np.zeros_like(counts)) + counts

    def add(
        self, scene: TruthScene, withheld: WithheldScene, predictor: str, prediction: Prediction, frames: np.ndarray
    ) -> None:
        """Count the scene's unseen pixels and the spectra of ``frames`` (rows of ``withheld.days``); keep its images if
        it makes a better example than the one held."""
        unseen = np.where(withheld.gap_days > 0, withheld.reference, np.nan)
        self.count(predictor, prediction.ndvi, unseen)
        self._add_spectra(predictor, prediction.ndvi[frames])
        if self._truth_of != withheld.key:
            self._truth_of = withheld.key
            self._add_spectra("truth", withheld.reference[frames])
        if self._current is None or self._current[0] != scene.key:
            self._consider(scene, withheld)
        if self._current is None or self._current[0] != scene.key:
            return
        _, row, (y, x) = self._current
        self.frames[predictor] = prediction.ndvi[row]
        sigma = None if prediction.sigma is None else prediction.sigma[:, y, x]
        self.series[predictor] = (prediction.ndvi[:, y, x], sigma)

    def add_gap(self, scene: TruthScene, predictors: Sequence[Predictor]) -> None:
        """Keep a date inside a 60-day gap of the scene, filled by the methods that say most side by side."""
        if len(self.gaps) < EXAMPLES:
            found = gap_example(scene, [p for p in predictors if p.name in SIDE_BY_SIDE])
            self.gaps += [found] if found is not None else []

    def _add_spectra(self, name: str, frames: np.ndarray) -> None:
        for frame in frames:
            spectrum = gradient_spectrum(frame)
            total, count = self.spectra.get(name, (np.zeros(0), 0))
            if spectrum is None or (count and total.shape != spectrum.shape):
                continue
            self.spectra[name] = (total + spectrum if count else spectrum, count + 1)

    def _consider(self, scene: TruthScene, withheld: WithheldScene) -> None:
        """Take this scene if a date inside its windows has more texture in the truth, a month from any observation."""
        rows = np.flatnonzero(withheld.in_window & withheld.frame_missing)
        if rows.size == 0:
            return
        distance = np.abs(np.median(withheld.gap_days[rows].reshape(rows.size, -1), axis=1) - EXAMPLE_GAP_DAYS)
        texture = np.nanstd(withheld.reference[rows].reshape(rows.size, -1), axis=1)
        merit = texture - distance / 50.0
        if merit.max() <= self._best:
            return
        self._best, row = float(merit.max()), int(rows[merit.argmax()])
        y, x = np.unravel_index(int(np.nanstd(withheld.reference, axis=0).argmax()), withheld.reference.shape[1:])
        self._current = (scene.key, row, (int(y), int(x)))
        self.frame_date = str(withheld.days[row].astype("datetime64[D]"))
        self.frames = {"truth": withheld.reference[row]}
        self.series = {"truth": (withheld.reference[:, y, x], None)}
        self.series_days = withheld.days
        self.observations, self.withheld = split_obs(scene, withheld, int(y), int(x))


def split_obs(scene: TruthScene, withheld: WithheldScene, y: int, x: int) -> tuple:
    """The observations of one pixel that were left, and those that were withheld, each (days, ndvi)."""
    days, observations = s2_obs(scene.cube)
    left, _ = s2_obs(withheld.cube)
    seen = np.isfinite(observations[:, y, x])
    kept = np.isin(days, left)
    return tuple((days[seen & part], observations[seen & part, y, x]) for part in (kept, ~kept))
