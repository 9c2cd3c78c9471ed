"""Optical sensors of the process graph: masked NDVI of Sentinel-2, and coarse NDVI on its grid."""

import datetime
from typing import Any

import numpy as np
from openeo.api.process import Parameter
from openeo.processes import ProcessBuilder
from openeo.rest.datacube import DataCube

from fusion.cloud_mask import MASK_KERNELS, NARROW, WIDE, gaussian_kernel
from fusion.contract import COARSE_NDVI, REFLECTANCE_RANGE, S2NDVI
from udf.area import Area
from udf.graph_loading import load
from udf.graph_options import WorkflowOptions
from udf.targets import CoarseSource, TargetSettings


def masked_ndvi(target: TargetSettings, options: WorkflowOptions) -> DataCube:
    """NDVI with band label S2NDVI, clouds removed by the dilated scene classification."""
    bands = load(target.s2_collection, [target.red_band, target.nir_band], options)
    scl = load(target.scl_collection, [target.scl_band], options)
    seen = bands.mask(bands.apply(_no_reflectance(target.s2_dn)))
    ndvi = seen.ndvi(nir=target.nir_band, red=target.red_band)
    for mask in cloud_masks(scl, target):
        if target.remote and target.scl_pixel_m != 10:
            mask = mask.resample_cube_spatial(bands, method="near")
        ndvi = ndvi.mask(mask)
    return ndvi.add_dimension(name="bands", label=S2NDVI, type="bands")


def _no_reflectance(dn: float):
    """Digital numbers 0 and 1, and those above a reflectance of 2 (65535), are no data, as in files.

    The limits are those of :data:`fusion.contract.REFLECTANCE_RANGE`.
    """
    return lambda x: (x > -0.5 * dn).and_(x < 1.5 * dn).or_(x > REFLECTANCE_RANGE.high * 1e4 * dn)


def cloud_masks(scl: DataCube, target: TargetSettings) -> list[DataCube]:
    """Masks without a band dimension, nonzero = remove: everything near non-clear classes, everything around clouds."""
    sizes = [kernel.size_px(target.scl_pixel_m) for kernel in MASK_KERNELS]
    if target.cloud_mask == "to_scl_dilation_mask":
        mask = scl.process(
            "to_scl_dilation_mask", data=scl, kernel1_size=sizes[0], kernel2_size=sizes[1],
            mask1_values=list(NARROW.classes), mask2_values=list(WIDE.classes), erosion_kernel_size=0,
        )  # fmt: skip
        return [mask]
    unclear = scl.reduce_dimension(dimension="bands", reducer=_is_not_in(NARROW.classes))
    cloud = scl.reduce_dimension(dimension="bands", reducer=_is_in(WIDE.classes))
    return [
        flagged.apply_kernel(kernel=_short(gaussian_kernel(size)), border=0, replace_invalid=0) > kernel.threshold
        for flagged, kernel, size in zip((unclear, cloud), MASK_KERNELS, sizes, strict=True)
    ]


def _short(weights: np.ndarray) -> list[list[float]]:
    """The kernel as nested lists with seven digits: float32 precision at half the size of the graph."""
    return [[float(f"{w:.7g}") for w in row] for row in weights]


def _is_in(classes: tuple[int, ...]):
    def reducer(data: ProcessBuilder) -> ProcessBuilder:
        value = data.array_element(index=0)
        found: ProcessBuilder = value == classes[0]
        for other in classes[1:]:
            found = found.or_(value == other)
        return found.multiply(1.0)

    return reducer


def _is_not_in(classes: tuple[int, ...]):
    def reducer(data: ProcessBuilder) -> ProcessBuilder:
        value = data.array_element(index=0)
        missing: ProcessBuilder = value != classes[0]
        for other in classes[1:]:
            missing = missing.and_(value != other)
        return missing.multiply(1.0)

    return reducer


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
    polygon = polygon_of_options(options)
    return cube if polygon is None else cube.mask_polygon(mask=polygon)


def _outside(source: CoarseSource, options: WorkflowOptions) -> bool:
    if options.start is None or options.end is None:
        return False
    margin = datetime.timedelta(days=options.margin_days)
    late = source.first is not None and options.end + margin < source.first
    return late or (source.last is not None and options.start - margin > source.last)


def _coarse_part(source: CoarseSource, target: TargetSettings, options: WorkflowOptions, grid: DataCube) -> DataCube:
    cube = load(source.collection, [source.band], options, source.first, source.last)
    if source.valid_max is not None:
        cube = cube.mask(cube > source.valid_max)
    if source.scale != 1.0 or source.offset != 0.0:
        cube = cube.apply(lambda x: x * source.scale + source.offset)
    cube = cube.resample_cube_spatial(grid, method=target.coarse_resampling)
    return cube.rename_labels(dimension="bands", target=[COARSE_NDVI])


def polygon_of_options(options: WorkflowOptions) -> Parameter | dict[str, Any] | None:
    """The polygon of the area: GeoJSON, or the parameter that holds it; None for a bounding box."""
    area = options.area
    return area.geometry if isinstance(area, Area) else area
