"""The original workflow as an openEO process graph, built with the openEO client for any target, without a connection.

Load Sentinel-2 and its classes; mask clouds, dilated; NDVI; merge Sentinel-1 and the coarse NDVI, both resampled;
``mask_polygon``; fusion by ``apply_neighborhood``; smoothing, phenology by ``apply_dimension`` over t; crop; save.
"""

import datetime
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from openeo import UDF
from openeo.api.process import Parameter
from openeo.internal.graph_building import PGNode
from openeo.rest.datacube import DataCube
from openeo.rest.result import SaveResult

from fusion.cloud_mask import SCL_PIXEL_M, WIDE
from fusion.contract import (
    COARSE_NDVI,
    RADAR_DB_RANGE,
    RADAR_POWER_RANGE,
    S2NDVI,
    SEASON_METHOD,
    STEP_DAYS,
    VH,
    VV,
    WINDOW_PX,
)  # fmt: skip
from fusion.dates import first_date, last_date
from udf.area import Area
from udf.mask_graph import cloud_masks
from udf.targets import CoarseSource, TargetSettings

UDF_RUNTIME, UDF_RUNTIME_VERSION = "Python", "3.11"
CONTEXT_PARAMETER = {"from_parameter": "context"}  # only so the context of the parent process reaches a UDF
OVERLAP_PX = 16  # required by the manifest of the shipped model
MARGIN_DAYS = 60  # observations loaded before and after the period, so that its ends have some on both sides
LEAD_DAYS = 122  # the fused series of season maps begins so long before the period: 1 September for a calendar year
MASK_REACH_M = WIDE.reach_m + SCL_PIXEL_M  # radius of the wide dilation kernel, and one pixel as margin


@dataclass(frozen=True)
class WorkflowOptions:
    """Options of the graph that do not depend on the target.

    ``start`` and ``end`` are dates, or parameters of a published process. ``area`` is None for the whole
    extent of local files; ``latitude`` is that of its centre when not given. ``output``: "fused" (NDVI and sigma),
    "smoothed" (daily series), "seasons" (season maps). ``lead_days``: the fused series begins so many days before
    ``start`` and carries observation counts; set for season maps by :func:`build_workflow`. ``radar_pass`` takes one
    pass of Sentinel-1; "all" mixes passes without levelling them.
    """

    start: datetime.date | Parameter
    end: datetime.date | Parameter
    area: Area | Parameter | None = None
    step_days: int | Parameter = STEP_DAYS
    output: Literal["fused", "smoothed", "seasons"] | Parameter = "seasons"
    method: str | Parameter = SEASON_METHOD
    window_px: int = WINDOW_PX
    overlap_px: int = OVERLAP_PX
    format: Literal["GTiff", "NetCDF", "Zarr"] = "NetCDF"
    source: Path | None = None
    margin_days: int = MARGIN_DAYS
    lead_days: int = 0
    radar_pass: Literal["all", "ascending", "descending"] = "all"
    latitude: float | Parameter | None = None
    context: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # nodes shared by several loads

    def __post_init__(self) -> None:
        for name, read in (("start", first_date), ("end", last_date)):
            if not isinstance(getattr(self, name), Parameter):
                object.__setattr__(self, name, read(getattr(self, name), name))
        start, end = self.start, self.end
        if isinstance(start, datetime.date) and isinstance(end, datetime.date) and end < start:
            raise ValueError(f"the period ends ({end}) before it starts ({start}); swap start and end")
        if self.overlap_px > self.window_px:
            raise ValueError(
                f"overlap_px is {self.overlap_px} and window_px {self.window_px}; back-ends shift results when the "
                "overlap exceeds the window"
            )


def udf_source(name: Literal["fusion_udf", "phenology_udf"]) -> str:
    """Source of a generated single-file UDF, exactly as in ``udf/dist``."""
    return files("udf").joinpath("dist", f"{name}.py").read_text(encoding="utf-8")


def build_workflow(
    target: TargetSettings,
    options: WorkflowOptions,
    *,
    fusion_code: str | None = None,
    phenology_code: str | None = None,
    save: bool = True,
) -> SaveResult | DataCube:
    """The whole graph, ending in ``save_result`` unless ``save`` is off; the UDFs of ``udf/dist`` by default."""
    if phenology_code is None and options.method != "reference" and options.output not in ("fused", "smoothed"):
        options = replace(options, lead_days=LEAD_DAYS)  # also where a parameter may ask for season maps
    cube = merged_cube(target, options)
    cube = fused_cube(cube, target, options, fusion_code or udf_source("fusion_udf"))
    if options.output != "fused":
        cube = phenology_cube(cube, options, phenology_code or udf_source("phenology_udf"))
    cube = cropped(cube, options)
    return cube.save_result(format=options.format) if save else cube


def merged_cube(target: TargetSettings, options: WorkflowOptions) -> DataCube:
    """The merged cube of the contract: S2NDVI masked, VV, VH, COARSE_NDVI on the Sentinel-2 grid."""
    ndvi = masked_ndvi(target, options)
    cube = ndvi
    if target.s1_collection is not None:
        cube = cube.merge_cubes(radar(target, options, ndvi))
    coarse = coarse_ndvi(target, options, ndvi)
    return cube if coarse is None else cube.merge_cubes(coarse)


def masked_ndvi(target: TargetSettings, options: WorkflowOptions) -> DataCube:
    """NDVI with band label S2NDVI, clouds removed by the dilated scene classification."""
    bands = _load(target.s2_collection, [target.red_band, target.nir_band], options)
    scl = _load(target.scl_collection, [target.scl_band], options)
    seen = bands.mask(bands.apply(_no_reflectance(target.s2_dn)))
    ndvi = seen.ndvi(nir=target.nir_band, red=target.red_band)
    for mask in cloud_masks(scl, target):
        if target.remote and target.scl_pixel_m != 10:
            mask = mask.resample_cube_spatial(bands, method="near")
        ndvi = ndvi.mask(mask)
    return ndvi.add_dimension(name="bands", label=S2NDVI, type="bands")


def _no_reflectance(dn: float):
    """Digital numbers 0 and 1 are no data, as in files (:data:`fusion.contract.REFLECTANCE_RANGE`)."""
    return lambda x: (x > -0.5 * dn).and_(x < 1.5 * dn)


def _no_backscatter(units: str):
    """What is outside the limits is removed before resampling spreads it."""
    limits = RADAR_DB_RANGE if units == "dB" else RADAR_POWER_RANGE
    return lambda x: (x < limits.low).or_(x > limits.high)


def radar(target: TargetSettings, options: WorkflowOptions, grid: DataCube) -> DataCube:
    """VV and VH on the Sentinel-2 grid, in the units that the collection delivers."""
    assert target.s1_collection is not None
    cube = _load(target.s1_collection, [target.vv_band, target.vh_band], options, properties=_pass(target, options))
    if target.s1_process == "sar_backscatter":
        cube = cube.process(
            "sar_backscatter", data=cube, coefficient=target.s1_coefficient, elevation_model="COPERNICUS_30",
            noise_removal=True,
        )  # fmt: skip
    cube = cube.mask(cube.apply(_no_backscatter(target.s1_units)))
    cube = cube.resample_cube_spatial(grid, method=target.s1_resampling)
    return (
        cube.rename_labels(dimension="bands", target=[VV, VH]) if [target.vv_band, target.vh_band] != [VV, VH] else cube
    )


def _pass(target: TargetSettings, options: WorkflowOptions) -> dict[str, Any] | None:
    """Condition on the items of Sentinel-1: one pass, since a graph cannot level passes against each other."""
    if options.radar_pass == "all":
        return None
    if target.s1_pass_property is None:
        raise ValueError(
            f"radar_pass is {options.radar_pass!r}, but target {target.name} does not know which property of "
            f"{target.s1_collection} tells the pass; set target.s1_pass_property, or radar_pass=all"
        )
    wanted = options.radar_pass.upper()
    return {target.s1_pass_property: lambda value: value == wanted}


def coarse_ndvi(target: TargetSettings, options: WorkflowOptions, grid: DataCube) -> DataCube | None:
    """The coarse role on the Sentinel-2 grid, from one collection or two consecutive ones; None without one.

    It is masked with the polygon, if given, as PROBA-V in the original workflow. Sentinel-2 and -1 are not masked, so
    that pixels at the border of a field keep their surroundings; the crop after the fusion removes pixels outside.
    """
    parts = [_coarse_part(source, target, options, grid) for source in target.coarse if not _outside(source, options)]
    if not parts:
        return None
    cube = parts[0]
    for part in parts[1:]:
        cube = cube.merge_cubes(part, overlap_resolver="max")  # never called: their dates do not overlap
    polygon = _polygon(options)
    return cube if polygon is None else cube.mask_polygon(mask=polygon)


def _polygon(options: WorkflowOptions) -> Parameter | dict[str, Any] | None:
    area = options.area
    return area.geometry if isinstance(area, Area) else area


def _outside(source: CoarseSource, options: WorkflowOptions) -> bool:
    if not isinstance(options.start, datetime.date) or not isinstance(options.end, datetime.date):
        return False
    margin = datetime.timedelta(days=options.margin_days)
    late = source.first is not None and options.end + margin < source.first
    return late or (source.last is not None and options.start - margin > source.last)


def _coarse_part(source: CoarseSource, target: TargetSettings, options: WorkflowOptions, grid: DataCube) -> DataCube:
    cube = _load(source.collection, [source.band], options, source.first, source.last)
    if source.valid_max is not None:
        cube = cube.mask(cube > source.valid_max)
    if source.scale != 1.0 or source.offset != 0.0:
        cube = cube.apply(lambda x: x * source.scale + source.offset)
    cube = cube.resample_cube_spatial(grid, method=target.coarse_resampling)
    return cube.rename_labels(dimension="bands", target=[COARSE_NDVI])


def fused_cube(cube: DataCube, target: TargetSettings, options: WorkflowOptions, code: str) -> DataCube:
    """Dense NDVI and NDVI_SIGMA by the fusion UDF, window by window."""
    context = {
        "start": _date_text(options.start), "end": _date_text(options.end), "step_days": options.step_days,
        "s1_units": target.s1_units, "latitude": _latitude(options), **({} if target.remote else {"deps_dir": None}),
        **({"counts": True, "lead_days": options.lead_days} if options.lead_days else {}), **options.context,
    }  # fmt: skip
    return cube.apply_neighborhood(
        process=UDF(code, runtime=UDF_RUNTIME, version=UDF_RUNTIME_VERSION, context=CONTEXT_PARAMETER),
        size=[{"dimension": d, "value": options.window_px, "unit": "px"} for d in ("x", "y")],
        overlap=[{"dimension": d, "value": options.overlap_px, "unit": "px"} for d in ("x", "y")]
        if options.overlap_px
        else [],
        context=_plain(context),
    )


def _latitude(options: WorkflowOptions) -> float | Parameter | None:
    """The given latitude, else that of the centre of the area."""
    if options.latitude is not None or not isinstance(options.area, Area):
        return options.latitude
    return round(options.area.latitude, 1)


def phenology_cube(cube: DataCube, options: WorkflowOptions, code: str) -> DataCube:
    """Season maps, or the smoothed series, by the phenology UDF over t."""
    context = {
        "method": options.method, "output": options.output,
        "start": _date_text(options.start), "end": _date_text(options.end),
    }  # fmt: skip
    context |= {k: v for k, v in options.context.items() if k in ("phenology", "smoothing")}
    return cube.apply_dimension(
        process=UDF(code, runtime=UDF_RUNTIME, version=UDF_RUNTIME_VERSION, context=CONTEXT_PARAMETER),
        dimension="t",
        context=_plain(context),
    )


def cropped(cube: DataCube, options: WorkflowOptions) -> DataCube:
    """The cube without the margin loaded for mask and overlap, and without pixels outside the polygon."""
    area, polygon = options.area, _polygon(options)
    if polygon is not None:
        return cube.filter_spatial(geometries=polygon)
    return cube.filter_bbox(**area.bbox()) if isinstance(area, Area) else cube


def _load(
    collection: str, bands: list[str], options: WorkflowOptions, first: datetime.date | None = None,
    last: datetime.date | None = None, properties: dict[str, Any] | None = None,
) -> DataCube:  # fmt: skip
    if options.source is not None:
        collection = str(options.source / collection)
    return DataCube.load_collection(
        collection_id=collection, connection=None, fetch_metadata=False, bands=bands,
        spatial_extent=_load_extent(options), temporal_extent=_load_period(options, first, last),
        properties=properties,
    )  # fmt: skip


def _load_extent(options: WorkflowOptions) -> Any:
    margin = MASK_REACH_M + 10.0 * options.overlap_px
    if isinstance(options.area, Parameter):
        node = PGNode("vector_buffer", geometries={"from_parameter": options.area.name}, distance=margin)
        return options.shared.setdefault("extent", node)
    return None if options.area is None else options.area.bbox(margin_m=margin)


def _load_period(options: WorkflowOptions, first: datetime.date | None, last: datetime.date | None) -> list:
    """Left-closed interval to load: the period with its margin, cut to the dates that the collection covers."""
    if isinstance(options.start, Parameter) or isinstance(options.end, Parameter):
        ends = [
            _shifted(options.start, -options.margin_days - options.lead_days),
            _shifted(options.end, options.margin_days + 1),
        ]
        return options.shared.setdefault("period", ends)
    start = options.start - datetime.timedelta(days=options.margin_days + options.lead_days)
    end = options.end + datetime.timedelta(days=options.margin_days + 1)
    start = max(start, first) if first else start
    end = min(end, last + datetime.timedelta(days=1)) if last else end
    return [start.isoformat(), end.isoformat()]


def _shifted(date: datetime.date | Parameter, days: int) -> PGNode | str:
    if isinstance(date, Parameter):
        return PGNode("date_shift", date={"from_parameter": date.name}, value=days, unit="day")
    return (date + datetime.timedelta(days=days)).isoformat()


def _date_text(date: datetime.date | Parameter) -> Any:
    return date.isoformat() if isinstance(date, datetime.date) else date


def _plain(context: dict[str, Any]) -> dict[str, Any]:
    """The context as plain JSON, with parameters as references."""
    return {k: {"from_parameter": v.name} if isinstance(v, Parameter) else v for k, v in context.items()}
