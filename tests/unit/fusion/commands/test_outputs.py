"""Files as other programs expect them: CF attributes, no warnings on opening, tiled GeoTIFF, nothing overwritten."""

import re
import warnings
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr

from fusion.cli.app import main
from fusion.contract import CF_CONVENTIONS, NDVI, NDVI_SIGMA
from fusion.data.cube_files import read_cube, write_cube
from fusion.data.geotiff import write_series_geotiff
from fusion.data.raster_files import write_raster
from fusion.demo.maps import main_season, write_maps
from fusion.phenology.seasons import seasons
from tests.factory import CRS, mock_cube
from tests.unit.udf.fakes import fake_model
from udf.local.regions import Output
from udf.local.saving import output_folder, save_result


@pytest.fixture(scope="module")
def fused() -> xr.DataArray:
    """Gap-free NDVI with sigma, 14 months."""
    cube = mock_cube(t=85, y=4, x=6, start="2018-12-20", cloud=0.0, radar=False, coarse=False)
    ndvi = cube.sel(bands=["S2NDVI"]).assign_coords(bands=[NDVI])
    sigma = xr.full_like(ndvi, 0.02).assign_coords(bands=[NDVI_SIGMA])
    series = xr.concat([ndvi, sigma], "bands").transpose("t", "bands", "y", "x").rio.write_crs(CRS)
    series.attrs = {"units": "1", "long_name": "fused NDVI"}  # as fuse gives them
    return series


def written(fused: xr.DataArray, folder: Path) -> dict[str, Path]:
    """NetCDF files by every path that writes them."""
    write_cube(fused, folder / "ndvi.nc", title="fused NDVI")
    assert main(["phenology", f"cube={folder / 'ndvi.nc'}", f"out={folder / 's'}", "maps=false"]) == 0
    with output_folder(Output(folder)):
        save_result(fused, "NetCDF")
        season_bands = fused.isel(t=[0]).assign_coords(bands=["SOSD_s1", "LSLOPE_main"])
        save_result(season_bands, "NetCDF", {"filename_prefix": "maps"})
    files = {"cube": "ndvi.nc", "seasons": "s/seasons.nc", "openEO": "openEO.nc", "openEO maps": "maps.nc"}
    return {name: folder / file for name, file in files.items()}


def test_netcdf_files_follow_cf_and_open_without_a_warning(fused, tmp_path, caplog) -> None:
    for name, file in written(fused, tmp_path).items():
        with netCDF4.Dataset(file) as data:
            assert data.Conventions == CF_CONVENTIONS, name
            assert "units" not in data.ncattrs(), "GDAL takes units of the file for those of x and y"
            if not name.startswith("openEO"):
                assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ ndvi-fusion.*: \w+", data.history), name
            for axis in ("x", "y"):
                assert "_FillValue" not in data[axis].ncattrs() and data[axis].units == "m", (name, axis)
                assert data[axis].standard_name == f"projection_{axis}_coordinate"
            for variable in set(data.variables) - {"x", "y", "t", "spatial_ref", "year", "season"}:
                assert data[variable].units and data[variable].long_name, (name, variable)
        with xr.open_dataset(file) as data:
            gridded = [str(v) for v in data.data_vars if {"y", "x"} <= set(data[v].dims)]
        caplog.clear()
        for variable in gridded[:3]:
            with rasterio.open(f'NETCDF:"{file}":{variable}') as raster:
                assert raster.crs.to_epsg() == 32631 and raster.transform == fused.rio.transform()
        assert not [r for r in caplog.records if "not a L" in r.getMessage()], name
    with netCDF4.Dataset(tmp_path / "maps.nc") as data:
        assert data["SOSD_s1"].units == "d" and data["LSLOPE_main"].units == "d-1"
        assert data["LSLOPE_main"].long_name.endswith("main season")


def test_time_of_the_history_can_be_fixed(fused, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    with xr.open_dataset(write_cube(fused, tmp_path / "a.nc")) as data:
        assert data.history.startswith("1970-01-01T00:00:00Z ndvi-fusion")


def test_zarr_opens_without_a_warning(fused, tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_cube(fused, tmp_path / "a.zarr")
        with output_folder(Output(tmp_path)):
            save_result(fused, "Zarr")
        for file in ("a.zarr", "openEO.zarr"):
            with xr.open_zarr(tmp_path / file) as data:
                np.testing.assert_array_equal(data[NDVI], fused.sel(bands=NDVI))
                assert data.x.attrs["units"] == "m" and data[NDVI].attrs["units"] == "1"
            np.testing.assert_array_equal(read_cube(tmp_path / file), fused)


@pytest.mark.parametrize(("height", "width"), [(40, 30), (300, 700)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_geotiff_is_tiled_band_by_band_with_overviews(height, width, dtype, tmp_path) -> None:
    bands = np.random.default_rng(0).integers(-5, 5, (3, height, width)).astype(dtype)
    transform = rasterio.Affine(10, 0, 640_000, 0, -10, 5_660_000)
    given = {"crs": CRS, "transform": transform, "nodata": -32768, "names": ["a", "b", "c"], "units": ["d"] * 3}
    write_raster(tmp_path / "p.tif", tmp_path / "a.tif", bands, **given, scale_offset=(1e-4, 0.5), tags={"k": "v"})
    assert [p.name for p in tmp_path.iterdir()] == ["p.tif"]
    with rasterio.open(tmp_path / "p.tif") as tif:
        np.testing.assert_array_equal(tif.read(), bands)
        assert tif.profile["tiled"] and tif.profile["interleave"] == "band" and tif.crs.to_epsg() == 32631
        assert tif.descriptions == ("a", "b", "c") and tif.units == ("d",) * 3 and tif.transform == transform
        assert tif.scales == (1e-4,) * 3 and tif.offsets == (0.5,) * 3 and tif.nodata == -32768
        assert tif.tags()["made_by"] == "ndvi-fusion" and tif.tags()["k"] == "v"
        large = max(height, width) > 512
        assert tif.overviews(1) == ([2] if large else [])
        levels = (None, 0) if large else (None,)
        heads = [int(tif.get_tag_item("IFD_OFFSET", "TIFF", 1, level)) for level in levels]
        blocks = [int(tif.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", 1, level)) for level in levels]
        assert heads == sorted(heads) and max(heads) < min(blocks)  # of a cloud-optimised file: all heads, then data
        assert blocks == sorted(blocks, reverse=True)  # overviews first, the smallest in front
        if large:  # values of pixels, never between them
            half = tif.read(1, out_shape=(height // 2, width // 2))
            assert set(np.unique(half)) <= set(np.unique(bands))


def test_series_and_season_geotiffs_use_that_layout(fused, tmp_path) -> None:
    files = write_series_geotiff(fused, tmp_path / "n.tif")
    write_cube(fused, tmp_path / "n.nc")
    assert main(["phenology", f"cube={tmp_path / 'n.nc'}", f"out={tmp_path / 's'}", "maps=false"]) == 0
    files += sorted((tmp_path / "s").glob("*.tif"))
    assert [f.name for f in files[2:]] == ["seasons_2019_main.tif", "seasons_2019_s1.tif", "seasons_2019_s2.tif"]
    for file in files:
        with rasterio.open(file) as tif:
            assert tif.profile["tiled"] and tif.profile["interleave"] == "band" and all(tif.descriptions)


def test_the_demo_maps_tell_no_season_from_a_date_before_new_year(fused, tmp_path) -> None:
    data = seasons(fused, use_numba=False)
    data["SOSD_main"] = data.SOSD_main.copy(data=np.where(np.arange(24).reshape(4, 6) < 3, np.nan, -1.0))
    maps = main_season(data)
    assert float(maps.sel(bands="sos").max()) == 0.0  # 31 December
    write_maps(maps, tmp_path / "m", CRS)
    with rasterio.open(tmp_path / "m" / "sos.tif") as tif:
        assert tif.nodata == -32768 and tif.descriptions == ("start of season, day of the year (1 = 1 January)",)
        read = tif.read(1, masked=True)
        assert read.mask.sum() == 3 and (read.compressed() == 0).all()


@pytest.mark.parametrize("name", ["dense.nc", "dense.zarr", "dense.tif"])
def test_predict_replaces_nothing_unless_it_is_told(name, tmp_path, capsys) -> None:
    write_cube(mock_cube(t=6, y=4, x=4), tmp_path / "c.nc")
    words = ["predict", f"cube={tmp_path / 'c.nc'}", f"out={tmp_path / name}", "threads=1"]
    words.append(f"model={fake_model(tmp_path / 'm')}")
    assert main(words) == 0
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert main(words) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert f"{name} exists; choose another out or set overwrite=true" in text
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert main([*words, "overwrite=true"]) == 0
    if name.endswith(".tif"):  # one of the two files alone is reason enough
        (tmp_path / name).unlink()
        assert main(words) == 1


def test_phenology_says_when_it_writes_no_geotiff(fused, tmp_path, capsys) -> None:
    write_cube(fused.drop_vars("spatial_ref"), tmp_path / "n.nc")
    words = ["phenology", f"cube={tmp_path / 'n.nc'}", f"out={tmp_path / 's'}", "maps=false"]
    assert main(words) == 0
    assert "no GeoTIFF: the cube has no CRS" in " ".join(capsys.readouterr().out.split())
    assert not list((tmp_path / "s").glob("*.tif"))
    assert main([*words, "geotiff=true", "overwrite=true"]) == 1
    assert "geotiff=false" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "geotiff=false", "overwrite=true"]) == 0
    assert "CRS" not in capsys.readouterr().out


def test_phenology_of_a_series_without_counts_takes_the_observations_of_the_cube(fused, tmp_path) -> None:
    cube = fused.isel(bands=[0]).assign_coords(bands=["S2NDVI"])
    cube = cube.where(cube.t.dt.month != 5)
    write_cube(fused, tmp_path / "n.nc")
    write_cube(cube, tmp_path / "c.nc")
    words = ["phenology", f"cube={tmp_path / 'n.nc'}", f"out={tmp_path / 's'}", "maps=false", "table=parquet"]
    assert main([*words, f"observations={tmp_path / 'c.nc'}"]) == 0
    with xr.open_dataset(tmp_path / "s" / "seasons.nc") as data:
        assert (data.LONGEST_GAP_main >= 30).all()
    import pandas as pd

    table = pd.read_parquet(tmp_path / "s" / "seasons.parquet")
    assert len(table) >= 24 and str(table.SOSD_date.dtype).startswith("datetime64")
