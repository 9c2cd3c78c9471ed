"""Mixtures of sources: shares, crops and lone pixels, and a training step on stores of single pixels."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from fusion.data.mixture import Drawn, Mixture, PointReservoir, Source, held_scenes
from fusion.data.patch import Patch
from fusion.data.samples import Sample, SampleSettings
from fusion.data.store import PatchStore, create_store, write_patch
from fusion.data.stream import BatchStream
from tests.factory import mock_observations, mock_store
from tests.unit.fusion.data.test_samples import fake_scene

SMALL = SampleSettings(steps=20, crops_a_side=1, visits=3, scenes_in_memory=2, crops_in_memory=4, points_in_memory=8)


def pixel_store(path, count: int = 4):
    """A store of single pixels with series of different lengths and dates, without truth."""
    store = create_store(path)
    for k in range(count):
        obs = mock_observations(t=40 + 7 * k, y=8, x=8, seed=k).window(slice(3, 4), slice(k, k + 1))
        seen = np.isfinite(obs.s2_ndvi[:, 0, 0])
        write_patch(store, Patch(obs.withhold(s2=~seen), "train", f"s{k}", 2019, f"s{k}"))
    return store


def sources(*given: tuple[str, float, bool]) -> list[Source]:
    scenes = [fake_scene(0), fake_scene(1)]
    narrow = [_pixel(scene) for scene in scenes]
    return [Source(name, share, lambda seed, w=wide: scenes if w else narrow, wide) for name, share, wide in given]


def _pixel(scene):
    from fusion.data.scene import random_pixel

    return random_pixel(scene, np.random.default_rng(0))


def test_shares_hold_among_the_sources_that_can_serve_a_group():
    mixed = sources(("a", 0.6, True), ("b", 0.2, True), ("c", 0.2, False), ("none", 0.0, True))
    drawn = list(islice(Mixture(mixed, SMALL, crops=4, points=4, seed=3), 100))
    crops = Counter(d.source for batch in drawn for d in batch[0])
    points = Counter(d.source for batch in drawn for d in batch[1])
    assert set(crops) == {0, 1} and set(points) == {0, 1, 2}
    assert crops[0] / 400 == pytest.approx(0.75, abs=0.07)  # three standard deviations
    assert points[0] / 400 == pytest.approx(0.6, abs=0.15)  # a pixel is used four times
    assert points[2] / 400 == pytest.approx(0.2, abs=0.12)


def test_equal_seeds_give_equal_batches_and_others_others():
    def features(seed):
        batches = islice(BatchStream(sources(("a", 1, True)), SMALL, crops=2, points=3, seed=seed), 3)
        return [group.features for batch in batches for group in batch]

    first = features(4)
    assert first[0].shape[2:] == (20, 8, 8) and first[1].shape[2:] == (20, 1, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, features(4), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, features(5), strict=True))


def test_a_lone_pixel_is_used_as_often_as_asked():
    made = []

    def draw():
        made.append(len(made))
        one = np.full((1, 1, 1, 1), len(made) - 1, np.float32)
        return Drawn(Sample(one, one[0], one[0]), 0)

    settings = SMALL.model_copy(update={"points_in_memory": 50, "point_uses": 4})
    reservoir = PointReservoir(draw, settings, np.random.default_rng(0))
    uses = Counter()
    for _ in range(200):
        taken = [int(d.sample.features.item()) for d in reservoir.take(10)]
        assert len(set(taken)) == 10
        uses.update(taken)
    assert max(uses.values()) == 4
    assert len(made) == pytest.approx(200 * 10 / 4 + 50 / 2, rel=0.05)  # those in memory are half used


def test_pixels_of_a_store_with_other_dates_each_become_a_batch(tmp_path):
    patches = PatchStore.open(pixel_store(tmp_path / "p.zarr"))
    lengths = {len(patch.observations.s2_days) for patch in patches}
    assert len(lengths) == 4 and {patch.observations.shape for patch in patches} == {(1, 1)}
    source = Source("p", 1, lambda seed: patches, wide=False)
    crops, points = next(iter(BatchStream([source], SMALL, crops=4, points=5, seed=0)))
    assert crops is None and points.features.shape[0] == 5
    assert (torch.isfinite(points.target).sum((1, 2, 3)) >= 2).all()


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="points_per_step is 0"):
        Mixture(sources(("c", 1, False)), SMALL, crops=4, points=0, seed=0)
    with pytest.raises(ValueError, match="source empty gave no scene"):
        next(iter(Mixture([Source("empty", 1, lambda seed: [], wide=True)], SMALL, crops=1, points=1, seed=0)))
    bare = fake_scene(truth=False)
    bare = type(bare)(bare.observations.withhold(s2=np.arange(len(bare.observations.s2_days)) > 2), None, None)
    with pytest.raises(ValueError, match="source bare gives no pixel"):
        next(iter(Mixture([Source("bare", 1, lambda seed: [bare], wide=False)], SMALL, crops=0, points=1, seed=0)))


def test_held_scenes_are_wide_ones_and_lone_pixels_by_weight():
    mixed = sources(("a", 0.5, True), ("c", 0.5, False))
    visits = list(islice(held_scenes(mixed, SMALL, 0, point_weight=0.4, points_a_visit=3), 200))
    shapes = Counter((len(visit), visit[0].observations.shape) for visit in visits)
    assert set(shapes) == {(1, (16, 16)), (3, (1, 1))}
    assert shapes[3, (1, 1)] / 200 == pytest.approx(0.4, abs=0.1)


def test_training_on_a_mixture_resumes_and_names_its_sources(tmp_path):
    """Scenes, a store of wide patches and a store of single pixels: the loss falls back on none of them."""
    from fusion.commands.train import run
    from fusion.training.checkpoint import load_weights
    from tests.unit.fusion.training.test_training import settings

    wide = mock_store(tmp_path / "wide.zarr", {"a": "train", "b": "calibration"}, t=60, y=16, x=16, truth=False)
    narrow = pixel_store(tmp_path / "narrow.zarr")
    held = mock_observations(t=60, y=1, x=1, seed=9)
    write_patch(narrow, Patch(held, "calibration", "h", 2019, "h"))
    asked = [f"store=[{wide},{narrow}]", "shares=[2,1,1]", "tracking.enabled=false", "calibration_batches=2"]
    for steps in (3, 6):
        made = settings(tmp_path, *asked, f"optimiser.max_steps={steps}")
        run(made)
    record = load_weights(made.out / "generator.pt").record
    assert record["steps"] == 6
    assert [(s["name"], s["share"]) for s in record["data"]] == [("scenes", 0.5), ("wide", 0.25), ("narrow", 0.25)]
    assert record["data"][2]["sha256"] == PatchStore.open(narrow).content_hash()
    assert "wide.zarr" not in str(record)  # no path of this machine
    assert "val/narrow/points_mae_over_linear" in (made.out / "curve.csv").read_text()
