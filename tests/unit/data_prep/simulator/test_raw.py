"""Raw cubes and files: the cube step makes of them what training sees; georeferenced, whole or not at all."""

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from data_prep.commands import simulate
from data_prep.cube import PrepareSettings, build_cube, open_cube
from data_prep.optical import OpticalSettings
from data_prep.simulator.raw import simulate_raw
from data_prep.simulator.scene import simulate_observations
from data_prep.simulator.settings import RadarSettings, SceneSettings
from data_prep.sources.files import FilesSource, load_files
from data_prep.sources.settings import SimulatedSource
from fusion.features.observations import observations_from_cube

SMALL = SceneSettings(height=32, width=40, n_days=100, radar=RadarSettings(orbits=(1, 1)))


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
def test_cube_step_gives_what_training_sees(seed):
    raw, fast = simulate_raw(SMALL, seed), simulate_observations(SMALL, seed).observations
    mask = OpticalSettings(mask=raw.cloud_mask, dilation_px=raw.dilation_px)
    obs = observations_from_cube(build_cube(raw.raw, PrepareSettings(optical=mask)))
    np.testing.assert_array_equal(obs.s2_days, fast.s2_days)
    np.testing.assert_allclose(obs.s2_ndvi, fast.s2_ndvi, atol=1e-6)
    np.testing.assert_array_equal(obs.s1_days, fast.s1_days)
    np.testing.assert_allclose(obs.vv_db, fast.vv_db, atol=1e-4)


def test_files_lead_to_a_cube(tmp_path):
    settings = simulate.SimulateSettings(out=tmp_path / "scene", seed=4, scene=SMALL)
    simulate.run(settings)
    assert sorted(p.name for p in (tmp_path / "scene").iterdir()) == ["coarse.nc", "s1.nc", "s2.nc", "truth.nc"]
    raw = simulate_raw(SMALL, 4)
    with xr.open_dataset(tmp_path / "scene" / "s2.nc", decode_coords="all") as s2:
        assert s2.rio.crs == raw.raw.s2.rio.crs and s2.rio.crs.is_projected
        np.testing.assert_allclose(s2.B08, raw.raw.s2.B08, atol=6e-5)
        np.testing.assert_array_equal(s2.SCL, raw.raw.s2.SCL)
    with xr.open_dataset(tmp_path / "scene" / "truth.nc", decode_coords="all") as truth:
        np.testing.assert_allclose(truth.NDVI, raw.truth.NDVI, atol=6e-5)
        np.testing.assert_array_equal(truth.cover, raw.truth.cover)
    mask = OpticalSettings(mask=raw.cloud_mask, dilation_px=raw.dilation_px)
    cube = open_cube(tmp_path / "scene", PrepareSettings(optical=mask))
    fast = simulate_observations(SMALL, 4).observations
    obs = observations_from_cube(cube)
    np.testing.assert_array_equal(obs.s2_days, fast.s2_days)
    np.testing.assert_allclose(obs.s2_ndvi, fast.s2_ndvi, atol=0.02)  # reflectance in steps of 1e-4
    assert np.isfinite(obs.coarse_ndvi).any()


def test_passes_survive_the_way_through_files(tmp_path):
    """Two orbits of different level: files and raw cubes give the same levelled radar, and one pass can be chosen."""
    settings = SMALL.model_copy(update={"radar": RadarSettings(orbits=(2, 2), orbit_db=(1.2, 1.2))})
    scene = simulate_raw(settings, 6)
    simulate.write_scene(scene, tmp_path)
    read = load_files(FilesSource(folder=tmp_path))
    assert read.s1.orbit.values.tolist() == scene.raw.s1.orbit.values.astype(str).tolist()
    assert len(set(read.s1.orbit.values.tolist())) == 2
    direct, filed = (build_cube(raw).sel(bands="VV") for raw in (scene.raw, read))
    np.testing.assert_allclose(filed, direct, atol=0.006)  # stored in steps of 0.01 dB
    assert "to the level of" in str(build_cube(read).attrs["notes"])


def test_scenes_are_kept_or_replaced(tmp_path):
    settings = simulate.SimulateSettings(out=tmp_path, seed=4, count=2, scene=SMALL.model_copy(update={"n_days": 40}))
    simulate.run(settings)
    folders = sorted(p.name for p in tmp_path.iterdir())
    assert folders == ["scene_00000004", "scene_00000005"]
    before = (tmp_path / folders[0] / "s2.nc").stat().st_mtime_ns
    simulate.run(settings)
    assert (tmp_path / folders[0] / "s2.nc").stat().st_mtime_ns == before
    simulate.run(settings.model_copy(update={"overwrite": True}))
    assert (tmp_path / folders[0] / "s2.nc").stat().st_mtime_ns > before


def test_source_gives_the_raw_cubes():
    raw = SimulatedSource(scene=SMALL, seed=9).load()
    xr.testing.assert_equal(raw.s2, simulate_raw(SMALL, 9).raw.s2)
    assert raw.s1.attrs["s1_units"] == "dB" and raw.coarse.NDVI.dims == ("t", "y", "x")
    assert abs(float(raw.coarse.x[1] - raw.coarse.x[0])) == 300
    assert (np.diff(raw.s2.y) < 0).all()
