"""The cube command as a user calls it: files, simulated scene, several areas."""

import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep.commands.cube import CubeSettings, run
from data_prep.cube import clear_share
from data_prep.raw.cubes import SourceError
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import SceneSettings
from data_prep.sources.settings import SimulatedSource
from fusion.data.cube_files import read_cube
from tests.factory import mock_cube
from tests.unit.data_prep.openeo_server import Backend, serve
from tests.unit.data_prep.raw_files import cdse_like, gee_like

NONE = {"mask": "none"}


def test_a_folder_of_files_to_a_cube_through_the_command_line(tmp_path):
    (tmp_path / "raw").mkdir()
    truth = gee_like(tmp_path / "raw")
    command = [
        sys.executable, "-m", "fusion", "cube", f"input={tmp_path / 'raw'}", f"out={tmp_path / 'c.nc'}",
        "optical.mask=none", "registration.check=off",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SCL" in done.stderr and "20 m" in done.stderr  # what was detected is told
    cube = read_cube(tmp_path / "c.nc")
    expected = (truth["B08"] - truth["B04"]) / (truth["B08"] + truth["B04"])
    np.testing.assert_allclose(cube.sel(bands="S2NDVI", t="2019-03-01"), expected[0], atol=1e-6)
    again = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert again.returncode != 0 and "overwrite=true" in again.stderr


def test_the_clear_share_counts_wholly_cloudy_images() -> None:
    cube = mock_cube(t=5, y=2, x=2, cloud=0, radar=False, coarse=False)
    days = [str(day) for day in cube.t.values.astype("datetime64[D]")]
    obs = cube.values
    obs[1] = np.nan  # no image of Sentinel-2 on this day
    obs[2, 0, 0, :] = np.nan
    obs[4] = np.nan  # an image without a clear pixel
    assert clear_share(cube) == pytest.approx((1 + 0.5 + 1) / 3)  # the days of the images are unknown
    cube.attrs["s2_images"] = "\n".join([days[0], *days[2:]])
    assert clear_share(cube) == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert clear_share(cube, days[3], days[4]) == pytest.approx((1 + 0) / 2)


def test_a_simulated_scene_goes_through_the_same_cube_step(tmp_path):
    scene = SceneSettings(height=24, width=24, n_days=200)
    run(CubeSettings(source=SimulatedSource(scene=scene, seed=3), out=tmp_path / "c.zarr", optical=NONE))
    cube = read_cube(tmp_path / "c.zarr")
    seen = simulate_observations(scene, 3)
    days = cube.t.values.astype("datetime64[D]").astype(int)
    images = np.array(cube.attrs["s2_images"].split(), "datetime64[D]").astype(int)
    assert set(seen.observations.s2_days) <= set(images) <= set(days)
    for k, day in enumerate(seen.observations.s2_days):
        image = cube.sel(bands="S2NDVI").isel(t=int(np.flatnonzero(days == day)[0])).values
        clear = np.isfinite(seen.observations.s2_ndvi[k])
        np.testing.assert_allclose(image[clear], seen.observations.s2_ndvi[k][clear], atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["c.zarr"]


def test_several_areas_need_a_name_for_each(tmp_path):
    pytest.importorskip("openeo")
    folder = tmp_path / "recorded"
    folder.mkdir()
    cdse_like(folder)
    with serve(Backend({"s2": folder / "sentinel2.nc"})) as backend:
        box = (5.0, 51.2, 5.01, 51.21)
        source = {
            "kind": "openeo", "areas": {"a": box, "b": box}, "start": datetime.date(2023, 4, 1), "login": "none",
            "end": datetime.date(2023, 4, 30), "folder": tmp_path / "jobs", "url": backend.url, "sensors": ["s2"],
            "poll_s": 0.05,
        }  # fmt: skip
        with pytest.raises(SourceError, match="{area}"):
            run(CubeSettings(source=source, out=tmp_path / "c.nc", optical=NONE))
        run(CubeSettings(source=source, out=tmp_path / "{area}.nc", optical=NONE))
    assert sorted(p.name for p in tmp_path.glob("*.nc")) == ["a.nc", "b.nc"]
