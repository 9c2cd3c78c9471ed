"""A patch discriminator over space and time, conditioned on features of the generator."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fusion.contract import NDVI_CENTRE, NDVI_UNIT


class PatchDiscriminator(nn.Module):
    """Rates overlapping patches of an NDVI series with 3-D convolutions, spectrally normalised except for the last.

    Input channels are the NDVI, its difference from the linear interpolation and its spatial gradients, which
    emphasise texture over level, and the conditions.

    Parameters
    ----------
    conditions : int
        Number of feature channels used as conditions (radar change, coarse change, distance to observations).
    width : int
        Channels of the first convolution.
    """

    def __init__(self, conditions: int, width: int = 16) -> None:
        super().__init__()
        widths = (4 + conditions, width, 2 * width, 2 * width)
        strides = ((1, 1, 1), (2, 2, 2), (1, 1, 1))
        kernels = ((1, 3, 3), (3, 4, 4), (3, 3, 3))
        layers: list[nn.Module] = []
        for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
            padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2, (kernel[2] - 1) // 2)
            layers.append(spectral_norm(nn.Conv3d(widths[i], widths[i + 1], kernel, stride, padding)))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv3d(widths[-1], 1, 1))  # not normalised: logits hardly changed otherwise
        self.layers = nn.Sequential(*layers)

    def forward(self, ndvi: Tensor, linear: Tensor, conditions: Tensor) -> Tensor:
        """``ndvi`` and ``linear`` are (B, T, H, W), ``conditions`` (B, K, T, H, W); returns logits (B, 1, t, h, w)."""
        right = torch.nn.functional.pad(ndvi.diff(dim=-1), (0, 1))
        down = torch.nn.functional.pad(ndvi.diff(dim=-2), (0, 0, 0, 1))
        views = torch.stack(
            [
                (ndvi - NDVI_CENTRE) / NDVI_UNIT,
                (ndvi - linear) / NDVI_UNIT,
                right / (NDVI_UNIT / 4),
                down / (NDVI_UNIT / 4),
            ],
            dim=1,
        )
        return self.layers(torch.cat([views, conditions], dim=1))
