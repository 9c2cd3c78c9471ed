"""Files as people have them, which state wrong or unusual things: the same cube as from clean files, or a refusal."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from data_prep.cube import PrepareSettings, build_cube
from data_prep.raw.cubes import SourceError
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from fusion.contract import COARSE_NDVI, S2NDVI, VV
from tests.unit.data_prep.raw_files import CRS, LEFT, TOP, axis, geotiff

SETTINGS = PrepareSettings(optical={"mask": "none"}, registration={"check": "off"})
SIDE, DAYS = 12, np.datetime64("2021-03-03") + 5 * np.arange(4)
Files = dict[str, xr.Dataset]


def files() -> Files:
    """Sentinel-2 in digital numbers, radar in dB, coarse NDVI in bytes, all of one place."""
    rng = np.random.default_rng(5)
    shape, times = (len(DAYS), SIDE, SIDE), DAYS.astype("datetime64[ns]")
    vv = rng.normal(-12, 1, shape).astype(np.float32)

    def made(bands: dict[str, np.ndarray], pixel: float, left: float, top: float) -> xr.Dataset:
        side = next(iter(bands.values())).shape[1]
        data = {name: (("t", "y", "x"), values) for name, values in bands.items()}
        return xr.Dataset(data, coords={"t": times, **axis(side, pixel, left=left, top=top)}).rio.write_crs(CRS)

    red, nir = (rng.integers(low, high, shape).astype(np.uint16) for low, high in ((300, 900), (2000, 5000)))
    bytes_ = np.broadcast_to(np.array([150, 160, 170, 180], np.uint8)[:, None, None], (4, 6, 6)).copy()
    sets = {
        "s2": made({"B04": red, "B08": nir, "SCL": np.full(shape, 4, np.uint8)}, 10, LEFT, TOP),
        "s1": made({"VV": vv, "VH": vv - 7}, 10, LEFT, TOP),
        "coarse": made({"NDVI": bytes_}, 300, LEFT - 900, TOP + 900),
    }
    for band in ("VV", "VH"):
        sets["s1"][band].attrs["units"] = "dB"
    return sets


def cube_of(sets: Files, folder: Path) -> xr.DataArray:
    folder.mkdir(exist_ok=True, parents=True)
    for name, data in sets.items():
        data.to_netcdf(folder / f"{name}.nc")
    return build_cube(load_files(FilesSource(folder=folder)), SETTINGS).load()


def cube_of_download(sets: Files, folder: Path) -> xr.DataArray:
    """The same files as the results of openEO jobs, without radar, whose units the back-end states."""
    for sensor in ("s2", "coarse"):
        (folder / "a" / sensor).mkdir(parents=True)
        sets[sensor].to_netcdf(folder / "a" / sensor / "openEO.nc")
    places = {"areas": {"a": (5.0, 51.0, 5.1, 51.1)}, "folder": folder, "sensors": ("s2", "coarse")}
    return build_cube(read_area(OpenEOSource(start="2021-01-01", end="2021-12-31", **places), "a"), SETTINGS).load()


PATHS = {"files": cube_of, "openeo": cube_of_download}


def times_as(values: list[object], **attrs: str) -> Callable[[Files], None]:
    def change(sets: Files) -> None:
        sets["s2"]["t"] = xr.Variable("t", values, attrs)

    return change


def attributes(name: str, bands: tuple[str, ...], **attrs: object) -> Callable[[Files], None]:
    def change(sets: Files) -> None:
        for band in bands:
            sets[name][band].attrs.update(attrs)

    return change


def coordinates(change_x: Callable, change_y: Callable | None = None, crs: str = CRS, **attrs: str) -> Callable:
    def change(sets: Files) -> None:
        data = sets["s2"].assign_coords(x=change_x(sets["s2"].x), y=(change_y or change_x)(sets["s2"].y))
        sets["s2"] = data.rio.write_crs(crs)
        for name in ("x", "y"):
            sets["s2"][name].attrs = dict(attrs)

    return change


def numbers(name: str, change_band: Callable[[xr.DataArray], xr.DataArray], *bands: str) -> Callable[[Files], None]:
    def change(sets: Files) -> None:
        for band in bands or tuple(sets[name].data_vars):
            attrs = sets[name][band].attrs
            sets[name][band] = change_band(sets[name][band]).assign_attrs(attrs)

    return change


def pointed_crs(sets: Files) -> None:
    """Two grid mappings, of which the bands name the second; the third by CF parameters only."""
    plain = sets["s2"].drop_vars("spatial_ref")
    plain["aaa"] = xr.Variable((), 0, {"crs_wkt": pyproj.CRS("EPSG:4326").to_wkt()})
    parameters = pyproj.CRS(CRS).to_cf()
    parameters.pop("crs_wkt")
    plain["utm"] = xr.Variable((), 0, parameters)
    for band in ("B04", "B08", "SCL"):
        plain[band].encoding, plain[band].attrs["grid_mapping"] = {}, "utm"
    sets["s2"] = plain


def two_images_of_power(values: xr.DataArray) -> xr.DataArray:
    return xr.concat([10 ** (values[:2] / 10), values[2:]], "t")


def half_pixel(sets: Files) -> None:
    sets["s2"] = sets["s2"].assign_coords(x=sets["s2"].x - 5, y=sets["s2"].y + 5)
    sets["s2"].spatial_ref.attrs["GeoTransform"] = f"{LEFT} 10 0 {TOP} 0 -10"


TEXT = [str(day) for day in DAYS]
SINCE = (DAYS - np.datetime64("2021-01-01")).astype(int).tolist()
SAME = {
    "text": times_as(TEXT),
    "text with a zone": times_as([f"{day}T12:50:31+02:00" for day in TEXT]),
    "calendar without leap days": times_as(SINCE, units="days since 2021-01-01", calendar="noleap"),
    "kilometres": coordinates(lambda v: v / 1000, units="km"),
    "crs that the bands point to": pointed_crs,
    "fill value as text": attributes("s2", ("B04",), missing_value="-9999"),
    "scale as text": attributes("s2", ("B04", "B08"), scale_factor="0.0001"),
    "valid range of all values": attributes("s2", ("B04", "B08"), valid_range=[0, 10000]),
    "offset of the file itself": lambda sets: [
        numbers("s2", lambda v: v + 1000, "B04", "B08")(sets),
        attributes("s2", ("B04", "B08"), scale_factor=1e-4, add_offset=-0.1, BOA_ADD_OFFSET=-1000)(sets),
    ],
    "sigma0 in the names": lambda sets: sets.update(s1=sets["s1"].rename(VV="Sigma0_VV_db", VH="Sigma0_VH_db")),
    "a ratio beside": lambda sets: sets["s1"].update({"VV_VH": sets["s1"].VV - sets["s1"].VH}),
    "uncalibrated bands beside": lambda sets: sets["s1"].update({"Beta0_VV": sets["s1"].VV + 3}),
}


TIMES = ("text", "text with a zone", "calendar without leap days")
PLACES = ("kilometres", "crs that the bands point to")


@pytest.mark.parametrize(
    ("path", "kind"), [*(("files", kind) for kind in SAME), *(("openeo", kind) for kind in TIMES + PLACES)]
)
def test_the_same_cube_as_from_clean_files(path: str, kind: str, tmp_path: Path) -> None:
    right, sets = PATHS[path](files(), tmp_path / "clean"), files()
    SAME[kind](sets)
    found = PATHS[path](sets, tmp_path / "kind")
    np.testing.assert_array_equal(found.t, right.t)
    np.testing.assert_allclose(found, right, atol=1e-6)


REFUSED = {
    "360_day": (times_as(SINCE, units="days since 2021-01-01", calendar="360_day"), "calendar 360_day"),
    "numbers": (times_as([20210303, 20210308, 20210313, 20210318]), "numbers like 20210303 without units"),
    "months": (times_as([2, 3, 4, 5], units="months since 2021-01-01"), "dates cannot be read"),
    "day first": (times_as(["03.03.2021"] * 4), "text like '03.03.2021'"),
    "a missing date": (
        lambda sets: sets.update(s2=sets["s2"].assign_coords(t=np.array([*TEXT[:3], "NaT"], "datetime64[ns]"))),
        "date number 3 is missing",
    ),
    "no degrees": (coordinates(lambda v: v, crs="EPSG:4326"), "these are no degrees"),
    "degrees": (coordinates(lambda v: 5 + 1e-4 * np.arange(SIDE)), "these are degrees"),
    "a missing row": (
        lambda sets: sets.update(s2=sets["s2"].isel(y=[0, 1, 2, 5, 6, 7])),
        "y goes on by -10, but by -30",
    ),
    "a gap in x": (coordinates(lambda v: v + 50 * (np.arange(SIDE) > 6), lambda v: v), "x goes on by 10, but by 60"),
    "corners": (half_pixel, "the corner of a pixel by its GeoTransform"),
    "decimal comma": (attributes("s2", ("B04",), scale_factor="0,0001"), "scale_factor is '0,0001'"),
    "scale to divide by": (attributes("s2", ("B04", "B08"), scale_factor=10000.0), "states scale_factor 10000"),
    "offset of the wrong sign": (attributes("s2", ("B04",), scale_factor=1e-4, add_offset=0.1), "add_offset 0.1"),
    "valid range of others": (attributes("s2", ("B04",), valid_range=[0, 1]), "lie outside its valid range 0 to 1"),
    "a picture": (numbers("s2", lambda v: (v // 20).astype("uint8"), "B04", "B08"), "has 8 bits, as pictures do"),
    "a mask as SCL": (numbers("s2", lambda v: v * 0 + (v.x > LEFT + 50), "SCL"), "holds only 0 and 1"),
    "an empty SCL": (numbers("s2", lambda v: v * 0, "SCL"), "SCL is 0 .no data. on every pixel"),
    "decibels without sign": (numbers("s1", lambda v: -v, "VV", "VH"), "backscatter of land is below 0 dB"),
    "two images of power": (numbers("s1", two_images_of_power, "VV", "VH"), "2 of 4 images, the first of 2021-03-03"),
    "swapped bands": (lambda sets: sets.update(s1=sets["s1"].rename(VV="VH", VH="VV")), "VH is the weaker one"),
    "numbers of GRD": (numbers("s1", lambda v: (v + 120).astype("uint16"), "VV", "VH"), "median of -42 dB"),
    "percent": (numbers("coarse", lambda v: (v / 2.3).astype("float32"), "NDVI"), "with fractions"),
    "coarse to divide": (attributes("coarse", ("NDVI",), scale_factor=250.0), "expected NDVI within"),
}


BY_OPENEO = ("360_day", "numbers", "a missing date", "no degrees", "degrees", "a missing row", "a gap in x", "corners")


@pytest.mark.parametrize(
    ("path", "kind"), [*(("files", kind) for kind in REFUSED), *(("openeo", kind) for kind in BY_OPENEO)]
)
def test_refused_by_one_sentence(path: str, kind: str, tmp_path: Path) -> None:
    change, words = REFUSED[kind]
    sets = files()
    change(sets)
    if kind == "numbers of GRD":
        for band in ("VV", "VH"):
            sets["s1"][band].attrs = {}
    with pytest.raises(SourceError, match=words):
        PATHS[path](sets, tmp_path)


def test_values_outside_the_valid_range_are_missing(tmp_path: Path) -> None:
    sets = files()
    attributes("s2", ("B04",), valid_max=10000, valid_min=1)(sets)
    sets["s2"].B04[2, 3, 3] = 12000
    right, found = (
        cube_of(files(), tmp_path / "clean").sel(bands=S2NDVI),
        cube_of(sets, tmp_path / "k").sel(bands=S2NDVI),
    )
    assert np.isnan(found[2, 3, 3])
    np.testing.assert_array_equal(found.where(found.notnull()), right.where(found.notnull()))


def test_a_floor_of_minus_50_db_is_missing(tmp_path: Path) -> None:
    sets = files()
    for band in ("VV", "VH"):
        sets["s1"][band][:, :, :4] = -50.0
    found = cube_of(sets, tmp_path).sel(bands=VV)
    assert found[:, :, :4].isnull().all() and found[:, :, 4:].notnull().all()


@pytest.mark.parametrize("coarse_left", [-5.01, 354.99])
def test_longitudes_from_0_to_360_meet_those_from_minus_180(coarse_left: float, tmp_path: Path) -> None:
    sets = files()
    degrees = {"y": 40 - 1e-4 * np.arange(SIDE), "x": 355 + 1e-4 * np.arange(SIDE)}
    wide = {"y": 40.01 - 0.003 * np.arange(6), "x": coarse_left + 0.003 * np.arange(6)}
    found = cube_of(
        {"s2": sets["s2"].assign_coords(degrees).rio.write_crs("EPSG:4326"),
         "coarse": sets["coarse"].assign_coords(wide).rio.write_crs("EPSG:4326")}, tmp_path,
    )  # fmt: skip
    assert float(found.x[0]) == pytest.approx(-5)
    np.testing.assert_allclose(
        found.sel(bands=COARSE_NDVI)[:, 5, 5], np.array([150, 160, 170, 180]) * 0.004 - 0.08, atol=1e-5
    )


def test_a_coarse_series_far_from_sentinel_2_is_named(tmp_path: Path) -> None:
    sets = files()
    numbers("coarse", lambda v: (v // 3).astype("uint8"), "NDVI")(sets)  # 0..83 for -0.08..0.92: another scale
    note = [n for n in cube_of(sets, tmp_path / "a").attrs["notes"].splitlines() if "COARSE_NDVI differs" in n]
    assert len(note) == 1 and "source.coarse_encoding" in note[0]
    assert "COARSE_NDVI differs" not in cube_of(files(), tmp_path / "b").attrs["notes"]


def products(folder: Path, sets: Files, name: str, added: int = 0) -> None:
    for k, day in enumerate(TEXT):
        images = np.stack([sets["s2"][band].values[k] + added for band in ("B04", "B08")]).astype("uint16")
        geotiff(folder / f"{name.format(day.replace('-', ''))}.tif", images, names=("B04", "B08"))


@pytest.mark.parametrize("held", [1000, 0])
def test_the_baseline_in_a_name_counts_unless_the_numbers_prove_otherwise(held: int, tmp_path: Path) -> None:
    sets = files()
    sets["s2"]["B04"] = sets["s2"].B04 + 400  # bright: red alone does not tell the offset
    if held == 0:
        sets["s2"]["B04"] = sets["s2"].B04 - 400
    products(tmp_path, sets, "S2A_MSIL2A_{}T105031_N0500_R051_T31UFS_20230301T120000", held)
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), SETTINGS)
    red, nir = (sets["s2"][band].values.astype(float) for band in ("B04", "B08"))
    np.testing.assert_allclose(cube.sel(bands=S2NDVI), (nir - red) / (nir + red), atol=1e-6)
    assert "baseline 04.00 or later by their names" in cube.attrs["notes"]


def test_a_product_of_level_1c_is_refused(tmp_path: Path) -> None:
    products(tmp_path, files(), "S2A_MSIL1C_{}T105031_N0300_R051_T31UFS_20210303T120000")
    with pytest.raises(SourceError, match="is of level 1C"):
        load_files(FilesSource(folder=tmp_path))


def test_a_safe_folder_is_read_and_an_archive_is_named(tmp_path: Path) -> None:
    sets = files()
    (tmp_path / "S2A.zip").write_bytes(b"")
    with pytest.raises(SourceError, match="unpack S2A.zip"):
        load_files(FilesSource(folder=tmp_path))
    red, nir = (sets["s2"][band].values[0].astype("uint16") for band in ("B04", "B08"))
    safe = (
        tmp_path / "S2A_MSIL2A_20210303T105031_N0500_R051_T31UFS_20210303T120000.SAFE" / "GRANULE" / "L2A" / "IMG_DATA"
    )
    for band, values, pixel in (
        ("B04", red + 1000 + 400, 10),
        ("B08", nir + 1000, 10),
        ("TCI", red, 10),
        ("B04", red, 60),
    ):
        place = safe / f"R{pixel}m"
        place.mkdir(parents=True, exist_ok=True)
        profile = {"driver": "JP2OpenJPEG", "count": 1, "height": SIDE, "width": SIDE, "dtype": "uint16", "crs": CRS}
        with rasterio.open(
            place / f"T31UFS_20210303T105031_{band}_{pixel}m.jp2", "w", transform=from_origin(LEFT, TOP, pixel, pixel),
            QUALITY="100", REVERSIBLE="YES", **profile,
        ) as file:  # fmt: skip
            file.write(values, 1)
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), SETTINGS)
    red = red + 400.0
    assert str(cube.t.values[0])[:10] == "2021-03-03"
    np.testing.assert_allclose(cube.sel(bands=S2NDVI)[0], (nir - red) / (nir + red), atol=1e-6)


def test_bands_in_groups_are_named(tmp_path: Path) -> None:
    files()["s2"].to_netcdf(tmp_path / "s2.nc", group="measurements")
    with pytest.raises(SourceError, match=r"groups \(/measurements\)"):
        load_files(FilesSource(folder=tmp_path))
