"""The workflow as a published process, and as a batch job."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import openeo
from openeo import BaseOpenEoException
from openeo.api.process import Parameter
from openeo.internal.graph_building import PGNode
from openeo.rest.job import BatchJob
from openeo.rest.udp import build_process_dict
from shapely.geometry import mapping

from fusion.contract import FUSED_BANDS, NDVI
from fusion.dates import first_date
from udf.archive import DEPS_ARCHIVE, MODEL_ARCHIVE
from udf.context import KEYS, OUTPUTS, unknown_word
from udf.graph_options import WorkflowOptions, check_udf_context, udf_methods
from udf.polygon import polygon_of
from udf.season_chunk import season_bands
from udf.targets import TargetSettings
from udf.workflow import build_workflow

_log = logging.getLogger(__name__)
PROCESS_ID = "ndvi_fusion"
RENAMED = {  # parameters of the process before version 1 of the service
    "area": "spatial_extent (a GeoJSON polygon)",
    "start": "the first date of temporal_extent",
    "end": "the second date of temporal_extent, which is the day after the last",
    "latitude": "taken from spatial_extent; leave it out",
}
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
    """Parameters of the published process, each with description and schema; names as the APEx catalogue asks."""
    day = {"type": "string", "format": "date"}
    return [
        Parameter.geojson("spatial_extent", description="Polygon of the area, longitude and latitude (GeoJSON)."),
        Parameter(
            "temporal_extent",
            description="First date, and the day after the last: ['2021-01-01', '2022-01-01'] is the year 2021.",
            schema={
                "type": "array", "subtype": "temporal-interval", "minItems": 2, "maxItems": 2, "items": day,
            },
        ),
        Parameter(
            "output",
            description="'fused': NDVI and its standard deviation; 'smoothed': the daily series; 'seasons': maps.",
            default="seasons", optional=True, schema={"type": "string", "enum": list(OUTPUTS)},
        ),
        Parameter(
            "step_days", description="Days between two dates of the fused series.", default=KEYS["step_days"][1],
            optional=True, schema={"type": "integer", "minimum": 1, "maximum": 366},
        ),
        Parameter(
            "method", description="Method of the season dates; 'reference': the original workflow's (bands sos, eos).",
            default=KEYS["method"][1], optional=True, schema={"type": "string", "enum": list(udf_methods())},
        ),
    ]  # fmt: skip


def returns() -> dict[str, Any]:
    """Description of the result, its bands read from the UDFs."""
    seasons = ", ".join(season_bands({"output": "seasons"}, []) or ())
    return {
        "description": f"Data cube. fused: bands {', '.join(FUSED_BANDS)}; smoothed: band {NDVI}, daily; seasons: "
        f"one label of t per year, bands {seasons}.",
        "schema": {"type": "object", "subtype": "datacube"},
    }


def build_process(
    target: TargetSettings, archives_url: str | None, *, era: str = "cgls", options: WorkflowOptions | None = None
) -> PublishedProcess:
    """The user-defined process for a back-end: the graph of the workflow with open parameters.

    ``era`` selects the coarse collection, because loading a period without scenes fails on the back-ends: "cgls" from
    July 2020 on, "probav" until June 2020.
    """
    parameters = {p.name: p for p in process_parameters()}
    coarse = tuple(s for s in target.coarse if (s.last is None) == (era == "cgls"))
    base = options or WorkflowOptions(period=parameters["temporal_extent"])
    chosen = replace(
        base, area=parameters["spatial_extent"], start=None, end=None, period=parameters["temporal_extent"],
        step_days=parameters["step_days"], method=parameters["method"], output=parameters["output"], latitude=None,
        source=None,
    )  # fmt: skip
    graph = build_workflow(target.model_copy(update={"coarse": coarse}), chosen, save=False)
    name = PROCESS_ID if era == "cgls" else f"{PROCESS_ID}_{era}"
    definition = build_process_dict(
        process_graph=graph.flat_graph(),
        process_id=name,
        summary=SUMMARY,
        description=DESCRIPTION,
        parameters=list(parameters.values()),
        returns=returns(),
        categories=["sentinel-2", "sentinel-1", "vegetation", "phenology"],
        default_job_options=job_options(target, archives_url),
    )
    return PublishedProcess(name, json.loads(json.dumps(definition)))


def job_options(target: TargetSettings, archives_url: str | None) -> dict[str, Any]:
    """Job options of a target, with the archives when their URL is given."""
    options = dict(target.job_options)
    if archives_url:
        base = archives_url.rstrip("/")
        python = str(options.get("image-name", "python311")).replace("python", "py")
        options["udf-dependency-archives"] = [
            f"{base}/{MODEL_ARCHIVE}#{KEYS['model_dir'][1]}",
            f"{base}/{DEPS_ARCHIVE.format(python=python)}#{KEYS['deps_dir'][1]}",
        ]
    return options


class BackEndError(RuntimeError):
    """A back-end cannot be reached, refuses the login, or a job failed there; the message gives the reason."""


def connect_back_end(target: TargetSettings) -> openeo.Connection:
    """An authenticated connection to the back-end of the target (OIDC login of the openEO client).

    Raises
    ------
    ValueError
        The target runs on this machine.
    BackEndError
        No network, no such back-end, or the login was refused.
    """
    if target.connection is None:
        raise ValueError(
            f"target {target.name} runs on this machine and has no connection; use target=terrascope or target=cdse"
        )
    try:
        openeo.connect(target.connection, default_timeout=30, retry=False)  # without a network: at once, not in 30 s
        return openeo.connect(target.connection).authenticate_oidc()
    except (OSError, BaseOpenEoException) as error:  # what requests raises is an OSError
        raise BackEndError(
            f"{target.connection} cannot be used ({_one_sentence(error)}); check the network and your account; without "
            "submit and publish everything is written offline"
        ) from error


def _one_sentence(error: Exception) -> str:
    """The kind of an error and the innermost reason, on one line of at most 200 characters."""
    reason = str(error).splitlines()[0] if str(error) else "no message"
    return f"{type(error).__name__}: {reason.rpartition('(Caused by ')[2]}"[:200]


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
        if name in RENAMED:
            raise ValueError(f"parameter {name!r} is now {RENAMED[name]}")
        if name not in known:
            raise ValueError(unknown_word(f"parameter {name!r}", name, tuple(known)))
    missing = [n for n, p in known.items() if not p.get("optional") and n not in arguments]
    if missing:
        raise ValueError(f"the call of {process.id} lacks {missing}; add them to the arguments")
    polygon = polygon_of(arguments["spatial_extent"])
    given = {name: value for name, value in arguments.items() if name in KEYS and name != "spatial_extent"}
    check_udf_context(given)
    arguments = arguments | {"temporal_extent": whole_dates(arguments["temporal_extent"])}
    if "crs" in arguments["spatial_extent"]:  # back-ends take longitude and latitude
        arguments = arguments | {"spatial_extent": json.loads(json.dumps(mapping(polygon)))}
    return openeo.DataCube(graph=PGNode(process.id, arguments=arguments, namespace=namespace), connection=connection)


def whole_dates(interval: list) -> list[str]:
    """An interval as whole dates, since a back-end shifts its ends; ``["2021-05", "2021-07"]`` is May and June."""
    return [first_date(value, "temporal_extent").isoformat() for value in interval]


def submit(
    connection: openeo.Connection, graph: Any, title: str, options: dict[str, Any], *,
    progress: Callable[[str], None] = _log.info,
) -> BatchJob:  # fmt: skip
    """Start a batch job and wait for it, reporting its status.

    Raises
    ------
    BackEndError
        The job could not be created, or failed; its logs are on the back-end.
    """
    try:
        job = connection.create_job(graph, title=title, job_options=options)
        job.start_and_wait(print=progress)
    except (OSError, BaseOpenEoException) as error:
        raise BackEndError(
            f"the job failed ({_one_sentence(error)}); its logs on the back-end give the cause"
        ) from error
    for name, entry in ((job.describe() or {}).get("usage") or {}).items():
        if name.endswith("soft_errors") and entry.get("value"):
            progress(f"WARNING: {name} is {entry['value']:g}: that share of the images was left out as unreadable")
    return job
