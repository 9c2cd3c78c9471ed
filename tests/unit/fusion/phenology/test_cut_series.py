"""Series that begin or end within the season: no minimum is made of the first or the last observation."""

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from fusion.commands.phenology import PhenologySettings, run
from fusion.contract import ContractError
from fusion.data.cube_files import write_cube
from fusion.phenology.layers import season_cube, season_layers
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import FLAGS, SeasonSettings
from udf.graph_loading import load
from udf.graph_options import WorkflowOptions
from udf.local_backend import execute_graph
from udf.workflow import phenology_cube, udf_source

DAYS = np.arange(-180, 545, 5)
TRUE_END = 180 + 12 * np.log(0.85 / 0.15)  # 15 % of the falling side


def wheat(days):
    """A cereal sown in October, green over winter, ripe in July: the minima are those of both autumns."""
    days = np.asarray(days, float)
    return 0.15 + 0.7 / (1 + np.exp(-(days + 60) / 12)) - 0.7 / (1 + np.exp(-(days - 180) / 12))


def cube(values, days):
    """(T, n) as (t, y, x), days since 1 January 2020."""
    values = np.asarray(values, np.float32).reshape(len(days), 1, -1)
    dates = np.datetime64("2020-01-01", "ns") + np.asarray(days).astype("timedelta64[D]")
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"t": dates})


def first(data):
    return data.isel(season=0, y=0, x=0)


@pytest.mark.parametrize("sigma", [None, 0.02])
@pytest.mark.parametrize("name", ["double_logistic", "whittaker", "none"])
@pytest.mark.parametrize("begin", [-20, 0, 30, 60])
def test_a_series_that_begins_in_the_green_has_an_end_by_the_minimum_that_was_seen(name, begin, sigma):
    kept = DAYS[(begin <= DAYS) & (DAYS <= 365)]
    data = first(seasons(cube(wheat(kept), kept), sigma=sigma, curve=name))
    assert np.isnan(data.SOSD) and int(data.FLAG) & FLAGS["start_cut"] and int(data.FLAG) & FLAGS["edge_near"]
    assert float(data.MINV) == pytest.approx(0.15, abs=0.01)
    assert float(data.EOSD) == pytest.approx(TRUE_END, abs=3)
    assert 2 < float(data.EOSD_SIGMA) < 12  # the other minimum may differ


@pytest.mark.parametrize("name", ["double_logistic", "whittaker"])
def test_a_series_that_ends_in_the_green_has_a_start_by_the_minimum_that_was_seen(name):
    kept = DAYS[(DAYS >= -180) & (DAYS <= 120)]
    data = first(seasons(cube(wheat(kept), kept), curve=name, year=2020))
    assert np.isnan(data.EOSD) and int(data.FLAG) & FLAGS["end_cut"] and int(data.FLAG) & FLAGS["edge_near"]
    assert float(data.SOSD) == pytest.approx(-60 - 12 * np.log(3), abs=3)
    assert 2 < float(data.SOSD_SIGMA) < 12


@pytest.mark.parametrize("name", ["double_logistic", "whittaker"])
def test_without_any_minimum_there_is_no_date_but_the_maximums(name):
    days = np.arange(0, 180, 5)
    values = 0.15 + 0.7 / (1 + np.exp(-(days - 5) / 12.0)) - 0.7 / (1 + np.exp(-(days - 170) / 12.0))
    data = first(seasons(cube(values, days), curve=name))
    for variable in ("SOSD", "EOSD", "MINV", "AMPL", "SPROD", "LENGTH"):
        assert np.isnan(data[variable]), variable
    assert int(data.COUNT) == 1 and float(data.MAXD) == pytest.approx(88, abs=5)
    assert int(data.FLAG) & FLAGS["start_cut"] and int(data.FLAG) & FLAGS["end_cut"]


def test_absolute_levels_need_no_minimum():
    kept = DAYS[(DAYS >= 0) & (DAYS <= 365)]
    data = first(seasons(cube(wheat(kept), kept), method="absolute", start=0.5, end=0.5))
    assert float(data.EOSD) == pytest.approx(180, abs=0.3) and float(data.EOSD_SIGMA) < 1


def test_a_whole_season_keeps_its_sigma():
    """Both minima seen, the edges of the series in the flat: nothing is widened, nothing flagged."""
    data = first(seasons(cube(wheat(DAYS), DAYS), sigma=0.02, year=2020))
    assert float(data.EOSD) == pytest.approx(TRUE_END, abs=0.5)
    assert float(data.EOSD_SIGMA) < 2.5 and int(data.FLAG) == 0


def test_the_udfs_layers_follow_the_same_rule():
    kept = DAYS[(DAYS >= 0) & (DAYS <= 365)]
    layers, years = season_layers(cube(wheat(kept), kept), SeasonSettings())
    bands = season_cube(layers, years).isel(t=0, y=0, x=0)
    assert np.isnan(bands.sel(bands="SOSD_s1")) and float(bands.sel(bands="EOSD_s1")) == pytest.approx(TRUE_END, abs=1)


def test_the_command_gives_the_same_dates_as_the_call(tmp_path):
    kept = DAYS[(DAYS >= 0) & (DAYS <= 365)]
    series = cube(wheat(kept), kept).expand_dims(bands=["NDVI"]).transpose("t", "bands", "y", "x")
    series = series.assign_coords(y=[5_660_000.0], x=[640_000.0]).rio.write_crs("EPSG:32631")
    line = run(PhenologySettings(cube=write_cube(series, tmp_path / "n.nc"), out=tmp_path / "o", maps=False))
    assert "(no GeoTIFF: the size of the only pixel is unknown)" in line
    with pytest.raises(ContractError, match="the size of the only pixel is unknown, so a GeoTIFF cannot be placed"):
        run(PhenologySettings(cube=tmp_path / "n.nc", out=tmp_path / "p", maps=False, geotiff=True))
    found, expected = first(xr.load_dataset(tmp_path / "o" / "seasons.nc")), first(seasons(series))
    assert np.isnan(found.SOSD) and float(found.EOSD) == pytest.approx(TRUE_END, abs=3)
    for name in ("EOSD", "EOSD_SIGMA", "FLAG"):
        assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-3)


def test_the_graph_follows_the_same_rule(tmp_path):
    kept = DAYS[(DAYS >= 0) & (DAYS <= 365)]
    series = cube(np.repeat(wheat(kept), 16), kept).values.reshape(-1, 4, 4)
    axes = {"y": 5_660_000.0 - 10 * np.arange(4), "x": 640_000.0 + 10 * np.arange(4)}
    made = xr.Dataset({"NDVI": (("t", "y", "x"), series)}, coords={"t": cube(wheat(kept), kept).t, **axes})
    made.rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "n.nc")
    options = WorkflowOptions(start="2020-01-01", end="2020-12-31", source=tmp_path)
    bands = execute_graph(phenology_cube(load("n.nc", ["NDVI"], options), options, udf_source("phenology_udf")))
    found = bands.compute().isel(t=0, y=0, x=0)
    assert np.isnan(found.sel(bands="SOSD_s1")) and float(found.sel(bands="EOSD_s1")) == pytest.approx(TRUE_END, abs=1)


@pytest.mark.parametrize("begin", [-20, 0, 30, 60])
def test_three_sigma_hold_where_the_minima_differ(begin):
    rng = np.random.default_rng(3)
    kept = DAYS[(begin <= DAYS) & (DAYS <= 365)].astype(float)[:, None]
    before, after = 0.15 + 0.07 * rng.normal(size=(2, 400))
    ripe = rng.uniform(170, 195, 400)

    def curve(days):
        up, down = 1 / (1 + np.exp(-(days + 60) / 12)), 1 / (1 + np.exp(-(days - ripe) / 12))
        return before + (0.85 - before) * up - (0.85 - after) * down

    fine = np.arange(100, 330, 0.1)[:, None]
    level = 0.5 * (before + after) + 0.15 * (0.85 - 0.5 * (before + after))
    true = fine[(curve(fine) < level).argmax(0), 0]
    noisy = curve(kept) + 0.02 * rng.normal(size=(len(kept), 400))
    data = seasons(cube(noisy, kept[:, 0].astype(int)), sigma=0.02).isel(season=0, y=0)
    error = np.abs(data.EOSD.values - true)
    given = np.isfinite(error) & (true > 100)  # the curve falls below the level
    assert given.mean() > 0.6  # a maximum on the first observations is none
    assert (error > 3 * data.EOSD_SIGMA.values)[given].mean() < 0.04
