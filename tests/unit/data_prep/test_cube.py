"""Raw files of every layout to the merged cube: numbers, grids, dates, and bad input."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.coarse import CoarseSettings
from data_prep.cube import PrepareSettings, build_cube, open_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings
from data_prep.raw.cubes import SourceError
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.settings import SceneSettings
from data_prep.sources.files import FilesSource, load_files
from fusion.contract import check_cube
from fusion.data.cube_files import read_cube, write_cube
from tests.unit.data_prep.raw_files import TOP, axis, cdse_like, coarse_file, dates, gee_like, geotiff

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))
REAL = os.environ.get("NDVI_FUSION_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="NDVI_FUSION_REAL_DATA is not set")


def test_earth_engine_layout_gives_exact_numbers(tmp_path):
    truth = gee_like(tmp_path)
    cube = open_cube(tmp_path, CLEAR)
    check_cube(cube)
    assert cube.rio.crs.to_epsg() == 32631 and cube.attrs["s1_units"] == "dB"
    s2 = cube.sel(bands="S2NDVI", t="2019-03-11")
    expected = (truth["B08"] - truth["B04"]) / (truth["B08"] + truth["B04"])
    np.testing.assert_allclose(s2.values, expected[2], atol=1e-6)
    # the k-th 20 m radar cell covers exactly the pixels 2k and 2k + 1
    vv = cube.sel(bands="VV", t="2019-03-08").values
    np.testing.assert_allclose(vv, truth["VV"][1].repeat(2, 0).repeat(2, 1), atol=1e-4)
    assert cube.t.dt.hour.values.max() == 0
    days = cube.t.values.astype("datetime64[D]").astype(str).tolist()
    assert days[:4] == ["2019-03-01", "2019-03-02", "2019-03-06", "2019-03-08"]
    assert np.isnan(cube.sel(bands="VV", t="2019-03-01")).all()


def test_openeo_layout_unsigned_numbers_and_radar_encoding(tmp_path):
    truth = cdse_like(tmp_path)
    cube = open_cube(tmp_path, CLEAR)
    expected = (truth["B08"] - truth["B04"]) / (truth["B08"] + truth["B04"])
    np.testing.assert_allclose(cube.sel(bands="S2NDVI", t="2023-04-02"), expected[0], atol=1e-6)
    vv = cube.sel(bands="VV", t="2023-04-03").values
    assert np.isnan(vv[0, 0])  # DN 0 is nodata
    # dB = 20 log10(DN) - 83, also for DN above 32767, which the file stores as negative int16
    assert (truth["VV"] > 32767).any()
    np.testing.assert_allclose(vv.ravel()[1:], 20 * np.log10(truth["VV"][0].ravel()[1:]) - 83, atol=1e-4)


def test_baseline_0400_offset_is_refused_until_said_and_then_removed(tmp_path):
    truth = cdse_like(tmp_path, offset=1000)
    with pytest.raises(SourceError, match=r"s2_offset_dn=-1000"):
        open_cube(tmp_path, CLEAR)
    cube = build_cube(load_files(FilesSource(folder=tmp_path, s2_offset_dn=-1000)), CLEAR)
    expected = (truth["B08"] - truth["B04"]) / (truth["B08"] + truth["B04"])
    np.testing.assert_allclose(cube.sel(bands="S2NDVI", t="2023-04-02"), expected[0], atol=1e-6)
    assert "-1000 added" in cube.attrs["notes"]


def test_coarse_numbers_flags_and_native_grid(tmp_path):
    gee_like(tmp_path)
    dn = np.full((3, 4, 4), 145, np.uint8)  # 0.004 * 145 - 0.08 = 0.5
    dn[1] = 255
    dn[2] = 252  # a flag of CGLS
    coarse_file(tmp_path / "proba.nc", dn)
    raw = load_files(FilesSource(folder=tmp_path))
    assert raw.coarse.NDVI.shape == (3, 4, 4)
    cube = build_cube(raw, CLEAR)
    coarse = cube.sel(bands="COARSE_NDVI")
    np.testing.assert_allclose(coarse.sel(t="2019-03-01"), 0.5, atol=1e-6)
    assert np.isnan(coarse.sel(t="2019-03-11")).all() and np.isnan(coarse.sel(t="2019-03-21")).all()


def test_coarse_nearest_copies_the_cell_that_holds_the_pixel(tmp_path):
    gee_like(tmp_path, n=16)
    dn = np.arange(16, dtype=np.uint8).reshape(1, 4, 4) * 10 + 20
    coarse_file(tmp_path / "proba.nc", dn, left=574_680 - 300 + 80)  # the edge between columns lies 80 m into the area
    cube = open_cube(tmp_path, CLEAR.model_copy(update={"coarse": CoarseSettings(resampling="nearest")}))
    got = cube.sel(bands="COARSE_NDVI", t="2019-03-01").values
    np.testing.assert_allclose(got[:, :8], 0.004 * dn[0, 1, 0] - 0.08, atol=1e-6)
    np.testing.assert_allclose(got[:, 8:], 0.004 * dn[0, 1, 1] - 0.08, atol=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_proba_v_status_map_keeps_clear_pixels_of_good_red_and_near_infrared(tmp_path, kind):
    """Bits 0-2: 0 clear, 1 shadow, 2 undefined, 3 cloud, 4 ice; 3 land; 4 SWIR, 5 NIR, 6 red, 7 blue good."""
    gee_like(tmp_path)
    dn = np.full((1, 4, 4), 145, np.uint8)
    good = 0b1110_1000  # land, all bands but SWIR good
    status = np.full((1, 4, 4), good, kind)
    status[0, 0] = [good | 1, good | 2, good | 3, good | 4]
    status[0, 1] = [good & ~0b0010_0000, good & ~0b0100_0000, good & ~0b1000_0000, good & ~0b0000_1000]
    if kind == "uint16":
        status[0, 2:] |= 0b1111 << 8  # later collections: coverage bits
    path = coarse_file(tmp_path / "proba.nc", dn)
    made = xr.open_dataset(path).load()
    made["SM"] = (("t", "y", "x"), status)
    made.close()
    made.to_netcdf(path)
    kept = np.isfinite(load_files(FilesSource(folder=tmp_path)).coarse.NDVI.values[0])
    assert kept.tolist() == [[False] * 4, [False, False, True, True], [True] * 4, [True] * 4]


def test_geotiffs_one_a_date_with_dates_in_their_names(tmp_path):
    rng = np.random.default_rng(1)
    for k, day in enumerate(("20190311", "20190301")):
        image = np.stack([np.full((8, 8), 500 + k), rng.integers(3000, 4000, (8, 8))]).astype("uint16")
        geotiff(tmp_path / f"T31UES_{day}T105021_L2A.tif", image, names=("B04", "B08"), nodata=0)
        geotiff(tmp_path / f"SCL_{day}.tif", np.full((4, 4), 4, np.uint8), pixel=20, names=("SCL",))
    raw = load_files(FilesSource(folder=tmp_path))
    assert raw.s2.t.values.astype("datetime64[D]").astype(str).tolist() == ["2019-03-01", "2019-03-11"]
    np.testing.assert_allclose(raw.s2.B04.values[:, 0, 0], [0.0501, 0.05], atol=1e-7)
    assert raw.s2.attrs["scl_pixel_m"] == 20


def test_a_geotiff_with_another_crs_and_nodata_is_warped_to_the_first(tmp_path):
    from pyproj import Transformer

    image = np.stack([np.full((60, 60), 500), np.full((60, 60), 4500)]).astype("int16")
    geotiff(tmp_path / "a_20190301.tif", image[:, :20, :20], names=("B04", "B08"), nodata=-1)
    left, top = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True).transform(574_680 - 150, TOP + 150)
    image[:, 25:30, 25:30] = -9999
    geotiff(
        tmp_path / "b_20190306.tif", image, names=("B04", "B08"), nodata=-9999, crs="EPSG:32632", left=left, top=top
    )
    s2 = load_files(FilesSource(folder=tmp_path)).s2
    assert s2.rio.crs.to_epsg() == 32631 and s2.sizes["t"] == 2
    second = s2.isel(t=1)
    assert np.isnan(second.B04).any() and np.nanmin(second.B08) == pytest.approx(0.45)
    assert float(second.B04.notnull().mean()) > 0.8


def test_unsorted_and_duplicate_dates(tmp_path):
    gee_like(tmp_path)
    for name in ("s2_10m.nc", "s2_20m.nc"):
        made = xr.open_dataset(tmp_path / name, mask_and_scale=False).load()
        made.close()
        times = made.timestamp.values.copy()
        times[1] = times[0] + np.timedelta64(20, "s")  # two granules of one pass
        if name == "s2_10m.nc":
            made["B04"][0, 0, 0] = 0
            expected = made["B04"].values[1, 0, 0] * 1e-4
        shuffled = made.assign_coords(timestamp=times).isel(timestamp=[5, 0, 1, 3, 2, 4])
        shuffled.to_netcdf(tmp_path / name)
    raw = load_files(FilesSource(folder=tmp_path))
    days = raw.s2.t.values.astype("datetime64[D]")
    assert len(days) == 5 and (np.diff(days) > np.timedelta64(0, "D")).all()
    assert raw.s2.B04.values[0, 0, 0] == pytest.approx(expected)
    assert any("several images" in note for note in raw.notes)


def test_unknown_radar_units_are_refused(tmp_path):
    gee_like(tmp_path)
    made = xr.Dataset(
        {b: (("t", "y", "x"), np.full((2, 8, 8), 0.05, np.float32)) for b in ("VV", "VH")},
        coords={"t": dates(2), **axis(8, 20)},
    )
    made.rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "s1_ascending.nc")
    with pytest.raises(SourceError, match="s1_units"):
        load_files(FilesSource(folder=tmp_path))
    cube = build_cube(load_files(FilesSource(folder=tmp_path, s1_units="linear")), CLEAR)
    np.testing.assert_allclose(cube.sel(bands="VV", t="2019-03-01"), 10 * np.log10(0.05), atol=1e-4)
    with pytest.raises(SourceError, match="linear"):
        build_cube(load_files(FilesSource(folder=tmp_path, s1_units="dB")), CLEAR)


def test_decibels_declared_linear_are_refused(tmp_path):
    gee_like(tmp_path)
    with pytest.raises(SourceError, match=r"declared linear, but 100 %"):
        load_files(FilesSource(folder=tmp_path, s1_units="linear"))


def test_all_clouds_and_a_single_date_give_an_empty_but_whole_cube(tmp_path):
    gee_like(tmp_path, t=1, scl=np.full((1, 8, 8), 9))
    cube = open_cube(tmp_path)
    check_cube(cube)
    assert np.isnan(cube.sel(bands="S2NDVI")).all() and np.isfinite(cube.sel(bands="VV")).any()
    out = write_cube(cube, tmp_path / "cube.nc")
    assert read_cube(out).shape == cube.shape


def test_large_files_are_read_in_bounded_chunks_and_give_the_same_cube(tmp_path, monkeypatch):
    gee_like(tmp_path)
    whole = open_cube(tmp_path, PrepareSettings())
    monkeypatch.setattr("data_prep.raw.reading._CHUNK_BYTES", 2 * 16 * 16 * 4)
    monkeypatch.setattr("data_prep.cube._IN_MEMORY_BYTES", 0)
    raw = load_files(FilesSource(folder=tmp_path))
    assert max(raw.s2.B04.chunks[0]) <= 2
    lazy = build_cube(raw)
    assert lazy.chunks is not None
    out = write_cube(lazy, tmp_path / "out" / "cube.nc")
    np.testing.assert_allclose(read_cube(out).values, whole.values, atol=1e-6)


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    gee_like(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"file/cube\.nc could not be written"):
        write_cube(open_cube(tmp_path, CLEAR), tmp_path / "file" / "cube.nc")


def test_sensors_that_do_not_overlap_are_refused(tmp_path):
    gee_like(tmp_path)
    coarse_file(tmp_path / "far.nc", np.full((1, 4, 4), 100, np.uint8), left=700_000)
    with pytest.raises(SourceError, match="do not overlap"):
        load_files(FilesSource(folder=tmp_path))


def test_corrupt_and_partial_files_stop_or_are_skipped_and_named(tmp_path):
    gee_like(tmp_path)
    content = (tmp_path / "s1_ascending.nc").read_bytes()
    (tmp_path / "s1_ascending.nc").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(SourceError, match=r"s1_ascending\.nc"):
        load_files(FilesSource(folder=tmp_path))
    raw = load_files(FilesSource(folder=tmp_path, on_error="skip"))
    assert raw.s1 is None and any("s1_ascending.nc" in note for note in raw.notes)
    (tmp_path / "s1_ascending.nc").unlink()
    (tmp_path / "s2_10m.nc").unlink()
    (tmp_path / "s2_10m.nc").write_bytes(b"not a file")
    with pytest.raises(SourceError, match=r"s2_10m\.nc"):
        load_files(FilesSource(folder=tmp_path))


def test_scl_of_several_encodings_in_one_folder(tmp_path):
    """Three makers: bytes with 0 as nodata, bytes with 255, floats with NaN; their numbers mean the same."""
    scl = np.array([[4, 9], [8, 5]])
    for k, (kind, nodata) in enumerate((("uint8", 0), ("uint8", 255), ("float32", np.nan))):
        day = f"2019030{k + 1}"
        image = np.stack([np.full((4, 4), 500), np.full((4, 4), 3500)]).astype("uint16")
        geotiff(tmp_path / f"bands_{day}.tif", image, names=("B04", "B08"), nodata=0)
        cells = scl.astype(kind)
        cells[1, 1] = nodata
        geotiff(tmp_path / f"SCL_{day}.tif", cells, pixel=20, names=("SCL",), nodata=None if nodata == 255 else nodata)
    s2 = load_files(FilesSource(folder=tmp_path)).s2
    assert s2.SCL.dtype == np.uint8 and s2.attrs["scl_pixel_m"] == 20
    for image in s2.SCL.values:
        assert image[::2, ::2].tolist() == [[4, 9], [8, 0]]
    square = OpticalSettings(mask="square", dilation_px=0)
    seen = np.isfinite(
        build_cube(load_files(FilesSource(folder=tmp_path)), PrepareSettings(optical=square)).values[:, 0]
    )
    assert (seen == np.kron([[True, False], [False, False]], np.ones((2, 2), bool))).all()


def test_a_period_in_which_only_sentinel2_looked(tmp_path):
    """Radar and the coarse series without an observation in the period stay empty bands; nothing is refused."""
    gee_like(tmp_path)
    coarse_file(tmp_path / "proba.nc", np.full((2, 4, 4), 145, np.uint8), first="2020-03-01")
    cube = open_cube(tmp_path, CLEAR.model_copy(update={"start": "2019-03-01", "end": "2019-03-01"}))
    check_cube(cube)
    assert cube.sizes["t"] == 1 and np.isfinite(cube.sel(bands="S2NDVI")).all()
    assert np.isnan(cube.sel(bands=["VV", "VH", "COARSE_NDVI"])).all()
    assert "VV has no data in the period" in cube.attrs["notes"] and "COARSE_NDVI has no data" in cube.attrs["notes"]


def test_polarisations_of_different_dates_and_another_grid_keep_their_pass(tmp_path):
    """VV and VH in files of their own, VH in the next zone and an observation short: passes stay with their dates."""
    from pyproj import Transformer

    gee_like(tmp_path)
    (tmp_path / "s1_ascending.nc").unlink()
    left, top = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True).transform(574_680 - 300, TOP + 300)
    label = {"orbit_state": ("t", ["ASCENDING", "DESCENDING", "ASCENDING"]), "relative_orbit": ("t", [88, 110, 88])}
    for name, take, place, crs in (
        ("VV", [0, 1, 2], {}, "EPSG:32631"), ("VH", [0, 1], {"left": left, "top": top}, "EPSG:32632"),
    ):  # fmt: skip
        side = 8 if name == "VV" else 50
        values = np.full((3, side, side), -12.0, np.float32)
        made = xr.Dataset({name: (("t", "y", "x"), values), **label}, coords={"t": dates(3), **axis(side, 20, **place)})
        made.isel(t=take).rio.write_crs(crs).to_netcdf(tmp_path / f"{name}.nc")
    s1 = load_files(FilesSource(folder=tmp_path, s1_units="dB")).s1
    assert s1.orbit.values.tolist() == ["ascending 88", "descending 110", "ascending 88"]
    assert np.isfinite(s1.VH.values[:2]).all() and np.isnan(s1.VH.values[2]).all()


def test_interpolated_or_foreign_scl_is_refused(tmp_path):
    gee_like(tmp_path)
    (tmp_path / "s2_20m.nc").unlink()
    made = xr.Dataset({"SCL": (("t", "y", "x"), np.full((6, 16, 16), 4.5))}, coords={"t": dates(6), **axis(16, 10)})
    made.rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "s2_20m.nc")
    with pytest.raises(SourceError, match="interpolated"):
        load_files(FilesSource(folder=tmp_path))
    made["SCL"] = made.SCL * 0 + 97
    (tmp_path / "s2_20m.nc").unlink()
    made.rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "s2_20m.nc")
    with pytest.raises(SourceError, match=r"0\.\.11"):
        load_files(FilesSource(folder=tmp_path))


def test_no_data_no_crs_no_bands(tmp_path):
    with pytest.raises(SourceError, match="holds no NetCDF"):
        load_files(FilesSource(folder=tmp_path))
    gee_like(tmp_path)
    with pytest.raises(SourceError, match="2031"):
        open_cube(tmp_path, PrepareSettings(start="2031-01-01"))
    (tmp_path / "s2_10m.nc").unlink()
    with pytest.raises(SourceError, match="B04"):
        load_files(FilesSource(folder=tmp_path))
    bare = xr.Dataset({"B04": (("t", "y", "x"), np.ones((1, 4, 4)))}, coords={"t": dates(1), **axis(4, 10)})
    bare.to_netcdf(tmp_path / "s2_10m.nc")
    with pytest.raises(SourceError, match="CRS"):
        load_files(FilesSource(folder=tmp_path))


def test_a_users_mask_in_place_of_scl_or_on_top(tmp_path):
    scl = np.full((6, 8, 8), 4)
    scl[:, :4] = 9
    gee_like(tmp_path, scl=scl)
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[2, :, :3] = 1
    file = tmp_path / "own" / "mask.nc"
    file.parent.mkdir()
    xr.Dataset({"cloud": (("t", "y", "x"), mask)}, coords={"t": dates(6), **axis(16, 10)}).rio.write_crs(
        "EPSG:32631"
    ).to_netcdf(file)
    raw = load_files(FilesSource(s2=(tmp_path / "s2_10m.nc", tmp_path / "s2_20m.nc")))
    kinds = {}
    for role in ("instead", "on_top"):
        optical = OpticalSettings(mask="square", dilation_px=0, user_mask=file, user_mask_role=role)
        seen = np.isfinite(build_cube(raw, PrepareSettings(optical=optical)).sel(bands="S2NDVI", t="2019-03-11").values)
        kinds[role] = seen
    assert kinds["instead"][:, 3:].all() and not kinds["instead"][:, :3].any()
    assert not kinds["on_top"][:8].any() and kinds["on_top"][8:, 3:].all()


def test_passes_are_levelled_and_merged_or_chosen():
    t = dates(8, step=3)
    level = np.where(np.arange(8) % 3 == 2, -2.0, 0.0)  # every third observation is of another pass, 2 dB lower
    vv = np.broadcast_to((-10 + level)[:, None, None], (8, 4, 4)).astype(np.float32)
    orbit = np.where(level < 0, "descending", "ascending")
    s1 = xr.Dataset(
        {"VV": (("t", "y", "x"), vv), "VH": (("t", "y", "x"), vv - 7)},
        coords={"t": t, "orbit": ("t", orbit), **axis(4, 10)},
    )
    s1 = s1.rio.write_crs("EPSG:32631")
    s1.attrs["s1_units"] = "dB"
    from data_prep.radar import prepare_radar

    merged, notes = prepare_radar(s1, RadarSettings())
    np.testing.assert_allclose(merged.VV.values, -10, atol=1e-5)
    assert any("+2.00 dB" in note for note in notes)
    plain, _ = prepare_radar(s1, RadarSettings(orbit_offset="none", units="linear"))
    np.testing.assert_allclose(plain.VV.values[2], 10**-1.2, rtol=1e-5)
    only, _ = prepare_radar(s1, RadarSettings(passes="descending"))
    assert only.sizes["t"] == 2
    with pytest.raises(SourceError, match="units"):
        prepare_radar(s1.assign_attrs(s1_units="percent"), RadarSettings())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_cube_files_round_trip_and_are_whole_or_absent(tmp_path, suffix, monkeypatch):
    gee_like(tmp_path)
    cube = open_cube(tmp_path, CLEAR)
    out = write_cube(cube, tmp_path / f"cube{suffix}")
    got = read_cube(out)
    xr.testing.assert_allclose(got.drop_vars("spatial_ref"), cube.drop_vars("spatial_ref"))
    assert got.rio.crs == cube.rio.crs and got.attrs["s1_units"] == "dB" and got.dims == ("t", "bands", "y", "x")
    xr.testing.assert_identical(open_cube(out).drop_vars("spatial_ref"), got.drop_vars("spatial_ref"))

    def full_disk(*_: object, **__: object) -> None:
        (tmp_path / f".cube.partial-x{suffix}").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "dump_to_store", full_disk)
    monkeypatch.setattr(xr.Dataset, "to_zarr", full_disk)
    with pytest.raises(ValueError, match="No space left"):
        write_cube(cube, tmp_path / f"other{suffix}")
    assert not (tmp_path / f"other{suffix}").exists()


def test_cube_file_is_readable_by_gdal(tmp_path):
    import rasterio

    gee_like(tmp_path)
    out = write_cube(open_cube(tmp_path, CLEAR), tmp_path / "cube.nc")
    with rasterio.open(f"netcdf:{out}:S2NDVI") as image:
        assert image.crs.to_epsg() == 32631 and image.transform.a == 10 and image.transform.f == TOP


@real_data
@pytest.mark.real_data
def test_belgium_protocol_mask_gives_the_documented_25_dates():
    optical = OpticalSettings(mask="square", dilation_px=5)
    ndvi = open_cube(Path(REAL) / "belgium_2019", PrepareSettings(optical=optical)).sel(bands="S2NDVI")
    days = ndvi.t.values.astype("datetime64[D]")
    clear = np.isfinite(ndvi.values).mean((1, 2))
    inside = (days >= np.datetime64("2018-08-04") + 45) & (days <= np.datetime64("2019-11-27") - 45)
    expected = (
        "2018-09-18 2018-10-13 2018-10-18 2018-11-17 2018-12-12 2018-12-17 2019-01-21 2019-02-15 2019-02-25 2019-03-22 "
        "2019-04-01 2019-04-11 2019-04-16 2019-04-21 2019-05-06 2019-05-11 2019-05-16 2019-06-20 2019-06-30 2019-07-05 "
        "2019-07-20 2019-07-25 2019-07-30 2019-08-24 2019-10-13"
    )
    assert days[(clear >= 0.8) & inside].astype(str).tolist() == expected.split()


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(("name", "s2", "s1"), [("belgium_2019", 72, 80), ("cdse_april_2023", 12, 10)])
def test_real_folders_are_read_as_they_are(name, s2, s1):
    raw = load_files(FilesSource(folder=Path(REAL) / name))
    assert (raw.s2.sizes["t"], raw.s1.sizes["t"]) == (s2, s1)
    cube = build_cube(raw)
    check_cube(cube)
    assert cube.rio.crs.to_epsg() == 32631
    for band, low, high in (("S2NDVI", 0.3, 0.95), ("VV", -14, -7), ("VH", -22, -14)):
        assert low < float(cube.sel(bands=band).median()) < high


def test_two_coarse_images_of_one_day_are_one_and_order_does_not_matter():
    """Two tiles of a composite, unsorted: each pixel has its value, in the cube and on the native grid."""
    scene = simulate_raw(SceneSettings(height=32, width=32, n_days=40), 3).raw
    coarse = scene.coarse.isel(t=[0, 0, 1])
    left, right = coarse.NDVI.isel(t=0).copy(), coarse.NDVI.isel(t=1).copy()
    left[:, 1:], right[:, :1] = np.nan, np.nan
    times = coarse.t.values[[2, 1, 0]] + np.array([0, 3_600, 0], "timedelta64[s]")
    tiles = xr.concat([coarse.NDVI.isel(t=2), right, left], "t").assign_coords(t=times).to_dataset(name="NDVI")
    raw = replace(scene, coarse=tiles.rio.write_crs(scene.coarse.rio.crs))
    whole = replace(scene, coarse=scene.coarse.isel(t=[0, 1]))
    xr.testing.assert_identical(build_cube(raw).drop_attrs(), build_cube(whole).drop_attrs())
