"""What a scientist would write in an afternoon: gradient boosting on the package's own features (scikit-learn)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from sklearn.ensemble import HistGradientBoostingRegressor

from fusion.contract import NDVI_CENTRE, NDVI_MAX, NDVI_MIN, NDVI_UNIT
from fusion.data.samples import Sample, SampleSettings, visit_pixel
from fusion.data.store import PatchStore
from fusion.data.withholding import WithholdingSettings
from fusion.evaluation.predictor import Prediction, Target, to_days
from fusion.features.features import compute_features
from fusion.features.observations import observations_from_cube
from fusion.place import latitude_of

SAMPLES = 6000  # lone pixels with withheld observations, per set
DATES = 4  # rows per sample
TREES, LEAVES, RATE = 250, 15, 0.08


@dataclass(frozen=True)
class Boosting:
    """Residual over linear interpolation, learned on the training quarters of the set that is scored."""

    model: HistGradientBoostingRegressor
    name: str = "gradient boosting, same set"

    def predict(self, cube: xr.DataArray, dates: np.ndarray, *, target: Target = "ndvi") -> Prediction:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        obs = observations_from_cube(cube, latitude=latitude_of(cube))
        features = compute_features(obs, to_days(dates))
        rows = features.stack.reshape(len(features.stack), -1).T
        residual = self.model.predict(rows).reshape(features.linear.shape)
        return Prediction(np.clip(features.linear + residual, NDVI_MIN, NDVI_MAX).astype(np.float32), None)


def learn(store: PatchStore, seed: int = 0) -> Boosting:
    """Fit on withheld observations of random pixels of the training split."""
    rng = np.random.default_rng(seed)
    inputs, targets = [], []
    for sample in _samples(store, rng):
        known = np.flatnonzero(np.isfinite(sample.target[:, 0, 0]))
        picks = rng.choice(known, min(DATES, len(known)), replace=False)
        inputs.append(sample.features[:, picks, 0, 0].T)
        linear = sample.features[0, picks, 0, 0] * NDVI_UNIT + NDVI_CENTRE
        targets.append(sample.target[picks, 0, 0] - linear)
    model = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=TREES, max_leaf_nodes=LEAVES, learning_rate=RATE, random_state=seed
    )
    return Boosting(model.fit(np.concatenate(inputs), np.concatenate(targets)))


def _samples(store: PatchStore, rng: np.random.Generator) -> Iterator[Sample]:
    settings = SampleSettings(withholding=WithholdingSettings(foreign_radar_share=0, radar_noise_share=0))
    patches = [store[i] for i in store.indices("train")]
    found = 0
    while found < SAMPLES:
        patch = patches[int(rng.integers(len(patches)))]
        sample = visit_pixel(patch, patch, settings, rng)
        if sample is not None:
            found += 1
            yield sample
