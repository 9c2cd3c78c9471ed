"""Data for figures, collected during scoring: density of pixels, an example series and example images."""

from dataclasses import dataclass, field

import numpy as np

from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.evaluation.holdout import WithheldScene
from fusion.evaluation.predictor import Prediction, s2_obs
from fusion.evaluation.scenes import TruthScene

DENSITY_BINS = 120
EXAMPLE_GAP_DAYS = 30.0  # distance to observations in the middle of a 60-day gap


@dataclass
class Gallery:
    """Data for figures, filled by :meth:`add`; keeps the example of one scene at a time.

    ``density``: predictor -> counts (reference, prediction) on :data:`DENSITY_BINS` equal NDVI bins each.
    ``frames``: label -> image (y, x) at ``frame_date``. ``series``: predictor -> (ndvi (n,), sigma (n,) or None) of one
    pixel at ``series_days``; ``observations`` and ``withheld`` are (days, ndvi) of that pixel.
    """

    density: dict[str, np.ndarray] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    frame_date: str = ""
    series: dict[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)
    series_days: np.ndarray | None = None
    observations: tuple[np.ndarray, np.ndarray] | None = None
    withheld: tuple[np.ndarray, np.ndarray] | None = None
    _best: float = -np.inf
    _current: tuple[str, int, tuple[int, int]] | None = None

    def count(self, predictor: str, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Add pixels to the density of a predictor; NaN is left out."""
        pair = np.isfinite(prediction) & np.isfinite(reference)
        span = [(NDVI_MIN, NDVI_MAX)] * 2
        counts, _, _ = np.histogram2d(reference[pair], prediction[pair], bins=DENSITY_BINS, range=span)
        self.density[predictor] = self.density.get(predictor, np.zeros_like(counts)) + counts

    def add(self, scene: TruthScene, withheld: WithheldScene, predictor: str, prediction: Prediction) -> None:
        """Count the unobserved pixels of a scene; keep its images if it is a better example than the current one."""
        unseen = np.where(withheld.gap_days > 0, withheld.reference, np.nan)
        self.count(predictor, prediction.ndvi, unseen)
        if self._current is None or self._current[0] != scene.key:
            self._consider(scene, withheld)
        if self._current is None or self._current[0] != scene.key:
            return
        _, row, (y, x) = self._current
        self.frames[predictor] = prediction.ndvi[row]
        sigma = None if prediction.sigma is None else prediction.sigma[:, y, x]
        self.series[predictor] = (prediction.ndvi[:, y, x], sigma)

    def _consider(self, scene: TruthScene, withheld: WithheldScene) -> None:
        """Use this scene if a date in its windows has more texture, near 30 days from any observation."""
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
    """The visible and the withheld observations of one pixel, each (days, ndvi)."""
    days, observations = s2_obs(scene.cube)
    left, _ = s2_obs(withheld.cube)
    seen = np.isfinite(observations[:, y, x])
    kept = np.isin(days, left)
    return tuple((days[seen & part], observations[seen & part, y, x]) for part in (kept, ~kept))
