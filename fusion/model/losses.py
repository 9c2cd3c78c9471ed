"""Training losses of the generator and the discriminator. Tensors are (B, T, H, W) unless said otherwise."""

import torch
from torch import Tensor


def gap_weights(gap_days: Tensor, floor: float = 0.4, per_days: float = 40.0, cap_days: float = 60.0) -> Tensor:
    """Weight of a pixel-date: larger far from the nearest observation, where linear interpolation is poor."""
    return floor + gap_days.clamp(max=cap_days) / per_days


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; 0, still differentiable, when every weight is 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def l1_loss(ndvi: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean absolute error; weight 0 excludes a pixel-date."""
    return masked_mean((ndvi - target).abs(), weights)


def laplace_nll(ndvi: Tensor, scale: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of a Laplace error with the predicted scale (constant omitted); trains the scale only."""
    return masked_mean((ndvi.detach() - target).abs() / scale + torch.log(scale), weights)


def excess_error(ndvi: Tensor, other: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean over the samples of how much larger the weighted absolute error is than that of ``other``; 0 where smaller.

    With ``other`` predicted without radar, it counts the samples that radar makes worse, which the mean error offsets
    against those that it improves.
    """
    total = weights.sum((1, 2, 3)).clamp(min=1e-6)
    errors = [((values - target).abs() * weights).sum((1, 2, 3)) / total for values in (ndvi, other)]
    return torch.relu(errors[0] - errors[1]).mean()


def gradient_loss(ndvi: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of the horizontal and vertical differences between neighbouring pixels."""
    loss = ndvi.new_zeros(())
    for axis in (-1, -2):
        size = ndvi.shape[axis] - 1
        both = torch.minimum(weights.narrow(axis, 0, size), weights.narrow(axis, 1, size))
        loss = loss + masked_mean((ndvi.diff(dim=axis) - target.diff(dim=axis)).abs(), both)
    return loss


def patch_weights(chosen: Tensor, logits: Tensor) -> Tensor:
    """Share of the chosen pixel-dates (B, T, H, W) in each patch of the discriminator, shaped like ``logits``."""
    steps, height, width = logits.shape[2:]
    return torch.nn.functional.adaptive_avg_pool3d(chosen[:, None].to(logits.dtype), (steps, height, width))


def hinge_discriminator(real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Hinge loss of the discriminator's logits (any shape); Lim and Ye, 2017, arXiv:1705.02894."""
    return masked_mean(torch.relu(1 - real), weights) + masked_mean(torch.relu(1 + fake), weights)


def hinge_generator(fake: Tensor, weights: Tensor) -> Tensor:
    """Adversarial loss of the generator against the hinge discriminator: the negative weighted mean of its logits."""
    return masked_mean(-fake, weights)


def r1_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    """R1 penalty: squared gradient of the discriminator at real samples; Mescheder et al. 2018, arXiv:1801.04406.

    The mean over pixels makes the penalty of a patch discriminator independent of the crop size.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.pow(2).mean()
