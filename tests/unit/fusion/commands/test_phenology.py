"""``ndvi-fusion phenology`` through the real command line, and the plots."""

import numpy as np
import pytest
import rasterio
import xarray as xr

from fusion.cli.app import main
from fusion.contract import ContractError
from fusion.data.cube_files import write_cube
from fusion.phenology.plots import plot_parameter, plot_seasons
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import VARIABLES
from tests.factory import mock_cube


@pytest.fixture
def fused():
    """Gap-free NDVI with sigma, 14 months."""
    cube = mock_cube(t=85, y=4, x=6, start="2018-12-20", cloud=0.0, radar=False, coarse=False)
    ndvi = cube.sel(bands=["S2NDVI"]).assign_coords(bands=["NDVI"])
    sigma = xr.full_like(ndvi, 0.02).assign_coords(bands=["NDVI_SIGMA"])
    return xr.concat([ndvi, sigma], "bands").transpose("t", "bands", "y", "x").rio.write_crs("EPSG:32631")


def test_command_writes_netcdf_geotiff_maps_and_series(tmp_path, fused):
    write_cube(fused, tmp_path / "ndvi.nc")
    code = main(
        ["phenology", f"cube={tmp_path / 'ndvi.nc'}", f"out={tmp_path / 'out'}", "smoother=whittaker", "yydoy=true"]
    )
    assert code == 0
    data = seasons(fused)
    stored = xr.open_dataset(tmp_path / "out" / "seasons.nc", decode_coords="all")
    np.testing.assert_allclose(stored.SOSD, data.SOSD, atol=1e-4)
    assert stored.rio.crs.to_epsg() == 32631 and stored.SOSD.dtype == np.float32
    with rasterio.open(tmp_path / "out" / "seasons_2019_s1.tif") as tif:
        assert tif.crs.to_epsg() == 32631 and tif.descriptions == (*VARIABLES, "COUNT")
        assert tif.units[:3] == ("d", "d", "d") and np.isnan(tif.nodata)
        np.testing.assert_allclose(tif.read(1), data.SOSD.isel(season=0), atol=1e-4)
        assert tif.transform == fused.rio.transform()
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"smoothed.nc", "SOSD_2019_main.png", "seasons_2019_main.tif", "settings.yaml"} <= names
    assert not [n for n in names if "partial" in n]


@pytest.mark.parametrize("wrong", ["method=magic", "start=1.5", "curve=magic", "max_seasons=0", "nonsense=1"])
def test_command_refuses_bad_settings(tmp_path, wrong, capsys):
    assert main(["phenology", f"cube={tmp_path / 'none.nc'}", f"out={tmp_path}", wrong]) == 2
    assert wrong.split("=")[0] in capsys.readouterr().err


def test_command_fails_on_a_missing_file(tmp_path):
    assert main(["phenology", f"cube={tmp_path / 'none.nc'}", f"out={tmp_path / 'out'}"]) == 1


def test_plots(fused):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.dates import date2num

    data = seasons(fused)
    pixel, dates = fused.isel(y=0, x=0), data.isel(y=0, x=0)
    axes = plot_seasons(pixel, dates, observations=pixel.isel(t=slice(None, None, 4)))
    wanted = {"curve", "observations", "series", "± 1 standard deviation", "start", "end", "maximum"}
    assert {t.get_text() for t in axes.get_legend().get_texts()} == wanted
    drawn = {line.get_label(): line for line in axes.lines}
    assert len(drawn["curve"].get_xdata()) == int((pixel.t[-1] - pixel.t[0]) / np.timedelta64(1, "D")) + 1
    for label, name in (("start", "SOSD"), ("maximum", "MAXD"), ("end", "EOSD")):
        at = float(drawn[label].get_xdata(orig=False)[0]) - date2num(np.datetime64("2019-01-01"))
        assert at == pytest.approx(float(dates[name].isel(season=0)), abs=1e-4)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]  # the sigma band is 0.02 on either side
    assert band.max() == pytest.approx(float(pixel.sel(bands="NDVI").max()) + 0.02, abs=1e-4)
    axes = plot_parameter(data, "SOSD")
    bar = axes.figure.axes[-1].yaxis.get_major_formatter()
    assert bar(120, 0) == "2019-05-01" and bar(-1, 0) == "2018-12-31"
    assert axes.get_title() == "SOSD, 2019, season 1"
    axes = plot_parameter(data, "TPROD")
    assert axes.figure.axes[-1].get_ylabel().endswith("[d]")
    with pytest.raises(ContractError, match="SOSD"):
        plot_parameter(data, "NOPE")
    with pytest.raises(ContractError, match="select one"):
        plot_seasons(fused, data)
