"""One cloud mask: kernel sizes on every grid, weights, and the same numbers in all places that mask."""

import datetime
import json

import numpy as np
import pytest

from data_prep import optical
from data_prep.simulator import optics
from fusion.cloud_mask import MASK_KERNELS, NARROW, SCL_CLEAR, WIDE, gaussian_kernel, gaussian_weights
from udf.graph_loading import MASK_REACH_M
from udf.graph_options import WorkflowOptions
from udf.targets import load_target
from udf.workflow import build_workflow

# reach of 80 m and 800 m to the nearest whole pixel, twice, and the centre; 80 / 12 = 6.67, 800 / 30 = 26.67,
# 80 / 160 = 0.5 goes up
SIZES = {10: (17, 161), 12: (15, 135), 20: (9, 81), 30: (7, 55), 160: (3, 11)}


@pytest.mark.parametrize("pixel_m", SIZES)
def test_kernel_sizes_keep_their_reach_and_are_odd(pixel_m: float) -> None:
    assert (NARROW.size_px(pixel_m), WIDE.size_px(pixel_m)) == SIZES[pixel_m]
    for kernel in MASK_KERNELS:
        assert abs((kernel.size_px(pixel_m) - 1) / 2 * pixel_m - kernel.reach_m) <= pixel_m / 2
    assert (NARROW.reach_m, WIDE.reach_m, MASK_REACH_M) == (80, 800, 820)


def test_weights_by_hand() -> None:
    line = gaussian_weights(9)
    assert line.sum() == pytest.approx(1)
    # std = size / 6 = 1.5 px: one pixel off the centre the weight is exp(-1 / 2 / 1.5^2) of the centre's
    assert line[5] / line[4] == pytest.approx(np.exp(-0.5 / 1.5**2))
    assert gaussian_kernel(9)[4, 4] == pytest.approx(1 / (2 * np.pi * 1.5**2), rel=0.01)
    for size in (0, 8):
        with pytest.raises(ValueError, match=f"kernel size is {size}; expected an odd number"):
            gaussian_weights(size)


def test_classes_that_each_kernel_flags() -> None:
    scl = np.arange(12)
    assert np.flatnonzero(~NARROW.flagged(scl)).tolist() == list(SCL_CLEAR)
    assert np.flatnonzero(WIDE.flagged(scl)).tolist() == [3, 8, 9, 10]


@pytest.mark.parametrize("pixel_m", [10, 12, 20, 30])
def test_cube_step_simulator_and_graph_mask_alike(pixel_m: float) -> None:
    """A cloudy image masked by the cube step, by the simulator, and by the kernels that the process graph holds."""
    rng = np.random.default_rng(int(pixel_m))
    scl = np.where(rng.random((60, 50)) < 0.01, 9, 4)
    scl[10:22, 5:19], scl[40:43, 30:33] = 8, 11
    by_cube = optical.gaussian_mask(scl.astype(np.uint8), step=1, pixel_m=pixel_m)
    by_simulator = optics.gaussian_mask(np.isin(scl, (8, 9))[None], (scl == 11)[None], pixel_m)[0]
    target = load_target("local").model_copy(update={"scl_pixel_m": pixel_m, "s1_collection": None, "coarse": ()})
    day = datetime.date(2020, 1, 1)
    graph = json.loads(json.dumps(build_workflow(target, WorkflowOptions(day, day), save=False).flat_graph()))
    kernels = [np.array(n["arguments"]["kernel"]) for n in graph.values() if n["process_id"] == "apply_kernel"]
    assert [len(k) for k in kernels] == list(SIZES[pixel_m])
    by_graph = np.zeros(scl.shape, bool)
    for kernel, fact in zip(kernels, MASK_KERNELS, strict=True):
        reach = len(kernel) // 2
        padded = np.pad(fact.flagged(scl).astype(float), reach)
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
        by_graph |= np.einsum("yxij,ij->yx", windows, kernel) > fact.threshold
    assert 0.05 < by_cube.mean() < 0.95
    np.testing.assert_array_equal(by_cube, by_simulator)
    np.testing.assert_array_equal(by_cube, by_graph)
    text = json.dumps(graph)
    assert "0.057" in text and "0.1}" in text
