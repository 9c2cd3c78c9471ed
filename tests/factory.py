"""The one factory of fake data: tiny cubes, stores and models that tests, docs and benchmarks share.

Everything is seeded and small; nothing here is a realistic scene (that is the simulator's work), but every array obeys
the contract of :mod:`fusion.contract` and has a known truth, so a test can assert values.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from fusion.contract import COARSE_NDVI, NDVI_MAX, NDVI_MIN, S2NDVI, VH, VV
from fusion.features.observations import Observations, observations_from_cube

if TYPE_CHECKING:
    from fusion.training.checkpoint import TrainedGenerator

CRS = "EPSG:32631"
ORIGIN_X, ORIGIN_Y, PIXEL_M = 640_000.0, 5_660_000.0, 10.0  # upper left corner of every fake scene, Flanders


def mock_truth(days: np.ndarray, y: int, x: int, seed: int = 0) -> np.ndarray:
    """Clean NDVI of a fake scene, float32 (n, y, x): a double-logistic season a calendar year, two fields wide.

    Parameters
    ----------
    days : ndarray of int
        Days since 1970-01-01.
    """
    rng = np.random.default_rng([seed, 1])
    doy = day_of_year(days).astype(float)
    field = (np.arange(x) * 2 // max(x, 1))[None, :] + 2 * (np.arange(y) * 2 // max(y, 1))[:, None]
    green, brown = rng.uniform(95, 130, 4)[field], rng.uniform(200, 280, 4)[field]
    low, high = rng.uniform(0.12, 0.25, 4)[field], rng.uniform(0.7, 0.9, 4)[field]
    d = doy[:, None, None]
    rise, fall = 1 / (1 + np.exp(-(d - green) / 10)), 1 / (1 + np.exp(-(d - brown) / 8))
    ndvi = low + (high - low) * (rise - fall) + rng.normal(0, 0.01, (y, x))
    return np.clip(ndvi, NDVI_MIN, NDVI_MAX).astype(np.float32)


def day_of_year(days: np.ndarray) -> np.ndarray:
    """Day of the year, 1 January = 1, of days since 1970-01-01."""
    dates = np.asarray(days).astype("int64").astype("datetime64[D]")
    return (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype("int64") + 1


def mock_cube(
    t: int = 24,
    y: int = 8,
    x: int = 12,
    seed: int = 0,
    *,
    start: str = "2019-03-01",
    every_days: int = 5,
    cloud: float = 0.4,
    noise: float = 0.01,
    radar: bool = True,
    coarse: bool = True,
    s1_units: str = "dB",
) -> xr.DataArray:
    """A merged cube of the contract: dims (t, bands, y, x), float32, NaN = no observation, CRS EPSG:32631, y
    descending.

    Date k is ``start + k * every_days``. Sentinel-2 looks at every date, with whole and half-image clouds on about
    the share ``cloud`` of them (never on the first and last date); radar looks at even k, the coarse series at odd k.
    The clean NDVI is :func:`mock_truth` on the same days and seed.
    """
    rng = np.random.default_rng([seed, 2])
    dates = np.datetime64(start, "D") + np.arange(t) * every_days
    truth = mock_truth(dates.astype("int64"), y, x, seed)
    observation = truth + rng.normal(0, noise, truth.shape)
    draw = rng.uniform(size=t)
    for k in range(1, t - 1):
        if draw[k] < cloud / 2:
            observation[k] = np.nan
        elif draw[k] < cloud:
            observation[k, :, : max(1, x // 2)] = np.nan
    images = {S2NDVI: np.clip(observation, NDVI_MIN, NDVI_MAX)}
    even = (np.arange(t) % 2 == 0)[:, None, None]
    if radar:
        vv = -13 + 3 * truth + rng.normal(0, 0.6, truth.shape)
        vh = -21 + 6 * truth + rng.normal(0, 0.6, truth.shape)
        for band, decibel in ((VV, vv), (VH, vh)):
            images[band] = np.where(even, decibel if s1_units == "dB" else 10 ** (decibel / 10), np.nan)
    if coarse:
        mean = truth.mean(axis=(1, 2), keepdims=True) + rng.normal(0, 0.01, (t, 1, 1))
        images[COARSE_NDVI] = np.where(even & (t > 1), np.nan, np.broadcast_to(mean, truth.shape))
    cube = xr.DataArray(
        np.stack(list(images.values()), axis=1).astype(np.float32),
        dims=("t", "bands", "y", "x"),
        coords={
            "t": dates.astype("datetime64[ns]"),
            "bands": list(images),
            "y": ORIGIN_Y - PIXEL_M * (np.arange(y) + 0.5),
            "x": ORIGIN_X + PIXEL_M * (np.arange(x) + 0.5),
        },
        name="cube",
        attrs={"s1_units": s1_units} if radar else {},
    )
    return cube.rio.write_crs(CRS)


def mock_fused(cube: xr.DataArray, added: float = 0.0, sigma: float = 0.04) -> xr.DataArray:
    """A fused cube on the pixels of :func:`mock_cube`: its truth plus ``added``, every five days of 2019."""
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2020-01-01"), 5)
    ndvi = mock_truth(days.astype("int64"), cube.sizes["y"], cube.sizes["x"]) + np.float32(added)
    coords = {"t": days.astype("datetime64[ns]"), "bands": ["NDVI", "NDVI_SIGMA"], "y": cube.y, "x": cube.x}
    values = np.stack([ndvi, np.full_like(ndvi, sigma)], axis=1)
    return xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords).rio.write_crs(cube.rio.crs)


def mock_observations(**settings: object) -> Observations:
    """:func:`mock_cube` taken apart by sensor."""
    return observations_from_cube(mock_cube(**settings))  # type: ignore[arg-type]


def mock_store(path: Path, splits: dict[str, str], *, truth: bool = True, **settings: object) -> Path:
    """A patch store of fake scenes, one a key of ``splits`` (key -> split); ``settings`` go to :func:`mock_cube`.

    The truth is daily, from the first to the last observation.
    """
    from fusion.data.patch import Patch
    from fusion.data.store import create_store, write_patch

    store = create_store(path)
    for seed, (key, split) in enumerate(splits.items()):
        obs = mock_observations(**{"seed": seed, **settings})
        days = np.arange(obs.s2_days[0], obs.s2_days[-1] + 1)
        known = {"truth_days": days, "truth": mock_truth(days, *obs.shape, seed)} if truth else {}
        write_patch(store, Patch(obs, split, "site", 2019, key, **known))
    return store


def mock_generator(seed: int | None) -> "TrainedGenerator":
    """A narrow generator with random weights, or (None) an untrained one, which answers with linear interpolation.

    Its calibration doubles the sigma of the signal beyond 60 days and adds an observation's error of 0.03.
    """
    import torch

    from fusion.training.checkpoint import GeneratorSettings, TrainedGenerator, build_generator

    settings = GeneratorSettings(width=8)
    torch.manual_seed(seed or 0)
    generator = build_generator(settings)
    if seed is not None:
        for parameter in generator.parameters():
            torch.nn.init.normal_(parameter, 0, 0.08)
    calibration = {"gap_days": [0.0, 60.0], "ndvi_factor": [1.0, 2.0], "observation_noise": [0.03, 0.03]}
    return TrainedGenerator(generator.eval(), settings, calibration, {"steps": 0})


def mock_model(folder: Path, seed: int | None) -> Path:
    """:func:`mock_generator` as a model folder."""
    from fusion.training.export import export_generator

    return export_generator(mock_generator(seed), folder)


def write_cube(path: Path, cube: xr.DataArray | None = None, **settings: object) -> Path:
    """A merged cube on disk as NetCDF: ``cube`` or :func:`mock_cube` of the settings."""
    made = mock_cube(**settings) if cube is None else cube  # type: ignore[arg-type]
    made.to_netcdf(path)
    return path
