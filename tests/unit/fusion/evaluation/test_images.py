"""Image metrics against hand-derived numbers and scikit-image-free oracles."""

import numpy as np
import pytest

from fusion.evaluation.images import gradient_error, gradient_magnitude, ssim
from tests.unit.fusion.evaluation.cubes import texture


def test_gradient_of_a_slope():
    # 0.03 a column and 0.04 a row: length 0.05 everywhere
    frame = 0.03 * np.arange(6)[None, :] + 0.04 * np.arange(5)[:, None]
    assert gradient_magnitude(frame) == pytest.approx(np.full((5, 6), 0.05))
    assert gradient_error(frame, np.zeros((5, 6))) == pytest.approx(0.05)


def test_gradient_error_ignores_missing_pixels_and_a_constant_offset():
    frame = texture(0)
    shifted = frame + 0.1
    shifted[3, 3] = np.nan
    assert gradient_error(shifted, frame) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(gradient_error(np.full((4, 4), np.nan), frame[:4, :4]))


def test_ssim_of_equal_images_is_one_and_of_constants_by_hand():
    assert ssim(texture(1), texture(1)) == pytest.approx(1.0)
    # constants a = .6 and b = .3 with c1 = (.01 * 1.2)^2: (2ab + c1) / (a^2 + b^2 + c1), the structure term is 1
    c1 = 0.012**2
    expected = (2 * 0.6 * 0.3 + c1) / (0.6**2 + 0.3**2 + c1)
    assert ssim(np.full((20, 20), 0.6), np.full((20, 20), 0.3)) == pytest.approx(expected)


def test_ssim_counts_common_pixels_only():
    image, holed = texture(2), texture(2)
    holed[:8] = np.nan
    assert ssim(holed, image) == pytest.approx(1.0)
    assert np.isnan(ssim(np.full((8, 8), np.nan), image[:8, :8]))
