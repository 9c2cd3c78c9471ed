"""Sensitivity to the radar level: calibration, sigma0 or gamma0, and incidence shift VV and VH by a constant."""

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import RADAR_BANDS, VH, VV
from fusion.evaluation.holdout import WithheldScene
from fusion.evaluation.metrics import divide
from fusion.evaluation.predictor import Predictor

SHIFT_DB = 1.0  # up and down, of both bands and of each


def shifts(size_db: float) -> dict[str, dict[str, float]]:
    """Name of each shift -> band -> dB."""
    both = {band: size_db for band in RADAR_BANDS}
    down = {band: -size_db for band in RADAR_BANDS}
    return {
        f"both +{size_db:g} dB": both,
        f"both -{size_db:g} dB": down,
        f"VV +{size_db:g} dB": {VV: size_db},
        f"VH +{size_db:g} dB": {VH: size_db},
    }


def shift_radar(cube: xr.DataArray, by_db: dict[str, float]) -> xr.DataArray:
    """A copy of a cube with radar in dB, its bands shifted by the given decibels; bands that it lacks are ignored."""
    moved = cube.copy(deep=True)
    for band, decibel in by_db.items():
        if band in cube.bands.values:
            moved.loc[{"bands": band}] = cube.sel(bands=band) + decibel
    return moved


def score_radar_level(withheld: WithheldScene, predictor: Predictor, shift_db: float = SHIFT_DB) -> pd.DataFrame:
    """Sums over the unseen pixels of a scene, one row per shift: errors with and without it, and the change of NDVI.

    Withheld windows are predicted again with all radar of the scene shifted by a constant number of decibels. A
    scene without radar gives no row.
    """
    bands = [band for band in RADAR_BANDS if band in withheld.cube.bands.values]
    if not bands or not np.isfinite(withheld.cube.sel(bands=bands).values).any():
        return pd.DataFrame()
    dates = withheld.days.astype("datetime64[D]")
    plain = predictor.predict(withheld.cube, dates, target="ndvi").ndvi
    unseen = (withheld.gap_days > 0) & np.isfinite(withheld.reference) & np.isfinite(plain)
    rows = []
    for name, by_db in shifts(shift_db).items():
        ndvi = predictor.predict(shift_radar(withheld.cube, by_db), dates, target="ndvi").ndvi
        change = np.abs(ndvi - plain)[unseen]
        rows.append(
            {
                "shift": name,
                "n": int(unseen.sum()),
                "absolute_error": float(np.abs(ndvi - withheld.reference)[unseen].sum()),
                "absolute_error_unshifted": float(np.abs(plain - withheld.reference)[unseen].sum()),
                "change": float(change.sum()),
                "largest_change": float(change.max(initial=0.0)),
            }
        )
    return pd.DataFrame(rows).assign(scene=withheld.key, predictor=predictor.name)


def radar_level_table(rows: pd.DataFrame) -> pd.DataFrame:
    """MAE under each shift over the MAE without it, and the mean and the largest change of NDVI."""
    out = []
    for (predictor, shift), group in rows.groupby(["predictor", "shift"], sort=False):
        n = float(group.n.sum())
        mae = divide(group.absolute_error.sum(), n)
        row = {"predictor": predictor, "shift": shift, "n": int(n), "mae": mae}
        row |= {"mae_ratio": divide(mae, divide(group.absolute_error_unshifted.sum(), n))}
        out.append(row | {"mean_change": divide(group.change.sum(), n), "largest_change": group.largest_change.max()})
    return pd.DataFrame(out)
