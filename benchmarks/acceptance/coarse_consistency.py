"""Coarse consistency: the fused series, aggregated to the coarse sensor, against the truth aggregated likewise."""

import numpy as np
import pandas as pd

from fusion.contract import COARSE_PIXEL_M
from fusion.evaluation.holdout import WithheldScene
from fusion.evaluation.scenes import TruthScene
from fusion.features.coarse_operator import (
    FINE_PIXEL_M,
    coarse_aggregate,
    coarse_psf_weights,
    dekad_starts,
    maximum_value_composite,
)
from fusion.features.neighbours import interpolate_linear

MIN_INSIDE = 0.6  # a coarse pixel counts when this share of its point-spread function lies inside the scene


def coarse_centres(size: int) -> np.ndarray:
    """Centres (metres) of as many whole 300 m pixels as fit along an axis of ``size`` 10 m pixels, centred in it."""
    count = int(size * FINE_PIXEL_M // COARSE_PIXEL_M)
    margin = (size * FINE_PIXEL_M - count * COARSE_PIXEL_M) / 2
    return margin + COARSE_PIXEL_M * (np.arange(count) + 0.5)


def composite(days: np.ndarray, images: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Images (n, y, x) as 300 m, 10-day maxima, (m, h, w); coarse pixels that extend beyond the scene are NaN."""
    axes = [FINE_PIXEL_M * (np.arange(size) + 0.5) for size in images.shape[1:]]
    centres = [coarse_centres(size) for size in images.shape[1:]]
    row_weights, column_weights, inside = coarse_psf_weights(axes[0], axes[1], centres[0], centres[1])
    seen = coarse_aggregate(images.astype(np.float64), row_weights, column_weights)
    return np.where(inside >= MIN_INSIDE, maximum_value_composite(days, seen, starts), np.nan)


def coarse_errors(scene: TruthScene, withheld: WithheldScene, ndvi: np.ndarray, predictor: str) -> pd.DataFrame:
    """Sums of squared differences between the aggregated prediction and the aggregated truth, over whole dekads.

    The prediction is interpolated to days before compositing, as the truth is daily. Scenes under 30 px per side hold
    no coarse pixel and give no row.
    """
    if min(withheld.reference.shape[1:]) * FINE_PIXEL_M < COARSE_PIXEL_M:
        return pd.DataFrame()
    days = np.arange(withheld.days[0], withheld.days[-1] + 1)
    starts = dekad_starts(int(days[0]), int(days[-1]))
    starts = starts[starts >= days[0]][:-1]
    if starts.size == 0:
        return pd.DataFrame()
    predicted = composite(days, interpolate_linear(withheld.days, ndvi, days), starts)
    true = composite(days, scene.truth_at(days), starts)
    error = (predicted - true)[np.isfinite(predicted) & np.isfinite(true)]
    row = {"scene": scene.key, "predictor": predictor, "n": float(error.size)}
    return pd.DataFrame([row | {"error": float(error.sum()), "squared_error": float((error**2).sum())}])


def coarse_table(rows: pd.DataFrame) -> pd.DataFrame:
    """RMSE and bias at 300 m and ten days against the aggregated truth."""
    sums = rows.groupby("predictor", sort=False)[["n", "error", "squared_error"]].sum()
    rmse, bias = np.sqrt(sums.squared_error / sums.n), sums.error / sums.n
    table = pd.DataFrame({"rmse": rmse, "bias": bias, "n": sums.n.astype(int)})
    return table.reset_index()
