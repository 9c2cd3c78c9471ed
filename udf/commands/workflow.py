"""``ndvi-fusion workflow``: the openEO process graph for a target, run locally, written to a file or submitted."""

import datetime
import json
import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from shapely import Polygon

from fusion.contract import SEASON_METHOD, STEP_DAYS, WINDOW_PX
from fusion.date_settings import FirstDate, LastDate
from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from fusion.place import LONLAT, latitude_of
from fusion.whole_file import whole_set, write_json
from udf.area import area_from
from udf.field_means import area_of, build_field_workflow, field_collection
from udf.local.grid import project
from udf.local.loading import open_raster
from udf.local.saving import SavedResult
from udf.local_backend import execute_graph
from udf.publish import PROCESS_ID, build_process, connect_back_end, job_options, save_process, submit, write_service
from udf.targets import TargetSettings
from udf.workflow import MARGIN_DAYS, OVERLAP_PX, WorkflowOptions, build_workflow

_log = logging.getLogger(__name__)
RESULTS = (
    "process_graph.json", "job_options.json", f"{PROCESS_ID}*.json", "service",
    "openEO*.tif", "openEO.nc", "openEO.zarr", "openEO.csv",
)  # fmt: skip


class WorkflowSettings(BaseModel):
    """``ndvi-fusion workflow``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: TargetSettings = Field(description="back-end: target=local (this machine), terrascope or cdse")
    out: Path = Field(description="folder for the graph and its results")
    source: Path | None = Field(Path("outputs/scene"), description="local: folder with s2.nc, s1.nc and coarse.nc")
    start: FirstDate = Field(datetime.date(2019, 1, 1), description="first date")
    end: LastDate = Field(datetime.date(2019, 12, 31), description="last date")
    area: dict[str, Any] | Path | None = Field(
        None, description="west, south, east, north and crs, or a GeoJSON file; null: whole extent of the local files"
    )
    polygons: Path | None = Field(
        None, description="polygons (.geojson, .gpkg, .parquet): a table of their means (CSV) instead of maps"
    )
    id: str | None = Field(None, description="column with the unique names of the polygons; id, or row numbers")
    step_days: int = Field(STEP_DAYS, ge=1, le=366, description="days between two dates of the fused series")
    output: Literal["fused", "smoothed", "seasons"] = Field("seasons", description="result to save")
    method: str = Field(
        SEASON_METHOD, description="method of the season dates; reference: that of the original workflow"
    )
    format: Literal["GTiff", "NetCDF", "Zarr"] = Field("NetCDF", description="file format")
    model: str | None = Field(
        None, description="local: model folder, .zip, run:ID or registry name; null: the shipped one"
    )
    window_px: int = Field(WINDOW_PX, ge=4, le=2048, description="window of apply_neighborhood, pixels of 10 m")
    overlap_px: int = Field(OVERLAP_PX, ge=0, le=512, description="overlap on every side of a window")
    margin_days: int = Field(
        MARGIN_DAYS, ge=0, le=400, description="days of observations loaded before start and after end"
    )
    radar_pass: Literal["all", "ascending", "descending"] = Field(
        "all", description="pass of Sentinel-1 to load; all: both, not levelled against each other"
    )
    context: dict[str, Any] = Field(default_factory=dict, description="further keys of the context of the UDFs")
    execute: bool = Field(True, description="local: also run the graph")
    archives_url: str | None = Field(None, description="back-ends: URL of the folder that holds the archives")
    service_url: str | None = Field(
        None, description="back-ends: raw URL under which the service folder will be published"
    )
    submit: bool = Field(False, description="back-ends: start a batch job and wait for it")
    publish: bool = Field(False, description="back-ends: save the process under your account, public")
    overwrite: bool = Field(False, description="replace all results of an earlier run in this folder")

    @model_validator(mode="after")
    def _consistent(self) -> "WorkflowSettings":
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}; swap them")
        if self.overlap_px > self.window_px:
            raise ValueError(f"overlap_px {self.overlap_px} exceeds window_px {self.window_px}; use a larger window")
        if self.polygons is not None and self.output == "seasons":
            raise ValueError("means of season dates mix fields with and without a season; set output=fused, and run "
                             "`ndvi-fusion fields table=openEO.csv fuse=false` on the result")  # fmt: skip
        if self.submit and ((self.area is None and self.polygons is None) or self.archives_url is None):
            raise ValueError("submit needs area and archives_url; set both")
        if (self.submit or self.publish) and not self.target.remote:
            raise ValueError(f"submit and publish need a back-end; target is {self.target.name}")
        return self


def run(settings: WorkflowSettings) -> str:
    """Write the graph, and run or submit it as set; returns a line for the terminal."""
    area_from(settings.area)  # refused before anything is written
    if settings.polygons is not None and settings.area is None and settings.target.remote:
        around = area_of(field_collection(settings.polygons, settings.id)).bbox()
        settings = settings.model_copy(update={"area": around})
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


def _graph(target: TargetSettings, settings: WorkflowSettings) -> Any:
    """The process graph: maps, or a table where there are polygons."""
    if settings.polygons is None:
        return build_workflow(target, options_of(settings))
    return build_field_workflow(target, options_of(settings), field_collection(settings.polygons, settings.id))


def _run_local(settings: WorkflowSettings, folder: Path) -> str:
    if settings.source is None:
        raise ValueError("target=local reads files: set source to the folder with s2.nc, s1.nc and coarse.nc")
    need = read_model_files(locate_model(settings.model))[1].overlap_px
    if settings.overlap_px < need:
        raise ValueError(
            f"overlap_px is {settings.overlap_px}, this model needs {need}; with less, seams appear between windows"
        )
    target = settings.target.model_copy(update=_present(settings.target, settings.source))
    graph = _graph(target, settings)
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
        graph = _graph(target, settings)
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
