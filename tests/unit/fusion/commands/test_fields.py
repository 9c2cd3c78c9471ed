"""``ndvi-fusion fields``: the files of polygons and of tables, as pandas, geopandas and GDAL read them."""

import json
import re
import shlex
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr

import fusion
from fusion.cli.app import execute
from fusion.cli.settings import SettingsError, load_settings
from fusion.commands.fields import run
from fusion.commands.fields_settings import FieldsSettings
from fusion.contract import ContractError
from fusion.data.cube_files import write_cube
from fusion.whole_file import OutputExistsError
from tests.factory import CRS, ORIGIN_X, ORIGIN_Y, day_of_year, mock_cube

SIDE = 24


def fused(first: str = "2019-01-01", dates: int = 73) -> xr.DataArray:
    """Two halves with seasons around different days, sigma 0.03."""
    t = np.datetime64(first) + np.arange(dates) * 5
    doy = day_of_year(t.astype("datetime64[D]").astype(int))[:, None]
    green = np.where(np.arange(SIDE) < SIDE // 2, 100, 130)[None]
    curve = 0.2 + 0.6 / (1 + np.exp(-(doy - green) / 8)) - 0.6 / (1 + np.exp(-(doy - 240) / 8))
    ndvi = np.broadcast_to(curve[:, None], (dates, SIDE, SIDE))
    axis = np.arange(SIDE) * 10 + 5.0
    coords = {
        "t": t.astype("datetime64[ns]"),
        "bands": ["NDVI", "NDVI_SIGMA"],
        "y": ORIGIN_Y - axis,
        "x": ORIGIN_X + axis,
    }
    values = np.stack([ndvi, np.full(ndvi.shape, 0.03)], axis=1).astype(np.float32)
    return xr.DataArray(values, dims=("t", "bands", "y", "x"), coords=coords).rio.write_crs(CRS)


def box(west: float, north: float, east: float, south: float) -> shapely.Polygon:
    return shapely.box(ORIGIN_X + west, ORIGIN_Y - south, ORIGIN_X + east, ORIGIN_Y - north)


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """A fused cube and three fields, one of them elsewhere."""
    table = gpd.GeoDataFrame(
        {"parcel": ["a/1", "b", "far"], "year": ["x", "y", "z"], "crop": ["wheat", "maize", "beet"]},
        geometry=[box(5, 5, 115, 200), box(130, 5, 235, 200), box(9000, 0, 9100, 100)], crs=CRS,
    )  # fmt: skip
    table.to_crs(4326).to_file(tmp_path / "parcels.geojson")
    return write_cube(fused(), tmp_path / "ndvi.nc"), tmp_path / "parcels.geojson"


def test_polygons_give_series_seasons_plots_and_a_page(tmp_path, inputs):
    cube, polygons = inputs
    out = tmp_path / "out"
    words = [f"cube={cube}", f"polygons={polygons}", "id=parcel", f"out={out}"]
    settings = load_settings("fields", FieldsSettings, words)
    said = run(settings)
    assert "3 fields on 73 dates, 2 with a season; main season: median start 2019-04-16" in said, said
    series = pd.read_csv(out / "series.csv", parse_dates=["date"])
    assert series.columns.tolist() == ["field", "date", "ndvi", "ndvi_sigma", "ndvi_spread", "share_observed"]
    assert len(series) == 3 * 73 and series.date.iloc[1] == pd.Timestamp("2019-01-06")
    own = series[series.field == "a/1"]
    np.testing.assert_allclose(own.ndvi, fused().sel(bands="NDVI").values[:, 5, 5], atol=1e-4)
    np.testing.assert_allclose(own.ndvi_sigma, 0.03 * np.sqrt(0.9 + 0.1 / (9 * 17.5)), rtol=3e-3)
    seasons = pd.read_csv(out / "seasons.csv")
    assert seasons.field.tolist() == ["a/1", "b", "far"] and seasons.year.tolist() == [2019] * 3
    np.testing.assert_allclose(seasons.SOSD[:2], [100 - 8 * np.log(3) - 1, 130 - 8 * np.log(3) - 1], atol=1.5)
    assert seasons.SOSD_date[:2].tolist() == [str(np.datetime64("2019-01-01") + int(d)) for d in seasons.SOSD[:2]]
    assert seasons.FLAG.tolist()[2] == 1 and seasons.field_flag.tolist() == [0, 0, 32]
    assert np.isfinite(seasons.SOSD_SIGMA[:2]).all()
    place = gpd.GeoSeries([box(5, 5, 115, 200).centroid], crs=CRS).to_crs(4326)[0]
    assert (seasons.lon[0], seasons.lat[0]) == pytest.approx((place.x, place.y), abs=2e-5)
    geo = gpd.read_parquet(out / "seasons.parquet")
    assert geo.crs == 4326 and geo.crop.tolist() == ["wheat", "maize", "beet"]
    described = json.loads(pq.read_metadata(out / "seasons.parquet").metadata[b"geo"])
    assert described["primary_column"] == "geometry" and described["columns"]["geometry"]["encoding"] == "WKB"
    assert geo.year_of_polygon.tolist() == ["x", "y", "z"] and geo.season.tolist() == [1, 1, 0]
    np.testing.assert_allclose(geo.SOSD, seasons.SOSD, atol=1e-3)
    assert sorted(p.name for p in out.glob("*.png")) == ["field_1_a_1.png", "field_2_b.png"]
    page = (out / "fields.html").read_text()
    assert "3 fields on 73 dates" in page and "field: outside" in page and page.count("<img") == 2
    assert (out / "fields.html").stat().st_size < 400_000
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        run(settings)
    assert "3 fields" in run(settings.model_copy(update={"overwrite": True, "plots": 0}))
    assert not list(out.glob("*.png"))


def test_two_years_give_a_row_for_each_year_and_season(tmp_path, inputs):
    cube = write_cube(fused("2018-01-01", 146), tmp_path / "two.nc")
    run(FieldsSettings(cube=cube, polygons=inputs[1], id="parcel", out=tmp_path / "out", plots=1))
    table = pd.read_csv(tmp_path / "out" / "seasons.csv")
    assert table[table.field == "b"].year.tolist() == [2018, 2019]
    np.testing.assert_allclose(table[table.field == "b"].SOSD, 120.2, atol=1.5)
    run(FieldsSettings(cube=cube, polygons=inputs[1], id="parcel", out=tmp_path / "one", plots=1, year=2018))
    assert pd.read_csv(tmp_path / "one" / "seasons.csv").year.tolist() == [2018] * 3


def test_a_merged_cube_is_averaged_or_fused_and_counts_observations(tmp_path, inputs):
    merged = mock_cube(t=73, y=SIDE, x=SIDE, start="2019-01-01")
    file = write_cube(merged, tmp_path / "cube.nc")
    given = {"polygons": inputs[1], "id": "parcel", "plots": 1}
    run(FieldsSettings(cube=file, **given, out=tmp_path / "means"))
    series = pd.read_csv(tmp_path / "means" / "series.csv")
    assert {"s2ndvi", "vv", "vh"} <= set(series.columns) and series.s2ndvi.isna().any()
    assert "3 fields" in run(FieldsSettings(cube=file, **given, fuse=True, out=tmp_path / "fused"))
    series = pd.read_csv(tmp_path / "fused" / "series.csv")
    assert series.columns.tolist() == ["field", "date", "ndvi", "ndvi_sigma"]
    assert series[series.field != "far"].ndvi.notna().all()
    run(FieldsSettings(cube=inputs[0], observations=file, **given, out=tmp_path / "counted"))
    means = fusion.field_series(merged, inputs[1], id="parcel")
    for folder in ("means", "fused", "counted"):
        table = pd.read_csv(tmp_path / folder / "seasons.csv")
        peak = (means.sel(field="a/1", bands="S2NDVI").notnull()).sum().item()
        assert 0 < table.OBS_PEAK[0] + table.OBS_UP[0] + table.OBS_DOWN[0] <= peak < 73
    with pytest.raises(ContractError, match="is fused already"):
        run(FieldsSettings(cube=inputs[0], **given, fuse=True, out=tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def points(folder: Path, **columns: object) -> Path:
    """One point in the form of Earth Engine, clear on every second date."""
    days = pd.date_range("2019-01-01", "2019-12-31", freq="5D")
    ndvi = fused().sel(bands="NDVI").values[:, 0, 0].copy()
    ndvi[::2] = np.nan
    table = pd.DataFrame({"id": "p1", "date": days, "ndvi": ndvi, "lat": 51.1, "lon": 5.0} | columns)
    table.to_csv(folder / "points.csv", index=False)
    return folder / "points.csv"


@pytest.mark.parametrize("fuse", [None, False])
def test_a_table_of_points_gives_the_same_files(tmp_path, fuse):
    out = tmp_path / "out"
    said = run(FieldsSettings(table=points(tmp_path), out=out, fuse=fuse, start="2019-01", end="2019-12"))
    assert "1 fields on 73 dates, 1 with a season" in said
    table = gpd.read_parquet(out / "seasons.parquet")
    assert table.crs == 4326 and table.geometry.item() == shapely.Point(5, 51.1)
    assert table.SOSD.item() == pytest.approx(90, abs=4) and 0 < table.OBS_UP.item() <= 8
    assert (pd.read_csv(out / "series.csv").columns.tolist()[2:] == ["ndvi", "ndvi_sigma"]) == (fuse is None)


def test_a_table_without_places_and_with_sigma(tmp_path):
    """As a back-end writes field means: no place, but a standard deviation."""
    table = pd.read_csv(points(tmp_path)).drop(columns=["lat", "lon"]).rename(columns={"id": "field"})
    table.assign(ndvi_sigma=0.05).to_csv(tmp_path / "wide.csv", index=False)
    table.assign(ndvi_sigma=0.01).to_csv(tmp_path / "narrow.csv", index=False)
    sigma = {}
    for name in ("wide", "narrow"):
        run(FieldsSettings(table=tmp_path / f"{name}.csv", out=tmp_path / name, fuse=False, plots=0))
        sigma[name] = pd.read_csv(tmp_path / name / "seasons.csv").SOSD_SIGMA.item()
        assert not (tmp_path / name / "seasons.parquet").exists()
    assert sigma["wide"] > 3 * sigma["narrow"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["cube=a.nc"], "give cube and polygons, or table"),
        (["table=a.csv", "cube=a.nc", "polygons=b.gpkg"], "not both"),
        (["table=a.csv", "start=2021", "end=2020"], "swap start and end"),
        (["table=a.csv", "method=phenolopy"], "gives maps only"),
        (["table=a.csv", "buffer=5"], "unknown setting"),
    ],
)
def test_wrong_settings_are_refused(words, match):
    with pytest.raises(SettingsError, match=match):
        load_settings("fields", FieldsSettings, ["out=o", *words])


def test_the_page_of_the_documentation_runs(tmp_path, monkeypatch):
    """Every `ndvi-fusion fields` line and the Python of docs/fields.md, on a small cube, polygons and a table."""
    text = (Path(__file__).parents[4] / "docs" / "fields.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if not kind for line in block.replace("\\\n", " ").splitlines()]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    write_cube(fused(), tmp_path / "outputs" / "ndvi.nc")
    write_cube(mock_cube(t=73, y=SIDE, x=SIDE, start="2019-01-01"), tmp_path / "outputs" / "cube.nc")
    table = gpd.GeoDataFrame({"parcel": [1, 2]}, geometry=[box(5, 5, 115, 200), box(130, 5, 235, 200)], crs=CRS)
    table.to_file(tmp_path / "fields.gpkg")
    points(tmp_path, vv=-12.0, vh=-19.0, cloud=0)
    ran = [
        execute(words[1], words[2:]) for line in lines if (words := shlex.split(line, comments=True))[1:2] == ["fields"]
    ]
    assert len(ran) >= 4 and all("fields" in said for said in ran)
    names: dict = {}
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, "fields.md", "exec"), names)
    assert names["dates"].field.nunique() == 2 and names["dense"].sizes["field"] == 1
