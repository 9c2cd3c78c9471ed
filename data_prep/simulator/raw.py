"""A simulated scene as raw georeferenced cubes, in the form in which an archive delivers them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr
from pyproj import Transformer

from data_prep.raw.cubes import RawCubes
from data_prep.simulator.optics import OpticalObservations
from data_prep.simulator.scene import SceneParts, simulate_parts
from data_prep.simulator.settings import SceneSettings
from fusion.contract import NDVI
from fusion.place import LONLAT, S2_GRID_M, utm_epsg

_LONGITUDE = 3.0  # degrees; all scenes lie on this meridian, the centre of UTM zone 31
_VEGETATION, _BARE, _WATER, _CLOUD, _SHADOW, _SNOW = 4, 5, 6, 9, 3, 11  # Sentinel-2 scene classes


@dataclass(frozen=True)
class RawScene:
    """Raw cubes and truth of a simulated scene.

    ``truth``: ``NDVI`` float32 (t, y, x) of every day, with the coordinates ``cover`` and ``parcel`` (y, x).
    ``cloud_mask`` is the value of ``optical.mask`` ("square" with ``dilation_px``, or "gaussian") with which the merged
    cube equals :func:`data_prep.simulator.scene.simulate_observations` for the same settings and seed.
    """

    raw: RawCubes
    truth: xr.Dataset
    cloud_mask: str
    dilation_px: int


def simulate_raw(settings: SceneSettings, seed: int) -> RawScene:
    """Scene of ``seed`` as reflectance with scene classes, backscatter in dB, and coarse NDVI on its native grid."""
    parts = simulate_parts(settings, seed)
    left, top, crs = _place(parts.weather.latitude, seed)
    pixel = settings.resolution_m
    x = left + pixel * (np.arange(settings.width) + 0.5)
    y = top - pixel * (np.arange(settings.height) + 0.5)
    days = parts.weather.days

    def cube(variables: dict, index: np.ndarray, y: np.ndarray = y, x: np.ndarray = x) -> xr.Dataset:
        data = {name: (("t", "y", "x"), values) for name, values in variables.items()}
        return xr.Dataset(data, coords={"t": _dates(index), "y": y, "x": x}).rio.write_crs(crs)

    optical = parts.optical
    s2 = cube({"B04": optical.red, "B08": optical.nir, "SCL": scene_classes(optical)}, days[optical.index])
    s2.attrs["scl_pixel_m"] = pixel
    s1 = None
    if parts.radar is not None:
        s1 = cube({"VV": parts.radar.vv_db, "VH": parts.radar.vh_db}, days[parts.radar.index])
        s1 = s1.assign_coords(orbit=("t", parts.radar.orbit.astype(np.int16)))
        s1.attrs["s1_units"] = "dB"
    coarse = None
    if parts.coarse is not None:
        rows, columns = top - parts.coarse.rows_m, left + parts.coarse.columns_m
        coarse = cube({NDVI: parts.coarse.ndvi}, parts.coarse.days, rows, columns)
    raw = RawCubes(s2=s2, s1=s1, coarse=coarse, origin=f"simulated scene, seed {seed}")
    return RawScene(raw, _truth(parts, cube), optical.mask, optical.dilation_px)


def scene_classes(optical: OpticalObservations) -> np.ndarray:
    """Scene classes in Sen2Cor codes, uint8 (n, H, W): the detected cloud, shadow and snow, else by NDVI and NIR."""
    ndvi = (optical.nir - optical.red) / (optical.nir + optical.red)
    classes = np.where(ndvi > 0.3, _VEGETATION, np.where(optical.nir < 0.07, _WATER, _BARE)).astype(np.uint8)
    classes[optical.snow] = _SNOW
    classes[optical.cloud] = _CLOUD
    classes[optical.shadow] = _SHADOW
    return classes


def _truth(parts: SceneParts, cube: Callable[..., xr.Dataset]) -> xr.Dataset:
    truth = cube({NDVI: parts.truth}, parts.weather.days)
    return truth.assign_coords(
        cover=(("y", "x"), parts.cover.astype(np.int16)), parcel=(("y", "x"), parts.parcel.astype(np.int32))
    )


def _dates(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[ns]")


def _place(latitude: float, seed: int) -> tuple[float, float, str]:
    """Outer left and top edge of the scene, metres, on the 20 m grid, and the UTM CRS of its hemisphere."""
    crs = f"EPSG:{utm_epsg(_LONGITUDE, latitude)}"
    _, north = Transformer.from_crs(LONLAT, crs, always_xy=True).transform(_LONGITUDE, latitude)
    east = 500_000 + int(seed) * 7 % 2_000 * S2_GRID_M
    return float(east), float(round(north / S2_GRID_M) * S2_GRID_M), crs
