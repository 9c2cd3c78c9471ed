from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.commands.adapt import AdaptSettings, open_places, run, sigma_factor, unseen_patches, write_rescaled
from fusion.contract import NDVI_SIGMA, S2NDVI, ContractError
from fusion.data.store import PatchStore
from fusion.inference.manifest import ModelFileError, read_model_files
from fusion.inference.session import load_session
from tests.factory import mock_cube, mock_model, mock_store


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mock_model(tmp_path_factory.mktemp("adapt") / "linear", None)


@pytest.fixture(scope="module")
def cube():
    return mock_cube(y=20, x=20, seed=4)


def test_rescaling_is_exact_and_leaves_the_ndvi(cube, model, tmp_path):
    factor, obs = sigma_factor([cube], load_session(model))
    assert obs >= 500
    adapted = write_rescaled(model, tmp_path / "adapted", factor, obs)
    again, _ = sigma_factor([cube], load_session(adapted))
    assert again == pytest.approx(1.0, abs=2e-3)
    period = {"start": cube.t.values[0], "end": cube.t.values[-1]}
    before, after = fusion.fuse(cube, model=model, **period), fusion.fuse(cube, model=adapted, **period)
    np.testing.assert_array_equal(before.sel(bands="NDVI"), after.sel(bands="NDVI"))
    ratio = after.sel(bands=NDVI_SIGMA) / before.sel(bands=NDVI_SIGMA)
    np.testing.assert_allclose(ratio, factor, rtol=2e-3)


def test_too_few_observations_to_rescale(cube, model):
    with pytest.raises(ContractError, match="500 are needed"):
        sigma_factor([cube.isel(y=slice(0, 2), x=slice(0, 2))], load_session(model))


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A store of small places, every third held."""
    splits = {f"p{k}": "train" if k % 3 else "calibration" for k in range(8)}
    return mock_store(tmp_path_factory.mktemp("points") / "points.zarr", splits, truth=False, y=3, x=3)


def test_points_of_a_store_give_one_factor_that_holds_for_them(points, model, tmp_path):
    settings = AdaptSettings(store=points, out=tmp_path / "adapted", model=str(model))
    assert "sigma times" in run(settings)
    _, manifest = read_model_files(tmp_path / "adapted")
    factor, obs = sigma_factor(open_places(settings, manifest), load_session(model))
    assert manifest.training["adapted"] == {"sigma_factor": round(factor, 4), "pixel_obs": obs} and obs >= 500
    assert factor != pytest.approx(1.0, abs=0.02)
    again, _ = sigma_factor(open_places(settings, manifest), load_session(tmp_path / "adapted"))
    assert again == pytest.approx(1.0, abs=2e-3)
    few = settings.model_copy(update={"places": 2})
    with pytest.raises(ContractError, match="more places"):
        sigma_factor(open_places(few, manifest), load_session(model))


def test_patches_that_the_model_learned_from_are_left_out(points, model, tmp_path):
    store = PatchStore.open(points)
    _, manifest = read_model_files(model)
    assert unseen_patches(store, manifest, 1000) == list(range(8))
    assert unseen_patches(store, manifest, 3) == [0, 4, 7]  # 3.5 rounds to the even number
    learned = replace(manifest, training={"data": [{"name": "points", "share": 1.0, "sha256": store.content_hash()}]})
    assert unseen_patches(store, learned, 1000) == store.indices("calibration") == [0, 3, 6]
    only = PatchStore.open(mock_store(tmp_path / "only.zarr", {"a": "train"}, truth=False, y=1, x=1))
    learned = replace(manifest, training={"data": [{"sha256": only.content_hash()}]})
    with pytest.raises(ContractError, match="no patch that the model did not learn from"):
        unseen_patches(only, learned, 5)


@pytest.mark.parametrize("given", [{}, {"cube": "a.nc", "store": "b.zarr"}])
def test_one_input_is_needed_to_rescale(given):
    with pytest.raises(ValueError, match="either cube=PATH"):
        AdaptSettings(out="adapted", **given)


def test_a_dip_is_suspect_and_a_rise_is_not(cube, model):
    fused = fusion.fuse(cube, model=model, start=cube.t.values[0], end=cube.t.values[-1])
    dipped = cube.copy()
    row = 5
    sigma = fused.sel(bands=NDVI_SIGMA).interp(t=cube.t[row]).values
    level = fused.sel(bands="NDVI").interp(t=cube.t[row]).values
    values = np.where(np.arange(20)[:, None] < 10, level - 3 * sigma, level + 3 * sigma)
    dipped.loc[{"bands": S2NDVI, "t": cube.t[row]}] = values
    flags = fusion.suspect_observations(dipped, fused)
    assert flags.dims == ("t", "y", "x") and flags.dtype == bool
    assert flags[row, :10].all() and not flags[row, 10:].any()
    gone = dipped.where(dipped.bands != S2NDVI)
    assert not fusion.suspect_observations(gone, fused).any()


def test_suspect_needs_the_sigma_of_an_observation(cube, model):
    fused = fusion.fuse(cube, model=model, start=cube.t.values[0], end=cube.t.values[-1], sigma="ndvi")
    with pytest.raises(ContractError, match="sigma='observation'"):
        fusion.suspect_observations(cube, fused)
    observation = fusion.fuse(cube, model=model, start=cube.t.values[0], end=cube.t.values[-1])
    with pytest.raises(ContractError, match="same pixels"):
        fusion.suspect_observations(cube.isel(y=slice(1, None)), observation)
    assert isinstance(observation, xr.DataArray)


@pytest.mark.parametrize("off", [1e-6, 0.2, "float32", "none"])
def test_coordinates_that_rounding_moved_are_the_same_pixels(cube, model, off):
    fused = fusion.fuse(cube, model=model, start=cube.t.values[0], end=cube.t.values[-1])
    dipped = cube.copy()
    dipped.loc[{"bands": S2NDVI, "t": cube.t[5]}] = -0.2
    expected = fusion.suspect_observations(dipped, fused)
    assert expected[5].all() and expected.sum() == expected[5].size
    if off == "none":
        moved = fused.drop_vars(["y", "x"])
    elif off == "float32":
        moved = fused.assign_coords({axis: fused[axis].astype(np.float32) for axis in ("y", "x")})
    else:
        moved = fused.assign_coords({axis: fused[axis] + off for axis in ("y", "x")})
    xr.testing.assert_identical(fusion.suspect_observations(dipped, moved), expected)


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize("change", [10.0, 1.0, "turned", "stretched"])
def test_other_pixels_of_the_same_number_are_refused_by_name(cube, model, axis, change):
    fused = fusion.fuse(cube, model=model, start=cube.t.values[0], end=cube.t.values[-1])
    values = {"turned": fused[axis].values[::-1], "stretched": fused[axis].values[0] + 2 * np.arange(20.0) * 10}
    moved = fused.assign_coords({axis: values[change] if isinstance(change, str) else fused[axis].values + change})
    with pytest.raises(ContractError, match=f"fused runs from {axis}=.*the cube from .*fuse this very cube"):
        fusion.suspect_observations(cube, moved)


def test_a_model_folder_with_other_things_is_not_replaced_by_a_rescaled_one(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ModelFileError, match=r"holds notes\.txt"):
        write_rescaled(model, tmp_path / "out", 2.0, 500)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["notes.txt"]
