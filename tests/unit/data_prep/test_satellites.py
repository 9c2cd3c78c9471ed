"""Sentinel-1 by satellite and pass: names and tags, passes of one day, steps of level and place, every path."""

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from data_prep.cube import PrepareSettings, build_cube
from data_prep.optical import OpticalSettings
from data_prep.radar import RadarSettings, prepare_radar
from data_prep.raw.cubes import SourceError
from data_prep.raw.satellite import relative_orbit_of_file, satellite_in, satellite_of_file
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from tests.unit.data_prep.raw_files import CRS, axis, gee_like, geotiff

SIDE, COUNT = 48, 40


@pytest.mark.parametrize(
    ("text", "satellite"),
    [("sentinel-1a", "S1A"), ("S1B_IW_GRDH_1SDV", "S1B"), ("s1c", "S1C"), ("Sentinel 1B", "S1B"),
     ("S1_20210601", "unknown"), ("S1Ascending", "unknown"), ("", "unknown"), (None, "unknown"), ("LS1A", "unknown")],
)  # fmt: skip
def test_a_text_names_its_satellite_or_none(text, satellite):
    assert satellite_in(text) == satellite


def test_names_count_more_than_tags_and_give_the_relative_orbit():
    name = "S1A_IW_GRDH_1SDV_20190302T173151_20190302T173216_026161_02EB9D_AB12"
    assert satellite_of_file(name, {"platform": "sentinel-1b"}) == "S1A"
    assert satellite_of_file("vv_20190302", {"mission": "S1B"}) == "S1B"
    # S1A and S1B of 2019-03-02 and, one orbit plane, six days later: the same relative orbit
    assert relative_orbit_of_file(name) == str((26161 - 73) % 175 + 1)
    assert relative_orbit_of_file("S1_20190302") is None


def radar(step_db=0.0, shift=(0.0, 0.0), *, alternating=True, labels=True, seed=0):
    """Fields with speckle, one orbit; S1B takes turns with S1A, or follows it."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 3)
    fields = 3 * np.sign(fields) + 0.5 * rng.normal(size=(SIDE, SIDE))
    season = 2 * np.sin(np.arange(COUNT) / COUNT * np.pi)
    images = -10 + fields + season[:, None, None] + rng.normal(0, 1.0, (COUNT, SIDE, SIDE))
    late = np.arange(COUNT) % 2 == 1 if alternating else np.arange(COUNT) >= COUNT // 2
    images[late] = ndimage.shift(images[late], (0, *shift), order=1, mode="nearest") + step_db
    t = np.datetime64("2021-03-01", "ns") + 6 * np.arange(COUNT) * np.timedelta64(1, "D")
    coords = {"t": t, "orbit": ("t", ["ascending 88"] * COUNT), **axis(SIDE, 10)}
    if labels:
        coords["platform"] = ("t", np.where(late, "S1B", "S1A"))
    data = {band: (("t", "y", "x"), (images + low).astype(np.float32)) for band, low in (("VV", 0), ("VH", -7))}
    return xr.Dataset(data, coords=coords, attrs={"s1_units": "dB"}).rio.write_crs(CRS), late


KEEP = RadarSettings(border_noise_db=None)


@pytest.mark.parametrize("alternating", [True, False])
@pytest.mark.parametrize("step", [1.0, -2.0])
def test_a_step_between_satellites_is_removed_and_named(step, alternating):
    s1, late = radar(step, alternating=alternating)
    plain, _ = radar(0.0, alternating=alternating)
    out, notes = prepare_radar(s1, KEEP)
    left = float((out.VV.values[late] - plain.VV.values[late]).mean())
    assert abs(left) < 0.35 and any("S1B on ascending 88" in n and "removed" in n for n in notes)
    np.testing.assert_array_equal(out.VV.values[~late], plain.VV.values[~late])
    assert float(s1.VV.mean()) == pytest.approx(float(radar(step, alternating=alternating)[0].VV.mean()))  # input kept


@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, -1.0), (1.5, 1.0)])
def test_a_shift_between_satellites_is_moved_back_and_named(shift):
    s1, late = radar(0.0, shift)
    out, notes = prepare_radar(s1, KEEP)
    assert any("px right" in n and "removed" in n for n in notes)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    truth, got = (v.VV.values[late][inner].mean(0) for v in (radar(0.0)[0], out))
    assert np.corrcoef(truth.ravel(), got.ravel())[0, 1] > 0.9


def test_equal_satellites_and_unknown_ones_stay_as_they_are():
    for labels in (True, False):
        s1, _ = radar(0.0, labels=labels)
        out, notes = prepare_radar(s1, KEEP)
        np.testing.assert_array_equal(out.VV.values, s1.VV.values)
        assert not any("removed" in n for n in notes)


def test_an_unknown_satellites_shift_is_named_and_kept():
    s1, _ = radar(0.0, (2.0, 0.0), alternating=False, labels=False)
    out, notes = prepare_radar(s1, KEEP)
    assert any("do not tell the satellite" in n for n in notes)
    np.testing.assert_array_equal(out.VV.values, s1.VV.values)


def test_the_rule_decides():
    s1, _ = radar(2.0)
    with pytest.raises(SourceError, match="radar.satellite_steps=level"):
        prepare_radar(s1, KEEP.model_copy(update={"satellite_steps": "refuse"}))
    for rule, told in (("report", 1), ("off", 0)):
        out, notes = prepare_radar(s1, KEEP.model_copy(update={"satellite_steps": rule}))
        np.testing.assert_array_equal(out.VV.values, s1.VV.values)
        assert sum("S1B" in n for n in notes) == told


def test_two_passes_of_one_day_without_hours_are_levelled_before_they_are_averaged(tmp_path):
    gee_like(tmp_path)
    (tmp_path / "s1_ascending.nc").unlink()
    for day in ("20190302", "20190308", "20190314"):
        for k, way in enumerate(("ascending", "descending")):
            image = np.full((2, 16, 16), -10.0 - 4 * k, "float32")
            geotiff(tmp_path / f"S1{'AB'[k]}_{way}_{day}.tif", image, names=("VV", "VH"))
    raw = load_files(FilesSource(folder=tmp_path, s1_units="dB"))
    assert sorted(raw.s1.orbit.values.tolist()) == ["ascending"] * 3 + ["descending"] * 3
    assert set(raw.s1.platform.values.tolist()) == {"S1A", "S1B"}
    cube = build_cube(raw, PrepareSettings(optical=OpticalSettings(mask="none"), radar=KEEP))
    vv = cube.sel(bands="VV").dropna("t", how="all")
    np.testing.assert_allclose(vv.values, -10.0, atol=1e-3)
    lines = cube.attrs["s1_acquisitions"].splitlines()
    assert lines[:2] == ["2019-03-02 S1A ascending", "2019-03-02 S1B descending"] and len(lines) == 6


def test_passes_of_an_openeo_download_are_levelled_before_they_are_averaged(tmp_path):
    """Its bands tell the pass; dates are those of both passes, without images of the other one."""
    (tmp_path / "jobs" / "a" / "s1").mkdir(parents=True)
    gee_like(tmp_path)
    (tmp_path / "s1_ascending.nc").unlink()
    (tmp_path / "jobs" / "a" / "s2").mkdir()
    for name in ("s2_10m.nc", "s2_20m.nc"):
        (tmp_path / name).rename(tmp_path / "jobs" / "a" / "s2" / name)
    t = np.datetime64("2019-03-02", "ns") + 3 * np.arange(9) * np.timedelta64(1, "D")
    data = {}
    for way, seen, level in (("ASCENDING", slice(0, 9, 2), 0.1), ("DESCENDING", slice(1, 9, 3), 0.04)):
        image = np.full((9, 16, 16), np.nan, "float32")
        image[seen] = level  # both on the fifth date
        data |= {f"{way}_VV": (("t", "y", "x"), image), f"{way}_VH": (("t", "y", "x"), image / 5)}
    made = xr.Dataset(data, coords={"t": t, **axis(16, 10)}).rio.write_crs(CRS)
    made.to_netcdf(tmp_path / "jobs" / "a" / "s1" / "openEO.nc")
    source = OpenEOSource(
        areas={"a": (5.0, 51.0, 5.1, 51.1)}, start="2019-01-01", end="2019-12-31", folder=tmp_path / "jobs",
        sensors=("s2", "s1"), backend="cdse",
    )  # fmt: skip
    raw = read_area(source, "a")
    assert sorted(raw.s1.orbit.values.tolist()) == ["ascending"] * 5 + ["descending"] * 3
    cube = build_cube(raw, PrepareSettings(optical=OpticalSettings(mask="none"), radar=KEEP))
    vv = cube.sel(bands="VV").dropna("t", how="all")
    np.testing.assert_allclose(vv.values, -10.0, atol=1e-3)
    assert vv.sizes["t"] == 7 and len(cube.attrs["s1_acquisitions"].splitlines()) == 8


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_satellite_and_pass_stay_with_the_cube_that_is_read_back(tmp_path, suffix):
    from fusion.data.cube_files import read_cube, write_cube

    gee_like(tmp_path)
    path = tmp_path / "s1_ascending.nc"
    made = xr.open_dataset(path, mask_and_scale=False).load()
    made.close()
    made = made.assign(platform=("timestamp", ["sentinel-1a"] * made.sizes["timestamp"]))
    made.to_netcdf(path)
    cube = build_cube(load_files(FilesSource(folder=tmp_path)), PrepareSettings())
    (tmp_path / "out").mkdir()
    write_cube(cube, tmp_path / "out" / f"cube{suffix}")
    back = read_cube(tmp_path / "out" / f"cube{suffix}")
    assert back.attrs["s1_acquisitions"] == cube.attrs["s1_acquisitions"]
    assert back.attrs["s1_acquisitions"].splitlines()[0] == "2019-03-02 S1A ascending"
