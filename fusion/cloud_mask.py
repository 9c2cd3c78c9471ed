"""The Sentinel-2 cloud mask: scene classes, two Gaussian kernels, two thresholds.

A pixel is removed where the Gaussian-weighted share of flagged pixels around it exceeds a threshold. ``NARROW`` flags
every class except clear land and water, ``WIDE`` flags cloud and cloud shadow. Pixels outside the image count as not
flagged. (Source: the CropSAR 2D use case of openEO, Terrascope's ``to_scl_dilation_mask``.)
"""

from dataclasses import dataclass

import numpy as np

# Sentinel-2 L2A scene classification (Sentinel-2 L2A ATBD)
SCL_CLEAR = (4, 5, 6, 7)  # vegetation, bare, water, unclassified
SCL_CLOUD = (3, 8, 9, 10)  # cloud shadow, cloud medium, cloud high, thin cirrus
SCL_INVALID = (0, 1, 2, 11)  # nodata, saturated, dark or topographic shadow, snow
SCL_PIXEL_M = 20.0  # native grid of the scene classification; kernel sizes are stated for it
SIZE_PER_STD = 6.0  # a kernel spans six standard deviations


@dataclass(frozen=True)
class MaskKernel:
    """One of the two kernels: flagged classes, width, and the weighted share above which a pixel is removed.

    ``classes`` are flagged; with ``flags_others`` all other classes are flagged instead. ``size_20m`` is the width of
    the kernel in pixels of 20 m, odd.
    """

    classes: tuple[int, ...]
    flags_others: bool
    size_20m: int
    threshold: float

    @property
    def reach_m(self) -> float:
        """Distance from the kernel's centre to the centre of its outermost pixel, metres."""
        return (self.size_20m - 1) / 2 * SCL_PIXEL_M

    def flagged(self, scl: np.ndarray) -> np.ndarray:
        """Flagged pixels, which this kernel smooths: bool, same shape as the scene classes ``scl``."""
        return np.isin(scl, self.classes) != self.flags_others

    def size_px(self, pixel_m: float) -> int:
        """Width of the kernel in pixels of ``pixel_m`` metres, always odd: the centre pixel plus twice the reach,
        rounded to whole pixels (half up).

        >>> [NARROW.size_px(m) for m in (10, 12, 20, 30)], [WIDE.size_px(m) for m in (10, 12, 20, 30)]
        ([17, 15, 9, 7], [161, 135, 81, 55])
        """
        return 2 * int(self.reach_m / float(pixel_m) + 0.5) + 1


NARROW = MaskKernel(SCL_CLEAR, flags_others=True, size_20m=9, threshold=0.057)
WIDE = MaskKernel(SCL_CLOUD, flags_others=False, size_20m=81, threshold=0.1)
MASK_KERNELS = (NARROW, WIDE)


def gaussian_weights(size: int) -> np.ndarray:
    """One axis of a kernel of ``size`` pixels, sum 1, float64 (size,); the kernel is its outer product with itself.

    Raises
    ------
    ValueError
        The size is even or below 1: such a kernel has no centre pixel.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size is {size}; expected an odd number of pixels")
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (offsets / (size / SIZE_PER_STD)) ** 2)
    return weights / weights.sum()


def gaussian_kernel(size: int) -> np.ndarray:
    """The two-dimensional kernel, sum 1, float64 (size, size); see :func:`gaussian_weights`."""
    line = gaussian_weights(size)
    return np.outer(line, line)
