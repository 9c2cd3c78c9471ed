"""Processes of the local back-end against the openEO process definitions, hand-derived numbers and slow oracles."""

from pathlib import Path

import dask.array as da
import numpy as np
import openeo
import pytest
import rioxarray
import xarray as xr
from openeo.rest.datacube import DataCube
from scipy import ndimage

from fusion.cloud_mask import gaussian_kernel
from tests.unit.udf.raw_scene import axes
from udf.local import cubes, masks, regions, saving
from udf.local.loading import load_collection
from udf.local.neighborhood import Windows, apply_windows
from udf.local.regions import Output
from udf.local.udf_call import UdfCall, UdfError
from udf.local_backend import PROCESSES, connect, execute_graph, register_processes

CRS = "EPSG:32631"
HEAD = (
    "import numpy as np\nimport xarray\n\n\n"
    "def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:\n"
)


def cube(
    t: int = 3, bands: tuple = ("a", "b"), y: int = 10, x: int = 14, seed: int = 0, start: str = "2020-01-01"
) -> xr.DataArray:
    """Random cube with labels and CRS, on Dask."""
    ys, xs = axes(y, x)
    values = np.random.default_rng(seed).random((t, len(bands), y, x)).astype("float32")
    dates = (np.datetime64(start) + np.arange(t) * 5).astype("datetime64[ns]")
    out = xr.DataArray(
        values, dims=("t", "bands", "y", "x"), coords={"t": dates, "bands": list(bands), "y": ys, "x": xs}
    )
    return out.chunk({"y": 6, "x": 5}).rio.write_crs(CRS)


def load(path: Path, **arguments: object) -> DataCube:
    """A client cube without a connection."""
    return DataCube.load_collection(str(path), connection=None, fetch_metadata=False, **arguments)


def window(size: int, overlap: int = 0) -> dict:
    """Arguments of apply_neighborhood."""
    dims = ("x", "y")
    return {
        "size": [{"dimension": d, "value": size, "unit": "px"} for d in dims],
        "overlap": [{"dimension": d, "value": overlap, "unit": "px"} for d in dims] if overlap else [],
    }


def udf(body: str) -> openeo.UDF:
    """UDF that reads the parent's context."""
    return openeo.UDF(HEAD + body, runtime="Python", version="3.11", context={"from_parameter": "context"})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of two bands as NetCDF."""
    path = tmp_path_factory.mktemp("stored") / "cube.nc"
    cube().drop_vars("spatial_ref").to_dataset("bands").rio.write_crs(CRS).to_netcdf(path)
    return path


# --- registration -----------------------------------------------------------------------------------------------------


def test_processes_are_registered_once() -> None:
    from openeo.local.processing import PROCESS_REGISTRY

    register_processes()
    first = {name: PROCESS_REGISTRY[name].implementation for name in PROCESSES}
    register_processes()
    assert all(PROCESS_REGISTRY[name].implementation is first[name] for name in PROCESSES)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_parameters_follow_the_process_definition(name: str) -> None:
    """Every parameter of the openEO definition is accepted under its name; required ones have no default."""
    import inspect

    import openeo_processes_dask.specs as specs

    spec = getattr(specs, name, None) or getattr(specs, f"_{name}", None)
    if spec is None:
        import json

        folder = Path(specs.__file__).parent / "openeo-processes" / "missing-processes"
        found = folder / f"{name}.json"
        if not found.exists():
            assert name == "to_scl_dilation_mask"  # no definition in the library: an extension of the back-ends
            return
        spec = json.loads(found.read_text())
    mine = inspect.signature(PROCESSES[name]).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in mine.values())
    for parameter in spec["parameters"]:
        assert parameter["name"] in mine or takes_any, f"{name} lacks {parameter['name']}"
        if not parameter.get("optional") and parameter["name"] in mine and name != "load_collection":
            assert mine[parameter["name"]].default is inspect.Parameter.empty or name == "sar_backscatter"


# --- apply_neighborhood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "overlap"), [(4, 0), (5, 2), (6, 6), (64, 8)])
def test_identity_is_the_identity(size: int, overlap: int) -> None:
    """Windows of any size, partial ones at the right and bottom included, give the cube back."""
    source = cube()
    out = apply_windows(source, UdfCall(HEAD + "    return cube\n", {}), Windows(size, size, overlap, overlap))
    np.testing.assert_array_equal(out.values, source.values)
    for dim in source.dims:
        np.testing.assert_array_equal(out[dim], source[dim])


def test_windows_see_labels_overlap_and_padding(tmp_path: Path) -> None:
    """Against a slow oracle: every window is the NaN-padded cube, labels continued beyond its border."""
    source = cube(t=2, y=9, x=11)
    code = HEAD + (
        "    import pathlib\n"
        '    name = f"{cube.y.values[0]:.1f}_{cube.x.values[0]:.1f}"\n'
        "    if np.isfinite(cube.values).any():\n"
        "        cube.to_netcdf(pathlib.Path(context['folder']) / f'{name}.nc')\n"
        "    return cube\n"
    )
    apply_windows(source, UdfCall(code, {"folder": str(tmp_path)}), Windows(4, 4, 2, 2)).compute(scheduler="sync")
    padded = np.full((2, 2, 2 + 12 + 2, 2 + 12 + 2), np.nan, "float32")
    padded[:, :, 2:11, 2:13] = source.values
    y, x = source.y.values, source.x.values
    files = sorted(tmp_path.glob("*.nc"))
    assert len(files) == 9
    for file in files:
        seen = xr.open_dataarray(file)
        assert seen.dims == ("t", "bands", "y", "x")
        assert seen.shape == (2, 2, 8, 8)
        assert list(seen.bands.values) == ["a", "b"]
        assert (np.diff(seen.y) == -10).all()
        assert (np.diff(seen.x) == 10).all()
        row = round((y[0] - float(seen.y[0])) / 10) + 2
        column = round((float(seen.x[0]) - x[0]) / 10) + 2
        np.testing.assert_array_equal(seen.values, padded[:, :, row : row + 8, column : column + 8])


def test_through_the_client_with_context_and_new_labels(stored: Path) -> None:
    """Other dates and bands come out; the UDF gets float32 and the parent's context; nothing is computed before."""
    body = (
        "    assert cube.dtype == 'float32', cube.dtype\n"
        "    t = np.array([context['start']], 'datetime64[ns]')\n"
        "    mean = cube.mean('t').isel(bands=[0]).assign_coords(bands=['m'])\n"
        "    return mean.expand_dims(t=t) * context['factor']\n"
    )
    client = load(stored).apply_neighborhood(udf(body), **window(5, 2), context={"start": "2021-05-01", "factor": 2})
    out = execute_graph(client)
    assert isinstance(out.data, da.Array)
    assert str(out.rio.crs) == CRS
    assert out.sizes == {"t": 1, "bands": 1, "y": 10, "x": 14}
    assert str(out.t.values[0])[:10] == "2021-05-01"
    np.testing.assert_allclose(out.values[0, 0], 2 * cube().isel(bands=0).mean("t").values, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "    return cube.transpose('x', 'y', 'bands', 't')\n",
            r"returned dims \('x', 'y', 'bands', 't'\); back-ends expect",
        ),
        ("    return cube.isel(y=slice(1, None))\n", r"keep y and x, overlap included"),
        ("    return cube.drop_vars('t')\n", r"would stamp it 1970"),
        ("    return cube.isel(t=[0, 0])\n", r"returned a date twice"),
        (
            "    return cube.isel(t=slice(0, 1 + int(np.isfinite(cube.values).any())))\n",
            r"different labels for different chunks",
        ),
    ],
)
def test_answers_that_a_back_end_would_spoil(body: str, message: str, stored: Path) -> None:
    client = load(stored).apply_neighborhood(udf(body), **window(5, 2), context={})
    with pytest.raises(UdfError, match=message):
        execute_graph(client).compute()


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        ([{"dimension": "x", "value": 320, "unit": "m"}], [], r"in 'm'; back-ends take pixels only"),
        (window(3)["size"], [], r"is 3 px; back-ends need at least 4"),
        (window(8)["size"], window(8, 9)["overlap"], r"overlap along y is 9 px for windows of 8 px"),
        (window(8)["size"], [{"dimension": "x", "value": 2, "unit": "px"}], r"ignore an overlap unless both"),
        ([{"dimension": "t", "value": "P1D"}], [], r"only y and x can be cut"),
    ],
)
def test_sizes_that_a_back_end_would_misread(size: list, overlap: list, message: str, stored: Path) -> None:
    client = load(stored).apply_neighborhood(udf("    return cube\n"), size=size, overlap=overlap, context={})
    with pytest.raises(UdfError, match=message):
        execute_graph(client)


def test_only_udfs_run_in_neighborhoods(stored: Path) -> None:
    with pytest.raises(UdfError, match="wrap the child process in run_udf"):
        execute_graph(load(stored).apply_neighborhood(lambda data: data.absolute(), **window(5)))


def test_udf_that_refuses_an_empty_chunk(stored: Path) -> None:
    """The labels are then asked with real data."""
    body = "    assert np.isfinite(cube.values).any()\n    return cube + 1\n"
    out = execute_graph(load(stored).apply_neighborhood(udf(body), **window(64), context={}))
    np.testing.assert_allclose(out.values, cube().values + 1)


@pytest.mark.parametrize(
    ("text", "message"), [("nowhere.py", "neither source code"), ("https://x.org/u.py", "is the URL")]
)
def test_udf_source(text: str, message: str, stored: Path) -> None:
    with pytest.raises(UdfError, match=message):
        execute_graph(load(stored).apply_neighborhood(openeo.UDF(text, runtime="Python"), **window(5)))


def test_udf_from_a_file_and_of_another_runtime(stored: Path, tmp_path: Path) -> None:
    file = tmp_path / "u.py"
    file.write_text(HEAD + "    return cube * 3\n")
    out = execute_graph(load(stored).apply_neighborhood(openeo.UDF(str(file), runtime="Python"), **window(5)))
    np.testing.assert_allclose(out.values, cube().values * 3)
    with pytest.raises(UdfError, match="runtime is 'R'"):
        execute_graph(load(stored).apply_neighborhood(openeo.UDF("a\nb", runtime="R"), **window(5)))


# --- over t -----------------------------------------------------------------------------------------------------------


def test_apply_dimension_changes_the_dates(stored: Path) -> None:
    body = (
        "    t = np.array(['2020-01-01', '2020-01-02'], 'datetime64[ns]')\n"
        "    return (cube.isel(t=[0, 1]) * context['k']).assign_coords(t=t)\n"
    )
    out = execute_graph(load(stored).apply_dimension(udf(body), dimension="t", context={"k": 4}))
    assert [str(t)[:10] for t in out.t.values] == ["2020-01-01", "2020-01-02"]
    np.testing.assert_allclose(out.values, cube().values[:2] * 4)


def test_result_without_t_is_stamped_as_on_the_back_end(stored: Path) -> None:
    out = execute_graph(load(stored).apply_dimension(udf("    return cube.mean('t')\n"), dimension="t", context={}))
    assert [str(t)[:10] for t in out.t.values] == ["2020-01-01"]


def test_reduce_dimension_with_a_udf(stored: Path) -> None:
    out = execute_graph(
        load(stored).reduce_dimension(dimension="t", reducer=udf("    return cube.max('t')\n"), context={})
    )
    assert out.dims == ("bands", "y", "x")
    np.testing.assert_array_equal(out.values, cube().max("t").values)


def test_other_callbacks_go_to_the_library(stored: Path) -> None:
    out = execute_graph(load(stored).reduce_dimension(dimension="t", reducer="mean"))
    np.testing.assert_allclose(out.values, cube().mean("t").values, rtol=1e-6)
    summed = execute_graph(load(stored).apply_dimension(process="cumsum", dimension="t"))
    np.testing.assert_allclose(summed.values, cube().values.cumsum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dimension", ["bands", "x"])
def test_udf_over_another_dimension_is_refused(dimension: str, stored: Path) -> None:
    with pytest.raises(UdfError, match="use 't'"):
        execute_graph(load(stored).apply_dimension(udf("    return cube\n"), dimension=dimension))


# --- load_collection --------------------------------------------------------------------------------------------------


def test_bands_in_the_order_asked_for(stored: Path) -> None:
    out = load_collection(str(stored), bands=["b", "a"])
    assert list(out.bands.values) == ["b", "a"]
    np.testing.assert_array_equal(out.values, cube().values[:, ::-1])


def test_left_closed_interval(stored: Path) -> None:
    out = execute_graph(load(stored, temporal_extent=["2020-01-01", "2020-01-11"]))
    assert [str(t)[:10] for t in out.t.values] == ["2020-01-01", "2020-01-06"]
    assert execute_graph(load(stored, temporal_extent=["2020-01-06", None])).sizes["t"] == 2


def test_bounding_box_takes_pixels_by_their_centre(stored: Path) -> None:
    whole = cube()
    left, top = float(whole.x[0]) - 5, float(whole.y[0]) + 5
    box = {"west": left + 14, "east": left + 46, "south": top - 36, "north": top - 14, "crs": 32631}
    out = execute_graph(load(stored, spatial_extent=box))
    np.testing.assert_array_equal(out.values, whole.values[:, :, 1:4, 1:5])


def test_lonlat_box_and_polygon(stored: Path) -> None:
    from fusion.place import project_bounds

    whole = cube()
    inner = (float(whole.x[2]) - 2, float(whole.y[7]) - 2, float(whole.x[9]) + 2, float(whole.y[3]) + 2)
    west, south, east, north = project_bounds(inner, 32631, 4326)
    out = execute_graph(load(stored, spatial_extent={"west": west, "south": south, "east": east, "north": north}))
    assert set(whole.x.values[2:10]) <= set(out.x.values)
    ring = [[west, south], [east, south], [west, north], [west, south]]  # a triangle: the upper right half is no data
    part = execute_graph(load(stored, spatial_extent={"type": "Polygon", "coordinates": [ring]}))
    assert np.isnan(part.values[0, 0, 0, -1])
    assert np.isfinite(part.values[0, 0, -2, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": ["c"]}, r"has no band \['c'\]; it holds \['a', 'b'\]"),
        ({"temporal_extent": ["2021-01-01", "2022-01-01"]}, r"no date lies in .*run from 2020-01-01 to 2020-01-11"),
        ({"spatial_extent": {"west": 0, "south": 0, "east": 1, "north": 1}}, r"no pixel centre lies within"),
    ],
)
def test_nothing_to_load(arguments: dict, message: str, stored: Path) -> None:
    with pytest.raises(ValueError, match=message):
        execute_graph(load(stored, **arguments))


@pytest.mark.parametrize("seen", ["2020-02", "2020", "today", "01/05/2021"])
def test_an_interval_has_single_dates(seen: str, stored: Path) -> None:
    with pytest.raises(ValueError, match=f"temporal_extent is '{seen}'; expected a single date such as 2021-05-01"):
        load_collection(str(stored), temporal_extent=["2020-01-01", seen])


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_collection(str(tmp_path / "no.nc"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="unknown format"):
        load_collection(str(tmp_path / "a.txt"))


def test_observations_of_one_day_are_mosaicked(tmp_path: Path) -> None:
    whole = cube(t=2)
    halves = whole.assign_coords(t=np.array(["2020-01-01T10:00", "2020-01-01T10:05"], "datetime64[ns]")).compute()
    halves[0, :, :, 7:] = np.nan
    halves[1, :, :, :3] = np.nan
    halves.drop_vars("spatial_ref").to_dataset("bands").rio.write_crs(CRS).to_netcdf(tmp_path / "c.nc")
    out = load_collection(str(tmp_path / "c.nc"))
    assert out.sizes["t"] == 1
    np.testing.assert_array_equal(out.values[0, :, :, :7], whole.values[0, :, :, :7])
    np.testing.assert_array_equal(out.values[0, :, :, 7:], whole.values[1, :, :, 7:])


def test_other_names_orders_and_formats(tmp_path: Path) -> None:
    """``timestamp`` for t, y upwards, Zarr and GeoTIFF."""
    whole = cube(t=1).compute()
    upward = whole.isel(y=slice(None, None, -1)).drop_vars("spatial_ref").to_dataset("bands").rename(t="timestamp")
    upward.rio.write_crs(CRS).to_zarr(tmp_path / "c.zarr")
    np.testing.assert_array_equal(load_collection(str(tmp_path / "c.zarr")).values, whole.values)
    whole.isel(t=0, drop=True).assign_attrs(long_name=("a", "b")).rio.to_raster(tmp_path / "c.tif")
    tif = load_collection(str(tmp_path / "c.tif"), bands=["b"])
    np.testing.assert_array_equal(tif.values[0], whole.values[0, 1])


def test_integer_band_with_nan_fill_value(real_data: Path) -> None:
    """The trap of belgium_2019: its SCL cannot be decoded by xarray; values are then taken as stored."""
    out = load_collection(str(real_data / "belgium_2019" / "s2_l2a_20m.nc"), bands=["SCL"])
    assert out.sizes["t"] == 72
    assert set(np.unique(out.isel(t=slice(0, 9)).values)) <= set(range(12))


# --- merge_cubes, masks, kernels --------------------------------------------------------------------------------------


def test_merge_gives_the_union_of_dates() -> None:
    a, b = cube(t=3), cube(t=2, bands=("c",), start="2020-01-06", seed=1)
    b = b.assign_coords(t=b.t + np.array([0, 1], "timedelta64[D]"))
    out = cubes.merge_cubes(a, b)
    assert [str(t)[:10] for t in out.t.values] == ["2020-01-01", "2020-01-06", "2020-01-11", "2020-01-12"]
    assert list(out.bands.values) == ["a", "b", "c"]
    np.testing.assert_array_equal(out.sel(bands=["a", "b"]).values[:3], a.values)
    assert np.isnan(out.sel(bands=["a", "b"]).values[3]).all()
    np.testing.assert_array_equal(out.sel(bands=["c"]).values[[1, 3]], b.values)
    assert np.isnan(out.sel(bands=["c"]).values[[0, 2]]).all()
    assert isinstance(out.data, da.Array)
    assert out.dtype == np.float32


def test_merge_of_the_same_band_at_other_dates_needs_no_decision() -> None:
    """Two coarse collections that follow one another: with a resolver it is the union in time."""
    a, b = cube(t=2, bands=("c",)), cube(t=2, bands=("c",), start="2020-03-01", seed=1)
    out = cubes.merge_cubes(a, b, overlap_resolver=lambda *_, **__: None)
    np.testing.assert_array_equal(out.transpose(*a.dims).sortby("t").values, np.concatenate([a.values, b.values]))


@pytest.mark.parametrize(
    ("change", "message"),
    [("bands", "both cubes hold band"), ("grid", "different grids along x"), ("crs", "resample_cube_spatial first")],
)
def test_merge_refuses(change: str, message: str) -> None:
    a, b = cube(), cube(bands=("c",))
    if change == "bands":
        b = cube(bands=("a",))
    elif change == "grid":
        b = b.isel(x=slice(1, None))
    else:
        b = b.rio.write_crs("EPSG:32632")
    with pytest.raises(Exception, match=message):
        cubes.merge_cubes(a, b)


def test_resampling_on_the_same_grid_changes_nothing() -> None:
    source = cube()
    out = cubes.resample_cube_spatial(source, cube(bands=("z",)), method="bilinear")
    np.testing.assert_array_equal(out.values, source.values)


def test_resampling_by_nearest_cell() -> None:
    """20 m cells that nest in 10 m pixels: each is copied to 2 x 2."""
    y, x = axes(5, 7, 20.0)
    coarse = xr.DataArray(
        np.arange(35.0, dtype="float32").reshape(1, 1, 5, 7),
        dims=("t", "bands", "y", "x"),
        coords={"t": np.array(["2020-01-01"], "datetime64[ns]"), "bands": ["c"], "y": y, "x": x},
    )
    out = cubes.resample_cube_spatial(coarse.rio.write_crs(CRS).chunk(), cube(), method="near")
    np.testing.assert_array_equal(out.values[0, 0], coarse.values[0, 0].repeat(2, 0).repeat(2, 1))


def test_resampling_a_lone_coarse_cell() -> None:
    """A field smaller than one coarse cell: the cell's value everywhere."""
    y, x = axes(1, 1, 300.0)
    lone = xr.DataArray(
        np.full((1, 1, 1, 1), 0.4, "float32"),
        dims=("t", "bands", "y", "x"),
        coords={"t": np.array(["2020-01-01"], "datetime64[ns]"), "bands": ["c"], "y": y, "x": x},
    )
    out = cubes.resample_cube_spatial(lone.rio.write_crs(CRS).chunk(), cube(), method="bilinear")
    np.testing.assert_array_equal(out.values, np.full((1, 1, 10, 14), 0.4, "float32"))


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("replacement", [None, -1.0])
def test_mask_polygon(inside: bool, replacement: float | None) -> None:
    """By the definition: a pixel counts by its centre, and outside is replaced unless ``inside``."""
    from pyproj import Transformer

    source = cube()
    move = Transformer.from_crs(32631, 4326, always_xy=True)
    west, east = float(source.x[3]) - 5, float(source.x[8]) + 5
    south, north = float(source.y[6]) - 5, float(source.y[2]) + 5
    ring = [
        list(move.transform(*p)) for p in [(west, south), (east, south), (east, north), (west, north), (west, south)]
    ]
    out = masks.mask_polygon(source, {"type": "Polygon", "coordinates": [ring]}, replacement, inside)
    hit = np.zeros((10, 14), bool)
    hit[2:7, 3:9] = True
    keep = ~hit if inside else hit
    expected = np.where(keep, source.values, np.nan if replacement is None else replacement)
    np.testing.assert_array_equal(out.values, expected.astype("float32"))


def test_mask_polygon_needs_a_polygon() -> None:
    with pytest.raises(ValueError, match="of type 'Point'"):
        masks.mask_polygon(cube(), {"type": "Point", "coordinates": [0, 0]})


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "Feature", "FeatureCollection"])
def test_filter_spatial(kind: str) -> None:
    """By the definition: the bounding box of the geometry is left, what lies outside the geometry is no data."""
    from pyproj import Transformer

    source = cube()
    move = Transformer.from_crs(32631, 4326, always_xy=True)
    west, east = float(source.x[3]) - 5, float(source.x[8]) + 5
    south, north = float(source.y[6]) - 5, float(source.y[2]) + 5
    ring = [list(move.transform(*p)) for p in [(west, south), (east, south), (east, north), (west, south)]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {}, "geometry": polygon}
    geometry = {
        "Polygon": polygon, "MultiPolygon": {"type": kind, "coordinates": [[ring]]}, "Feature": feature,
        "FeatureCollection": {"type": kind, "features": [feature]},
    }[kind]  # fmt: skip
    out = masks.filter_spatial(source, geometry)
    np.testing.assert_array_equal(out.x, source.x[3:9])
    np.testing.assert_array_equal(out.y, source.y[2:7])
    down, right = np.meshgrid(np.arange(5) + 0.5, np.arange(6) + 0.5, indexing="ij")
    hit = (5 - down) / 5 < right / 6  # below the diagonal
    expected = np.where(hit, source.values[..., 2:7, 3:9], np.nan)
    np.testing.assert_array_equal(out.values, expected.astype("float32"))
    assert out.rio.crs == source.rio.crs
    with pytest.raises(ValueError, match="no CRS"):
        masks.filter_spatial(source.drop_vars("spatial_ref"), geometry)


@pytest.mark.parametrize("border", [0, 0.5, "replicate", "reflect", "reflect_pixel", "wrap"])
@pytest.mark.parametrize("kind", ["gaussian", "full rank"])
def test_kernel_against_a_slow_oracle(border: object, kind: str) -> None:
    rng = np.random.default_rng(1)
    kernel = gaussian_kernel(5) if kind == "gaussian" else rng.random((5, 3))
    source = cube(y=23, x=17)
    source = source.where(source > 0.1).chunk({"y": 7, "x": 6})
    out = cubes.apply_kernel(source, kernel.tolist(), factor=2.0, border=border)
    mode = {"replicate": "nearest", "reflect": "reflect", "reflect_pixel": "mirror", "wrap": "wrap"}.get(
        border, "constant"
    )
    filled = np.nan_to_num(source.values)
    expected = np.stack(
        [
            ndimage.convolve(image, kernel, mode=mode, cval=border if mode == "constant" else 0)
            for image in filled.reshape(-1, 23, 17)
        ]
    )
    np.testing.assert_allclose(out.values.reshape(-1, 23, 17), 2 * expected, rtol=2e-5, atol=2e-6)


def test_even_kernel_is_refused() -> None:
    with pytest.raises(Exception, match="expected two odd numbers"):
        cubes.apply_kernel(cube(), np.ones((2, 3)))


def test_dilation_mask_removes_around_cloud() -> None:
    """A lone cloud pixel weighs the centre of a 9 px kernel (0.07 > 0.057), not of a 17 px one (0.02)."""
    scl = xr.full_like(cube(t=1, bands=("SCL",), y=41, x=41), 4.0).compute()
    scl[0, 0, 20, 20] = 9
    removed = cubes.to_scl_dilation_mask(
        scl.chunk(), kernel1_size=9, kernel2_size=81, mask1_values=[4, 5, 6, 7], mask2_values=[3, 8, 9, 10]
    )
    weights = gaussian_kernel(9)
    expected = np.zeros((41, 41), bool)
    expected[16:25, 16:25] = weights > 0.057
    np.testing.assert_array_equal(removed.values[0, 0].astype(bool), expected)
    with pytest.raises(ValueError, match="only 0"):
        cubes.to_scl_dilation_mask(scl, erosion_kernel_size=3)
    with pytest.raises(ValueError, match="filter the SCL band"):
        cubes.to_scl_dilation_mask(cube())


def test_backscatter_is_passed_on_or_refused() -> None:
    radar = cube(bands=("VV", "VH")).assign_attrs(s1_coefficient="sigma0-ellipsoid")
    assert cubes.sar_backscatter(radar, coefficient="sigma0-ellipsoid") is radar
    with pytest.raises(ValueError, match=r"holds sigma0-ellipsoid and sar_backscatter requests gamma0-terrain"):
        cubes.sar_backscatter(radar)
    with pytest.raises(ValueError, match=r"cannot add \['mask'\]"):
        cubes.sar_backscatter(radar, coefficient="sigma0-ellipsoid", mask=True)


# --- save_result ------------------------------------------------------------------------------------------------------


def test_formats_hold_the_same(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "REGION_PX", 5)  # several regions even here
    whole = cube().values
    for name in ("gtiff", "netCDF", "Zarr"):
        saved = execute_graph(load(stored).save_result(name), tmp_path / name)
        assert all(f.exists() for f in saved.files)
    netcdf = xr.open_dataset(tmp_path / "netCDF" / "openEO.nc", decode_coords="all")
    zarr = xr.open_zarr(tmp_path / "Zarr" / "openEO.zarr", decode_coords="all")
    for data in (netcdf, zarr):
        np.testing.assert_array_equal(
            data[["a", "b"]].to_array("bands").transpose("t", "bands", "y", "x").values, whole
        )
        assert str(data.rio.crs) == CRS
    tifs = sorted((tmp_path / "gtiff").glob("*.tif"))
    assert [t.name for t in tifs] == [f"openEO_2020-01-{d:02d}Z.tif" for d in (1, 6, 11)]
    for k, tif in enumerate(tifs):
        image = rioxarray.open_rasterio(tif)
        np.testing.assert_array_equal(image.values, whole[k])
        assert image.attrs["long_name"] == ("a", "b")
        assert str(image.rio.crs) == CRS
        np.testing.assert_allclose(image.x.values, cube().x.values)
        np.testing.assert_allclose(image.y.values, cube().y.values)


def test_integers_keep_their_type(tmp_path: Path) -> None:
    whole = (cube() * 100).astype("int16")
    with saving.output_folder(Output(tmp_path)):
        for name in ("GTiff", "NetCDF", "Zarr"):
            saving.save_result(whole, name, {"filename_prefix": "days"})
    assert rioxarray.open_rasterio(tmp_path / "days_2020-01-01Z.tif").dtype == np.int16
    raw = xr.open_dataset(tmp_path / "days.nc", mask_and_scale=False)
    assert raw.a.dtype == np.int16
    assert raw.a.attrs["_FillValue"] == -32768


def test_unknown_format_and_empty_cube() -> None:
    with pytest.raises(ValueError, match="output format is 'CSV'"):
        saving.save_result(cube(), "CSV")
    with pytest.raises(ValueError, match="cube is empty"):
        saving.save_result(cube().isel(t=slice(0, 0)), "NetCDF")


@pytest.mark.parametrize("name", ["GTiff", "NetCDF", "Zarr"])
def test_failure_while_writing_leaves_nothing(name: str, stored: Path, tmp_path: Path) -> None:
    body = "    if np.isfinite(cube.values).any():\n        raise RuntimeError('disk on fire')\n    return cube\n"
    client = load(stored).apply_neighborhood(udf(body), **window(5), context={}).save_result(name)
    with pytest.raises(RuntimeError, match="disk on fire"):
        execute_graph(client, tmp_path / "out")
    assert not any((tmp_path / "out").glob("*"))


def test_the_clients_own_connection(stored: Path) -> None:
    """The client's LocalConnection runs the registered processes too."""
    connection = connect(stored.parent)
    out = (
        connection.load_collection(str(stored))
        .apply_neighborhood(udf("    return cube * 2\n"), **window(5), context={})
        .execute()
    )
    np.testing.assert_allclose(out.values, cube().values * 2)


def test_download_as_from_a_back_end(stored: Path, tmp_path: Path) -> None:
    """The warm-up's code: band maths, reduce, download as GeoTIFF; the same lines for a remote connection."""
    loaded = connect(stored.parent).load_collection(str(stored), bands=["a", "b"])
    ratio = (loaded.band("a") - loaded.band("b")) / (loaded.band("a") + loaded.band("b") + 1.0)
    ratio.reduce_dimension(dimension="t", reducer="max").download(tmp_path / "r.tif", format="GTiff")
    a, b = cube().values[:, 0], cube().values[:, 1]
    expected = ((a - b) / (a + b + 1)).max(axis=0)
    np.testing.assert_allclose(rioxarray.open_rasterio(tmp_path / "r.tif").values[0], expected, rtol=1e-5)
    assert [f.name for f in tmp_path.iterdir()] == ["r.tif"]
    with pytest.raises(ValueError, match="saves 3 files, download takes one"):
        loaded.download(tmp_path / "all.tif", format="GTiff")
    with pytest.raises(ValueError, match="give a file name"):
        loaded.download(format="NetCDF")


def test_download_replaces_its_like_and_nothing_else(stored: Path, tmp_path: Path) -> None:
    loaded = connect(stored.parent).load_collection(str(stored), bands=["a"])
    target = tmp_path / "cube.zarr"
    for factor in (1, 2):
        (loaded * factor).download(target, format="Zarr")
    np.testing.assert_allclose(xr.open_zarr(target).a.values, cube().values[:, 0] * 2)
    with pytest.raises(IsADirectoryError):
        loaded.download(target, format="NetCDF")
    assert [f.name for f in tmp_path.iterdir()] == ["cube.zarr"]
    np.testing.assert_allclose(xr.open_zarr(target).a.values, cube().values[:, 0] * 2)


def test_distributed_client_is_used(stored: Path, tmp_path: Path) -> None:
    from dask.distributed import Client

    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        graph = (
            load(stored).apply_neighborhood(udf("    return cube + 1\n"), **window(5), context={}).save_result("NetCDF")
        )
        execute_graph(graph, tmp_path)
        assert client.scheduler.address
    np.testing.assert_allclose(xr.open_dataset(tmp_path / "openEO.nc").a.values, cube().values[:, 0] + 1)
