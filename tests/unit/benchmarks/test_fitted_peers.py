"""Peers that are fitted to each place: the forest's inputs by hand, what it learns, and the other environment."""

import sys

import numpy as np
import pytest

from benchmarks.leaderboard.mogpr import Mogpr
from benchmarks.leaderboard.own_area import OwnAreaForest, Series
from benchmarks.leaderboard.page import subset_section
from benchmarks.leaderboard.sets import cube_of
from fusion.evaluation.baselines import Linear
from fusion.features.observations import Observations

FIRST = 18628  # 2021-01-01


def observations(days: np.ndarray, ndvi: np.ndarray, s1_days: np.ndarray, vv: np.ndarray) -> Observations:
    s2, vv = (np.asarray(a, np.float32)[:, None, None] for a in (ndvi, vv))
    return Observations(days, s2, s1_days, vv, vv - 6, days[:0], s2[:0], 48.9)


def test_rows_hide_what_lies_within_the_gap():
    days = FIRST + np.array([0, 10, 20, 40])
    obs = observations(days, [0.2, 0.3, 0.9, 0.6], FIRST + np.array([0, 40]), [-12, -8])
    rows = Series.of(obs, 0, 0).rows(np.array([FIRST + 20]), 10)
    linear, before, after, since, until, vv, ratio = rows[0, :7]
    assert (before, after, since, until) == pytest.approx((0.2, 0.6, 20, 20))  # 10 and 20 are hidden
    assert (linear, vv, ratio) == pytest.approx((0.4, -10, -6))
    assert rows.shape == (1, 15)


def test_rows_without_an_observation_on_one_side_repeat_the_other():
    obs = observations(FIRST + np.array([0, 30]), [0.2, 0.8], FIRST + np.arange(3), [-9, -9, -9])
    series = Series.of(obs, 0, 0)
    assert series.rows(np.array([FIRST + 50]), 0)[0, :3] == pytest.approx([0.8, 0.8, 0.8])
    assert np.isnan(series.rows(np.array([FIRST + 15]), 20)).all()


def test_forest_learns_from_the_own_dates_what_radar_says():
    days = FIRST + np.arange(0, 700, 5)
    ndvi = 0.5 + 0.3 * np.sin(2 * np.pi * (days - FIRST) / 70)
    radar_days = FIRST + np.arange(0, 700, 3)
    vv = -10 + 5 * np.sin(2 * np.pi * (radar_days - FIRST) / 70)
    peak = int(FIRST + 70 * 5 + 17)
    kept = np.abs(days - peak) > 20
    cube = cube_of(observations(days[kept], ndvi[kept], radar_days, vv))
    wanted = np.array([peak]).astype("datetime64[D]")
    found = OwnAreaForest().predict(cube, wanted).ndvi
    straight = Linear().predict(cube, wanted).ndvi.item()
    assert found.shape == (1, 1, 1) and straight < 0.4  # the truth is 0.8
    assert abs(found.item() - 0.8) < abs(straight - 0.8) / 2


def test_mogpr_is_asked_in_its_own_environment(tmp_path, monkeypatch):
    (tmp_path / "fusets").mkdir()
    (tmp_path / "fusets" / "__init__.py").touch()
    (tmp_path / "fusets" / "mogpr.py").write_text(
        "def mogpr_1D(data, days, master, wanted, nt):\n    return [data[1].mean() + 0 * wanted], None, True, None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    obs = observations(FIRST + np.array([0, 9]), [0.2, 0.8], FIRST + np.arange(2), [-10, -10])
    peer = Mogpr(sys.executable)
    with peer.worker:
        found = peer.predict(cube_of(obs), np.array(["2021-01-05"], "datetime64[D]"))
    assert found.ndvi.item() == pytest.approx(4 * 10**-1.6 / (10**-1 + 10**-1.6))  # the radar vegetation index


def test_mogpr_without_fusets_says_so(tmp_path, monkeypatch):
    (tmp_path / "fusets.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    peer = Mogpr(sys.executable)
    with peer.worker, pytest.raises(RuntimeError, match="Are fusets and GPy installed"):
        peer.ask({"values": [[], []], "days": [[], []], "wanted": []})


def test_page_marks_a_subset_with_its_size():
    scores = [
        {"method": "linear", "gap_days": 5, "mae": 0.1, "mae_90": [0.05, 0.2], "bias": 0.01, "covered_90": None}
        | {"n": 24, "places": 12}
    ]
    content = {"scores": scores, "milliseconds_per_pixel_date": {"linear": 1.5}}
    text = subset_section("grassland_slovakia", content)
    assert "Slovakia, subset" in text and "12 places, 24 pixel-dates per gap" in text
    assert "| linear | 0.1000 (0.050-0.200) | - | +0.010 | 1.50 |" in text
