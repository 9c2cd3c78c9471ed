"""``ndvi-fusion workflow``: the openEO process graph for a target, run locally, written to a file or submitted."""

import datetime
import json
import logging
from pathlib import Path
from typing import Any

import dask
from shapely import Polygon

from fusion.place import LONLAT
from fusion.progress import Progress
from fusion.whole_file import whole_set, write_json
from udf.area import area_from
from udf.commands.settings import WorkflowSettings
from udf.cost import StatedCost, estimate_text, stated_cost
from udf.field_means import area_of, build_field_workflow, field_collection
from udf.graph_options import WorkflowOptions
from udf.local.grid import project
from udf.local.saving import SavedResult
from udf.local_backend import execute_graph
from udf.local_run import latitude_of_source, local_model, present_sensors
from udf.publish import (
    PROCESS_ID,
    PublishedProcess,
    build_process,
    connect_back_end,
    job_options,
    save_process,
    submit,
)
from udf.service import refuse_placeholders, write_service
from udf.steps import mermaid, step_lines
from udf.targets import TargetSettings
from udf.workflow import build_workflow

_log = logging.getLogger(__name__)
RESULTS = (
    "process_graph.json", "job_options.json", f"{PROCESS_ID}*.json", "service",
    "openEO*.tif", "openEO.nc", "openEO.zarr", "openEO.csv",
)  # fmt: skip


def run(settings: WorkflowSettings) -> str:
    """Write the graph, and run or submit it as set; returns text for the terminal.

    Everything is checked before anything is written, and a back-end is connected to before that.
    """
    settings = _around_polygons(settings)
    if settings.estimate:
        return estimate_text(_target_of(settings), options_of(settings), settings.model, settings.price)
    if settings.dry_run:
        graph = _graph(settings, options_of(settings)).flat_graph()
        graph = json.loads(json.dumps(graph))
        return "\n".join([*step_lines(graph), "", "```mermaid", mermaid(graph), "```", *_warnings(settings)])
    if settings.service_url is not None:
        refuse_placeholders(settings.service)
    options = options_of(settings) if settings.area is not None or not settings.target.remote else None
    process = build_process(settings.target, settings.archives_url) if settings.target.remote else None
    connection = connect_back_end(settings.target) if settings.submit or settings.publish else None
    with whole_set(settings.out, RESULTS, overwrite=settings.overwrite) as folder:
        if process is not None:
            return _run_remote(settings, folder, process, options, connection)
        assert options is not None
        return _run_local(settings, folder, options)


def options_of(settings: WorkflowSettings) -> WorkflowOptions:
    """Graph options of the settings, checked as the UDFs will check them."""
    context, latitude, target = dict(settings.context), None, settings.target
    if not target.remote:
        if settings.source is None:
            raise ValueError("target=local reads files: set source to the folder with s2.nc, s1.nc and coarse.nc")
        context.setdefault("model_dir", local_model(settings.model, settings.overlap_px))
        present_sensors(target, settings.source)
        if settings.area is None:
            latitude = latitude_of_source(target, settings.source)
    return WorkflowOptions(
        start=settings.start, end=settings.end, area=area_from(settings.area), step_days=settings.step_days,
        output=settings.output, method=settings.method, window_px=settings.window_px, overlap_px=settings.overlap_px,
        radar_pass=settings.radar_pass, radar_satellites=settings.radar_satellites,
        radar_levelled=settings.radar_levelled,
        format=settings.format, source=None if target.remote else settings.source,
        margin_days=settings.margin_days, context=context, latitude=latitude,
    )  # fmt: skip


def _around_polygons(settings: WorkflowSettings) -> WorkflowSettings:
    """With the rectangle around the polygons as area, where a back-end would have none."""
    if settings.polygons is None or settings.area is not None or not settings.target.remote:
        return settings
    around = area_of(field_collection(settings.polygons, settings.id)).bbox()
    return settings.model_copy(update={"area": around})


def _graph(settings: WorkflowSettings, options: WorkflowOptions) -> Any:
    """The process graph: it ends in maps, or in a table where there are polygons."""
    if settings.polygons is None:
        return build_workflow(_target_of(settings), options)
    return build_field_workflow(_target_of(settings), options, field_collection(settings.polygons, settings.id))


def _target_of(settings: WorkflowSettings) -> TargetSettings:
    """The target with the sensors that there are."""
    if settings.target.remote:
        return settings.target
    assert settings.source is not None
    return present_sensors(settings.target, settings.source)


def _warnings(settings: WorkflowSettings) -> list[str]:
    """What a back-end would stumble over, for the end of the output."""
    if settings.target.remote and settings.archives_url is None:
        return [
            "WARNING: without archives_url the graph names no archives, so a job of it fails for want of the model; "
            "upload the folder of `ndvi-fusion package` and set archives_url to its URL"
        ]
    return []


def _run_local(settings: WorkflowSettings, folder: Path, options: WorkflowOptions) -> str:
    graph = _graph(settings, options)
    path = _write_graph(folder / "process_graph.json", graph)
    if not settings.execute:
        return f"{settings.out / path.name}: process graph"
    workers = {} if settings.workers is None else {"num_workers": settings.workers}
    with Progress("computing") as report, dask.config.set(workers):
        saved = execute_graph(graph, folder, progress=report, unfinished=settings.out)
    assert isinstance(saved, SavedResult)
    names = ", ".join(f.name for f in saved.files[:3]) + (" ..." if len(saved.files) > 3 else "")
    return f"{settings.out}: {len(saved.files)} file(s) of {settings.output}: {names}"


def _run_remote(
    settings: WorkflowSettings, folder: Path, process: PublishedProcess, options: WorkflowOptions | None,
    connection: Any,
) -> str:  # fmt: skip
    target, written = settings.target, []
    written.append(write_json(folder / f"{process.id}.json", process.definition))
    after = (settings.end + datetime.timedelta(days=1)).isoformat()
    example = {"spatial_extent": _polygon(settings), "temporal_extent": [settings.start.isoformat(), after]}
    if settings.service_url is not None:
        assert settings.archives_url is not None
        written += write_service(
            folder / "service", process, target, settings.service, settings.service_url, settings.archives_url,
            example, _stated_cost(settings),
        )  # fmt: skip
    graph, jobs = None, job_options(target, settings.archives_url)
    if options is not None:
        graph = _graph(settings, options)
        written.append(_write_graph(folder / "process_graph.json", graph))
        written.append(write_json(folder / "job_options.json", jobs))
    else:
        _log.warning("no area given: only the process with open parameters is written; set area to write a graph, too")
    if settings.publish:
        save_process(connection, process)
    if settings.submit:
        job = submit(connection, graph, f"ndvi-fusion {settings.output}", jobs)
        written += [Path(p) for p in job.get_results().download_files(folder)]
    line = f"{settings.out}: {', '.join(str(p.relative_to(folder)) for p in written)}"
    return "\n".join([line, *_warnings(settings)])


def _stated_cost(settings: WorkflowSettings) -> StatedCost | None:
    """What the service's record states, of a year and an area of the settings; null there: nothing."""
    if settings.service.cost_km2 is None:
        return None
    chosen = ("step_days", "output", "method", "window_px", "overlap_px", "margin_days", "context")
    options = WorkflowOptions("2021", "2021", **{name: getattr(settings, name) for name in chosen})  # type: ignore[arg-type]
    return stated_cost(settings.target, options, settings.service.cost_km2, settings.price, model=settings.model)


def _polygon(settings: WorkflowSettings) -> dict[str, Any]:
    """The area as GeoJSON polygon; a field near Mol, Belgium, when none is given."""
    area = area_from(settings.area) or area_from({"west": 5.07, "south": 51.215, "east": 5.08, "north": 51.222})
    assert area is not None
    if area.geometry is not None:
        return area.geometry
    corners = [(area.west, area.south), (area.east, area.south), (area.east, area.north), (area.west, area.north)]
    ring = [[round(v, 7) for v in corner] for corner in project(Polygon(corners), area.crs, LONLAT).exterior.coords]
    return {"type": "Polygon", "coordinates": [ring]}


def _write_graph(path: Path, graph: Any) -> Path:
    """The graph as JSON (through text, as it is sent to a back-end)."""
    return write_json(path, {"process_graph": json.loads(json.dumps(graph.flat_graph()))})
