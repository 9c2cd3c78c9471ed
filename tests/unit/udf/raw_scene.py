"""Raw files of a fake scene, as the workflow's target ``local`` reads them."""

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (the .rio accessor)
import xarray as xr

from tests.factory import CRS, ORIGIN_X, ORIGIN_Y, PIXEL_M, mock_truth

START = np.datetime64("2019-01-03")


def _cube(values: dict[str, np.ndarray], dates: np.ndarray, y: np.ndarray, x: np.ndarray, **attrs: str) -> xr.Dataset:
    data = {name: (("t", "y", "x"), v) for name, v in values.items()}
    coords = {"t": dates.astype("datetime64[ns]"), "y": y, "x": x}
    return xr.Dataset(data, coords=coords, attrs=attrs).rio.write_crs(CRS)


def axes(height: int, width: int, pixel_m: float = PIXEL_M) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres, y downwards."""
    return ORIGIN_Y - pixel_m * (np.arange(height) + 0.5), ORIGIN_X + pixel_m * (np.arange(width) + 0.5)


def write_raw(folder: Path, height: int = 40, width: int = 44, n_s2: int = 40, seed: int = 0) -> Path:
    """``s2.nc`` (B04, B08, SCL), ``s1.nc`` (VV, VH in dB) and ``coarse.nc`` (NDVI, 300 m) of one place and ten
    months.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 7])
    y, x = axes(height, width)
    dates = START + np.arange(n_s2) * 8
    truth = mock_truth(dates.astype("int64"), height, width, seed)
    scl = np.full(truth.shape, 4, np.uint8)
    for k in range(1, n_s2 - 1):
        if rng.random() < 0.5:  # a cloud somewhere, or all over
            size = int(rng.integers(3, height))
            top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
            scl[k, top : top + size, left : left + size] = rng.choice([8, 9, 3, 10])
    cloudy = scl != 4
    ndvi = np.where(cloudy, 0.02, np.clip(truth, 0, 0.95))
    total = np.where(cloudy, 0.8, 0.4).astype(np.float32)
    bands = {
        "B04": (total * (1 - ndvi) / 2).astype("float32"),
        "B08": (total * (1 + ndvi) / 2).astype("float32"),
        "SCL": scl,
    }
    _cube(bands, dates, y, x).to_netcdf(folder / "s2.nc")
    passes = START + np.arange(n_s2 * 8 // 12) * 12 + 1
    green = mock_truth(passes.astype("int64"), height, width, seed)
    noise = rng.normal(0, 0.5, (2, *green.shape))
    radar = {"VV": (-13 + 3 * green + noise[0]).astype("float32"), "VH": (-21 + 6 * green + noise[1]).astype("float32")}
    _cube(radar, passes, y, x, s1_units="dB").to_netcdf(folder / "s1.nc")
    dekads = np.datetime64("2019-01-01") + np.arange(n_s2 * 8 // 10) * 10
    rows, columns = height * 10 // 300 + 3, width * 10 // 300 + 3
    mean = mock_truth(dekads.astype("int64"), height, width, seed).mean(axis=(1, 2))
    coarse = np.broadcast_to(mean[:, None, None], (len(dekads), rows, columns)) + rng.normal(
        0, 0.01, (1, rows, columns)
    )
    cy, cx = axes(rows, columns, 300.0)
    _cube({"NDVI": coarse.astype("float32")}, dekads, cy + 300, cx - 300).to_netcdf(folder / "coarse.nc")
    return folder
