"""``ndvi-fusion workflow``: the openEO process graph for a target, run locally, written to a file or submitted."""

import json
import logging
from pathlib import Path
from typing import Any

from shapely import Polygon

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from fusion.place import LONLAT, latitude_of
from fusion.whole_file import whole_set, write_json
from udf.area import area_from
from udf.commands.settings import WorkflowSettings
from udf.local.grid import project
from udf.local.loading import open_raster
from udf.local.saving import SavedResult
from udf.local_backend import execute_graph
from udf.publish import PROCESS_ID, build_process, connect_back_end, job_options, save_process, submit, write_service
from udf.targets import TargetSettings
from udf.workflow import WorkflowOptions, build_workflow

_log = logging.getLogger(__name__)
RESULTS = (
    "process_graph.json", "job_options.json", f"{PROCESS_ID}*.json", "service",
    "openEO*.tif", "openEO.nc", "openEO.zarr",
)  # fmt: skip


def run(settings: WorkflowSettings) -> str:
    """Write the graph, and run or submit it as set; returns a line for the terminal."""
    area_from(settings.area)  # refused before anything is written
    with whole_set(settings.out, RESULTS, overwrite=settings.overwrite) as folder:
        return _run_remote(settings, folder) if settings.target.remote else _run_local(settings, folder)


def options_of(settings: WorkflowSettings) -> WorkflowOptions:
    """Graph options of the settings."""
    context, latitude = dict(settings.context), None
    if not settings.target.remote:
        context.setdefault("model_dir", str(locate_model(settings.model)))
        if settings.area is None and settings.source is not None:
            with open_raster(settings.source / settings.target.s2_collection) as files:
                latitude = latitude_of(files)
    return WorkflowOptions(
        start=settings.start, end=settings.end, area=area_from(settings.area), step_days=settings.step_days,
        output=settings.output, method=settings.method, window_px=settings.window_px, overlap_px=settings.overlap_px,
        radar_pass=settings.radar_pass,
        format=settings.format, source=None if settings.target.remote else settings.source,
        margin_days=settings.margin_days, context=context, latitude=latitude,
    )  # fmt: skip


def _run_local(settings: WorkflowSettings, folder: Path) -> str:
    if settings.source is None:
        raise ValueError("target=local reads files: set source to the folder with s2.nc, s1.nc and coarse.nc")
    need = read_model_files(locate_model(settings.model))[1].overlap_px
    if settings.overlap_px < need:
        raise ValueError(
            f"overlap_px is {settings.overlap_px}, this model needs {need}; with less, seams appear between windows"
        )
    target = settings.target.model_copy(update=_present(settings.target, settings.source))
    graph = build_workflow(target, options_of(settings))
    path = _write_graph(folder / "process_graph.json", graph)
    if not settings.execute:
        return f"{settings.out / path.name}: process graph"
    saved = execute_graph(graph, folder)
    assert isinstance(saved, SavedResult)
    names = ", ".join(f.name for f in saved.files[:3]) + (" ..." if len(saved.files) > 3 else "")
    return f"{settings.out}: {len(saved.files)} file(s) of {settings.output}: {names}"


def _present(target: TargetSettings, source: Path) -> dict[str, Any]:
    """Changes of the target that leave out radar and coarse series whose files are missing."""
    if not source.is_dir():
        raise FileNotFoundError(f"source {source} is not a folder; make one with `ndvi-fusion simulate out={source}`")
    if not (source / target.s2_collection).exists():
        raise FileNotFoundError(
            f"{source} holds no {target.s2_collection}; Sentinel-2 is required, give another source"
        )
    changes: dict[str, Any] = {}
    if target.s1_collection is not None and not (source / target.s1_collection).exists():
        _log.warning("%s holds no %s: fusion without radar", source, target.s1_collection)
        changes["s1_collection"] = None
    there = tuple(c for c in target.coarse if (source / c.collection).exists())
    if len(there) < len(target.coarse):
        _log.warning("%s holds no coarse series: fusion without it", source)
        changes["coarse"] = there
    return changes


def _run_remote(settings: WorkflowSettings, folder: Path) -> str:
    target, written = settings.target, []
    process = build_process(target, settings.archives_url)
    written.append(write_json(folder / f"{process.id}.json", process.definition))
    example = {"area": _polygon(settings), "start": str(settings.start), "end": str(settings.end)}
    if settings.service_url is not None:
        written += write_service(folder / "service", process, target, settings.service_url, example)
    graph = None
    if settings.area is not None:
        graph = build_workflow(target, options_of(settings))
        written.append(_write_graph(folder / "process_graph.json", graph))
        written.append(write_json(folder / "job_options.json", job_options(target, settings.archives_url)))
    else:
        _log.warning("no area given: only the process with open parameters is written; set area to write a graph, too")
    if settings.publish:
        save_process(connect_back_end(target), process)
    if settings.submit:
        job = submit(
            connect_back_end(target),
            graph,
            f"ndvi-fusion {settings.output}",
            job_options(target, settings.archives_url),
        )
        written += [Path(p) for p in job.get_results().download_files(folder)]
    return f"{settings.out}: {', '.join(str(p.relative_to(folder)) for p in written)}"


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
