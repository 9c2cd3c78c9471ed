"""The two gaussian kernels that dilate the Sentinel-2 cloud mask, as in the original use case."""

from dataclasses import dataclass

import numpy as np

SCL_PIXEL_M = 20.0  # the scene classification's own grid, on which the kernel sizes are said
NARROW_PX, WIDE_PX = 9, 81  # on the 20 m grid; 17 and 161 px at 10 m
NARROW_THRESHOLD, WIDE_THRESHOLD = 0.057, 0.1


@dataclass(frozen=True)
class DilationKernel:
    """A normalised kernel (odd x odd) and the weighted share of flagged pixels above which a pixel is removed."""

    weights: np.ndarray
    threshold: float


def gaussian_kernel(size: int) -> np.ndarray:
    """Outer product of two gaussians with a standard deviation of ``size / 6`` pixels, sum 1, float64 (size, size)."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size is {size}; expected an odd number of pixels")
    offset = np.arange(size) - (size - 1) / 2
    line = np.exp(-(offset**2) / (2 * (size / 6.0) ** 2))
    weights = np.outer(line, line)
    return weights / weights.sum()


def dilation_kernels(narrow_px: int = NARROW_PX, wide_px: int = WIDE_PX) -> tuple[DilationKernel, DilationKernel]:
    """The narrow kernel (for everything that is not clear land or water) and the wide one (for cloud and shadow)."""
    return (
        DilationKernel(gaussian_kernel(narrow_px), NARROW_THRESHOLD),
        DilationKernel(gaussian_kernel(wide_px), WIDE_THRESHOLD),
    )


def kernel_sizes(pixel_m: float) -> tuple[int, int]:
    """Kernel sizes in pixels of a grid of ``pixel_m`` metres: 9 and 81 at 20 m, 17 and 161 at 10 m."""
    ratio = SCL_PIXEL_M / float(pixel_m)
    narrow, wide = (int((n - 1) * ratio) // 2 * 2 + 1 for n in (NARROW_PX, WIDE_PX))
    return narrow, wide
