"""``aggregate_spatial`` at the end of the graph: built for every target, run here, equal to means in Python."""

import datetime
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from openeo.rest.datacube import DataCube

import fusion
from fusion.cli.settings import SettingsError, load_settings
from fusion.contract import ContractError
from tests.factory import CRS, ORIGIN_X, ORIGIN_Y, mock_cube
from tests.unit.udf.fakes import fake_model
from tests.unit.udf.raw_scene import write_raw
from udf.commands.workflow import WorkflowSettings, run
from udf.field_means import area_of, build_field_workflow, field_collection
from udf.graph_options import WorkflowOptions
from udf.local.saving import SavedResult
from udf.local_backend import connect, execute_graph
from udf.targets import load_target

POLYGONS = [
    shapely.Polygon([(ORIGIN_X + x, ORIGIN_Y - y) for x, y in ((33, 41), (212, 58), (180, 240), (44, 201))]),
    shapely.box(ORIGIN_X + 250, ORIGIN_Y - 390, ORIGIN_X + 401, ORIGIN_Y - 301),
]


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    table = gpd.GeoDataFrame({"parcel": ["a", "b", "none"]}, geometry=[*POLYGONS, None], crs=CRS).to_crs(4326)
    table.to_file(tmp_path / "parcels.gpkg")
    return tmp_path / "parcels.gpkg"


@pytest.mark.parametrize("name", ["local", "terrascope", "cdse"])
def test_the_graph_ends_in_a_table(name: str, parcels: Path) -> None:
    fields = field_collection(parcels, "parcel")
    assert [f["properties"] for f in fields["features"]] == [{"field": "a"}, {"field": "b"}]
    area = area_of(fields)
    options = WorkflowOptions(
        start=datetime.date(2020, 3, 1), end=datetime.date(2020, 10, 31), area=area, output="fused"
    )
    graph = json.loads(json.dumps(build_field_workflow(load_target(name), options, fields).flat_graph()))
    node = graph["aggregatespatial1"]["arguments"]
    assert node["geometries"] == fields and "mean" in json.dumps(node["reducer"])
    assert graph["saveresult1"]["arguments"]["format"] == "CSV"
    assert graph["saveresult1"]["arguments"]["data"] == {"from_node": "aggregatespatial1"}
    bounds = gpd.GeoSeries(POLYGONS, crs=CRS).total_bounds
    assert area.west <= bounds[0] and area.north >= bounds[3] and area.east - area.west < 500


def test_the_command_writes_the_means_that_python_computes(tmp_path: Path, parcels: Path) -> None:
    scene, model = write_raw(tmp_path / "raw"), fake_model(tmp_path / "m")
    given = {
        "target": load_target("local"), "source": scene, "model": str(model), "start": "2019-05-01",
        "end": "2019-06-15", "window_px": 24, "overlap_px": 16, "output": "fused",
    }  # fmt: skip
    run(WorkflowSettings(**given, out=tmp_path / "maps"))
    assert "openEO.csv" in run(WorkflowSettings(**given, out=tmp_path / "table", polygons=parcels, id="parcel"))
    table = pd.read_csv(tmp_path / "table" / "openEO.csv")
    assert table.columns.tolist() == ["field", "date", "ndvi", "ndvi_sigma"]
    fused = xr.open_dataset(tmp_path / "maps" / "openEO.nc", decode_coords="all").to_dataarray("bands")
    expected = fusion.field_series(fused, parcels, id="parcel", inner_buffer_m=0, correlation=1).isel(field=[0, 1])
    for column, band in (("ndvi", "NDVI"), ("ndvi_sigma", "NDVI_SIGMA")):
        got = table.pivot(index="date", columns="field", values=column).to_numpy()
        np.testing.assert_allclose(got, expected.sel(bands=band), atol=1e-4)


def client_cube(tmp_path: Path) -> tuple[DataCube, xr.DataArray]:
    cube = mock_cube(t=5, y=40, x=44)
    cube.drop_attrs().to_dataset("bands").rio.write_crs(CRS).to_netcdf(tmp_path / "cube.nc")
    return connect(tmp_path).load_collection(str(tmp_path / "cube.nc")), cube


def test_the_client_aggregates_any_cube_here(tmp_path: Path, parcels: Path) -> None:
    loaded, cube = client_cube(tmp_path)
    fields = field_collection(parcels, "parcel")
    means = loaded.aggregate_spatial(geometries=fields, reducer="mean")
    got = execute_graph(means)
    expected = fusion.field_series(cube, parcels, id="parcel", inner_buffer_m=0, min_share=0)
    assert got.dims == ("t", "bands", "field") and got.field.values.tolist() == ["a", "b"]
    np.testing.assert_allclose(got.sel(bands="S2NDVI"), expected.sel(bands="S2NDVI").isel(field=[0, 1]), atol=1e-5)
    saved = execute_graph(means.save_result(format="NetCDF"), tmp_path)
    assert isinstance(saved, SavedResult)
    np.testing.assert_allclose(xr.open_dataset(saved.files[0]).VV, got.sel(bands="VV"))
    lone = loaded.aggregate_spatial(geometries=fields["features"][0]["geometry"], reducer="mean")
    np.testing.assert_allclose(execute_graph(lone).isel(field=0), got.isel(field=0), atol=1e-6)


def test_what_does_not_run_here_is_named(tmp_path: Path, parcels: Path) -> None:
    loaded, _ = client_cube(tmp_path)
    fields = field_collection(parcels)
    with pytest.raises(Exception, match="reducer mean only"):
        execute_graph(loaded.aggregate_spatial(geometries=fields, reducer="median"))
    with pytest.raises(ValueError, match="CSV or NetCDF"):
        execute_graph(loaded.aggregate_spatial(geometries=fields, reducer="mean").save_result(format="GTiff"), tmp_path)
    many = gpd.GeoDataFrame(geometry=[shapely.segmentize(POLYGONS[0], 0.01)], crs=CRS)
    many.to_parquet(tmp_path / "many.parquet")
    with pytest.raises(ValueError, match=r"vertices; a process graph carries at most 50000"):
        field_collection(tmp_path / "many.parquet")
    with pytest.raises(ContractError, match="no file"):
        field_collection(tmp_path / "none.gpkg")
    words = ["target=local", "out=o", "polygons=a.gpkg"]
    with pytest.raises(SettingsError, match="set output=fused"):
        load_settings("workflow", WorkflowSettings, words)
    assert load_settings("workflow", WorkflowSettings, [*words, "output=fused"]).polygons == Path("a.gpkg")
