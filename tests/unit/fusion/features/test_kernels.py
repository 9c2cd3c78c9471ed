import numpy as np
import pytest

from fusion.features.kernels import TimeSmoother, box_mean, time_kernel


def test_kernel_is_one_at_zero_and_gaussian_beside_it():
    weights = time_kernel(np.array([0, 10, 100]), np.array([0]), 10.0)
    np.testing.assert_allclose(weights, [[1.0, np.exp(-0.5), 0.0]], rtol=1e-6)


def test_smoothing_is_blind_to_missing_values():
    days = np.array([0, 5, 10])
    mean, support = TimeSmoother(days, np.array([5]))(
        np.array([[0.2], [0.0], [0.2]], np.float32), np.array([[1], [0], [1]], np.float32), 6.0
    )
    np.testing.assert_allclose(mean, 0.2, atol=1e-6)
    np.testing.assert_allclose(support, 2 * np.exp(-0.5 * (5 / 6) ** 2), rtol=1e-6)


def test_box_mean_equals_a_slow_loop():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (3, 9, 7)).astype(np.float32)
    images[rng.random(images.shape) < 0.4] = np.nan
    mean, share = box_mean(images, 2)
    for n, r, c in np.ndindex(images.shape):
        window = images[n, max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
        seen = window[np.isfinite(window)]
        assert abs(mean[n, r, c] - (seen.mean() if seen.size else 0)) < 1e-5
        assert abs(share[n, r, c] - seen.size / window.size) < 1e-5


@pytest.mark.parametrize("holes", [0, 0.4])
def test_box_mean_of_a_window_is_that_of_the_whole(holes):
    rng = np.random.default_rng(2)
    images = rng.uniform(0, 1, (3, 20, 17)).astype(np.float32)
    images[rng.random(images.shape) < holes] = np.nan
    for window in ((slice(0, 9), slice(5, 17)), (slice(8, 13), slice(6, 7))):
        for found, whole in zip(box_mean(images, 3, window), box_mean(images, 3), strict=True):
            np.testing.assert_allclose(found, whole[:, *window], atol=1e-6)


def test_box_mean_of_complete_images_takes_the_short_way_to_the_same_answer():
    images = np.random.default_rng(1).uniform(0, 1, (2, 8, 8)).astype(np.float32)
    holey = np.concatenate([images, np.full((1, 8, 8), np.nan, np.float32)])
    np.testing.assert_allclose(box_mean(images, 3)[0], box_mean(holey, 3)[0][:2], atol=1e-6)


def test_blocks_of_kernels_give_the_dense_product():
    """Cut to the observations that each block of dates reaches; far dates reach none."""
    rng = np.random.default_rng(0)
    days = np.sort(rng.choice(400, 60, replace=False))
    grid = np.append(np.arange(-30, 430, 5), 2000)
    valid = (rng.random((60, 7)) < 0.6).astype(np.float32)
    filled = rng.uniform(0, 1, (60, 7)).astype(np.float32)
    smoother = TimeSmoother(days, grid)
    for sigma in (3.0, 20.0, 3.0):
        kernel = time_kernel(days, grid, sigma)
        for weight in (valid, np.ones_like(valid), None):
            whole = np.ones_like(valid) if weight is None else weight
            mean, support = smoother(filled * whole, weight, sigma)
            np.testing.assert_allclose(np.broadcast_to(support, mean.shape), kernel @ whole, atol=1e-5)
            expected = (kernel @ (filled * whole)) / np.maximum(kernel @ whole, 1e-6)
            np.testing.assert_allclose(mean, expected, atol=1e-5)
            assert (mean[-1] == 0).all() and (support[-1] == 0).all()


def test_a_flag_that_the_library_of_products_leaves_behind_warns_nobody(monkeypatch, recwarn):
    """OpenBLAS is known to set the flag "invalid" for finite values (numpy issues 13173 and 24067)."""
    product = np.matmul

    def flagged(*given, **more):
        np.subtract(np.inf, np.inf)
        return product(*given, **more)

    monkeypatch.setattr("fusion.features.kernels.np.matmul", flagged)
    mean, _ = TimeSmoother(np.array([0, 5]), np.array([0, 5]))(
        np.ones((2, 1), np.float32), np.ones((2, 1), np.float32), 6.0
    )
    np.testing.assert_allclose(mean, 1.0, atol=1e-6)
    assert not recwarn.list
