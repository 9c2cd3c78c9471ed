"""The workflow as a published process, as a batch job, and as an APEx-style service folder."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openeo
from openeo.api.process import Parameter
from openeo.internal.graph_building import PGNode
from openeo.rest.job import BatchJob
from openeo.rest.udp import build_process_dict
from shapely.geometry import mapping

from fusion.whole_file import write_json
from udf.archive import DEPS_ARCHIVE, MODEL_ARCHIVE
from udf.context import KEYS, check_context, unknown_word
from udf.polygon import polygon_of
from udf.season_chunk import season_bands
from udf.targets import TargetSettings
from udf.workflow import WorkflowOptions, build_workflow

_log = logging.getLogger(__name__)
PROCESS_ID = "ndvi_fusion"
SUMMARY = "Season maps, or a dense NDVI series with uncertainty, from cloudy Sentinel-2, Sentinel-1 and coarse NDVI"
DESCRIPTION = (
    "Cloud-masks Sentinel-2 NDVI, fuses it with Sentinel-1 backscatter and a coarse NDVI series by a neural network "
    "(ONNX, run in a UDF) into a gap-free NDVI series with its standard deviation, and derives season dates from it. "
    "The coarse series is CGLS NDVI 300 m (from July 2020 on); `ndvi_fusion_probav` takes PROBA-V (to June 2020). "
    "NDVI is physical (-0.2..1). The bands of season maps are described in the documentation."
)


@dataclass(frozen=True)
class PublishedProcess:
    """A process definition with its id; ``definition`` is plain JSON."""

    id: str
    definition: dict[str, Any]


def process_parameters() -> list[Parameter]:
    """Parameters of the published process, each with description and schema."""
    date = {"type": "string", "format": "date", "subtype": "date"}
    return [
        Parameter.geojson("area", description="Polygon of the area, longitude and latitude (GeoJSON)."),
        Parameter("start", description="First date, YYYY-MM-DD; for a year its 1 January.", schema=date),
        Parameter("end", description="Last date, YYYY-MM-DD; for a year its 31 December.", schema=date),
        Parameter(
            "step_days", description="Days between two dates of the fused series.", default=5, optional=True,
            schema={"type": "integer", "minimum": 1, "maximum": 366},
        ),
        Parameter(
            "method", description="Method of the season dates; 'reference': the original workflow's (bands sos, eos).",
            default=KEYS["method"][1], optional=True, schema={"type": "string"},
        ),
        Parameter(
            "output", description="'seasons': season maps; 'smoothed': the smoothed series.", default="seasons",
            optional=True, schema={"type": "string", "enum": ["seasons", "smoothed"]},
        ),
        Parameter(
            "latitude", description="Degrees north of the area: gives the network the season. Null: season "
            "unknown.", default=None, optional=True, schema={"type": ["number", "null"], "minimum": -90, "maximum": 90},
        ),
    ]  # fmt: skip


def build_process(
    target: TargetSettings, archives_url: str | None, *, era: str = "cgls", options: WorkflowOptions | None = None
) -> PublishedProcess:
    """The user-defined process for a back-end: the graph of the workflow with open parameters.

    ``era`` selects the coarse collection, because loading a period without scenes fails on the back-ends: "cgls" from
    July 2020 on, "probav" until June 2020.
    """
    parameters = {p.name: p for p in process_parameters()}
    coarse = tuple(s for s in target.coarse if (s.last is None) == (era == "cgls"))
    base = options or WorkflowOptions(start=parameters["start"], end=parameters["end"])
    chosen = replace(
        base, area=parameters["area"], start=parameters["start"], end=parameters["end"],
        step_days=parameters["step_days"], method=parameters["method"], output=parameters["output"],
        latitude=parameters["latitude"],
    )  # fmt: skip
    graph = build_workflow(target.model_copy(update={"coarse": coarse}), chosen, save=False)
    name = PROCESS_ID if era == "cgls" else f"{PROCESS_ID}_{era}"
    definition = build_process_dict(
        process_graph=graph.flat_graph(),
        process_id=name,
        summary=SUMMARY,
        description=DESCRIPTION,
        parameters=list(parameters.values()),
        returns={"description": "Data cube of the chosen output.", "schema": {"type": "object", "subtype": "datacube"}},
        categories=["sentinel-2", "sentinel-1", "vegetation", "phenology"],
        default_job_options=job_options(target, archives_url),
    )
    return PublishedProcess(name, json.loads(json.dumps(definition)))


def job_options(target: TargetSettings, archives_url: str | None) -> dict[str, Any]:
    """Job options of a target, with the archives when their URL is given."""
    options = dict(target.job_options)
    if archives_url:
        base = archives_url.rstrip("/")
        options["udf-dependency-archives"] = [
            f"{base}/{MODEL_ARCHIVE}#{KEYS['model_dir'][1]}",
            f"{base}/{DEPS_ARCHIVE}#{KEYS['deps_dir'][1]}",
        ]
    return options


def connect_back_end(target: TargetSettings) -> openeo.Connection:
    """An authenticated connection to the back-end of the target (OIDC login of the openEO client)."""
    if target.connection is None:
        raise ValueError(
            f"target {target.name} runs on this machine and has no connection; use target=terrascope or target=cdse"
        )
    return openeo.connect(target.connection).authenticate_oidc()


def save_process(connection: openeo.Connection, process: PublishedProcess) -> str:
    """Store the process under the user's account, public; returns its id."""
    given = process.definition
    connection.save_user_defined_process(
        user_defined_process_id=process.id, process_graph=given["process_graph"],
        parameters=[Parameter(**_parameter(p)) for p in given["parameters"]],
        public=True, summary=given["summary"], description=given["description"], returns=given["returns"],
        categories=given["categories"],
    )  # fmt: skip
    return process.id


def _parameter(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if k in ("name", "description", "schema", "default", "optional")}


def call_process(
    process: PublishedProcess, namespace: str, arguments: dict[str, Any], connection: openeo.Connection | None = None
) -> openeo.DataCube:
    """Cube of the published process, called by the URL of its static JSON (``namespace``).

    Raises
    ------
    ValueError
        An unknown parameter (back-ends ignore it), a missing one, or a value that the UDFs refuse (on a back-end the
        job fails only after it has queued and loaded data).
    """
    known = {p["name"]: p for p in process.definition["parameters"]}
    for name in arguments:
        if name not in known:
            raise ValueError(unknown_word(f"parameter {name!r}", name, tuple(known)))
    missing = [n for n, p in known.items() if not p.get("optional") and n not in arguments]
    if missing:
        raise ValueError(f"the call of {process.id} lacks {missing}; add them to the arguments")
    given = {name: value for name, value in arguments.items() if name in KEYS}
    season_bands(given, [])
    period = {name: value for name, value in check_context(given).items() if name in ("start", "end")}
    arguments = arguments | period  # the back-end shifts them, which takes whole dates
    polygon = polygon_of(arguments["area"])
    if "crs" in arguments["area"]:  # back-ends take longitude and latitude
        arguments = arguments | {"area": json.loads(json.dumps(mapping(polygon)))}
    return openeo.DataCube(graph=PGNode(process.id, arguments=arguments, namespace=namespace), connection=connection)


def submit(
    connection: openeo.Connection, graph: Any, title: str, options: dict[str, Any], *,
    progress: Callable[[str], None] = _log.info,
) -> BatchJob:  # fmt: skip
    """Start a batch job and wait for it, reporting its status."""
    job = connection.create_job(graph, title=title, job_options=options)
    job.start_and_wait(print=progress)
    return job


def write_service(
    folder: Path, process: PublishedProcess, target: TargetSettings, base_url: str, example: dict[str, Any]
) -> list[Path]:
    """APEx-style service folder ``<id>/{records,openeo_udp,benchmark_scenarios}/<id>.json``.

    ``base_url`` is the raw URL of the repository at a commit; ``example`` are the arguments of the benchmark scenario.
    """
    name, root = process.id, folder / process.id
    address = f"{base_url.rstrip('/')}/{name}/openeo_udp/{name}.json"
    content = {
        f"openeo_udp/{name}.json": process.definition,
        f"records/{name}.json": service_record(process, target, address),
        f"benchmark_scenarios/{name}.json": [benchmark_scenario(process, target, address, example)],
    }
    return [write_json(root / part, value) for part, value in content.items()]


def service_record(process: PublishedProcess, target: TargetSettings, address: str) -> dict[str, Any]:
    """OGC API record of the service."""
    return {
        "id": process.id,
        "type": "Feature",
        "conformsTo": [
            "https://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core",
            "https://apex.esa.int/core/openeo-udp",
        ],
        "geometry": None,
        "properties": {
            "type": "service",
            "title": "NDVI fusion and season maps",
            "description": process.definition["description"],
            "keywords": ["NDVI", "Sentinel-2", "Sentinel-1", "phenology", "data fusion"],
            "language": {"code": "en-GB", "name": "English"},
            "languages": [{"code": "en-GB", "name": "English"}],
            "contacts": [],
            "themes": [
                {
                    "concepts": [{"id": "Vegetation"}, {"id": "Sentinel-2 MSI"}, {"id": "Sentinel-1 SAR"}],
                    "scheme": "https://gcmd.earthdata.nasa.gov/kms/concepts/concept_scheme/sciencekeywords",
                }
            ],
            "formats": [{"name": "GeoTIFF"}, {"name": "netCDF"}],
            "license": "Apache-2.0",
        },
        "linkTemplates": [],
        "links": [
            {
                "rel": "application",
                "type": "application/vnd.openeo+json;type=process",
                "title": "openEO process definition",
                "href": address,
            },
            {"rel": "service", "type": "application/json", "title": target.name, "href": target.connection},
        ],
    }


def benchmark_scenario(
    process: PublishedProcess, target: TargetSettings, address: str, example: dict[str, Any]
) -> dict[str, Any]:
    """A call of the published process by its URL, with save_result."""
    name = process.id
    return {
        "id": name,
        "type": "openeo",
        "description": "One field and one year of season maps.",
        "backend": (target.connection or "").removeprefix("https://"),
        "process_graph": {
            name: {"process_id": name, "namespace": address, "arguments": example},
            "save": {
                "process_id": "save_result",
                "arguments": {"data": {"from_node": name}, "format": "GTiff"},
                "result": True,
            },
        },
        "job_options": process.definition.get("default_job_options", {}),
    }
