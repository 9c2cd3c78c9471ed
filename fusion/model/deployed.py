"""The generator in the form that is exported: the same function, in an order that onnxruntime computes faster."""

import torch
from torch import Tensor, nn

from fusion.model.generator import Generator, TemporalBlock, ndvi_and_scale

CHANNEL_MULTIPLE = 4  # of channels, which onnxruntime needs in order to group them


class DeployedGenerator(nn.Module):
    """A generator that onnxruntime computes on grouped channels from the first convolution to the last.

    onnxruntime keeps channels in groups of 8 or 16 from one convolution to the next, and converts at other operations.

    - Channels of zeros are added to the features until their number is a multiple of ``CHANNEL_MULTIPLE``. Otherwise
      the first convolution would not be grouped.
    - Between convolutions over time and over space, channels come last: grouped channels are converted to that order
      and back without a transposition.
    - What is added to the trunk is added within a convolution, where the file states the sizes of both sides
      (:mod:`fusion.training.export` writes them).
    - The head is linear. It reads the input of the last block and its hidden layer, instead of their mixed sum, so that
      two channels instead of ``width`` return from the convolution over space.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        blocks = [block for block in generator.blocks if isinstance(block, TemporalBlock)]
        self.last, self.blocks = blocks[-1], nn.ModuleList(blocks[:-1])
        width, channels = generator.stem.out_channels, generator.stem.in_channels
        self.added = -channels % CHANNEL_MULTIPLE
        self.stem = nn.Conv2d(channels + self.added, width, 1)
        self.head = nn.Conv2d(width, 2, 1, bias=False)
        self.hidden_head = nn.Conv2d(width, 2, 1)
        head, mix, added = generator.head, self.last.mix, generator.stem.weight.new_zeros(width, self.added, 1, 1)
        assert head.bias is not None and mix.bias is not None
        weights = head.weight[:, :, 0, 0].double()
        self.load_state_dict(
            self.state_dict()
            | {
                "stem.weight": torch.cat([generator.stem.weight, added], dim=1),
                "stem.bias": generator.stem.bias,
                "head.weight": head.weight,
                "hidden_head.weight": (weights @ mix.weight[:, :, 0, 0].double())[:, :, None, None],
                "hidden_head.bias": weights @ mix.bias.double() + head.bias,
            }
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """NDVI and scale, see :meth:`fusion.model.generator.Generator.forward`; a lone pixel has zeros around it."""
        batch, channels, time, height, width = features.shape
        size = (batch, time, height, width)
        folded = features.reshape(batch, channels, time, height * width)
        x = torch.relu(self.stem(nn.functional.pad(folded, (0, 0, 0, 0, 0, self.added))))
        for block in self.blocks:
            assert isinstance(block, TemporalBlock)
            x = x + block.mix(_series(_hidden(block, x, size), block, size))
        out = self.head(x) + _series(self.hidden_head(_hidden(self.last, x, size)), self.last, size)
        return ndvi_and_scale(folded, out, size)


def _hidden(block: TemporalBlock, x: Tensor, size: tuple[int, int, int, int]) -> Tensor:
    """What a block mixes: images (B * T, C, H, W) if the block is spatial, else (B, C, T, H * W), as ``x`` is."""
    batch, time, height, width = size
    h = torch.relu(block.temporal(x))
    if block.spatial is None:
        return h
    images = h.permute(0, 2, 3, 1).reshape(batch * time, height, width, -1).permute(0, 3, 1, 2)
    return torch.relu(block.spatial(images))


def _series(h: Tensor, block: TemporalBlock, size: tuple[int, int, int, int]) -> Tensor:
    """The result of :func:`_hidden`, with any number of channels, as (B, C, T, H * W)."""
    batch, time, height, width = size
    if block.spatial is None:
        return h
    return h.permute(0, 2, 3, 1).reshape(batch, time, height * width, -1).permute(0, 3, 1, 2)
