"""Scenes with known truth: the merged cube of observations and the clean NDVI."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import xarray as xr

from fusion.contract import COARSE_NDVI, DIMS, S2NDVI, VH, VV, ContractError
from fusion.features.coarse_operator import FINE_PIXEL_M
from fusion.features.observations import Observations
from fusion.features.truth import truth_on_days


class SceneWithTruth(Protocol):
    """Attributes required of a simulated scene or a patch of a store."""

    observations: Observations
    truth_days: Any  # int64 (n,), days since 1970-01-01
    truth: Any  # float32 (n, H, W), clean NDVI


@dataclass(frozen=True)
class TruthScene:
    """A cube ``(t, bands, y, x)`` with its clean NDVI: ``truth_days`` int64 (n,), ``truth`` float32 (n, y, x).

    ``parcel`` int (y, x) numbers the fields where they are known; ``suspect`` bool (t, y, x), on the cube's dates,
    flags observations with cloud, haze or shadow that the mask missed, where known.
    """

    key: str
    cube: xr.DataArray
    truth_days: np.ndarray
    truth: np.ndarray
    parcel: np.ndarray | None = None
    suspect: np.ndarray | None = None

    def centre(self, size: int) -> "TruthScene":
        """The central ``size`` x ``size`` pixels as a scene; the whole scene where it is smaller."""
        height, width = self.truth.shape[1:]
        y, x = (max(0, (n - size) // 2) for n in (height, width))
        rows, columns = slice(y, y + min(size, height)), slice(x, x + min(size, width))
        parcel = None if self.parcel is None else self.parcel[rows, columns]
        suspect = None if self.suspect is None else self.suspect[:, rows, columns]
        cube = self.cube.isel(y=rows, x=columns)
        return TruthScene(self.key, cube, self.truth_days, self.truth[:, rows, columns], parcel, suspect)

    def truth_at(self, days: np.ndarray) -> np.ndarray:
        """Truth on the given days, float32 (n, y, x); NaN on days without truth."""
        return truth_on_days(self.truth_days, self.truth, days)


def cube_from_observations(observations: Observations) -> xr.DataArray:
    """The merged cube of a scene's observations: the union of all dates, radar in dB, a metric grid without CRS."""
    parts = {
        S2NDVI: (observations.s2_days, observations.s2_ndvi),
        VV: (observations.s1_days, observations.vv_db),
        VH: (observations.s1_days, observations.vh_db),
        COARSE_NDVI: (observations.coarse_days, observations.coarse_ndvi),
    }
    days = np.unique(np.concatenate([sensor_days for sensor_days, _ in parts.values()]))
    height, width = observations.shape
    data = np.full((len(days), len(parts), height, width), np.nan, np.float32)
    for band, (sensor_days, images) in enumerate(parts.values()):
        if len(sensor_days):
            data[np.searchsorted(days, sensor_days), band] = images
    coords = {
        "t": days.astype("datetime64[D]").astype("datetime64[ns]"),
        "bands": list(parts),
        "y": FINE_PIXEL_M * (height - 0.5 - np.arange(height)),
        "x": FINE_PIXEL_M * (0.5 + np.arange(width)),
    }
    attrs = {"s1_units": "dB"} | ({} if observations.latitude is None else {"latitude": observations.latitude})
    return xr.DataArray(data, dims=DIMS, coords=coords, name="cube", attrs=attrs)


def on_dates_of(cube: xr.DataArray, days: np.ndarray, flags: np.ndarray | None) -> np.ndarray | None:
    """Flags bool (n, y, x) of ``days`` on all dates of the cube, False on the others; None stays None."""
    if flags is None:
        return None
    out = np.zeros((cube.sizes["t"], *flags.shape[1:]), bool)
    out[np.searchsorted(cube.t.values.astype("datetime64[D]").astype(np.int64), days)] = flags
    return out


def truth_scenes(source: Iterable[SceneWithTruth], count: int | None) -> Iterator[TruthScene]:
    """The first ``count`` scenes of a source, one at a time.

    Raises
    ------
    ContractError
        A scene has no truth, or the source has no scene.
    """
    found = False
    for index, scene in enumerate(islice(iter(source), count)):
        if scene.truth is None or scene.truth_days is None:
            raise ContractError(f"scene {index} has no truth; score real data with cube=PATH instead")
        found = True
        label = getattr(scene, "key", None) or f"seed {getattr(scene, 'seed', index)}"
        cube = cube_from_observations(scene.observations)
        suspect = on_dates_of(cube, scene.observations.s2_days, getattr(scene, "suspect", None))
        parcel = getattr(scene, "parcel", None)
        yield TruthScene(str(label), cube, np.asarray(scene.truth_days), scene.truth, parcel, suspect)
    if not found:
        raise ContractError("there is no scene to score; request one or more scenes, or check the split of the store")
