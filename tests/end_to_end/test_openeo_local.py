"""The original workflow's graph, executed on this machine by openEO client-side processing, against direct calls."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fusion
from data_prep.optical import OpticalSettings, masked_ndvi
from fusion.contract import TimeGrid
from fusion.inference.fuse import fuse_cube
from fusion.inference.session import load_session
from fusion.phenology.layers import season_cube, season_layers
from fusion.phenology.reference import reference_phenology, reference_smoothing
from fusion.phenology.settings import SeasonSettings
from fusion.place import latitude_of
from tests.unit.udf.fakes import fake_model
from tests.unit.udf.raw_scene import write_raw
from udf.commands.workflow import WorkflowSettings, run
from udf.local.loading import select_time
from udf.local_backend import execute_graph
from udf.targets import load_target
from udf.workflow import WorkflowOptions, merged_cube

START, END = datetime.date(2019, 1, 10), datetime.date(2019, 11, 1)
IN_FIELD = np.add.outer(np.arange(18), np.arange(18)) >= 18  # pixel centres below the diagonal


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of a fake scene."""
    return write_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return fake_model(tmp_path_factory.mktemp("model") / "m")


def settings(scene: Path, model: Path, out: Path, **changes: object) -> WorkflowSettings:
    """Small windows, so that the scene has several, partial ones too."""
    given = {
        "target": load_target("local"), "source": scene, "model": str(model), "out": out, "start": START, "end": END,
        "window_px": 24, "overlap_px": 16, "method": "reference", **changes,
    }  # fmt: skip
    return WorkflowSettings(**given)


@pytest.fixture(scope="module")
def merged(scene: Path) -> xr.DataArray:
    """The cube as the first half of the graph makes it."""
    options = WorkflowOptions(start=START, end=END, source=scene, output="fused")
    return execute_graph(merged_cube(load_target("local"), options)).compute()


@pytest.fixture(scope="module")
def direct(merged: xr.DataArray, model: Path) -> xr.DataArray:
    """The same by Python, whole image at once."""
    grid = TimeGrid(np.datetime64(START), np.datetime64(END))
    fused = fuse_cube(merged, load_session(model), grid, s1_units="dB", latitude=latitude_of(merged))
    return fused.transpose("t", "bands", "y", "x")


def test_mask_and_ndvi_equal_those_of_the_cube_command(scene: Path, merged: xr.DataArray) -> None:
    """The graph's portable kernels and the data preparation's own mask remove the same pixels."""
    s2 = xr.open_dataset(scene / "s2.nc", decode_coords="all").load()
    expected = masked_ndvi(s2, OpticalSettings(mask="gaussian"))
    mine = merged.sel(bands="S2NDVI").sel(t=expected.t)
    np.testing.assert_array_equal(np.isnan(mine.values), np.isnan(expected.values))
    np.testing.assert_allclose(mine.clip(-0.2, 1).values, expected.values, atol=1e-6)
    share = float(np.isnan(expected).mean())
    assert 0.05 < share < 0.8


def test_dates_and_bands_of_the_merged_cube(scene: Path, merged: xr.DataArray) -> None:
    assert list(merged.bands.values) == ["S2NDVI", "VV", "VH", "COARSE_NDVI"]
    dates = [xr.open_dataset(scene / f"{n}.nc").t.values for n in ("s2", "s1", "coarse")]
    np.testing.assert_array_equal(merged.t.values, np.unique(np.concatenate(dates)))


@pytest.mark.parametrize("empty_first", [False, True])
def test_a_coarse_cube_without_a_date_changes_nothing(
    scene: Path, merged: xr.DataArray, monkeypatch: pytest.MonkeyPatch, empty_first: bool
) -> None:
    """Two coarse collections of which one has no scene in the period, as with a back-end's ``allow_empty_cubes``."""

    def or_none(cube: xr.DataArray, extent: object) -> xr.DataArray:
        try:
            return select_time(cube, extent)
        except ValueError:
            return cube.isel(t=slice(0, 0))

    monkeypatch.setattr("udf.local.loading.select_time", or_none)
    monkeypatch.setattr("udf.graph_sensors._outside", lambda *_: False)
    target = load_target("local")
    full = target.coarse[0].model_copy(update={"first": datetime.date(2015, 1, 1), "last": datetime.date(2020, 1, 1)})
    none = full.model_copy(update={"first": datetime.date(2030, 1, 1), "last": None})
    target = target.model_copy(update={"coarse": (none, full) if empty_first else (full, none)})
    both = execute_graph(merged_cube(target, WorkflowOptions(start=START, end=END, source=scene, output="fused")))
    np.testing.assert_array_equal(both.values, merged.values)


def test_fused_series_equals_direct_python(scene: Path, model: Path, direct: xr.DataArray, tmp_path: Path) -> None:
    """<= 1e-5 everywhere, border and partial windows included; nothing is resampled but the coarse cells."""
    run(settings(scene, model, tmp_path, output="fused"))
    saved = xr.open_dataset(tmp_path / "openEO.nc", decode_coords="all")
    for band in ("NDVI", "NDVI_SIGMA"):
        np.testing.assert_allclose(saved[band].values, direct.sel(bands=band).values, atol=1e-5)
    np.testing.assert_array_equal(saved.t, direct.t)
    assert saved.rio.crs == direct.rio.crs
    assert (tmp_path / "process_graph.json").exists()


def test_season_maps_equal_direct_python(scene: Path, model: Path, direct: xr.DataArray, tmp_path: Path) -> None:
    run(settings(scene, model, tmp_path, output="seasons", format="GTiff"))
    expected = reference_phenology(reference_smoothing(direct.astype("float32")))
    import rioxarray

    saved = rioxarray.open_rasterio(tmp_path / "openEO_2019-01-01Z.tif")
    assert saved.attrs["long_name"] == ("sos", "eos")
    assert saved.dtype == np.int16
    difference = np.abs(saved.values.astype(int) - expected.values[0].astype(int))
    assert difference.max() <= 1  # days


def test_seasons_by_the_default_method_equal_direct_python(scene: Path, model: Path, tmp_path: Path) -> None:
    """The graph takes what lies before the period, as far as there are observations."""
    method = WorkflowSettings.model_fields["method"].default
    run(settings(scene, model, tmp_path, output="seasons", method=method))
    options = WorkflowOptions(start=START, end=END, source=scene)
    merged = execute_graph(merged_cube(load_target("local"), options)).compute()
    grid = TimeGrid(np.datetime64(START) - 125, np.datetime64(END))
    led = fuse_cube(merged, load_session(model), grid, s1_units="dB", latitude=latitude_of(merged))
    seen = np.isfinite(merged.sel(bands="S2NDVI").values)
    first = xr.DataArray(merged.t.values[seen.argmax(axis=0)], dims=("y", "x"))
    led = led.where((led.t >= np.datetime64(START)) | (led.t >= first))  # nothing before a pixel's first observation
    expected = season_cube(*season_layers(led, SeasonSettings(method="relative_amplitude")))
    saved = xr.open_dataset(tmp_path / "openEO.nc", decode_coords="all")
    assert set(map(str, expected.bands.values)) <= set(saved.data_vars)
    dated = expected.sel(bands="SOSD_s1").notnull().values
    assert dated.mean() > 0.3
    for band in ("SOSD_s1", "EOSD_s1", "MAXV_s1"):
        np.testing.assert_allclose(saved[band].values, expected.sel(bands=band).values, atol=0.1)


def test_smoothed_series(scene: Path, model: Path, direct: xr.DataArray, tmp_path: Path) -> None:
    run(settings(scene, model, tmp_path, output="smoothed", format="Zarr"))
    saved = xr.open_zarr(tmp_path / "openEO.zarr")
    expected = reference_smoothing(direct.astype("float32"))
    np.testing.assert_allclose(saved.NDVI.values, expected.sel(bands="NDVI").values, atol=1e-5)


@pytest.fixture(scope="module")
def field(direct: xr.DataArray) -> dict:
    """The lower right half of rows 10 to 27 and columns 12 to 29."""
    from pyproj import Transformer

    x, y = direct.x.values, direct.y.values
    west, east, south, north = x[12] - 5, x[29] + 5, y[27] - 5, y[10] + 5
    move = Transformer.from_crs(32631, 4326, always_xy=True)
    corners = [(west, south), (east, south), (east, north), (west, south)]
    return {"type": "Polygon", "coordinates": [[list(move.transform(*c)) for c in corners]]}


@pytest.fixture(scope="module")
def field_direct(merged: xr.DataArray, direct: xr.DataArray, model: Path) -> xr.DataArray:
    """The field by Python, whole image at once: the coarse series inside the polygon only, as the original masks it."""
    inside = np.zeros(direct.shape[2:], bool)
    inside[10:28, 12:30] = IN_FIELD
    within = xr.DataArray(inside, dims=("y", "x"))
    data = merged.where(within | (merged.bands != "COARSE_NDVI"))
    grid = TimeGrid(np.datetime64(START), np.datetime64(END))
    fused = fuse_cube(data, load_session(model), grid, s1_units="dB", latitude=latitude_of(merged))
    fused = fused.transpose("t", "bands", "y", "x")
    return fused.isel(y=slice(10, 28), x=slice(12, 30))


def test_area_is_cropped_and_masked(
    scene: Path, model: Path, field: dict, field_direct: xr.DataArray, tmp_path: Path
) -> None:
    """Inside a polygon the answer is that of the same data by Python; outside there is none; no frame of no data."""
    run(settings(scene, model, tmp_path, output="fused", area=field))
    saved = xr.open_dataset(tmp_path / "openEO.nc").NDVI
    np.testing.assert_array_equal(saved.y, field_direct.y)
    np.testing.assert_array_equal(saved.x, field_direct.x)
    assert np.isnan(saved.values[:, ~IN_FIELD]).all()
    expected = field_direct.sel(bands="NDVI").values[:, IN_FIELD]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(saved.values[:, IN_FIELD], expected, atol=1e-5)


def test_season_maps_of_a_polygon(
    scene: Path, model: Path, field: dict, field_direct: xr.DataArray, tmp_path: Path
) -> None:
    run(settings(scene, model, tmp_path, output="seasons", area=field))
    saved = xr.open_dataset(tmp_path / "openEO.nc")
    expected = reference_phenology(reference_smoothing(field_direct.astype("float32")))
    for band in ("sos", "eos"):
        assert np.isnan(saved[band].values[0, ~IN_FIELD]).all()
        difference = np.abs(saved[band].values[0] - expected.sel(bands=band).values[0])
        assert difference[IN_FIELD].max() <= 1  # days


def test_without_radar_and_coarse(scene: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "s2.nc").symlink_to(scene / "s2.nc")
    run(settings(alone, model, tmp_path / "out", output="fused"))
    assert "fusion without radar" in caplog.text
    assert np.isfinite(xr.open_dataset(tmp_path / "out" / "openEO.nc").NDVI.values).all()


def test_shipped_model_and_public_call(scene: Path, merged: xr.DataArray, tmp_path: Path) -> None:
    """The default of the command is the model that ``fusion.fuse`` uses."""
    end = datetime.date(2019, 3, 1)
    shipped = settings(scene, Path("unused"), tmp_path, output="fused", end=end, window_px=48)
    run(shipped.model_copy(update={"model": None}))
    options = WorkflowOptions(start=START, end=end, source=scene)
    cube = execute_graph(merged_cube(load_target("local"), options)).compute()
    expected = fusion.fuse(cube, start=str(START), end=str(end), s1_units="dB")
    saved = xr.open_dataset(tmp_path / "openEO.nc")
    np.testing.assert_allclose(saved.NDVI.values, expected.sel(bands="NDVI").values, atol=1e-5)
