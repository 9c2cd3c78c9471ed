"""The viewer without a browser: what is read, what a click finds, what is compared, and what is refused."""

import re
import socket
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fusion
from fusion.cli import app as cli
from fusion.contract import NDVI, NDVI_SIGMA, OBS_COUNT, ContractError
from fusion.data.cube_files import write_cube
from fusion.fields.series import field_series as series_of_fields
from fusion.viewer.layers import SCREEN_PX, open_content, picture
from fusion.viewer.series import field_series, pixel_at, pixel_series
from fusion.viewer.view import ViewerMissingError
from tests.factory import ORIGIN_X, ORIGIN_Y, PIXEL_M, mock_cube, mock_fused

pytest.importorskip("panel", reason="needs the extra 'view'")


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    return mock_cube(t=73, y=8, x=12, start="2019-01-01")


@pytest.fixture(scope="module")
def fused(cube: xr.DataArray) -> xr.DataArray:
    return mock_fused(cube)


def square(west: float, south: float, size: float):
    geopandas = pytest.importorskip("geopandas", reason="fields need geopandas")
    from shapely.geometry import box

    return geopandas.GeoDataFrame(geometry=[box(west, south, west + size, south + size)], crs="EPSG:32631")


def test_a_pixel_shows_the_values_of_the_file(cube: xr.DataArray, fused: xr.DataArray, tmp_path: Path) -> None:
    for name, array in (("ndvi.nc", fused), ("cube.nc", cube)):
        write_cube(array, tmp_path / name)
    content = open_content(tmp_path)  # as the demo's folder: the cube is found beside the result
    x, y = ORIGIN_X + 3.4 * PIXEL_M, ORIGIN_Y - 5.7 * PIXEL_M
    assert pixel_at(content, x, y) == (5, 3)
    assert pixel_at(content, ORIGIN_X - 1, y) is None and pixel_at(content, x, ORIGIN_Y + 1) is None
    clicked = pixel_series(content, 5, 3)
    np.testing.assert_array_equal(clicked.fused.ndvi, fused.sel(bands=NDVI).values[:, 5, 3])
    np.testing.assert_allclose(clicked.fused.sigma, 0.04, rtol=1e-6)
    assert clicked.observations is not None
    np.testing.assert_array_equal(clicked.observations.ndvi, cube.sel(bands="S2NDVI").values[:, 5, 3])
    direct = fusion.seasons(
        fused.isel(y=[5], x=[3]), observations=cube.sel(bands="S2NDVI").isel(y=[5], x=[3]), use_numba=False
    )
    (season,) = clicked.seasons
    days = (season.dates["SOSD"] - np.datetime64("2019-01-01")).astype(int)
    assert days == round(float(direct.SOSD.isel(season=0).item()))
    assert season.qflag == float(direct.QFLAG.isel(season=0).item())


def test_counts_of_a_fused_series_serve_where_the_observations_are_absent(fused: xr.DataArray, tmp_path: Path) -> None:
    counts = xr.ones_like(fused.isel(bands=0, drop=True)).assign_attrs(units="1")
    carried = fused.assign_coords({OBS_COUNT: counts})
    write_cube(carried, tmp_path / "ndvi.nc")
    for source in (carried, tmp_path / "ndvi.nc"):
        content = open_content(source)
        assert set(content.result.bands) == {NDVI, NDVI_SIGMA, OBS_COUNT}
        (season,) = pixel_series(content, 5, 3).seasons
        assert season.qflag == 10
    none = carried.assign_coords({OBS_COUNT: counts * 0})
    assert pixel_series(open_content(none), 5, 3).seasons[0].qflag < 10


def test_seasons_of_a_file_are_shown_as_they_are(cube: xr.DataArray, fused: xr.DataArray) -> None:
    data = fusion.seasons(fused, use_numba=False)
    content = open_content(fused, seasons=data.assign(SOSD=data.SOSD * 0 + 31))
    assert [str(s.dates["SOSD"]) for s in pixel_series(content, 0, 0).seasons] == ["2019-02-01"]
    from fusion.viewer.app import Viewer

    viewer = Viewer(content)
    (label,) = (name for name in viewer.layers if name.startswith("SOSD") and "season 1" in name)
    viewer.layer.value = label
    np.testing.assert_array_equal(viewer.map.source.data["image"][0], np.full((8, 12), 31, np.float32))


def test_a_field_shows_the_mean_of_its_pixels(cube: xr.DataArray, fused: xr.DataArray) -> None:
    # corners 2 px right and 3 px below the origin, 3 px wide: rows 3..5, columns 2..4
    field = square(ORIGIN_X + 2 * PIXEL_M, ORIGIN_Y - 6 * PIXEL_M, 3 * PIXEL_M)
    content = open_content(fused, observations=cube, fields=field.to_crs("EPSG:4326"))
    clicked = field_series(content, 0)
    assert clicked is not None and clicked.observations is not None and clicked.title == "Field 1, mean of 9 pixels"
    inside = fused.sel(bands=NDVI).values[:, 3:6, 2:5]
    np.testing.assert_allclose(clicked.fused.ndvi, inside.mean(axis=(1, 2)), rtol=1e-6)
    seen = cube.sel(bands="S2NDVI").values[:, 3:6, 2:5].reshape(73, 9)
    half = np.isfinite(seen).mean(axis=1) >= 0.5
    np.testing.assert_array_equal(np.isfinite(clicked.observations.ndvi), half)
    table = series_of_fields(fused, field)
    np.testing.assert_allclose(clicked.fused.ndvi, table.sel(bands=NDVI).values[:, 0], rtol=1e-6)
    np.testing.assert_allclose(clicked.fused.sigma, table.sel(bands=NDVI_SIGMA).values[:, 0], rtol=1e-6)


def test_other_names_of_dimensions(fused: xr.DataArray, cube: xr.DataArray) -> None:
    named = fused.rename(t="time", bands="band")
    content = open_content(named, observations=cube.rename(t="time", bands="variable"), seasons=fusion.seasons(named))
    np.testing.assert_array_equal(pixel_series(content, 5, 3).fused.ndvi, fused.sel(bands=NDVI).values[:, 5, 3])


def test_two_results_are_compared(fused: xr.DataArray, cube: xr.DataArray) -> None:
    from fusion.viewer.app import Viewer

    viewer = Viewer(open_content(fused, other=mock_fused(cube, 0.1)))
    viewer.layer.value = "difference, other minus result"
    np.testing.assert_allclose(viewer.map.source.data["image"][0], 0.1, atol=1e-6)
    assert viewer.chart.other is not None
    np.testing.assert_allclose(viewer.chart.other.data["ndvi"] - viewer.chart.fused.data["ndvi"], 0.1, atol=1e-6)
    late = fused.assign_coords(t=fused.t + np.timedelta64(400, "D"))
    viewer = Viewer(open_content(fused, other=late))
    viewer.layer.value = "difference, other minus result"
    assert np.isnan(viewer.map.source.data["image"][0]).all() and "no date" in viewer.map.figure.title.text


@pytest.mark.parametrize("ascending", [False, True])
def test_the_map_has_north_up(fused: xr.DataArray, ascending: bool) -> None:
    shown = picture(fused.sel(bands=NDVI).sortby("y", ascending=ascending).isel(t=40))
    np.testing.assert_array_equal(shown.values, fused.sel(bands=NDVI).values[40][::-1])
    assert (shown.x, shown.y) == (ORIGIN_X, ORIGIN_Y - 8 * PIXEL_M)
    assert (shown.width, shown.height) == (12 * PIXEL_M, 8 * PIXEL_M)


def test_a_large_zarr_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 x 2,000 px, 4 dates, chunks of 500 px: a map reads one date, a click one column of chunks."""
    import dask.array
    from zarr.storage import LocalStore

    y, x = 600_000.0 - 10 * np.arange(2000), 500_000.0 + 10 * np.arange(2000)
    column = dask.array.arange(2000, chunks=500, dtype=np.float32) / 2000
    values = dask.array.broadcast_to(column, (4, 2, 2000, 2000), chunks=((1,) * 4, (1, 1), (500,) * 4, (500,) * 4))
    days = np.datetime64("2019-03-01", "ns") + np.arange(4) * np.timedelta64(5, "D")
    coords = {"t": days, "bands": [NDVI, NDVI_SIGMA], "y": y, "x": x}
    write_cube(xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords), tmp_path / "big.zarr")
    read: list[str] = []
    get = LocalStore.get

    async def counted(self, key, *arguments, **words):
        if "/c/" in key:
            read.append(key)
        return await get(self, key, *arguments, **words)

    content = open_content(tmp_path / "big.zarr")
    monkeypatch.setattr(LocalStore, "get", counted)
    whole = picture(content.result.ndvi.isel(t=1))
    assert {key.split("/c/")[1].split("/")[0] for key in read} == {"1"} and len(read) == 16
    assert (
        max(whole.values.shape) <= SCREEN_PX and np.isin(whole.values, np.arange(2000, dtype=np.float32) / 2000).all()
    )
    read.clear()
    part = picture(content.result.ndvi.isel(t=1), (500_100, 599_000, 502_000, 599_900))
    assert len(read) == 1 and part.values.shape[1] == 191  # at the window's own resolution: centres 500,100 .. 502,000
    read.clear()
    pixel_series(content, 700, 1300)
    assert sorted(read) == sorted(f"{band}/c/{t}/1/2" for band in (NDVI, NDVI_SIGMA) for t in range(4))


def test_what_cannot_be_shown_is_refused_with_advice(fused: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    seasons = fusion.seasons(fused, use_numba=False)
    for given, words in (
        ((tmp_path / "empty",), "holds neither ndvi.nc nor ndvi.zarr"),
        ((seasons,), "seasons=PATH"),
    ):
        with pytest.raises(ContractError, match=words):
            open_content(*given)
    with pytest.raises(ContractError, match=r"other has another grid.*reproject_match"):
        open_content(fused, other=fused.isel(x=slice(1, None)))
    with pytest.raises(ContractError, match="none of the 1 fields touches the result"):
        open_content(fused, fields=square(0, 0, 10))
    with pytest.raises(ContractError, match="no SOSD"):
        open_content(fused, seasons=seasons.drop_vars("SOSD"))


def test_without_panel_one_sentence_names_the_extra(
    fused: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "panel" else real(name, *a))
    with pytest.raises(ViewerMissingError, match=r"pip install 'ndvi-fusion\[view\]'"):
        fusion.view(fused)
    write_cube(fused, tmp_path / "ndvi.nc")
    assert cli.main(["view", str(tmp_path / "ndvi.nc")]) == cli.FAILED
    told = "the viewer needs the package 'panel'; install it with: pip install 'ndvi-fusion[view]'"
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_taken_port_is_told(fused: xr.DataArray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cube(fused, tmp_path / "ndvi.nc")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["view", str(tmp_path / "ndvi.nc"), f"port={port}", "browser=false"]) == cli.FAILED
    assert f"port {port} cannot be used" in capsys.readouterr().err


def test_the_notebook_call_gives_something_to_show(fused: xr.DataArray) -> None:
    shown = fusion.view(fused)
    assert hasattr(shown, "_repr_mimebundle_") and hasattr(shown, "show")


def test_a_notebook_fetches_nothing_from_another_host(fused: xr.DataArray) -> None:
    import panel

    fusion.view(fused)
    assert panel.config.inline  # else the notebook's page asks a content delivery network for the scripts


@pytest.mark.slow
def test_output_of_a_notebook_names_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebooks'")
    from nbclient import NotebookClient

    root = Path(__file__).parents[4]
    monkeypatch.setenv("PYTHONPATH", str(root))
    code = "import fusion\nfrom tests.factory import mock_cube, mock_fused\nfusion.view(mock_fused(mock_cube(t=4)))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()
    shown = [str(text) for o in notebook.cells[0].outputs for kind, text in o.get("data", {}).items() if "html" in kind]
    assert sum(map(len, shown)) > 10_000
    assert not [text for text in shown if re.search(r"(src|href)=.https?:|https://cdn", text)]
