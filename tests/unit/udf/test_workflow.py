"""The process graph of every target: pinned, complete, and with exactly the committed UDFs inside."""

import datetime
import hashlib
import inspect
import json
from pathlib import Path

import pytest
from openeo.api.process import Parameter

from fusion.commands.phenology import PhenologySettings
from fusion.contract import SEASON_METHOD
from fusion.phenology.seasons import seasons
from fusion.phenology.settings import SeasonSettings
from udf.area import area_from
from udf.commands.workflow import WorkflowSettings, run
from udf.context import check_context
from udf.graph_options import WorkflowOptions
from udf.publish import (
    build_process,
    call_process,
    job_options,
    process_parameters,
    submit,
)
from udf.targets import CoarseSource, TargetSettings, load_target
from udf.workflow import build_workflow, udf_source

GOLDEN = Path(__file__).parents[2] / "golden" / "udf"
BOX = {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}
FIELD = {
    "type": "Polygon",
    "coordinates": [[[5.07, 51.21], [5.08, 51.21], [5.08, 51.215], [5.07, 51.215], [5.07, 51.21]]],
}
TARGETS = ("local", "terrascope", "cdse")


def options(**changes: object) -> WorkflowOptions:
    """The same request for every target."""
    given = {
        "start": datetime.date(2020, 3, 1),
        "end": datetime.date(2020, 10, 31),
        "area": area_from(BOX),
        "method": "reference",
        **changes,
    }
    return WorkflowOptions(**given)


def flat(name: str, **changes: object) -> dict:
    """The graph as it goes over the wire."""
    return json.loads(json.dumps(build_workflow(load_target(name), options(**changes)).flat_graph()))


def shortened(value: object) -> object:
    """A graph with UDF sources and kernels replaced by their size, readable in a golden file.

    What stands in their place is proven by other tests; here they would change with every edit of a bundled module.
    """
    if isinstance(value, dict):
        return {
            k: "<source>" if k == "udf" else f"<kernel {len(v)} x {len(v[0])}>" if k == "kernel" else shortened(v)
            for k, v in value.items()
        }
    return [shortened(v) for v in value] if isinstance(value, list) else value


def nodes(graph: dict, process: str) -> list[dict]:
    """Nodes of one process, in order, child graphs included."""
    found = []
    for node in graph.values():
        if node["process_id"] == process:
            found.append(node)
        for argument in node["arguments"].values():
            if isinstance(argument, dict) and isinstance(argument.get("process_graph"), dict):
                found += nodes(argument["process_graph"], process)
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_golden(name: str) -> None:
    """To accept a change: write what the test got into the file, and read the difference."""
    expected = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert shortened(flat(name)) == expected


def test_golden_of_a_polygon() -> None:
    expected = json.loads((GOLDEN / "terrascope_polygon.json").read_text(encoding="utf-8"))
    assert shortened(flat("terrascope", area=area_from(FIELD))) == expected


@pytest.mark.parametrize("era", ["cgls", "probav"])
def test_golden_process(era: str) -> None:
    process = build_process(load_target("cdse"), "https://example.org/archives", era=era)
    expected = json.loads((GOLDEN / f"process_{era}.json").read_text(encoding="utf-8"))
    assert shortened(process.definition) == expected


@pytest.mark.parametrize("name", TARGETS)
def test_polygon_masks_the_coarse_series_before_it_is_merged(name: str) -> None:
    """As in the original; what it says of the area is dropped by the crop, after the fusion saw the surroundings."""
    graph = flat(name, area=area_from(FIELD), start=datetime.date(2021, 3, 1), end=datetime.date(2021, 10, 31))
    (mask,) = nodes(graph, "mask_polygon")
    assert mask["arguments"]["mask"] == FIELD
    before = graph[mask["arguments"]["data"]["from_node"]]
    while before["process_id"] != "load_collection":
        before = graph[before["arguments"]["data"]["from_node"]]
    assert before["arguments"]["id"] == load_target(name).coarse[-1].collection
    merged = graph["applyneighborhood1"]["arguments"]["data"]["from_node"]
    assert graph[graph[merged]["arguments"]["cube2"]["from_node"]] == mask
    saved = graph[graph["saveresult1"]["arguments"]["data"]["from_node"]]
    assert (saved["process_id"], saved["arguments"]["geometries"]) == ("filter_spatial", FIELD)


@pytest.mark.parametrize("name", TARGETS)
def test_graph_embeds_exactly_the_committed_udfs(name: str) -> None:
    sources = [node["arguments"]["udf"] for node in nodes(flat(name), "run_udf")]
    assert sources == [udf_source("fusion_udf"), udf_source("phenology_udf")]
    for node in nodes(flat(name), "run_udf"):
        assert node["arguments"]["runtime"] == "Python"
        assert node["arguments"]["version"] == "3.11"
        assert node["arguments"]["context"] == {"from_parameter": "context"}


@pytest.mark.parametrize("name", TARGETS)
def test_steps_of_the_original(name: str) -> None:
    """Every process of the original workflow, in its order along the main path."""
    graph = flat(name, area=area_from(FIELD))
    target = load_target(name)
    order = [node["process_id"] for node in graph.values()]
    main = ["load_collection", "load_collection", "reduce_dimension", "apply_kernel", "mask", "add_dimension"]
    main += ["load_collection", "resample_cube_spatial", "merge_cubes", "load_collection", "resample_cube_spatial"]
    main += ["mask_polygon", "merge_cubes", "apply_neighborhood", "apply_dimension", "filter_spatial", "save_result"]
    position = 0
    for step in main:
        position = order.index(step, position) + 1
    assert order.count("mask_polygon") == 1
    kernels = [node["arguments"]["kernel"] for node in nodes(graph, "apply_kernel")]
    assert [len(k) for k in kernels] == ([17, 161] if target.scl_pixel_m == 10 else [9, 81])
    for kernel in kernels:
        assert sum(map(sum, kernel)) == pytest.approx(1, abs=1e-6)
    thresholds = [n["arguments"]["y"] for n in nodes(graph, "gt")]
    assert [t for t in thresholds if 0 < t < 1] == [0.057, 0.1]
    reducers = nodes(graph, "reduce_dimension")
    levels = ["t", "t"] if target.s1_pass_property else []
    assert [r["arguments"]["dimension"] for r in reducers] == ["bands", "bands", *levels]
    bands = [node["arguments"]["bands"] for node in nodes(graph, "load_collection")]
    assert bands[0] == [target.red_band, target.nir_band]
    assert bands[1] == [target.scl_band]
    assert graph["applyneighborhood1"]["arguments"]["context"]["s1_units"] == target.s1_units


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2019-01-01", "2019-12-31", {"PROBAV_L3_S10_TOC_333M": ["2018-11-02", "2020-03-01"]}),
        ("2022-01-01", "2022-12-31", {"CGLS_NDVI300_V2_GLOBAL": ["2021-11-02", "2023-03-02"]}),
        (
            "2020-03-01",
            "2020-10-31",
            {
                "PROBAV_L3_S10_TOC_333M": ["2020-01-01", "2020-07-01"],
                "CGLS_NDVI300_V2_GLOBAL": ["2020-07-01", "2020-12-31"],
            },
        ),
    ],
)
def test_coarse_role_follows_the_dates(start: str, end: str, expected: dict) -> None:
    """PROBA-V to June 2020, CGLS after it, both where the period (with its margin of 60 days) spans the change."""
    graph = flat("terrascope", start=datetime.date.fromisoformat(start), end=datetime.date.fromisoformat(end))
    loads = {n["arguments"]["id"]: n["arguments"]["temporal_extent"] for n in nodes(graph, "load_collection")}
    coarse = {k: v for k, v in loads.items() if "NDVI300" in k or "PROBAV" in k}
    assert coarse == expected


def test_extent_is_padded_and_cropped() -> None:
    """Loaded: half of the wide kernel (820 m) and the overlap (16 px) more on each side, on the 20 m grid."""
    graph = flat("cdse")
    extents = [n["arguments"]["spatial_extent"] for n in nodes(graph, "load_collection")]
    padded = {"west": 639_020, "south": 5_649_020, "east": 641_980, "north": 5_651_980, "crs": 32631}
    assert extents == [padded] * len(extents)
    assert graph["filterbbox1"]["arguments"]["extent"] == BOX


def test_shortcut_mask_of_terrascope() -> None:
    target = load_target("terrascope").model_copy(update={"cloud_mask": "to_scl_dilation_mask"})
    graph = build_workflow(target, options()).flat_graph()
    assert not nodes(graph, "apply_kernel")
    (mask,) = nodes(graph, "to_scl_dilation_mask")
    assert mask["arguments"]["mask1_values"] == [4, 5, 6, 7]
    assert (mask["arguments"]["kernel1_size"], mask["arguments"]["kernel2_size"]) == (9, 81)


def test_outputs() -> None:
    assert not nodes(flat("local", output="fused"), "apply_dimension")
    smoothed = flat("local", output="smoothed", method="absolute")
    assert smoothed["applydimension1"]["arguments"]["context"]["output"] == "smoothed"
    without = flat("local", overlap_px=0)
    assert without["applyneighborhood1"]["arguments"]["overlap"] == []  # never null


def test_no_radar_no_coarse() -> None:
    target = load_target("local").model_copy(update={"s1_collection": None, "coarse": ()})
    graph = build_workflow(target, options()).flat_graph()
    assert not nodes(graph, "merge_cubes")
    assert nodes(graph, "apply_neighborhood")


# --- targets and areas ------------------------------------------------------------------------------------------------


def test_one_pass_of_the_radar_is_a_condition_on_its_items() -> None:
    def conditions(**changes: object) -> list:
        loads = [n["arguments"] for n in flat("cdse", **changes).values() if n["process_id"] == "load_collection"]
        return [a["properties"] for a in loads if "properties" in a and a["id"] == "SENTINEL1_GRD"]

    assert conditions(radar_levelled=False) == []
    apart = [next(iter(c["sat:orbit_state"]["process_graph"].values()))["arguments"]["y"] for c in conditions()]
    assert apart == ["ASCENDING", "DESCENDING"], "to be levelled"
    (condition,) = conditions(radar_pass="descending")
    (step,) = condition["sat:orbit_state"]["process_graph"].values()
    assert step["process_id"] == "eq" and "DESCENDING" in step["arguments"].values()
    with pytest.raises(ValueError, match="set target.s1_pass_property, or radar_pass=all"):
        flat("terrascope", radar_pass="descending")


def test_unknown_target() -> None:
    with pytest.raises(ValueError, match=r"expected one of \['cdse', 'local', 'terrascope'\]"):
        load_target("gee")


def test_coarse_sources_must_not_overlap() -> None:
    target = load_target("cdse").model_dump()
    one = dict(band="x", scale=1.0, offset=0.0, valid_max=None)
    target["coarse"] = [CoarseSource(collection=c, first=None, last=None, **one) for c in "ab"]
    with pytest.raises(ValueError, match="a and b overlap in time"):
        TargetSettings(**target)
    target["coarse"] = [CoarseSource(collection="a", first="2020-01-01", last="2019-01-01", **one)]
    with pytest.raises(ValueError, match="ends .* before it begins"):
        TargetSettings(**target)


def test_area_lies_on_the_grid() -> None:
    area = area_from({"west": 640_003, "south": 5_650_001, "east": 640_997, "north": 5_650_990, "crs": 32631})
    assert area.bbox() == {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}
    assert area_from(BOX).bbox() == BOX
    assert area_from(BOX).bbox(margin_m=5)["west"] == 639_980


def test_area_from_geojson(tmp_path: Path) -> None:
    file = tmp_path / "field.geojson"
    file.write_text(
        json.dumps(
            {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": FIELD}]}
        )
    )
    area = area_from(file)
    assert area.crs == 32631
    assert area.geometry["type"] == "Polygon"
    assert 600 < area.east - area.west < 800
    assert area_from(None) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"west": 1, "south": 1, "east": 0, "north": 2}, "is empty"),
        ({"west": 1, "south": 1, "east": 2}, "expected"),
        ("nowhere.geojson", "which is no file"),
        ({"type": "Point", "coordinates": [0, 0]}, "of type 'Point'"),
    ],
)
def test_no_area(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        area_from(value)


def test_contradictory_options() -> None:
    with pytest.raises(ValueError, match="swap start and end"):
        options(start=datetime.date(2021, 1, 1))
    with pytest.raises(ValueError, match="overlap exceeds the window"):
        options(window_px=16, overlap_px=17)


# --- publishing -------------------------------------------------------------------------------------------------------


def test_every_parameter_says_what_it_is_and_is_used() -> None:
    process = build_process(load_target("cdse"), None)
    text = json.dumps(process.definition["process_graph"])
    for parameter in process.definition["parameters"]:
        assert len(parameter["description"]) > 20
        assert parameter["schema"]
        assert f'{{"from_parameter": "{parameter["name"]}"}}' in text
    names = ["spatial_extent", "temporal_extent", "output", "step_days", "method"]
    assert [p.name for p in process_parameters()] == names
    assert not any(node["process_id"] == "save_result" for node in process.definition["process_graph"].values())


def test_process_of_an_era_loads_one_coarse_collection() -> None:
    """A load without a single scene fails on the back-ends, and open dates cannot choose."""
    for era, word in (("cgls", "clms"), ("probav", "PROBAV")):
        graph = build_process(load_target("cdse"), None, era=era).definition["process_graph"]
        loads = [n["arguments"]["id"] for n in nodes(graph, "load_collection")]
        assert len(loads) == 5, "Sentinel-2 and its classes, two passes of Sentinel-1, one coarse series"
        assert any(word in name for name in loads)


def test_job_options_name_the_archives() -> None:
    given = job_options(load_target("cdse"), "https://x.org/a/")
    assert given["udf-dependency-archives"] == [
        "https://x.org/a/ndvi_fusion_model.zip#ndvi_fusion_model",
        "https://x.org/a/ndvi_fusion_deps_py311.zip#ndvi_fusion_deps",
    ]
    assert given["executor-cores"] == 1
    assert "udf-dependency-archives" not in job_options(load_target("cdse"), None)


def test_call_refuses_unknown_and_missing_parameters() -> None:
    process = build_process(load_target("cdse"), None)
    good = {"spatial_extent": FIELD, "temporal_extent": ["2021-01-01", "2022-01-01"]}
    graph = call_process(process, "https://x.org/p.json", good).flat_graph()
    assert graph["ndvifusion1"]["namespace"] == "https://x.org/p.json"
    assert graph["ndvifusion1"]["arguments"] == good
    month = call_process(process, "https://x.org/p.json", {**good, "temporal_extent": ["2021-05", "2021-07"]})
    told = month.flat_graph()["ndvifusion1"]["arguments"]["temporal_extent"]
    assert told == ["2021-05-01", "2021-07-01"], "a back-end shifts whole dates only"
    with pytest.raises(ValueError, match="parameter 'stepdays' is unknown; did you mean 'step_days'"):
        call_process(process, "https://x.org/p.json", {**good, "stepdays": 3})
    for wrong, message in (
        ({"temporal_extent": ["soon", "2021-01-01"]}, "expected a date"),
        ({"temporal_extent": ["2021-01-01", "2021-01-01"]}, "holds no day"),
        ({"temporal_extent": ["2021-01-01", None]}, "expected two dates"),
        ({"step_days": 0}, "expected 1 to 366"),
        ({"output": "season"}, "did you mean 'seasons'"),
        ({"method": "fancy"}, "expected one of relative_amplitude"),
        ({"spatial_extent": {"type": "Point", "coordinates": [0, 0]}}, "of type 'Point'"),
    ):
        with pytest.raises(ValueError, match=message):
            call_process(process, "https://x.org/p.json", {**good, **wrong})
    with pytest.raises(ValueError, match=r"lacks \['temporal_extent'\]"):
        call_process(process, "https://x.org/p.json", {"spatial_extent": FIELD})


@pytest.mark.parametrize("old", ["area", "start", "end", "latitude"])
def test_old_parameters_are_refused_with_the_new_name(old: str) -> None:
    process = build_process(load_target("cdse"), None)
    new = "temporal_extent" if old in ("start", "end") else "spatial_extent"
    with pytest.raises(ValueError, match=f"parameter '{old}' is now .*{new}"):
        call_process(process, "https://x.org/p.json", {old: 1})


def test_submit_reports_and_waits() -> None:
    """Against a stand-in for the connection that records what it is asked."""
    calls = []

    class Job:
        def start_and_wait(self, print: object) -> None:
            print("0:00:01 Job 'j-1': running")
            calls.append("waited")

        def describe(self) -> dict:
            return {"usage": {"cpu": {"value": 1.0}, "sar_backscatter_soft_errors": {"value": 0.04}}}

    class Connection:
        def create_job(self, graph: object, title: str, job_options: dict) -> Job:
            calls.append((graph, title, job_options))
            return Job()

    said = []
    submit(Connection(), {"a": 1}, "title", {"executor-cores": 1}, progress=said.append)
    assert calls == [({"a": 1}, "title", {"executor-cores": 1}), "waited"]
    assert said[0] == "0:00:01 Job 'j-1': running"
    assert said[1:] == [
        "WARNING: sar_backscatter_soft_errors is 0.04: that share of the images was left out as unreadable"
    ]


# --- the command ------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, name: str, **changes: object) -> WorkflowSettings:
    """Settings as the configuration gives them."""
    given = {"target": load_target(name), "out": tmp_path, "start": "2021-01-01", "end": "2021-12-31", **changes}
    return WorkflowSettings(**given)


def test_command_writes_graph_process_options_and_service(tmp_path: Path) -> None:
    line = run(settings(tmp_path, "cdse", area=BOX, archives_url="https://x.org"))
    assert "WARNING" not in line
    for name in ("process_graph.json", "job_options.json", "ndvi_fusion.json"):
        assert name in line
        assert json.loads((tmp_path / name).read_text())
    graph = json.loads((tmp_path / "process_graph.json").read_text())["process_graph"]
    digest = {hashlib.sha256(n["arguments"]["udf"].encode()).hexdigest() for n in nodes(graph, "run_udf")}
    assert digest == {hashlib.sha256(udf_source(n).encode()).hexdigest() for n in ("fusion_udf", "phenology_udf")}


def test_the_method_is_one_fact_for_every_way_in() -> None:
    """Library, command line, graph and UDFs read season dates alike unless told otherwise."""
    defaults = {
        "library": SeasonSettings().method,
        "function": inspect.signature(seasons).parameters["method"].default,
        "phenology": PhenologySettings.model_fields["method"].default,
        "workflow": WorkflowSettings.model_fields["method"].default,
        "graph": WorkflowOptions(start=datetime.date(2020, 1, 1), end=datetime.date(2020, 12, 31)).method,
        "udf": check_context({})["method"],
        "published": next(p.default for p in process_parameters() if p.name == "method"),
    }
    assert set(defaults.values()) == {SEASON_METHOD} == {"relative_amplitude"}, defaults


def test_command_without_area_writes_the_open_process(tmp_path: Path) -> None:
    run(settings(tmp_path, "terrascope"))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["ndvi_fusion.json"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cdse", {"submit": True}, "submit needs area"),
        ("local", {"publish": True}, "need a back-end; target is local"),
        ("local", {"end": "2020-01-01"}, "swap them"),
        ("local", {"overlap_px": 200}, "exceeds window_px"),
    ],
)
def test_contradictory_settings(name: str, changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, name, **changes)


def test_local_needs_its_files(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match="set source to the folder"):
        run(settings(tmp_path, "local", model=str(model), source=None))
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        run(settings(out, "local", model=str(model), source=tmp_path / "no"))
    assert not out.exists()  # nothing is left of a run that could not begin
    with pytest.raises(FileNotFoundError, match=r"holds no s2.nc"):
        run(settings(tmp_path, "local", model=str(model), source=tmp_path))
    with pytest.raises(ValueError, match="this model needs 16"):
        run(settings(tmp_path, "local", model=str(model), source=tmp_path, overlap_px=8))


def test_parameters_stay_references() -> None:
    graph = flat("cdse", step_days=Parameter("step_days", description="days"))
    assert graph["applyneighborhood1"]["arguments"]["context"]["step_days"] == {"from_parameter": "step_days"}


def test_the_fusion_is_told_where_the_area_lies() -> None:
    told = flat("cdse")["applyneighborhood1"]["arguments"]["context"]["latitude"]
    assert told == pytest.approx(51.0, abs=0.1)
    assert flat("local", area=None)["applyneighborhood1"]["arguments"]["context"]["latitude"] is None
    assert flat("local", area=None, latitude=-33.0)["applyneighborhood1"]["arguments"]["context"]["latitude"] == -33.0
