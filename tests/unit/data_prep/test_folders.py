"""What is read of a folder: each real file once, never our own output, nothing unrelated; inputs stay as they are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from data_prep.commands.cube import CubeSettings, run
from data_prep.cube import PrepareSettings, open_cube
from data_prep.optical import OpticalSettings
from data_prep.raw.cubes import SourceError
from data_prep.raw.folders import find_files
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.openeo import OpenEOSource, read_area
from fusion.commands.predict import PredictSettings
from fusion.data.cube_files import read_cube, write_cube
from fusion.data.geotiff import write_series_geotiff
from tests.factory import mock_cube
from tests.unit.data_prep.raw_files import CRS, axis, dates, gee_like

CLEAR = PrepareSettings(optical=OpticalSettings(mask="none"))


def raw_folder(folder: Path, vv_db: float = -14.0, days: int = 10) -> Path:
    """Sentinel-2 and radar of one value, so that radar read from anywhere else shows."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = np.ones((days, 12, 12))
    coords = {"t": dates(days), **axis(12, 10)}
    bands = {"B04": 500 * whole, "B08": 3500 * whole, "SCL": 4 * whole}
    s2 = xr.Dataset({k: (("t", "y", "x"), v.astype("uint16")) for k, v in bands.items()}, coords=coords)
    (folder / "s2.nc").unlink(missing_ok=True)
    s2.rio.write_crs(CRS).to_netcdf(folder / "s2.nc")
    radar(folder / "s1.nc", vv_db, days)
    return folder


def radar(path: Path, vv_db: float, days: int) -> None:
    whole = np.ones((days, 12, 12), np.float32)
    bands = {"VV": vv_db * whole, "VH": (vv_db - 7) * whole}
    coords = {"t": dates(days, hour="17:31:51"), **axis(12, 10)}
    made = xr.Dataset({k: (("t", "y", "x"), v) for k, v in bands.items()}, coords=coords)
    path.unlink(missing_ok=True)
    made.rio.write_crs(CRS).to_netcdf(path)


def through_files(folder: Path) -> int:
    return load_files(FilesSource(folder=folder)).s2.sizes["t"]


def through_cube(folder: Path) -> int:
    return open_cube(folder, CLEAR).sizes["t"]


def through_openeo(folder: Path) -> int:
    (folder.parent / "jobs" / "a").mkdir(parents=True)
    (folder.parent / "jobs" / "a" / "s2").symlink_to(folder)
    source = OpenEOSource(
        areas={"a": (5.0, 51.2, 5.01, 51.21)}, start="2019-03-01", end="2019-12-31", folder=folder.parent / "jobs",
        sensors=("s2",),
    )  # fmt: skip
    return read_area(source, "a").s2.sizes["t"]


@pytest.mark.parametrize("read", [through_files, through_cube, through_openeo])
def test_links_in_a_circle_are_entered_once(tmp_path, read):
    folder = raw_folder(tmp_path / "in")
    (folder / "s1.nc").unlink()
    (folder / "latest").symlink_to(".")
    (folder / "again").symlink_to(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    (folder / "copy.nc").symlink_to("s2.nc")
    (folder / "hard.nc").hardlink_to(folder / "s2.nc")
    assert len(find_files(folder)) == 1
    assert read(folder) == 10


def test_a_link_to_a_folder_elsewhere_is_followed_and_names_of_the_folder_win(tmp_path):
    elsewhere = raw_folder(tmp_path / "archive")
    folder = tmp_path / "in"
    (folder / "z").mkdir(parents=True)
    gee_like(folder / "z")
    (folder / "a").symlink_to("z")
    (folder / "more").symlink_to(elsewhere)
    (folder / "gone.nc").symlink_to("nowhere.nc")
    names = [str(f.relative_to(folder)) for f in find_files(folder)]
    assert names == ["gone.nc", "more/s1.nc", "more/s2.nc", "z/s1_ascending.nc", "z/s2_10m.nc", "z/s2_20m.nc"]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_output_in_the_input_folder_is_never_read(tmp_path, suffix):
    """Radar of -10.5 dB on 19 dates, then -14 dB on 10: nothing of the first cube may be left in the second."""
    folder = raw_folder(tmp_path / "in", vv_db=-10.5, days=19)
    settings = {"source": FilesSource(folder=folder), "out": folder / f"cube{suffix}", "registration": {"check": "off"}}
    run(CubeSettings(**settings, radar={"units": "dB"}))
    write_series_geotiff(mock_cube().isel(bands=[0, 3]).assign_coords(bands=["NDVI", "NDVI_SIGMA"]), folder / "f.tif")
    raw_folder(folder, vv_db=-14.0, days=10)
    with pytest.raises(SourceError, match="overwrite=true"):
        run(CubeSettings(**settings))
    run(CubeSettings(**settings, overwrite=True))
    cube = read_cube(folder / f"cube{suffix}")
    assert cube.sizes["t"] == 10
    np.testing.assert_allclose(cube.sel(bands="VV"), -14.0, atol=1e-5)
    assert cube.attrs["notes"].count("made by ndvi-fusion") == 3 and "made_by" not in cube.attrs


def test_outputs_of_versions_without_the_attribute_are_known_by_their_bands(tmp_path):
    folder = raw_folder(tmp_path / "in")
    made = mock_cube(t=19)
    bands = {str(b): made.sel(bands=b, drop=True) for b in made.bands.values}
    xr.Dataset(bands).to_netcdf(folder / "cube.nc")
    raw = load_files(FilesSource(folder=folder))
    assert raw.s1.sizes["t"] == 10 and any("cube.nc was made by ndvi-fusion" in note for note in raw.notes)
    with pytest.raises(SourceError, match=r"cube\.nc was made by ndvi-fusion and is no raw file"):
        load_files(FilesSource(s2=(folder / "s2.nc",), s1=(folder / "cube.nc",)))


def test_no_output_takes_the_place_of_an_input(tmp_path):
    folder = raw_folder(tmp_path / "in")
    before = {f: f.read_bytes() for f in folder.iterdir()}
    for source in (FilesSource(folder=folder), FilesSource(s2=(folder / "s2.nc",), s1=(folder / "s1.nc",))):
        with pytest.raises(SourceError, match=r"would replace the input .*s1\.nc"):
            run(CubeSettings(source=source, out=folder / "s1.nc", overwrite=True))
    assert {f: f.read_bytes() for f in folder.iterdir()} == before
    cube = write_cube(mock_cube(), tmp_path / "cube.nc")
    with pytest.raises(ValidationError, match="would replace the input cube"):
        PredictSettings(cube=cube, out=tmp_path / "in" / ".." / "cube.nc")


def test_unrelated_rasters_of_a_folder_are_left_out_with_a_note(tmp_path):
    folder = raw_folder(tmp_path / "in")
    xr.Dataset({"tp": (("time",), np.ones(3))}, coords={"time": dates(3)}).to_netcdf(folder / "station.nc")
    plane = {"tp": (("lat", "lon"), np.ones((4, 4)))}  # neither a date nor a CRS
    xr.Dataset(plane).to_netcdf(folder / "rain.nc")
    strange = xr.Dataset({"t2m": (("time", "y", "x"), np.ones((2, 4, 4)))}, coords={"time": [0.0, 1.0]})
    strange.time.attrs = {"units": "fortnights since the flood"}
    strange.to_netcdf(folder / "weather.nc")
    grid = {"time": dates(2), "latitude": [51.0, 50.9], "longitude": [4.0, 4.1]}
    for name in ("t", "x"):  # temperature of a weather model has the name of a dimension
        xr.Dataset({name: (tuple(grid), np.ones((2, 2, 2)))}, coords=grid).to_netcdf(folder / f"model_{name}.nc")
    xr.Dataset({"ndvi": ("time", np.ones(2))}, coords={"time": dates(2)}).to_netcdf(folder / "tower.nc")
    raw = load_files(FilesSource(folder=folder))
    assert raw.s2.sizes["t"] == 10
    told = "\n".join(raw.notes)
    assert all(f"{name}.nc has no band of a known role" in told for name in ("model_t", "model_x"))
    assert "tower.nc contains no raster with two spatial dimensions" in told
    notes = "\n".join(note for note in raw.notes if "left out" in note)
    for name, band in (("station", "tp"), ("rain", "tp"), ("weather", "t2m")):
        assert f"{name}.nc has no band of a known role; it has ['{band}']" in notes
    with pytest.raises(SourceError, match=r"rain\.nc: dimension .y. of tp has no coordinate"):
        load_files(FilesSource(s2=(folder / "s2.nc",), coarse=(folder / "rain.nc",)))


def test_the_command_line_writes_into_its_input_folder_twice(tmp_path):
    folder = raw_folder(tmp_path / "in")
    command = [sys.executable, "-m", "fusion", "cube", f"input={folder}", f"out={folder / 'c.nc'}", "overwrite=true"]
    for _ in range(2):
        done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert read_cube(folder / "c.nc").sizes["t"] == 10 and "c.nc was made by ndvi-fusion" in done.stderr


def test_the_graph_writes_into_its_source_folder_and_reads_only_what_it_names(tmp_path):
    from tests.unit.udf.raw_scene import write_raw
    from udf.commands.settings import WorkflowSettings
    from udf.commands.workflow import run
    from udf.targets import load_target

    folder = write_raw(tmp_path / "raw", height=8, width=8, n_s2=12)
    (folder / "latest").symlink_to(folder)
    kept = {file.name: file.read_bytes() for file in folder.glob("*.nc")}
    given = {"target": load_target("local"), "source": folder, "out": folder, "execute": False, "overwrite": True}
    graphs = []
    for _ in range(2):
        run(WorkflowSettings(start="2019-03-01", end="2019-06-30", **given))
        graphs.append((folder / "process_graph.json").read_bytes())
    assert graphs[0] == graphs[1]
    assert {file.name: file.read_bytes() for file in folder.glob("*.nc")} == kept


def test_patches_take_each_cube_of_a_folder_once_and_none_of_their_own(tmp_path):
    from data_prep.commands.patches import PatchesSettings
    from data_prep.commands.patches import run as cut
    from data_prep.patches import CubePatches, CutSettings
    from data_prep.split import SplitSettings
    from fusion.data.store import PatchStore
    from tests.factory import write_cube

    write_cube(tmp_path / "a.nc", t=24, y=8, x=8)
    (tmp_path / "loop").symlink_to(tmp_path)
    source, sizes = CubePatches(cubes=(str(tmp_path / "*.nc"),)), CutSettings(patch_px=8, min_observations=2)
    hashes = []
    for _ in range(2):
        given = {"cut": sizes, "split": SplitSettings(sites={"a": "train"}), "workers": 0, "overwrite": True}
        cut(PatchesSettings(source=source, out=tmp_path / "p.zarr", **given))
        hashes.append(PatchStore.open(tmp_path / "p.zarr").content_hash())
    assert hashes[0] == hashes[1] and len(PatchStore.open(tmp_path / "p.zarr")) == 1
