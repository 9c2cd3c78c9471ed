"""Main season, calendar years, calendar dates and the long table of seasons."""

import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import fusion
from fusion.cli.app import main
from fusion.contract import NDVI, ContractError
from fusion.data.cube_files import write_cube
from fusion.phenology.layers import season_years
from fusion.phenology.settings import FLAGS, VARIABLES
from tests.factory import mock_cube, mock_model
from tests.unit.udf.fakes import run_udf


def bump(days, top, width, height):
    """A season, symmetric about its maximum."""
    days = np.asarray(days, float)
    return height * (1 / (1 + np.exp(-(days - top + width) / 8)) - 1 / (1 + np.exp(-(days - top - width) / 8)))


def cube(pixels, first, days):
    """(n, T) as (t, y=1, x=n); days are counted from 1 January 2019."""
    dates = np.datetime64("2019-01-01", "ns") + np.asarray(days).astype("timedelta64[D]")
    kept = dates >= np.datetime64(first, "ns")
    values = np.asarray(pixels, np.float32).T[kept][:, None]
    coords = {"t": dates[kept], "y": [5.0], "x": 10.0 * np.arange(values.shape[2])}
    return xr.DataArray(values, dims=("t", "y", "x"), coords=coords)


DAYS = np.arange(-180, 545, 5)
FIRST_LARGE = 0.2 + bump(DAYS, 90, 40, 0.6) + bump(DAYS, 270, 40, 0.4)
SECOND_LARGE = 0.2 + bump(DAYS, 90, 40, 0.3) + bump(DAYS, 270, 40, 0.6)
ONLY_ONE = 0.2 + bump(DAYS, 190, 60, 0.5)
NONE = np.full(len(DAYS), 0.3)
YEARLY = 0.2 + bump(DAYS, -90, 50, 0.55) + bump(DAYS, 190, 50, 0.5) + bump(DAYS, 450, 50, 0.6)
PIXELS = np.stack([FIRST_LARGE, SECOND_LARGE, ONLY_ONE, NONE])


@pytest.fixture(scope="module")
def double() -> xr.Dataset:
    return fusion.seasons(cube(PIXELS, "2018-07-05", DAYS), year=2019, use_numba=False)


def test_the_main_season_is_that_with_the_largest_amplitude(double) -> None:
    assert double.MAIN.values.tolist() == [[1, 2, 1, 0]] and double.COUNT.values.tolist() == [[2, 2, 1, 0]]
    for x, slot in enumerate((0, 1, 0, 0)):
        for name in VARIABLES:
            np.testing.assert_array_equal(double[f"{name}_main"][0, x], double[name][slot, 0, x], err_msg=name)
    np.testing.assert_allclose(double.MAXD_main[0, :3], [90, 270, 190], atol=2)
    assert np.isnan(double.SOSD_main[0, 3]) and double.FLAG_main[0, 3] == FLAGS["no_season"]
    assert double.SOSD_main.attrs["long_name"].endswith("main season") and double.FLAG_main.dtype == np.int16


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_the_main_season_does_not_depend_on_the_number_of_slots(double, kept) -> None:
    data = fusion.seasons(cube(PIXELS, "2018-07-05", DAYS), year=2019, max_seasons=kept, use_numba=False)
    for name in ("SOSD_main", "EOSD_main", "AMPL_main"):
        np.testing.assert_array_equal(data[name], double[name], err_msg=name)


@pytest.mark.parametrize("fast", [True, False])
def test_random_series_against_a_slow_search(fast) -> None:
    rng = np.random.default_rng(8)
    walk = np.clip(0.45 + np.cumsum(0.05 * rng.normal(size=(60, len(DAYS))), axis=1), -0.15, 0.95)
    data = fusion.seasons(cube(walk, "2018-07-05", DAYS), year=[2018, 2019, 2020], max_seasons=4, use_numba=fast)
    several = 0
    for y in range(3):
        for x in range(60):
            one = data.isel(year=y, y=0, x=x)
            known = np.isfinite(one.AMPL.values)
            several += int(one.COUNT) > 1
            assert 0 <= int(one.MAIN) <= max(int(one.COUNT), 0) and (int(one.MAIN) > 0) == (int(one.COUNT) > 0)
            if known.sum() == int(one.COUNT) > 0:
                assert int(one.MAIN) == np.nanargmax(one.AMPL.values) + 1
    assert several > 5


def test_every_path_gives_the_same_main_season(double, tmp_path) -> None:
    series = cube(PIXELS, "2018-07-05", DAYS)
    maps = run_udf("phenology_udf", series, {"phenology": {"year": 2019, "use_numba": False, "variables": ["SOSD"]}})
    assert list(maps.bands.values) == ["SOSD_s1", "SOSD_s2", "COUNT", "SOSD_main"]
    np.testing.assert_array_equal(maps.sel(bands="SOSD_main")[0], double.SOSD_main)
    lazy = fusion.seasons(series.chunk({"x": 2}), year=2019, use_numba=False)
    assert lazy.SOSD_main.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), double)
    stored = series.expand_dims(bands=[NDVI]).rio.write_crs("EPSG:32631")
    write_cube(stored.transpose("t", "bands", "y", "x"), tmp_path / "n.nc")
    words = [f"cube={tmp_path / 'n.nc'}", f"out={tmp_path / 's'}", "year=2019", "table=csv", "maps=false"]
    assert main(["phenology", *words]) == 0
    with xr.open_dataset(tmp_path / "s" / "seasons.nc") as file:
        np.testing.assert_allclose(file.SOSD_main, double.SOSD_main, atol=1e-3)
    import rasterio

    with rasterio.open(tmp_path / "s" / "seasons_2019_main.tif") as tif:
        assert tif.descriptions == (*VARIABLES, "COUNT")
        np.testing.assert_allclose(tif.read(1), double.SOSD_main, atol=1e-3)
    table = pd.read_csv(tmp_path / "s" / "seasons.csv", parse_dates=["SOSD_date"])
    wanted = fusion.season_table(double)
    assert table.columns.tolist() == wanted.columns.tolist() and len(table) == len(wanted)
    assert table.SOSD_date.dropna().tolist() == wanted.SOSD_date.dropna().tolist()


@pytest.mark.parametrize(
    ("first", "last", "year", "wanted"),
    [
        ("2019-01-01", "2019-12-31", None, 2019),
        ("2019-03-01", "2019-10-31", None, 2019),
        ("2018-09-01", "2019-12-31", None, 2019),
        ("2018-08-01", "2019-11-30", None, 2019),
        ("2018-07-01", "2019-06-30", None, [2018, 2019]),
        ("2018-09-01", "2019-02-28", None, 2018),
        ("2019-12-01", "2020-03-31", None, 2020),
        ("2018-09-01", "2021-03-31", None, [2018, 2019, 2020, 2021]),
        ("2018-09-01", "2019-12-31", 2018, 2018),
        ("2018-09-01", "2019-12-31", [2019, 2018], [2019, 2018]),
    ],
)
def test_which_years_a_period_gives(first, last, year, wanted) -> None:
    days = [int(np.datetime64(d, "D").astype("int64")) for d in (first, last)]
    got = season_years(*days, year)
    assert (got.tolist() if isinstance(got, np.ndarray) else got) == wanted


def test_a_season_belongs_to_the_year_of_its_maximum_and_years_never_mix() -> None:
    """Maxima on 3 October 2018, 10 July 2019 and 26 March 2020; the first has the larger amplitude."""
    fifteen = cube([YEARLY], "2018-07-05", DAYS).sel(t=slice(None, "2019-12-31"))
    data = fusion.seasons(fifteen, year=2019, use_numba=False)
    assert int(data.year) == 2019 and int(data.COUNT.squeeze()) == 1
    assert float(data.MAXD_main.squeeze()) == pytest.approx(190, abs=1)
    for several in (fusion.seasons(fifteen, year=[2018, 2019]), fusion.seasons(cube([YEARLY], "2018-07-05", DAYS))):
        tops = several.MAXD_main.values.ravel()
        wanted = [273, 190, 85][: len(tops)]  # of 2018, 2019 and 2020
        np.testing.assert_allclose(tops, wanted, atol=2.5)


def test_a_year_does_not_depend_on_what_else_the_series_covers() -> None:
    """Random walks of five years: the year alone with its margin, among other years, and by a list of years."""
    days = np.arange(-730, 1096, 5)
    rng = np.random.default_rng(3)
    walk = np.clip(0.45 + np.cumsum(0.05 * rng.normal(size=(40, len(days))), axis=1), -0.15, 0.95)
    long = cube(walk, "2017-01-01", days)
    around = fusion.seasons(long.sel(t=slice("2018-09-01", "2020-06-30")), year=2019, use_numba=False)
    assert np.isfinite(around.SOSD_main).sum() > 10
    for longer in (long, long.sel(t=slice("2018-03-01", "2020-12-31"))):
        for year in (None, 2019, [2018, 2019]):
            data = fusion.seasons(longer, year=year, use_numba=False)
            data = data.sel(year=2019) if "year" in data.dims else data
            xr.testing.assert_equal(data, around)


def test_a_year_without_a_date_has_no_data() -> None:
    series = cube([YEARLY], "2018-07-05", DAYS)
    gap = xr.concat([series, series.assign_coords(t=series.t + np.timedelta64(365 * 6, "D"))], "t")
    data = fusion.seasons(gap, year=[2019, 2022], use_numba=False)
    assert data.FLAG_main.sel(year=2022).item() & FLAGS["no_data"] and np.isnan(data.SOSD.sel(year=2022)).all()
    assert np.isfinite(data.SOSD_main.sel(year=2019)).all()


def test_fuse_takes_the_whole_cube_so_that_the_map_of_the_year_is_full(tmp_path) -> None:
    """The README's example: 18 months, fused without a period, and the map of 2019 has a date everywhere."""
    merged = mock_cube(t=105, y=6, x=8, start="2018-08-01", cloud=0.5)
    dense = fusion.fuse(merged, model=mock_model(tmp_path / "linear", None), threads=1)
    assert dense.t.values[[0, -1]].tolist() == merged.t.values[[0, -1]].tolist()
    data = fusion.seasons(dense, year=2019, use_numba=False)
    assert float(np.isfinite(data.SOSD_main).mean()) >= 0.9 and int(data.year) == 2019
    begun = fusion.seasons(dense.sel(t=slice("2018-09-01", "2019-12-31")), year=2019, use_numba=False)
    assert abs(float(data.SOSD_main.median() - begun.SOSD_main.median())) <= 2


def test_a_period_that_cuts_the_year_is_named(caplog: pytest.LogCaptureFixture) -> None:
    long = cube([YEARLY], "2018-07-05", DAYS).sel(t=slice(None, "2020-01-31"))
    with caplog.at_level(logging.WARNING):
        fusion.seasons(long, year=2019, use_numba=False)
        assert not caplog.records
        fusion.seasons(long.sel(t=slice("2019-03-01", "2019-10-31")), use_numba=False)
    texts = [r.getMessage() for r in caplog.records]
    assert "begins on 2019-03-" in texts[0] and "fusion.fuse(cube)" in texts[0] and "ends on 2019-10-" in texts[1]


def test_dates_as_calendar_dates(double) -> None:
    dates = fusion.season_dates(double)
    assert set(dates.data_vars) == {f"{n}{m}" for n in ("SOSD", "EOSD", "MAXD") for m in ("", "_main")}
    start = dates.SOSD_main.values[0]
    for x in range(3):
        assert start[x] == np.datetime64("2019-01-01") + int(np.floor(double.SOSD_main[0, x]))
    assert np.isnat(start[3]) and start.dtype == "datetime64[ns]"
    codes = fusion.season_dates(double, "yyyydoy").MAXD_main.values[0]
    assert codes.tolist() == [2019000 + int(d) + 1 for d in double.MAXD_main.values[0, :3]] + [0]
    added = fusion.seasons(cube(PIXELS, "2018-07-05", DAYS), year=2019, yydoy=True, use_numba=False)
    np.testing.assert_array_equal(added.MAXD_main_YYDOY[0], np.where(codes == 0, 0, codes - 2000000))
    np.testing.assert_array_equal(added.MAXD_main_YYYYDOY[0], codes)
    with pytest.raises(ContractError, match="datetime, yydoy, yyyydoy"):
        fusion.season_dates(double, "doy")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="fusion.seasons"):
        fusion.season_table(xr.Dataset({"A": 1}))


def test_long_table_of_pixels(double) -> None:
    table = fusion.season_table(double.assign_coords(crop=("x", ["a", "b", "c", "d"])))
    assert table[["pixel", "x", "y", "crop", "year", "season", "main"]].values.tolist() == [
        [0, 0.0, 5.0, "a", 2019, 1, True], [0, 0.0, 5.0, "a", 2019, 2, False],
        [1, 10.0, 5.0, "b", 2019, 1, False], [1, 10.0, 5.0, "b", 2019, 2, True],
        [2, 20.0, 5.0, "c", 2019, 1, True], [3, 30.0, 5.0, "d", 2019, 0, False],
    ]  # fmt: skip
    assert set(VARIABLES) <= set(table.columns)
    assert table.SOSD_date.iloc[0] == pd.Timestamp("2019-01-01") + pd.Timedelta(days=int(table.SOSD.iloc[0]))
    assert table.SOSD_date.isna().tolist() == [False] * 5 + [True] and table.FLAG.iloc[5] == FLAGS["no_season"]


def test_long_table_of_fields_and_years() -> None:
    """Any dims in place of y and x, several years, any order, lazy."""
    series = cube([YEARLY, NONE], "2018-07-05", DAYS).isel(y=0, drop=True).rename(x="field")
    data = fusion.seasons(series.assign_coords(field=["f7", "f9"]).chunk({"field": 1}), use_numba=False)
    table = fusion.season_table(data.transpose("field", ...))
    rows = table[["field", "year", "season", "main"]].values.tolist()
    assert rows[:3] == [["f7", y, 1, True] for y in (2018, 2019, 2020)]
    assert rows[3:] == [["f9", y, 0, False] for y in (2018, 2019, 2020)] and "pixel" not in table
    np.testing.assert_array_equal(table.MAXD[:3], data.MAXD_main.sel(field="f7"))


def test_the_dates_of_the_original_method_have_the_same_form(double) -> None:
    data = fusion.seasons(cube(PIXELS, "2018-07-05", DAYS).sel(t=slice("2018-12-01", "2020-01-31")), method="reference")
    np.testing.assert_array_equal(data.SOSD_main, data.SOSD.isel(season=0))
    assert len(fusion.season_table(data)) == 4 and "SOSD_main" in fusion.season_dates(data)
