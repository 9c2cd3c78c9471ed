"""The original workflow as an openEO process graph, built with the openEO client for any target, without a connection.

Load Sentinel-2 and its classes; mask clouds, dilated; NDVI; merge Sentinel-1 and the coarse NDVI, both resampled;
``mask_polygon``; fusion by ``apply_neighborhood``; smoothing, phenology by ``apply_dimension`` over t; crop; save.
The sensors stand in :mod:`udf.graph_sensors` and :mod:`udf.graph_radar`, the options in :mod:`udf.graph_options`.
"""

from dataclasses import replace
from importlib.resources import files
from typing import Any, Literal

from openeo import UDF
from openeo.api.process import Parameter
from openeo.rest.datacube import DataCube
from openeo.rest.result import SaveResult

from udf.area import Area
from udf.graph_options import WorkflowOptions, check_udf_context
from udf.graph_radar import radar
from udf.graph_sensors import coarse_ndvi, masked_ndvi, polygon_of_options
from udf.targets import TargetSettings

UDF_RUNTIME, UDF_RUNTIME_VERSION = "Python", "3.11"
CONTEXT_PARAMETER = {"from_parameter": "context"}  # only so the context of the parent process reaches a UDF


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
    options = replace(options, own_phenology=phenology_code is not None)
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


def fused_cube(cube: DataCube, target: TargetSettings, options: WorkflowOptions, code: str) -> DataCube:
    """Dense NDVI and NDVI_SIGMA by the fusion UDF, window by window."""
    context = {
        **options.dates(), "step_days": options.step_days, "s1_units": target.s1_units, **_place(options),
        **({"counts": True, "lead_days": options.lead_days} if options.lead_days else {}),
        **({"window_px": options.window_px, "overlap_px": options.overlap_px} if options.overlap_px else {}),
        **options.context,
    }  # fmt: skip
    if not target.remote:
        context.setdefault("deps_dir", None)
    check_udf_context(context)
    return cube.apply_neighborhood(
        process=UDF(code, runtime=UDF_RUNTIME, version=UDF_RUNTIME_VERSION, context=CONTEXT_PARAMETER),
        size=[{"dimension": d, "value": options.window_px, "unit": "px"} for d in ("x", "y")],
        overlap=[{"dimension": d, "value": options.overlap_px, "unit": "px"} for d in ("x", "y")]
        if options.overlap_px
        else [],
        context=_plain(context),
    )


def _place(options: WorkflowOptions) -> dict[str, Any]:
    """Where the area lies, which a chunk cannot tell: the given latitude, that of its centre, or the parameter."""
    if options.latitude is None and isinstance(options.area, Parameter):
        return {"spatial_extent": options.area}
    if options.latitude is None and isinstance(options.area, Area):
        return {"latitude": round(options.area.latitude, 1)}
    return {"latitude": options.latitude}


def phenology_cube(cube: DataCube, options: WorkflowOptions, code: str) -> DataCube:
    """Season maps, or the smoothed series, by the phenology UDF over t."""
    context = {"method": options.method, "output": options.output, **options.dates()}
    context |= {k: v for k, v in options.context.items() if k in ("phenology", "smoothing")}
    check_udf_context(context)
    return cube.apply_dimension(
        process=UDF(code, runtime=UDF_RUNTIME, version=UDF_RUNTIME_VERSION, context=CONTEXT_PARAMETER),
        dimension="t",
        context=_plain(context),
    )


def cropped(cube: DataCube, options: WorkflowOptions) -> DataCube:
    """The cube without the margin loaded for mask and overlap, and without pixels outside the polygon."""
    area, polygon = options.area, polygon_of_options(options)
    if polygon is not None:
        return cube.filter_spatial(geometries=polygon)
    return cube.filter_bbox(**area.bbox()) if isinstance(area, Area) else cube


def _plain(context: dict[str, Any]) -> dict[str, Any]:
    """The context as plain JSON, with parameters as references."""
    return {k: {"from_parameter": v.name} if isinstance(v, Parameter) else v for k, v in context.items()}
