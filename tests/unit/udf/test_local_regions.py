"""A large result of the local graph, region by region: a run that ends goes on, no window is computed twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import openeo
import pytest
import xarray as xr
from openeo.rest.datacube import DataCube

from fusion.whole_file import claimed
from tests.unit.udf.raw_scene import axes
from udf.local import regions
from udf.local.regions import Output, computed, made_of
from udf.local_backend import connect, execute_graph

SIDE, WINDOW, REGION = 16, 4, 8  # 16 windows in 4 regions
# counts its windows of data in a file, and fails in the 10th while the file `fail` is there
COUNTED = """
from pathlib import Path

import numpy as np
import xarray


def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    folder = Path(context["folder"])
    if np.isfinite(cube.values).any():
        with open(folder / "windows", "a") as file:
            file.write(f"{cube.y.values[0]} {cube.x.values[0]}\\n")
        if (folder / "fail").exists() and len((folder / "windows").read_text().splitlines()) >= 10:
            raise OSError("no space left on device")
    return cube * 2
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``cube.nc`` (2 dates, 2 bands); regions are small."""
    monkeypatch.setattr(regions, "REGION_PX", REGION)
    y, x = axes(SIDE, SIDE)
    dates = np.array(["2020-01-01", "2020-01-06"], "datetime64[ns]")
    values = np.random.default_rng(0).random((2, 2, SIDE, SIDE)).astype("float32")
    data = xr.DataArray(values, {"t": dates, "bands": ["a", "b"], "y": y, "x": x}, ("t", "bands", "y", "x"))
    data.to_dataset("bands").rio.write_crs("EPSG:32631").to_netcdf(tmp_path / "cube.nc")
    with dask.config.set(scheduler="synchronous"):  # no window goes on after another has failed
        yield tmp_path


def graph(scene: Path, format: str = "NetCDF", code: str = COUNTED, **context: object) -> DataCube:
    """The cube of the scene twice itself, window by window."""
    udf = openeo.UDF(code, runtime="Python", version="3.11", context={"from_parameter": "context"})
    size = [{"dimension": d, "value": WINDOW, "unit": "px"} for d in ("x", "y")]
    cube = DataCube.load_collection(str(scene / "cube.nc"), connection=None, fetch_metadata=False)
    cube = cube.apply_neighborhood(udf, size=size, overlap=[], context={"folder": str(scene), **context})
    return cube.save_result(format)


def windows(scene: Path) -> list[str]:
    """Windows computed since the last call."""
    found = (scene / "windows").read_text().splitlines()
    (scene / "windows").unlink()
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fail_once(scene: Path, out: Path, **options: str) -> list[str]:
    """A run that ends in its third region; the windows that it computed."""
    (scene / "fail").touch()
    with pytest.raises(OSError, match="no space left"):
        execute_graph(graph(scene, **options), out)
    (scene / "fail").unlink()
    return windows(scene)


@pytest.mark.parametrize("format", ["GTiff", "NetCDF", "Zarr"])
def test_an_ended_run_goes_on_where_it_stopped(scene: Path, format: str, caplog: pytest.LogCaptureFixture) -> None:
    execute_graph(graph(scene, format), scene / "whole")
    assert len(set(windows(scene))) == 16
    begun = fail_once(scene, scene / "out", format=format)
    assert [p.name for p in (scene / "out").iterdir()] == [".openEO.regions"]
    finished = begun[:8]  # two regions of four windows
    told: list[tuple[int, int]] = []
    with caplog.at_level("INFO", "udf.local.regions"):
        execute_graph(graph(scene, format), scene / "out", progress=lambda *share: told.append(share))
    assert "2 of 4 regions are there from an unfinished run" in caplog.text
    again = windows(scene)
    assert len(again) == 8 and not set(again) & set(finished) and len({*again, *finished}) == 16
    assert told[0][0] >= 200 and told[-1] == (400, 400)
    assert content(scene / "out") == content(scene / "whole")


@pytest.mark.parametrize("change", ["graph", "input", "model"])
def test_another_graph_input_or_model_begins_anew(scene: Path, change: str) -> None:
    model = scene / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(b"1")
    fail_once(scene, scene / "out", model_dir=str(model))
    extra = {"model_dir": str(model)}
    if change == "graph":
        extra["note"] = "x"
    elif change == "input":
        os.utime(scene / "cube.nc", (0, 0))
    else:
        (model / "model.onnx").write_bytes(b"12")
    execute_graph(graph(scene, **extra), scene / "out")
    assert len(windows(scene)) == 16
    assert [p.name for p in (scene / "out").iterdir()] == ["openEO.nc"]


def test_a_graph_names_its_files(scene: Path) -> None:
    (scene / "udf.py").write_text(COUNTED)
    flat = graph(scene, code="x\n", model_dir=str(scene)).flat_graph()
    node = next(n for n in flat.values() if n["process_id"] == "apply_neighborhood")
    inner = next(iter(node["arguments"]["process"]["process_graph"].values()))
    inner["arguments"]["udf"] = str(scene / "udf.py")
    before = made_of(flat)
    assert [name for name, _ in before["files"]] == [str(scene), str(scene / "cube.nc"), str(scene / "udf.py")]
    assert made_of(flat) == before and None not in before["code"]
    (scene / "udf.py").write_text(COUNTED + "\n")
    assert made_of(flat) != before


def test_a_run_without_a_graph_is_not_resumed(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own connection: nothing tells which graph a store is of, so an error leaves none."""
    monkeypatch.chdir(scene)
    (scene / "fail").touch()
    cube = graph(scene)
    with pytest.raises(OSError, match="no space left"):
        connect(scene).execute(cube.flat_graph())
    assert not [p.name for p in scene.iterdir() if p.name.startswith(".")]


def test_two_runs_of_one_output(scene: Path) -> None:
    (scene / "out").mkdir()
    with (
        claimed(scene / "out" / ".openEO.regions" / "run.lock"),
        pytest.raises(ValueError, match="another run is writing openEO to .*out; wait for it or use another folder"),
    ):
        execute_graph(graph(scene), scene / "out")


def lazy(y: tuple[int, ...], x: tuple[int, ...]) -> xr.DataArray:
    return xr.DataArray(np.zeros((sum(y), sum(x)), np.float32), dims=("y", "x")).chunk({"y": y, "x": x})


@pytest.mark.parametrize(
    ("chunks", "cuts"),
    [
        ((128,) * 8, [512, 1024]),
        ((91, *(128,) * 4, 37), [475, 640]),  # cropped: windows stay whole
        ((192,) * 3, [384, 576]),
        ((600, 600, 10), [600, 1200, 1210]),
        ((5,), [5]),
    ],
)
def test_regions_are_whole_chunks(chunks: tuple[int, ...], cuts: list[int]) -> None:
    found = regions.cuts(lazy((1,), chunks), "x")
    assert [cut.stop for cut in found] == cuts
    assert [cut.start for cut in found] == [0, *cuts[:-1]]


def test_one_region_needs_no_store(tmp_path: Path) -> None:
    data = lazy((4, 4), (4,))
    with computed(data, "openEO", "NetCDF", Output(tmp_path)) as values:
        assert list(tmp_path.iterdir()) == []
        assert isinstance(values.data, np.ndarray)
    np.testing.assert_array_equal(values.values, data.values)


@pytest.mark.parametrize(("kind", "value"), [("NetCDF", 0), ("Zarr", 1)])
def test_two_results_of_a_graph_keep_apart(
    kind: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph may save one cube as NetCDF and another as Zarr under one name; the finished regions are of the first."""
    monkeypatch.setattr(regions, "REGION_PX", 2)
    output = Output(tmp_path, made_of=dict)
    with pytest.raises(OSError, match="disk is full"), computed(lazy((2, 2), (2, 2)), "openEO", "NetCDF", output):
        raise OSError("the disk is full")
    with computed(lazy((2, 2), (2, 2)) + 1, "openEO", kind, output) as values:
        np.testing.assert_array_equal(values.values, np.full((4, 4), value))
