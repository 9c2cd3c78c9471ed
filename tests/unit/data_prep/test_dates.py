"""Dates of images without a time axis: band names, official file names, tags, their rank and their contradictions."""

import numpy as np
import pytest
import rasterio
import xarray as xr

from data_prep.cube import PrepareSettings, open_cube
from data_prep.optical import OpticalSettings
from data_prep.raw.cubes import SourceError
from data_prep.raw.dates import days_in
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from tests.unit.data_prep.raw_files import CRS, axis, dates, geotiff
from udf.local.loading import load_collection

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"), registration={"check": "off"})
DAYS = [
    f"2021-{month:02d}-{day:02d}"
    for month, day in ((4, 1), (4, 11), (4, 21), (5, 1), (5, 11), (5, 21), (5, 31), (6, 10))
]
SPELLINGS = {
    "earth engine": "{c}T105031_{c}T105031_T31UFS_{b}",
    "first": "{d}_{b}",
    "last": "{b} {d}",
    "with time": "{b}_{d}T10:50:31.024Z",
    "minutes": "{c}1050_{b}",
}  # fmt: skip


def stack(spelling: str = "first", days: list[str] = DAYS) -> tuple[np.ndarray, tuple[str, ...]]:
    """Bands and names of one image a date: red 500, near infrared rising, so that every date has an NDVI of its own."""
    names, bands = [], []
    for k, day in enumerate(days):
        for band, value in (("B4", 500), ("B8", 1500 + 100 * k), ("SCL", 4)):
            names.append(SPELLINGS[spelling].format(c=day.replace("-", ""), d=day, b=band))
            bands.append(np.full((6, 6), value, "uint16"))
    return np.stack(bands), tuple(names)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("file", ["S2_field7.tif", "S2_field7_2021-01-01_2021-12-31.tif", "S2_20200707.tif"])
def test_one_geotiff_with_a_date_in_each_band_name(tmp_path, spelling, file):
    values, names = stack(spelling)
    geotiff(tmp_path / file, values, names=names)
    cube = open_cube(tmp_path, CLEAR)
    assert cube.t.values.astype("datetime64[D]").astype(str).tolist() == DAYS
    nir = 1500 + 100 * np.arange(8)
    np.testing.assert_allclose(cube.sel(bands="S2NDVI").values[:, 3, 3], (nir - 500) / (nir + 500), atol=1e-6)


def test_bands_of_a_netcdf_and_bands_called_by_their_date_alone(tmp_path):
    values, names = stack("last")
    data = {name: (("y", "x"), band) for name, band in zip(names, values, strict=True)}
    (tmp_path / "one").mkdir()
    xr.Dataset(data, coords=axis(6, 10)).rio.write_crs(CRS).to_netcdf(tmp_path / "one" / "s2.nc")
    assert open_cube(tmp_path / "one", CLEAR).sizes["t"] == 8
    (tmp_path / "two").mkdir()
    for k, role in enumerate(("B04", "B08", "SCL")):
        geotiff(tmp_path / "two" / f"{role}.tif", values[k::3], names=tuple(DAYS))
    cube = open_cube(tmp_path / "two", CLEAR)
    assert cube.t.values.astype("datetime64[D]").astype(str).tolist() == DAYS


@pytest.mark.parametrize("names", [("0_B4", "1_B4", "0_B8", "1_B8"), ("B4", "B4", "B8", "B8")])
def test_several_images_without_dates_of_their_own_are_refused(tmp_path, names):
    image = np.stack([np.full((6, 6), v, "uint16") for v in (500, 500, 3000, 3500)])
    geotiff(tmp_path / "S2_20210401.tif", image, names=names)
    with pytest.raises(SourceError, match=r"S2_20210401\.tif has 2 bands for B04 .* a date in each band's name"):
        load_files(FilesSource(folder=tmp_path))


def image(path, tags: dict[str, str]) -> None:
    geotiff(path, np.stack([np.full((6, 6), v, "uint16") for v in (500, 3000)]), names=("B04", "B08"))
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags)


TAG = "TIFFTAG_DATETIME"


@pytest.mark.parametrize(
    ("name", "tags", "by", "day", "noted"),
    [
        ("S2_20210401.tif", {TAG: "2023:06:02 10:00:00"}, "name", "2021-04-01", "not 2023-06-02 by its tag " + TAG),
        ("S2_20210401.tif", {"datetime": "2021-05-01"}, "name", "2021-04-01", "source.dates_by=tags"),
        ("S2_20210401.tif", {"datetime": "2021-05-01"}, "tags", "2021-05-01", "source.dates_by=name"),
        ("S2_20210401.tif", {"datetime": "2021-04-01T23:59:00Z"}, "name", "2021-04-01", None),
        ("S2_2021-01-01_2021-12-31.tif", {"datetime": "2021-05-01"}, "name", "2021-05-01", "first date of its name"),
        ("S2A_MSIL2A_20210401T105031_N0300_R051_T31UFS_20210602T134901.tif", {}, "name", "2021-04-01", None),
        ("scene.tif", {TAG: "2021:06:02 10:00:00"}, "name", "2021-06-02", "often the time of processing"),
    ],
)  # fmt: skip
def test_rank_of_evidence_and_contradictions(tmp_path, name, tags, by, day, noted):
    image(tmp_path / name, tags)
    raw = load_files(FilesSource(folder=tmp_path, dates_by=by))
    assert raw.s2.t.values.astype("datetime64[D]").astype(str).tolist() == [day]
    remarks = [note for note in raw.notes if "dated" in note]
    assert len(remarks) == (noted is not None)
    assert noted is None or (noted in remarks[0] and name in remarks[0] and day in remarks[0])


def test_contradictions_of_many_files_are_one_note_and_stay_in_the_cube(tmp_path):
    for day in ("20210401", "20210411", "20210421"):
        image(tmp_path / f"S2_{day}.tif", {TAG: "2023:06:02 10:00:00"})
    notes = [note for note in open_cube(tmp_path, CLEAR).attrs["notes"].splitlines() if "dated" in note]
    assert len(notes) == 1 and "S2_20210401.tif (and 2 more files like it)" in notes[0]


def test_a_time_axis_counts_more_than_the_name_and_says_so(tmp_path):
    bands = {"B04": 500, "B08": 3000}
    data = {k: (("t", "y", "x"), np.full((1, 6, 6), v, "uint16")) for k, v in bands.items()}
    made = xr.Dataset(data, coords={"t": dates(1), **axis(6, 10)}).rio.write_crs(CRS)
    made.to_netcdf(tmp_path / "s2_20230105.nc")
    raw = load_files(FilesSource(folder=tmp_path))
    assert str(raw.s2.t.values[0])[:10] == "2019-03-01"
    assert any("by its time axis, not 2023-01-05 by its name" in note for note in raw.notes)


@pytest.mark.parametrize("way", ["openeo", "graph"])
def test_of_a_download_and_in_the_graph_the_time_axis_counts_too(tmp_path, way):
    bands = {"B04": 500, "B08": 3000, "SCL": 4}
    data = {k: (("t", "y", "x"), np.full((1, 6, 6), v, "uint16")) for k, v in bands.items()}
    made = xr.Dataset(data, coords={"t": dates(1), **axis(6, 10)}).rio.write_crs(CRS)
    file = tmp_path / "a" / "s2" / "s2_20230105.nc"
    file.parent.mkdir(parents=True)
    made.to_netcdf(file)
    if way == "graph":
        times = load_collection(str(file)).t.values
    else:
        raw = read_area(
            OpenEOSource(areas={"a": (5, 51, 6, 52)}, start="2019", end="2019", folder=tmp_path, sensors=("s2",)), "a"
        )
        times = raw.s2.t.values
        assert any("by its time axis, not 2023-01-05 by its name" in note for note in raw.notes)
    assert str(times[0])[:10] == "2019-03-01"


def test_the_graph_refuses_a_file_whose_bands_are_dates(tmp_path):
    """A local collection has a time axis; ``cube`` reads dates of band names."""
    geotiff(tmp_path / "b.tif", np.ones((2, 6, 6), "uint16"), names=("B04_20210401", "B04_20210411"))
    with pytest.raises(ValueError, match=r"has no band \['B04'\]; it holds \['B04_20210401', 'B04_20210411'\]"):
        load_collection(str(tmp_path / "b.tif"), bands=["B04"])


COG, TWELVE = "c_gls_NDVI300-NDVI_{}_GLOBE_OLCI_V3.0.1.tiff", "c_gls_NDVI300_{}0000_GLOBE_OLCI_V2.0.1_NDVI.tif"


@pytest.mark.parametrize(("spelling", "names"), [(COG, ()), (COG, ("NDVI",)), (TWELVE, ()), (TWELVE, ("NDVI",))])
def test_official_names_of_copernicus_global_land(tmp_path, spelling, names):
    image(tmp_path / "S2_20210401.tif", {})
    place = {"pixel": 300, "left": 574_080, "top": 5_623_040}
    for day, dn in (("20210401", 145), ("20210411", 170), ("20210421", 253)):
        geotiff(tmp_path / spelling.format(day), np.full((1, 4, 4), dn, np.uint8), names=names, nodata=255, **place)
    unrelated = spelling.replace("-NDVI_", "-QFLAG_").replace("V2.0.1_NDVI", "V2.0.1_QFLAG").format("20210401")
    geotiff(tmp_path / unrelated, np.full((1, 4, 4), 1, np.uint8), **place)
    cube = open_cube(tmp_path, CLEAR).sel(bands="COARSE_NDVI")
    assert cube.t.values.astype("datetime64[D]").astype(str).tolist() == ["2021-04-01", "2021-04-11", "2021-04-21"]
    for k, ndvi in ((0, 0.004 * 145 - 0.08), (1, 0.004 * 170 - 0.08)):
        np.testing.assert_allclose(cube.values[k], ndvi, atol=1e-5)
    assert np.isnan(cube.values[2]).all()  # 253 is a flag


def test_dates_that_are_none():
    assert days_in("S2_20210231.tif") == [] and days_in("id_202104012500") == [] and days_in("120210401") == []
    assert days_in("x_202104010000_20210401T103000") == [np.datetime64("2021-04-01")]
