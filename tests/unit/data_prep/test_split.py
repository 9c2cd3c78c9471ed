"""Splits: stable, by ground and not by file, and without leakage whatever the cubes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from pydantic import ValidationError

from data_prep.split import Ground, SplitSettings, blocks_of, leaks, split_of_ground, split_of_name


def square(west: float, south: float, side: float = 0.006, years: tuple[int, ...] = (2019,)) -> Ground:
    return Ground(west, south, west + side, south + side, years)


def test_names_keep_their_split_and_shares_come_out():
    draws = [split_of_name(f"site {k}", SplitSettings()) for k in range(4000)]
    assert draws == [split_of_name(f"site {k}", SplitSettings()) for k in range(4000)]
    assert np.mean([d == "train" for d in draws]) == pytest.approx(0.8, abs=0.02)
    assert np.mean([d == "test" for d in draws]) == pytest.approx(0.1, abs=0.02)
    other = [split_of_name(f"site {k}", SplitSettings(seed=1)) for k in range(4000)]
    assert other != draws


def test_blocks_touched_by_hand():
    settings_ = SplitSettings(block_deg=0.05, margin_m=0)
    assert blocks_of(square(4.01, 50.01), settings_) == [(1000, 80)]
    assert blocks_of(square(4.048, 50.01), settings_) == [(1000, 80), (1000, 81)]
    # 300 m are 0.0027 degrees of latitude and 0.0042 degrees of longitude at 50 N
    with_margin = SplitSettings(block_deg=0.05, margin_m=300)
    assert blocks_of(square(4.0035, 50.02), with_margin) == [(1000, 79), (1000, 80)]
    assert blocks_of(square(4.0050, 50.02), with_margin) == [(1000, 80)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=strategies.integers(0, 10_000),
    latitude=strategies.sampled_from([-34.0, 0.01, 50.0, 66.0]),
    margin=strategies.sampled_from([0.0, 300.0, 1000.0]),
)
def test_no_two_patches_of_different_splits_share_ground_or_margin(seed, latitude, margin):
    rng = np.random.default_rng(seed)
    chosen = SplitSettings(train=0.5, calibration=0.2, seed=seed, margin_m=margin, block_deg=0.03)
    # overlapping cubes on unrelated grids, as neighbouring tiles and zones give them
    corners = zip(4 + rng.uniform(0, 0.15, 120), latitude + rng.uniform(0, 0.15, 120), strict=True)
    placed = []
    for west, south in corners:
        ground = square(west, south)
        split = split_of_ground(ground, "any", chosen)
        if split is not None:
            placed.append((split, ground))
    metre = np.cos(np.radians(latitude)) * 111_320
    for (a, one), (b, two) in itertools.combinations(placed, 2):
        if a != b:
            aside = max(one.west - two.east, two.west - one.east) * metre
            up = max(one.south - two.north, two.south - one.north) * 111_320
            assert max(aside, up) >= margin * 0.99, (a, b, one, two)


def test_the_same_ground_has_one_split_in_every_year_and_held_out_years_never_train():
    chosen = SplitSettings(holdout_years=(2021,))
    for k in range(60):
        west = 4 + 0.05 * k + 0.02
        split = {split_of_ground(square(west, 50.02, years=(y,)), "s", chosen) for y in (2018, 2019)}
        assert len(split) == 1
        held = split_of_ground(square(west, 50.02, years=(2020, 2021)), "s", chosen)
        assert held in (None, "test") and (held == "test") == (split == {"test"})


def test_leaks_are_found_and_touching_is_no_leak():
    a, b, c = square(4.0, 50.0), square(4.003, 50.003), square(4.006, 50.0)
    assert leaks([("a", "train", a), ("b", "test", b)]) == [("a", "b")]
    assert leaks([("a", "train", a), ("b", "train", b)]) == []
    assert leaks([("a", "train", a), ("c", "test", c)]) == []
    assert leaks([("big", "train", square(3.9, 49.9, 0.4)), ("c", "test", c)]) == [("big", "c")]


def test_contradictory_settings_are_refused():
    with pytest.raises(ValidationError, match="exceed 1"):
        SplitSettings(train=0.8, calibration=0.3)
    with pytest.raises(ValidationError, match="validation"):
        SplitSettings(sites={"a": "validation"})
