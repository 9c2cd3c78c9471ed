"""Tiny raw files in the shapes that archives really hand out, with every number known to the test."""

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401
import xarray as xr

CRS = "EPSG:32631"
LEFT, TOP = 574_680.0, 5_622_440.0


def axis(n: int, pixel: float, *, left: float = LEFT, top: float = TOP) -> dict[str, np.ndarray]:
    """Pixel centres of a north-up square grid."""
    return {"y": top - pixel * (np.arange(n) + 0.5), "x": left + pixel * (np.arange(n) + 0.5)}


def dates(n: int, start: str = "2019-03-01", step: int = 5, hour: str = "10:50:22") -> np.ndarray:
    """Acquisition times with hours."""
    days = np.datetime64(start) + step * np.arange(n)
    return np.array([f"{d}T{hour}" for d in days], "datetime64[ns]")


def gee_like(
    folder: Path, *, n: int = 16, t: int = 6, seed: int = 0, scl: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The layout of an Earth Engine export: 10 m bands, 20 m SCL, 20 m S1 in packed dB, dimension ``timestamp``.

    Integers carry a scale and the fill value NaN as in the real files. Returns the physical numbers.
    """
    rng = np.random.default_rng(seed)
    red, nir = rng.integers(200, 2000, (t, n, n)), rng.integers(2000, 5000, (t, n, n))
    classes = np.full((t, n // 2, n // 2), 4, np.uint8) if scl is None else scl.astype(np.uint8)
    vv, vh = rng.integers(-150_000, -80_000, (t, n // 2, n // 2)), rng.integers(-240_000, -140_000, (t, n // 2, n // 2))

    def save(name: str, bands: dict[str, tuple[np.ndarray, str, float]], pixel: float, times: np.ndarray) -> None:
        side = next(iter(bands.values()))[0].shape[1]
        data = {
            band: (
                ("timestamp", "y", "x"),
                values.astype(kind),
                {"scale_factor": scale, "_FillValue": np.asarray(0, kind)},
            )
            for band, (values, kind, scale) in bands.items()
        }
        made = xr.Dataset(data, coords={"timestamp": times, **axis(side, pixel)}).rio.write_crs(CRS)
        made.to_netcdf(folder / name)

    times = dates(t)
    save("s2_10m.nc", {"B04": (red, "uint16", 1e-4), "B08": (nir, "uint16", 1e-4)}, 10, times)
    save("s2_20m.nc", {"SCL": (classes, "uint8", 1)}, 20, times)
    save(
        "s1_ascending.nc",
        {"VV": (vv, "int32", 1e-4), "VH": (vh, "int32", 1e-4)},
        20,
        dates(t, "2019-03-02", 6, "17:31:51"),
    )
    return {"B04": red * 1e-4, "B08": nir * 1e-4, "SCL": classes, "VV": vv * 1e-4, "VH": vh * 1e-4}


def cdse_like(folder: Path, *, n: int = 16, t: int = 4, offset: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    """The layout of an openEO back-end: unsigned numbers in int16, ``crs`` variable, product prefixes, dB in uint16."""
    rng = np.random.default_rng(seed)
    red, nir = rng.integers(200, 900, (t, n, n)), rng.integers(2000, 5000, (t, n, n))
    classes = np.full((t, n, n), 4)
    amplitude = {"VV": rng.integers(2000, 60_000, (t, n, n)), "VH": rng.integers(800, 9000, (t, n, n))}
    amplitude["VV"][0, 0, 0] = 0

    def save(name: str, bands: dict[str, np.ndarray], first: str) -> None:
        data = {
            band: (("t", "y", "x"), values.astype("uint16").view("int16"), {"_Unsigned": "true", "grid_mapping": "crs"})
            for band, values in bands.items()
        }
        made = xr.Dataset(
            data, coords={"t": np.datetime64(first, "ns") + np.arange(t) * np.timedelta64(5, "D"), **axis(n, 10)}
        )
        from rasterio.crs import CRS as Crs

        made["crs"] = xr.Variable((), b"", {"crs_wkt": Crs.from_string(CRS).to_wkt()})
        made.to_netcdf(folder / name)

    bands = {"S2-L2A-B04": red + offset, "S2-L2A-B08": nir + offset, "S2-L2A-SCL": classes}
    save("sentinel2.nc", bands, "2023-04-02")
    save("sentinel1.nc", {f"S1-SIGMA0-{b}": v for b, v in amplitude.items()}, "2023-04-03")
    return {"B04": red * 1e-4, "B08": nir * 1e-4, **amplitude}


def coarse_file(
    path: Path, dn: np.ndarray, *, left: float = LEFT - 300, top: float = TOP + 300, first: str = "2019-03-01",
    name: str = "NDVI", **attrs: object,
) -> Path:  # fmt: skip
    """PROBA-V-like digital numbers (t, y, x) on a 300 m grid, ten days apart."""
    t, n, _ = dn.shape
    times = np.datetime64(first, "ns") + np.arange(t) * np.timedelta64(10, "D")
    made = xr.Dataset({name: (("t", "y", "x"), dn, attrs)}, coords={"t": times, **axis(n, 300, left=left, top=top)})
    made.rio.write_crs(CRS).to_netcdf(path)
    return path


def geotiff(
    path: Path, values: np.ndarray, *, pixel: float = 10, names: tuple[str, ...] = (), nodata: float | None = None,
    crs: str = CRS, left: float = LEFT, top: float = TOP,
) -> Path:  # fmt: skip
    """One GeoTIFF, bands (b, y, x) with descriptions."""
    import rasterio
    from rasterio.transform import from_origin

    values = np.atleast_3d(values) if values.ndim == 3 else values[None]
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype, "crs": crs}
    with rasterio.open(path, "w", transform=from_origin(left, top, pixel, pixel), nodata=nodata, **profile) as file:
        file.write(values)
        for k, name in enumerate(names):
            file.set_band_description(k + 1, name)
    return path


def eopf_product(
    path: Path, *, n: int = 16, seed: int = 0, version: int = 2, offset: float | None = -0.1, added: int = 1000,
    date: str = "2023-05-05T10:56:21.024000Z", left: float = LEFT, top: float = TOP,
) -> dict[str, np.ndarray]:  # fmt: skip
    """A Sentinel-2 product in the layout of EOPF's Zarr (attributes as in real ones), small; gives reflectance."""
    rng = np.random.default_rng(seed)
    dn = {"b04": rng.integers(200, 900, (n, n)), "b08": rng.integers(2000, 5000, (n, n))}
    classes = np.full((n // 2, n // 2), 4, np.uint8)
    classes[0, 0] = 9
    code = {"proj:epsg": 32631} if version == 2 else {}
    told = {
        "scale_factor": 1e-4,
        "fill_value": 0,
        "units": "digital_counts",
        "valid_min": 1,
        "valid_max": 65535,
        **code,
    }
    told |= {} if offset is None else {"add_offset": offset}
    bands = {name: (("y", "x"), (v + added).astype("<u2"), dict(told)) for name, v in dn.items()}
    bands["b04"][1][0, 1] = 0
    scl = {"scl": (("y", "x"), classes, {"fill_value": 0, "flag_meanings": "no_data ... snow", **code})}

    def whole(size: int, pixel: float) -> dict[str, np.ndarray]:
        kind = "int64" if version == 2 else "float32"
        return {name: v.astype(kind) for name, v in axis(size, pixel, left=left, top=top).items()}

    other = {"horizontal_CRS_code" if version == 2 else "horizontal_crs_code": "EPSG:32631"}
    attrs = {"stac_discovery": {"properties": {"datetime": date}}, "other_metadata": other}
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs=attrs),
            "/measurements/reflectance/r10m": xr.Dataset(bands, coords=whole(n, 10.0)),
            "/conditions/mask/l2a_classification/r20m": xr.Dataset(scl, coords=whole(n // 2, 20.0)),
        }
    )
    tree.to_zarr(path, zarr_format=version, consolidated=True)
    found = {name: v * 1e-4 for name, v in dn.items()}
    found["b04"][0, 1] = np.nan
    return found | {"scl": classes}
