"""Every graph against a real openEO API server on localhost, in a virtual environment of its own."""

import datetime
import functools
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import openeo
import pytest

from data_prep.sources.openeo_graphs import download_graph
from fusion.whole_file import write_json
from udf.area import area_from
from udf.publish import build_process, call_process, save_process
from udf.service import ServiceSettings, write_service
from udf.targets import load_target
from udf.workflow import WorkflowOptions, build_workflow

SERVER_PYTHON = "NDVI_FUSION_OPENEO_SERVER_PYTHON"  # a Python with openeo_driver; without it the test installs one
FIELD = {
    "type": "Polygon",
    "coordinates": [[[5.07, 51.21], [5.08, 51.21], [5.08, 51.215], [5.07, 51.215], [5.07, 51.21]]],
}
ARGUMENTS = {"spatial_extent": FIELD, "temporal_extent": ["2021-01-01", "2022-01-01"]}
TARGETS = ("local", "terrascope", "cdse")
BOX = {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}
pytestmark = pytest.mark.slow


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def server_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with openeo_driver. It pins older libraries than ours, so it gets an environment of its own."""
    given = os.environ.get(SERVER_PYTHON)
    if given:
        return given
    folder = tmp_path_factory.mktemp("server") / "venv"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=300)
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--pre", "openeo_driver"]
        subprocess.run(command, check=True, capture_output=True, timeout=900)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(
            f"openeo_driver cannot be installed here ({type(error).__name__}); set {SERVER_PYTHON} to a Python with it"
        )
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def server(server_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openeo.Connection]:
    """A connection to a running server that knows the collections of our targets."""
    collections: dict[str, list[str]] = {}
    for name in TARGETS:
        target = load_target(name)
        collections.setdefault(target.s2_collection, []).extend([target.red_band, target.nir_band])
        collections.setdefault(target.scl_collection, []).append(target.scl_band)
        collections.setdefault(target.s1_collection, []).extend([target.vv_band, target.vh_band])
        for source in target.coarse:
            if source.band not in collections.setdefault(source.collection, []):
                collections[source.collection].append(source.band)
    collections["SENTINEL2_L2A"].append("B02")
    folder = tmp_path_factory.mktemp("collections")
    file = write_json(folder / "collections.json", collections)
    port = free_port()
    script = Path(__file__).with_name("openeo_server.py")
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen([server_python, str(script), str(port), str(file)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/openeo/1.2/"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    pytest.fail(f"the server ended: {(folder / 'server.log').read_text()[-2000:]}")
                time.sleep(0.5)
        yield openeo.connect(url).authenticate_basic("user", "user123")
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served, as a raw repository at a commit would be."""
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{web.server_port}"
    web.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves without a line a request."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def messages(errors: list) -> str:
    """Error codes and texts of a validation."""
    return "; ".join(f"{e.get('code')}: {e.get('message')}" for e in errors)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("output", ["fused", "smoothed", "seasons"])
@pytest.mark.parametrize("mask", ["apply_kernel", "to_scl_dilation_mask"])
def test_graphs_are_valid(name: str, output: str, mask: str, server: openeo.Connection) -> None:
    options = WorkflowOptions(
        start=datetime.date(2020, 3, 1), end=datetime.date(2020, 10, 31), area=area_from(FIELD), output=output
    )
    target = load_target(name).model_copy(update={"cloud_mask": mask})
    assert messages(server.validate_process_graph(build_workflow(target, options))) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_graphs_of_a_box_are_valid(name: str, server: openeo.Connection) -> None:
    options = WorkflowOptions(start=datetime.date(2020, 3, 1), end=datetime.date(2020, 10, 31), area=area_from(BOX))
    assert messages(server.validate_process_graph(build_workflow(load_target(name), options))) == ""


@pytest.mark.parametrize("left_out", [{"s1_collection": None}, {"coarse": ()}, {"s1_collection": None, "coarse": ()}])
def test_graphs_without_a_sensor_are_valid(left_out: dict, server: openeo.Connection) -> None:
    options = WorkflowOptions(start=datetime.date(2021, 1, 1), end=datetime.date(2021, 12, 31), area=area_from(FIELD))
    target = load_target("cdse").model_copy(update=left_out)
    assert messages(server.validate_process_graph(build_workflow(target, options))) == ""


def test_warm_up_graph_is_valid(server: openeo.Connection) -> None:
    """EVI as band maths, as the notebook builds it."""
    box = {"west": 5.07, "south": 51.21, "east": 5.08, "north": 51.22}
    cube = server.load_collection("SENTINEL2_L2A", box, ["2021-03-15", "2021-10-15"], ["B02", "B04", "B08"]) * 0.0001
    b02, b04, b08 = cube.band(0), cube.band(1), cube.band(2)
    evi = 2.5 * (b08 - b04) / (b08 + 6.0 * b04 - 7.5 * b02 + 1.0)
    graph = evi.reduce_dimension(dimension="t", reducer="max").save_result("GTiff")
    assert messages(server.validate_process_graph(graph)) == ""


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda g: g["loadcollection1"]["arguments"].update(id="NOWHERE"), "CollectionNotFound"),
        (lambda g: g["ndvi1"].update(process_id="ndwi2"), "ProcessUnsupported"),
        (lambda g: g["applyneighborhood1"]["arguments"].pop("size"), "ProcessParameterRequired"),
    ],
)
def test_the_server_does_find_mistakes(spoil: object, code: str, server: openeo.Connection) -> None:
    options = WorkflowOptions(start=datetime.date(2021, 1, 1), end=datetime.date(2021, 12, 31), area=area_from(FIELD))
    graph = json.loads(json.dumps(build_workflow(load_target("cdse"), options).flat_graph()))
    spoil(graph)
    assert code in messages(server.validate_process_graph(graph))


@pytest.mark.parametrize("name", ["terrascope", "cdse"])
@pytest.mark.parametrize("era", ["cgls", "probav"])
def test_published_process_by_its_address(name: str, era: str, server: openeo.Connection, website: tuple) -> None:
    folder, address = website
    target = load_target(name)
    process = build_process(target, "https://example.org/archives", era=era)
    url_of = "https://example.org"
    service = ServiceSettings(
        provider="us", organization="Us", website=url_of, investigator="I", logo_light=url_of, logo_dark=url_of
    )
    write_service(folder, process, target, service, address, "https://example.org/archives", ARGUMENTS)
    part = f"algorithm_catalog/us/{process.id}"
    url = f"{address}/{part}/openeo_udp/{process.id}.json"
    call = call_process(process, url, ARGUMENTS)
    assert messages(server.validate_process_graph(call.save_result("GTiff"))) == ""
    scenario = json.loads((folder / part / "benchmark_scenarios" / f"{process.id}.json").read_text())[0]
    assert messages(server.validate_process_graph(scenario["process_graph"])) == ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"temporal_extent": None}, "ProcessParameterRequired"),
        ({"temporal_extent": ["soon", "2022-01-01"]}, "date_shift"),
        ({"spatial_extent": {"type": "Nothing"}}, ""),
    ],
)
def test_wrong_parameters_are_refused(change: dict, code: str, server: openeo.Connection, website: tuple) -> None:
    folder, address = website
    process = build_process(load_target("cdse"), None)
    write_json(folder / "p.json", process.definition)
    arguments = {k: v for k, v in {**ARGUMENTS, **change}.items() if v is not None}
    graph = {
        "call": {"process_id": process.id, "namespace": f"{address}/p.json", "arguments": arguments},
        "save": {
            "process_id": "save_result", "result": True,
            "arguments": {"data": {"from_node": "call"}, "format": "GTiff"},
        },
    }  # fmt: skip
    errors = server.validate_process_graph(graph)
    assert errors
    assert code in messages(errors)


def test_unknown_parameter_is_refused_before_the_server_would_ignore_it(
    server: openeo.Connection, website: tuple
) -> None:
    """openeo_driver takes what a process declares and drops the rest in silence; the call of this project does not."""
    folder, address = website
    process = build_process(load_target("cdse"), None)
    write_json(folder / "p.json", process.definition)
    url, wrong = f"{address}/p.json", {**ARGUMENTS, "stepdays": 10}
    with pytest.raises(ValueError, match="parameter 'stepdays' is unknown; did you mean 'step_days'"):
        call_process(process, url, wrong, server)
    by_hand = server.datacube_from_process(process.id, namespace=url, **wrong).save_result("GTiff")
    errors = server.validate_process_graph(by_hand)
    assert not errors or "stepdays" in messages(errors)


def test_process_is_saved_with_its_parameters(server: openeo.Connection) -> None:
    process = build_process(load_target("cdse"), None)
    assert save_process(server, process) == "ndvi_fusion"
    stored = server.user_defined_process("ndvi_fusion").describe()
    assert [p["name"] for p in stored["parameters"]] == [
        "spatial_extent",
        "temporal_extent",
        "output",
        "step_days",
        "method",
    ]
    assert stored["process_graph"] == process.definition["process_graph"]


PERIODS = {  # PROBA-V alone, both coarse products, its successor alone
    "2019": ("2019-01-01", "2019-12-31"),
    "2020": ("2020-01-01", "2020-12-31"),
    "2021": ("2021-01-01", "2021-12-31"),
}


def download(backend: str, sensor: str, period: str) -> dict:
    """The graph with which `ndvi-fusion cube source=openeo` fetches one sensor."""
    first, last = (datetime.date.fromisoformat(day) for day in PERIODS[period])
    return download_graph(backend, sensor, (5.07, 51.21, 5.08, 51.215), first, last)


@pytest.mark.parametrize("backend", ["terrascope", "cdse"])
@pytest.mark.parametrize("sensor", ["s2", "s1", "coarse"])
@pytest.mark.parametrize("period", PERIODS)
def test_download_graphs_are_valid(backend: str, sensor: str, period: str, server: openeo.Connection) -> None:
    assert messages(server.validate_process_graph(download(backend, sensor, period))) == ""


@pytest.mark.parametrize(
    ("sensor", "spoil", "code"),
    [
        ("s2", lambda g: g["loadcollection1"]["arguments"].update(id="NOWHERE"), "CollectionNotFound"),
        ("s1", lambda g: g["sarbackscatter1"].update(process_id="sar_forescatter"), "ProcessUnsupported"),
        ("coarse", lambda g: g["renamelabels1"]["arguments"].pop("target"), "ProcessParameterRequired"),
    ],
)
def test_mistakes_in_download_graphs_are_found(
    sensor: str, spoil: Callable[[dict], object], code: str, server: openeo.Connection
) -> None:
    graph = download("cdse", sensor, "2019")
    spoil(graph)
    assert code in messages(server.validate_process_graph(graph))
