"""The model as MLflow loads it: ``mlflow.pyfunc.load_model("models:/ndvi-fusion@newest").predict(cube)``.

MLflow imports this module by the name that a recorded model carries and calls :func:`_load_pyfunc`. A recorded model is
the plain ``model.onnx`` with its manifest, no pickle.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from fusion.api import fuse
from fusion.contract import STEP_DAYS
from fusion.layout import Data, plain_names

UNKNOWN_LATITUDE = -999.0
PARAMETERS: dict[str, str | int | float] = {  # of predict, with their defaults; empty text: not given
    "start": "", "end": "", "step_days": STEP_DAYS, "s1_units": "", "latitude": UNKNOWN_LATITUDE,
    "sigma": "observation",
}  # fmt: skip
DATE_COLUMN = "t"


class CubeModel:
    """A trained model that takes cubes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def predict(self, cube: Data, params: dict[str, Any] | None = None) -> xr.DataArray | xr.Dataset | pd.DataFrame:
        """Dense NDVI with its standard deviation, as :func:`fusion.fuse` gives it.

        Parameters
        ----------
        cube : xarray.DataArray, xarray.Dataset, pandas.Series or pandas.DataFrame
            As for :func:`fusion.fuse`. A DataFrame may have its dates in a column ``t``.
        params : dict, optional
            ``start``, ``end`` (default: first and last date of the cube), ``step_days``, ``s1_units``, ``latitude``,
            ``sigma``.
        """
        if isinstance(cube, pd.DataFrame) and DATE_COLUMN in cube.columns:
            cube = cube.set_index(pd.to_datetime(cube[DATE_COLUMN])).drop(columns=DATE_COLUMN)
        given = {**PARAMETERS, **(params or {})}
        days = plain_names(cube)[0].t.values.astype("datetime64[D]")
        return fuse(
            cube,
            model=self.folder,
            start=given["start"] or days[0],
            end=given["end"] or days[-1],
            step_days=int(given["step_days"]),
            s1_units=given["s1_units"] or None,
            latitude=None if given["latitude"] == UNKNOWN_LATITUDE else float(given["latitude"]),
            sigma=given["sigma"],
        )


def _load_pyfunc(data_path: str) -> CubeModel:
    """Called by MLflow with the folder that was recorded."""
    return CubeModel(Path(data_path))
