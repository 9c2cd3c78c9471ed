"""Tables of points and fields as input: read, fused one by one, with seasons."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import fusion
from fusion.contract import S2NDVI, ContractError
from fusion.data.table_settings import TableColumns
from fusion.data.tables import TableError
from tests.factory import day_of_year, mock_cube

DAYS = pd.date_range("2021-01-01", "2021-12-31", freq="5D")


def rows(name: object, seed: int, lat: float | None = 51.0) -> pd.DataFrame:
    """A season with noise and clouds, and radar on every second date."""
    rng = np.random.default_rng(seed)
    doy = day_of_year(DAYS.to_numpy("datetime64[D]").astype(int))
    ndvi = 0.2 + 0.6 / (1 + np.exp(-(doy - 110) / 10)) - 0.6 / (1 + np.exp(-(doy - 230) / 10))
    vv = np.where(np.arange(len(DAYS)) % 2 == 0, -13 + 3 * ndvi, np.nan)
    seen = np.where(rng.uniform(size=len(DAYS)) < 0.4, np.nan, ndvi + rng.normal(0, 0.01, len(DAYS)))
    table = {"id": name, "date": DAYS, "ndvi": seen, "vv": vv, "vh": vv - 7, "lat": lat, "lon": 5.0}
    return pd.DataFrame({k: v for k, v in table.items() if lat is not None or k not in ("lat", "lon")})


def written(folder: Path, *parts: pd.DataFrame, suffix: str = ".csv") -> Path:
    file, table = folder / f"points{suffix}", pd.concat(parts, ignore_index=True)
    table.to_csv(file, index=False) if suffix == ".csv" else table.to_parquet(file)
    return file


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_of_earth_engine_are_found(tmp_path, suffix):
    one, two = rows("007", 1), rows("b", 2)[:30]
    for table in (one, two):
        table["system:time_start"] = table.pop("date").to_numpy("datetime64[ms]").astype("int64")
    got = fusion.read_table(written(tmp_path, one, two, suffix=suffix))
    assert got.dims == ("t", "bands", "field") and got.bands.values.tolist() == ["S2NDVI", "VV", "VH"]
    assert got.field.values.tolist() == ["007", "b"] and got.attrs == {"s1_units": "dB"}
    np.testing.assert_allclose(got.sel(field="007", bands=S2NDVI), one.ndvi, atol=1e-6)
    assert np.isnan(got.sel(field="b").values[30:]).all() and got.lat.values.tolist() == [51, 51]
    np.testing.assert_array_equal(got.t.values, DAYS.to_numpy())


def test_values_of_one_day_are_averaged_and_half_an_acquisition_is_none(tmp_path):
    table = rows("a", 1)
    again = table[:1].assign(ndvi=table.ndvi[0] + 0.2, date=DAYS[0] + pd.Timedelta(hours=7), vv=-99999, vh=-20)
    got = fusion.read_table(written(tmp_path, table, again), shift_days=3).isel(field=0)
    assert str(got.t.values[0])[:10] == "2021-01-04"
    assert got.sel(bands=S2NDVI).values[0] == pytest.approx(table.ndvi[0] + 0.1, abs=1e-6)
    assert got.sel(bands="VH").values[0] == pytest.approx(table.vh[0], abs=1e-5)


def test_each_field_is_fused_as_a_cube_of_its_one_pixel(tmp_path):
    tables = [rows("a", 1), rows("b", 2, lat=35.0), rows("c", 3)[:40]]
    series = fusion.read_table(written(tmp_path, *tables))
    got = fusion.fuse(series, start="2021-02-01", end="2021-11-30", sigma="ndvi")
    assert got.dims == ("t", "bands", "field") and got.lat.values.tolist() == [51, 35, 51]
    for k, table in enumerate(tables):
        own = series.isel(field=k).sel(t=table.date.to_numpy())
        cube = own.expand_dims(y=[0.0], x=[0.0]).transpose("t", "bands", "y", "x")
        cube.attrs = {"s1_units": "dB", "latitude": table.lat[0]}
        alone = fusion.fuse(cube, start="2021-02-01", end="2021-11-30", sigma="ndvi").isel(y=0, x=0)
        np.testing.assert_allclose(got.isel(field=k).values, alone.values, atol=1e-6)
    assert not np.allclose(got.isel(field=0), got.isel(field=1), atol=1e-3)


def test_seasons_of_a_table_with_and_without_fusion(tmp_path):
    series = fusion.read_table(written(tmp_path, rows("a", 1), rows("b", 2)))
    for given in (series, fusion.fuse(series, start="2021", end="2021")):
        data = fusion.seasons(given, observations=series)
        # a logistic around day 110 (0-based 109) with scale 10 reaches a quarter of its rise 11 days before
        np.testing.assert_allclose(data.SOSD.isel(season=0), 98, atol=4)
        assert data.dims == {"season": 2, "field": 2}


def test_field_means_of_a_merged_cube_can_be_fused():
    import geopandas as gpd
    import shapely

    cube = mock_cube(t=30, y=20, x=20)
    x, y = float(cube.x[0]) - 5, float(cube.y[0]) + 5
    means = fusion.field_series(
        cube, gpd.GeoDataFrame(geometry=[shapely.box(x, y - 100, x + 100, y)], crs=cube.rio.crs)
    )
    dense = fusion.fuse(means, start="2019-03-01", end="2019-07-01")
    assert np.isfinite(dense.values).all() and dense.field_flag.item() == 0
    seen = means.sel(bands=S2NDVI).dropna("t")
    same = dense.sel(bands="NDVI").sel(t=[t for t in seen.t.values if t in dense.t.values])
    assert float(abs(same - seen.sel(t=same.t)).max()) < 0.1


def test_what_is_wrong_is_named(tmp_path):
    table = rows("a", 1)
    with pytest.raises(TableError, match=r"no column ndvi \(it has id, date, greenness.*columns"):
        fusion.read_table(written(tmp_path, table.rename(columns={"ndvi": "greenness"})))
    fine = written(tmp_path, table.rename(columns={"ndvi": "greenness"}))
    assert fusion.read_table(fine, columns={"ndvi": "greenness"}).sizes["field"] == 1
    assert fusion.read_table(fine, columns=TableColumns(ndvi="greenness")).sizes["field"] == 1
    with pytest.raises(ContractError, match=r"columns.*nvdi|nvdi"):
        fusion.read_table(fine, columns={"nvdi": "greenness"})
    with pytest.raises(TableError, match="has vv but no vh"):
        fusion.read_table(written(tmp_path, table.drop(columns="vh")))
    with pytest.raises(TableError, match=r"NDVI within.*scale"):
        fusion.read_table(written(tmp_path, table.assign(ndvi=table.ndvi * 1e4)))
    with pytest.raises(TableError, match=r"looks linear"):
        fusion.read_table(written(tmp_path, table.assign(vv=0.1, vh=0.02)))
    with pytest.raises(TableError, match="no row with a name"):
        fusion.read_table(written(tmp_path, table.assign(id=None)))
    with pytest.raises(TableError, match="no file"):
        fusion.read_table(tmp_path / "none.csv")
    with pytest.raises(ContractError, match=r"expected \.parquet or \.csv"):
        fusion.read_table(tmp_path / "none.xlsx")
    (tmp_path / "broken.parquet").write_text("PAR1")
    with pytest.raises(TableError, match="cannot be read as parquet"):
        fusion.read_table(tmp_path / "broken.parquet")
    series = fusion.read_table(written(tmp_path, table))
    with pytest.raises(ContractError, match="band 'S2NDVI' is required"):
        fusion.fuse(series.sel(bands=["VV", "VH"]), start="2021", end="2021")
    with pytest.raises(ContractError, match="radar units are None"):
        fusion.fuse(series.drop_attrs(), start="2021", end="2021")


def test_points_without_a_place_or_an_observation(tmp_path):
    table = rows("a", 1, lat=None)
    series = fusion.read_table(written(tmp_path, table, table.assign(id="b", ndvi=np.nan)))
    dense = fusion.fuse(series, start="2021-03", end="2021-06")
    assert "lat" not in dense.coords
    assert np.isfinite(dense.sel(field="a")).all() and np.isnan(dense.sel(field="b")).all()
    assert isinstance(dense, xr.DataArray)
