import numpy as np
import pytest
import torch

from fusion.contract import NDVI_CENTRE, NDVI_MAX, NDVI_MIN, NDVI_UNIT
from fusion.model.discriminator import PatchDiscriminator
from fusion.model.generator import SCALE_MIN, Generator
from fusion.model.losses import (
    gap_weights,
    gradient_loss,
    hinge_discriminator,
    hinge_generator,
    l1_loss,
    laplace_nll,
    patch_weights,
    r1_penalty,
)


def noisy_generator(channels=6, seed=0) -> Generator:
    torch.manual_seed(seed)
    generator = Generator(channels, width=8, dilations=(1, 2), spatial_every=2)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return generator.eval()


def test_untrained_generator_is_linear_interpolation():
    features = torch.randn(2, 6, 7, 5, 4) * 0.5
    ndvi, scale = Generator(6, width=8)(features)
    torch.testing.assert_close(ndvi, (features[:, 0] * NDVI_UNIT + NDVI_CENTRE).clamp(NDVI_MIN, NDVI_MAX))
    assert (scale > SCALE_MIN).all()


def test_answer_stays_in_the_physical_range():
    ndvi, scale = noisy_generator()(torch.randn(1, 6, 9, 6, 6) * 50)
    assert ndvi.min() >= NDVI_MIN and ndvi.max() <= NDVI_MAX
    assert torch.isfinite(scale).all() and (scale >= SCALE_MIN).all()


def test_reach_in_space_and_time_is_what_it_says():
    generator = noisy_generator()
    assert (generator.spatial_radius_px, generator.temporal_radius_steps) == (1, 6)
    features = torch.randn(1, 6, 21, 9, 9)
    changed = features.clone()
    changed[:, :, 10, 4, 4] += 1
    with torch.no_grad():
        difference = (generator(changed)[0] - generator(features)[0])[0].abs().numpy()
    touched = np.argwhere(difference > 1e-7)
    assert np.abs(touched[:, 0] - 10).max() <= 6
    assert np.abs(touched[:, 1:] - 4).max() <= 1


def test_losses_against_hand_made_numbers():
    ndvi = torch.tensor([[[[0.5, 0.7]]]])
    target = torch.tensor([[[[0.4, 0.4]]]])
    weights = torch.tensor([[[[1.0, 3.0]]]])
    assert l1_loss(ndvi, target, weights).item() == pytest.approx((0.1 + 3 * 0.3) / 4)
    scale = torch.full_like(ndvi, 0.1)
    expected = (1.0 + 3 * 3.0) / 4 + np.log(0.1)
    assert laplace_nll(ndvi, scale, target, weights).item() == pytest.approx(expected, abs=1e-6)
    # one horizontal difference of 0.2 against 0; no vertical neighbours
    assert gradient_loss(ndvi, target, weights).item() == pytest.approx(0.2)
    assert l1_loss(ndvi, target, torch.zeros_like(weights)).item() == 0.0
    assert gap_weights(torch.tensor([0.0, 40.0, 500.0])).tolist() == pytest.approx([0.4, 1.4, 1.9])


def test_laplace_likelihood_is_best_at_the_mean_absolute_error():
    error = torch.full((1, 1, 4, 4), 0.08)
    ones = torch.ones_like(error)
    losses = {s: laplace_nll(error, ones * s, torch.zeros_like(error), ones).item() for s in (0.04, 0.08, 0.16)}
    assert min(losses, key=losses.get) == 0.08


def test_hinge_losses():
    real, fake, everywhere = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0]), torch.ones(2)
    assert hinge_discriminator(real, fake, everywhere).item() == pytest.approx(0.25 + 0.5)
    assert hinge_generator(fake, everywhere).item() == pytest.approx(1.0)
    second = torch.tensor([0.0, 1.0])
    assert hinge_discriminator(real, fake, second).item() == pytest.approx(0.5 + 1.0)


def test_patches_weigh_by_their_share_of_chosen_pixel_dates():
    chosen = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    chosen[:, :2, :2, :2] = True
    weights = patch_weights(chosen, torch.zeros(1, 1, 2, 2, 2))
    assert weights.shape == (1, 1, 2, 2, 2)
    assert weights[0, 0, 0, 0, 0] == 1 and weights.sum() == 1


def test_discriminator_sees_patches_and_r1_has_a_gradient():
    torch.manual_seed(0)
    judge = PatchDiscriminator(conditions=2, width=4)
    ndvi = torch.rand(2, 8, 12, 12, requires_grad=True)
    logits = judge(ndvi, torch.rand(2, 8, 12, 12), torch.rand(2, 2, 8, 12, 12))
    assert logits.shape[:2] == (2, 1) and logits.shape[3] > 1
    penalty = r1_penalty(logits, ndvi)
    penalty.backward()
    assert penalty.item() > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in judge.parameters())
