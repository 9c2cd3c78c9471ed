import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.contract import ContractError, TimeGrid
from fusion.features.features import FEATURE_NAMES
from fusion.features.neighbours import interpolate_linear
from fusion.inference.fuse import fuse_window
from fusion.inference.manifest import NETWORK_RADIUS_PX, ModelFileError, read_model_files
from fusion.inference.session import load_session
from fusion.model.generator import Generator
from fusion.place import latitude_of
from fusion.training.checkpoint import GeneratorSettings, TrainedGenerator
from fusion.training.export import ExportError, export_generator
from tests.factory import mock_cube, mock_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mock_model(tmp_path_factory.mktemp("model") / "random", 1)


@pytest.fixture(scope="module")
def cube():
    return mock_cube(y=44, x=36, seed=2)


def period(cube):
    days = cube.t.values.astype("datetime64[D]")
    return {"start": days[2], "end": days[-3]}


def fused_values(cube, model, **more):
    return fusion.fuse(cube, model=model, **{"threads": 1, **period(cube), **more}).values


def test_the_answer_is_a_labelled_cube(cube, model):
    fused = fusion.fuse(cube, model=model, **period(cube))
    assert fused.dims == ("t", "bands", "y", "x")
    assert list(fused.bands.values) == ["NDVI", "NDVI_SIGMA"]
    assert fused.dtype == np.float32
    assert fused.rio.crs == cube.rio.crs
    assert (np.diff(fused.t.values) == np.timedelta64(5, "D")).all()
    assert fused.t.values[0].astype("datetime64[D]") == period(cube)["start"]
    np.testing.assert_array_equal(fused.x, cube.x)


def test_an_untrained_model_answers_with_linear_interpolation(cube, tmp_path):
    folder = mock_model(tmp_path / "linear", None)
    fused = fusion.fuse(cube, model=folder, **period(cube))
    ndvi = cube.sel(bands="S2NDVI")
    days = cube.t.values.astype("datetime64[D]").astype("int64")
    expected = interpolate_linear(days, ndvi.values, fused.t.values.astype("datetime64[D]").astype("int64"))
    np.testing.assert_allclose(fused.sel(bands="NDVI").values, expected, atol=1e-5)


def test_tiles_leave_no_seam(cube, model):
    np.testing.assert_allclose(fused_values(cube, model, tile=16), fused_values(cube, model), atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_window_of_a_few_pixels_at_the_border_is_that_part_of_the_whole(cube, model, size):
    """Regions leave such windows over; they were padded like a cube of that size, and NDVI differed by up to 0.03."""
    session, expected = load_session(model), fused_values(cube, model)
    grid = TimeGrid(*(period(cube)[name] for name in ("start", "end")))
    height, width = cube.sizes["y"], cube.sizes["x"]
    for rows, columns in (
        (slice(height - size, height), slice(0, width)),
        (slice(0, size), slice(0, width)),
        (slice(0, height), slice(width - size, width)),
        (slice(height - size, height), slice(width - size, width)),
    ):
        found, _ = fuse_window(cube, (rows, columns), session, grid, latitude=latitude_of(cube))
        np.testing.assert_allclose(found, expected[:, :, rows, columns], atol=1e-6)


def test_order_of_dims_and_bands_and_laziness_change_nothing(cube, model):
    expected = fused_values(cube, model)
    shuffled = cube.transpose("x", "bands", "t", "y").sel(bands=["VH", "COARSE_NDVI", "S2NDVI", "VV"])
    np.testing.assert_allclose(fused_values(shuffled, model), expected, atol=1e-6)
    np.testing.assert_allclose(fused_values(cube.chunk(y=20), model), expected, atol=1e-6)


def test_other_steps_agree_with_the_native_one(cube, model):
    native = fused_values(cube, model)
    np.testing.assert_allclose(fused_values(cube, model, step_days=1)[::5], native, atol=1e-5)
    np.testing.assert_allclose(fused_values(cube, model, step_days=10), native[::2], atol=1e-5)


@pytest.mark.parametrize("bands", [["S2NDVI"], ["S2NDVI", "VV", "VH"], ["S2NDVI", "COARSE_NDVI"]])
def test_an_absent_sensor_equals_one_that_saw_nothing(cube, model, bands):
    empty = cube.where(cube.bands.isin(bands))
    np.testing.assert_allclose(fused_values(cube.sel(bands=bands), model), fused_values(empty, model), atol=1e-6)


def test_linear_power_equals_decibel(cube, model):
    power = cube.copy()
    for band in ("VV", "VH"):
        power.loc[{"bands": band}] = 10 ** (cube.sel(bands=band) / 10)
    power.attrs["s1_units"] = "linear"
    np.testing.assert_allclose(fused_values(power, model), fused_values(cube, model), atol=1e-4)


def test_missing_data_give_nan_of_full_shape(cube, model):
    clouds = cube.copy()
    clouds.loc[{"bands": "S2NDVI"}] = np.nan
    assert np.isnan(fused_values(clouds, model)).all()
    one = cube.copy()
    one[{"y": 3, "x": 4, "bands": 0}] = np.nan
    answer = fused_values(one, model)
    assert np.isnan(answer[:, :, 3, 4]).all()
    assert np.isfinite(np.delete(answer.reshape(*answer.shape[:2], -1), 3 * 36 + 4, axis=2)).all()


def test_one_date_and_one_pixel(cube, model):
    single = cube.isel(t=slice(0, 1)).isel(y=slice(0, 1), x=slice(0, 1)).fillna(0.5)
    single.attrs = cube.attrs
    single = single.where(single.bands.isin(["S2NDVI"]))
    fused = fusion.fuse(single, start="2019-05-01", end="2019-06-01", model=model)
    assert fused.shape == (7, 2, 1, 1) and np.isfinite(fused.values).all()


def test_a_single_pixel_is_answered_like_the_middle_of_a_field_of_its_kind(cube, model):
    pixel = cube.isel(y=[5], x=[7])
    field = xr.concat([xr.concat([pixel] * 17, "x")] * 17, "y").transpose(*cube.dims)
    field = field.assign_coords(y=cube.y[0].item() - 10.0 * np.arange(17), x=cube.x[0].item() + 10.0 * np.arange(17))
    alone, inside = fused_values(pixel, model), fused_values(field, model)[:, :, 8:9, 8:9]
    np.testing.assert_allclose(alone, inside, atol=1e-5)
    row = fused_values(cube.isel(y=[5]), model)
    assert row.shape[2:] == (1, cube.sizes["x"]) and np.isfinite(row).any()


def test_sigma_of_an_observation_is_wider_than_of_the_signal(cube, model):
    observation = fused_values(cube, model)[:, 1]
    signal = fused_values(cube, model, sigma="ndvi")[:, 1]
    np.testing.assert_allclose(observation**2 - signal**2, 0.03**2, rtol=1e-3)


def test_the_input_is_never_modified(cube, model):
    before = cube.copy(deep=True)
    fused_values(cube, model)
    xr.testing.assert_identical(cube, before)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda c: c.sel(bands=["VV", "VH"]), "S2NDVI"),
        (lambda c: c.rename(t="when"), "when"),
        (lambda c: c.drop_vars("t"), "time coordinate"),
        (lambda c: c.isel(t=[1, 0, 2]), "not sorted"),
        (lambda c: c.isel(t=[0, 1, 1, 2]), "twice"),
        (lambda c: c.isel(y=slice(0, 0)), "no pixel"),
        (lambda c: c.isel(t=slice(0, 0)), "no date"),
        (lambda c: (c * 250).assign_attrs(c.attrs), "NDVI"),
        (lambda c: c.assign_attrs(s1_units="linear"), "looks like dB"),
        (lambda c: c.drop_attrs(), "s1_units"),
        (lambda c: c.assign_coords(bands=["S2NDVI", "VV", "VV", "VH"]), "once"),
    ],
)
def test_bad_cubes_get_a_clear_error(cube, model, break_it, message):
    with pytest.raises(ContractError, match=message):
        fused_values_of_bad = break_it(cube)
        fusion.fuse(fused_values_of_bad, start="2020-01-01", end="2020-02-01", model=model)


def test_a_period_that_ends_before_it_starts(cube, model):
    with pytest.raises(ContractError, match="swap start and end"):
        fusion.fuse(cube, start="2020-02-01", end="2020-01-01", model=model)


def test_model_archive_equals_folder(cube, model, tmp_path):
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in model.iterdir():
            out.write(file, f"ndvi_fusion_model/{file.name}")
    np.testing.assert_array_equal(fused_values(cube, archive), fused_values(cube, model))


def test_session_is_opened_once(model):
    assert load_session(model, threads=1) is load_session(str(model), threads=1)
    with pytest.raises(ModelFileError, match="the caller expects"):
        load_session(model, threads=1, expected_sha256="0" * 64)


def test_a_model_exported_again_to_the_same_place_is_read_again(tmp_path):
    first = load_session(mock_model(tmp_path / "model", 1))
    second = load_session(mock_model(tmp_path / "model", 2))
    assert first.manifest.sha256 != second.manifest.sha256


def copy_of(model, folder):
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_tampering_is_found(model, tmp_path):
    changed = copy_of(model, tmp_path / "changed")
    content = bytearray((changed / "model.onnx").read_bytes())
    content[1000] ^= 1
    (changed / "model.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="changed or cut off"):
        load_session(changed)
    old = copy_of(model, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "manifest_version": 0}))
    with pytest.raises(ModelFileError, match="version is 0"):
        load_session(old)
    (old / "manifest.json").write_text(json.dumps({**manifest, "feature_version": 99}))
    with pytest.raises(ModelFileError, match="feature version 99"):
        load_session(old)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ModelFileError, match="not a complete zip"):
        load_session(cut)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="model folder needs"):
        load_session(tmp_path / "empty")


def test_the_season_comes_from_the_crs_unless_the_latitude_is_told(cube, model):
    told = fused_values(cube, model)
    np.testing.assert_array_equal(told, fused_values(cube, model, latitude=latitude_of(cube)))
    south, unknown = fused_values(cube, model, latitude=-50.0), fused_values(cube.drop_vars("spatial_ref"), model)
    assert np.abs(told - south).max() > 1e-3 and np.abs(told - unknown).max() > 1e-3


def test_manifest_says_what_the_model_needs(model):
    content, manifest = read_model_files(model)
    assert len(content) < 2 * 2**20
    assert manifest.features == FEATURE_NAMES
    assert manifest.step_days == 5
    assert manifest.overlap_px % 4 == 0 and manifest.overlap_px >= 13
    assert manifest.opset <= 18
    assert manifest.onnxruntime == ">=1.16,<=1.32"
    assert manifest.contract["patch_px"] == 128
    assert manifest.network_radius_px == 3
    earlier = replace(manifest, contract={k: v for k, v in manifest.contract.items() if k != "network_radius_px"})
    assert earlier.network_radius_px == NETWORK_RADIUS_PX == 4


def test_tiles_take_the_room_that_they_are_given(cube, model, monkeypatch):
    """Few pixels per tile for many dates, the same values, and no memory kept for every size of tile."""
    expected, seen = fused_values(cube, model), []
    monkeypatch.setattr("fusion.features.tiling.SMALLEST_PX", 8)
    monkeypatch.setattr("fusion.inference.fuse.TILE_PIXEL_DATES", 20_000)
    values = fused_values(cube, model, progress=lambda done, total: seen.append(total))
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert seen[0] > 1
    assert load_session(model).runner.get_session_options().enable_mem_pattern is False


def test_a_network_that_reaches_over_the_border_of_tiles_is_not_exported(tmp_path):
    wide = Generator(len(FEATURE_NAMES), width=4, dilations=(1,) * 5, spatial_every=1)
    with pytest.raises(ExportError, match="reaches 5 px"):
        export_generator(TrainedGenerator(wide, GeneratorSettings(), None, {}), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_threads_change_nothing(cube, model):
    """Tiles side by side; the progress counts every one."""
    seen = []
    values = fused_values(cube, model, tile=16, threads=3, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(values, fused_values(cube, model), atol=1e-5)
    assert seen == [(k, 9) for k in range(1, 10)]


def test_a_fault_in_a_thread_reaches_the_caller(cube, model):
    def progress(done, total):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fused_values(cube, model, tile=16, threads=2, progress=progress)
    with pytest.raises(ContractError, match="radar units are None"):
        fusion.fuse(cube.drop_attrs().assign_attrs(crs=cube.attrs.get("crs")), model=model, threads=2, **period(cube))
