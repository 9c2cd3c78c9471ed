"""The generator: predicts NDVI, as a residual to linear interpolation, and its uncertainty for all dates at once."""

import torch
from torch import Tensor, nn

from fusion.contract import NDVI_CENTRE, NDVI_MAX, NDVI_MIN, NDVI_UNIT

SCALE_MIN = 0.003  # lower limit of the predicted Laplace scale, NDVI
SCALE_START = 0.05  # NDVI; the predicted scale is SCALE_MIN + SCALE_START * softplus(output)


class TemporalBlock(nn.Module):
    """Residual block: dilated convolution over time, optionally a depthwise 3 x 3 over space, 1 x 1 mixing.

    Works on (B, C, T, H, W) reshaped to (B, C, T, H * W), so that time is an image axis and every kernel is 2-D.
    """

    def __init__(self, width: int, dilation: int, *, spatial: bool, kernel: int = 5) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(
            width, width, (kernel, 1), padding=(dilation * (kernel // 2), 0), dilation=(dilation, 1)
        )
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width) if spatial else None
        self.mix = nn.Conv2d(width, width, 1)
        for parameter in self.mix.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, size: tuple[int, int, int, int]) -> Tensor:
        """``x`` and the result are (B, C, T, H * W); ``size`` is (B, T, H, W)."""
        batch, time, height, width = size
        h = torch.relu(self.temporal(x))
        if self.spatial is not None and height == width == 1:  # a lone pixel is an area that goes on unchanged
            kernel = self.spatial.weight.sum((2, 3), keepdim=True)
            h = torch.relu(nn.functional.conv2d(h, kernel, self.spatial.bias, groups=self.spatial.groups))
        elif self.spatial is not None:
            frames = h.permute(0, 2, 1, 3).reshape(batch * time, -1, height, width)  # (B * T, C, H, W)
            frames = torch.relu(self.spatial(frames))
            h = frames.reshape(batch, time, -1, height * width).permute(0, 2, 1, 3)
        return x + self.mix(h)


class Generator(nn.Module):
    """Predicts NDVI and its uncertainty at every date of the window from the features of the three sensors.

    Parameters
    ----------
    channels : int
        Number of feature channels, ``len(FEATURE_NAMES)``.
    width : int
        Channels of the trunk.
    dilations : sequence of int
        Dilation of each residual block, in time steps.
    spatial_every : int
        Every n-th block includes a 3 x 3 convolution over space.
    """

    def __init__(
        self,
        channels: int,
        width: int = 32,
        dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 1),
        spatial_every: int = 2,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(
            TemporalBlock(width, d, spatial=(i % spatial_every == spatial_every - 1)) for i, d in enumerate(dilations)
        )
        self.head = nn.Conv2d(width, 2, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @property
    def spatial_radius_px(self) -> int:
        """Spatial radius of the receptive field, pixels."""
        return sum(isinstance(block, TemporalBlock) and block.spatial is not None for block in self.blocks)

    @property
    def temporal_radius_steps(self) -> int:
        """Temporal radius of the receptive field, time steps."""
        return sum(2 * block.temporal.dilation[0] for block in self.blocks if isinstance(block, TemporalBlock))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Parameters
        ----------
        features : Tensor (B, C, T, H, W)
            Channel 0 is the linear interpolation in network units.

        Returns
        -------
        ndvi : Tensor (B, T, H, W), clipped to the physical range.
        scale : Tensor (B, T, H, W), uncalibrated Laplace scale of its error against the NDVI itself.
        """
        batch, channels, time, height, width = features.shape
        size = (batch, time, height, width)
        folded = features.reshape(batch, channels, time, height * width)
        x = torch.relu(self.stem(folded))
        for block in self.blocks:
            x = block(x, size)
        return ndvi_and_scale(folded, self.head(x), size)


def ndvi_and_scale(features: Tensor, out: Tensor, size: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Clipped NDVI and Laplace scale, both of ``size`` (B, T, H, W), of the features and the output of the head.

    ``features`` is (B, C, T, H * W), ``out`` is (B, 2, T, H * W).
    """
    linear = features[:, 0] * NDVI_UNIT + NDVI_CENTRE  # channel 0 is the linear interpolation in network units
    ndvi = linear + NDVI_UNIT * out[:, 0]
    scale = SCALE_MIN + SCALE_START * torch.nn.functional.softplus(out[:, 1])
    return ndvi.clamp(NDVI_MIN, NDVI_MAX).reshape(size), scale.reshape(size)
