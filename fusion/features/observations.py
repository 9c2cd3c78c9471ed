"""A merged cube split by sensor: numpy arrays on the dates of each sensor."""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from fusion.contract import (
    COARSE_NDVI,
    CUBE_BANDS,
    DIMS,
    NDVI_MAX,
    NDVI_MIN,
    S1_UNITS,
    S2NDVI,
    VH,
    VV,
    ContractError,
    check_latitude,
    check_layout,
)
from fusion.features.measured import measured_cube


@dataclass(frozen=True)
class Observations:
    """Observations of one area by the three sensors, each on its own dates.

    ``*_days`` are sorted days since 1970-01-01, int64, shape (n,). Images are float32 of shape (n, H, W), NaN where
    there is no observation. Radar is in dB. A sensor that is absent has n = 0. ``latitude`` is that of the
    area in degrees north, None where unknown.
    """

    s2_days: np.ndarray
    s2_ndvi: np.ndarray
    s1_days: np.ndarray
    vv_db: np.ndarray
    vh_db: np.ndarray
    coarse_days: np.ndarray
    coarse_ndvi: np.ndarray
    latitude: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.s2_ndvi.shape[1:]

    def window(self, rows: slice, columns: slice) -> "Observations":
        """The same observations for a part of the area."""
        return replace(
            self,
            s2_ndvi=self.s2_ndvi[:, rows, columns],
            vv_db=self.vv_db[:, rows, columns],
            vh_db=self.vh_db[:, rows, columns],
            coarse_ndvi=self.coarse_ndvi[:, rows, columns],
        )

    def withhold(
        self, *, s2: np.ndarray | None = None, s1: bool = False, coarse: np.ndarray | bool = False
    ) -> "Observations":
        """A copy without the observations flagged in ``s2`` (bool, (n,) or (n, H, W)), radar, or composites.

        ``coarse`` is True for all composites, or flags them, bool (n,)."""
        out = self
        if s2 is not None:
            flag = s2 if s2.ndim == 3 else s2[:, None, None]
            ndvi = np.where(flag, np.float32(np.nan), self.s2_ndvi)
            keep = ~s2 if s2.ndim == 1 else np.ones(s2.shape[0], bool)
            out = replace(out, s2_days=self.s2_days[keep], s2_ndvi=ndvi[keep])
        if s1:
            out = replace(out, s1_days=self.s1_days[:0], vv_db=self.vv_db[:0], vh_db=self.vh_db[:0])
        if coarse is not False:
            flag = np.ones(len(self.coarse_days), bool) if coarse is True else np.asarray(coarse)
            out = replace(out, coarse_days=self.coarse_days[~flag], coarse_ndvi=self.coarse_ndvi[~flag])
        return out


def observations_from_cube(
    cube: xr.DataArray, *, s1_units: str | None = None, latitude: float | None = None, measured: bool = False
) -> Observations:
    """Split a merged cube of the contract by sensor.

    Parameters
    ----------
    cube : xarray.DataArray
        Dims ``(t, bands, y, x)`` in any order, bands as in :mod:`fusion.contract`.
    s1_units : {"dB", "linear"}, optional
        Units of VV and VH; taken from ``cube.attrs["s1_units"]`` when not given.
    latitude : float, optional
        Degrees north; taken from ``cube.attrs["latitude"]`` when not given. It may be unknown.
    measured : bool
        The cube is from :func:`fusion.features.measured.measured_cube`, which is not repeated.

    Returns
    -------
    Observations
        Dates on which a sensor has no observation at all are dropped; NDVI is clipped to [-0.2, 1]; radar is in dB;
        what cannot be a measurement is NaN (:func:`fusion.features.measured.measured_cube`).

    Raises
    ------
    ContractError
        The cube breaks the contract, the radar units are unknown or contradict the values, or the latitude is
        invalid.
    """
    check_layout(cube)
    wanted = [str(b) in CUBE_BANDS for b in cube.bands.values]
    cube = cube if all(wanted) else cube.isel(bands=np.flatnonzero(wanted))
    cube = cube.transpose(*DIMS).compute()  # a lazy cube is read here and nowhere else
    cube = cube if measured else measured_cube(cube, s1_units)
    days = cube.t.values.astype("datetime64[D]").astype("int64")
    bands = [str(b) for b in cube.bands.values]

    def images(band: str) -> np.ndarray:
        if band not in bands:
            return np.broadcast_to(np.float32(np.nan), (len(days), *cube.shape[2:]))
        return np.asarray(cube.isel(bands=bands.index(band)).values, np.float32)

    def seen_on(*stacks: np.ndarray) -> np.ndarray:
        return np.any([np.isfinite(stack).any(axis=(1, 2)) for stack in stacks], axis=0)

    ndvi, coarse = images(S2NDVI), images(COARSE_NDVI)
    vv, vh = images(VV), images(VH)
    s2_seen, s1_seen, coarse_seen = seen_on(ndvi), seen_on(vv, vh), seen_on(coarse)
    s1_days, vv, vh = days[s1_seen], vv[s1_seen], vh[s1_seen]
    if len(s1_days):
        units = resolve_s1_units(cube, s1_units)
        vv, vh = to_db(vv, units), to_db(vh, units)
        positive = seen_on(vv, vh)
        s1_days, vv, vh = (x if positive.all() else x[positive] for x in (s1_days, vv, vh))
    return Observations(
        s2_days=days[s2_seen],
        s2_ndvi=np.clip(ndvi[s2_seen], NDVI_MIN, NDVI_MAX),
        s1_days=s1_days,
        vv_db=vv,
        vh_db=vh,
        coarse_days=days[coarse_seen],
        coarse_ndvi=np.clip(coarse[coarse_seen], NDVI_MIN, NDVI_MAX),
        latitude=resolve_latitude(cube, latitude),
    )


def resolve_latitude(cube: xr.DataArray, latitude: float | None) -> float | None:
    """Degrees north: the argument, else ``cube.attrs["latitude"]``, else None."""
    given = latitude if latitude is not None else cube.attrs.get("latitude")
    return None if given is None else check_latitude(given)


def resolve_s1_units(cube: xr.DataArray, s1_units: str | None) -> str:
    """Radar units: the argument, else ``cube.attrs["s1_units"]``; never guessed."""
    given = s1_units if s1_units is not None else cube.attrs.get("s1_units")
    if given not in S1_UNITS:
        raise ContractError(
            f"radar units are {given!r}; expected one of {S1_UNITS}; set cube.attrs['s1_units'] or pass s1_units"
        )
    return str(given)


def to_db(power: np.ndarray, units: str) -> np.ndarray:
    """Backscatter in dB, float32, NaN where there is none."""
    power = np.asarray(power, np.float32)
    if np.isinf(power).any():
        power = np.where(np.isinf(power), np.float32(np.nan), power)
    if units != "linear":
        return power
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(power > 0, 10 * np.log10(power), np.float32(np.nan)).astype(np.float32)
