"""The cloud mask as a process graph: scene classes near a pixel, by convolution or by the back-end's own process."""

import numpy as np
from openeo.processes import ProcessBuilder
from openeo.rest.datacube import DataCube

from fusion.cloud_mask import MASK_KERNELS, NARROW, WIDE, gaussian_kernel
from udf.targets import TargetSettings


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
