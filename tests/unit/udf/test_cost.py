"""The estimate before a job: sizes and dates from the files or the area, credits from the stated price."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fusion.inference.locate import locate_model
from fusion.inference.manifest import read_model_files
from tests.unit.udf.raw_scene import write_raw
from udf import cost
from udf.area import area_from
from udf.cost import _computed, estimate, estimate_text
from udf.graph_options import WorkflowOptions
from udf.settings import PriceSettings
from udf.targets import load_target

BOX = {"west": 640_000, "south": 5_650_000, "east": 641_000, "north": 5_651_000, "crs": 32631}


def test_windows_overlap_and_end_at_the_border() -> None:
    """300 px in windows of 128 with 16 px of overlap: 0 to 144, 112 to 272, 240 to 300."""
    assert _computed(300, 128, 16) == 144 + 160 + 60
    assert _computed(100, 128, 16) == 100


def test_regions_load_whole_chunks() -> None:
    """1,300 px in regions of 512: 0 to 640, 384 to 1,152, 896 to 1,300."""
    assert cost._loaded(1300, 16) == 640 + 768 + 404
    assert cost._loaded(300, 16) == 300


def test_files_give_size_and_dates(tmp_path: Path, model: Path) -> None:
    scene = write_raw(tmp_path / "raw", height=10, width=12)
    options = WorkflowOptions("2019-03-01", "2019-06-30", source=scene, output="fused", window_px=24)
    found = estimate(load_target("local"), options, model=str(model))
    assert found.km2 == pytest.approx(0.012)
    assert found.windows == 1
    assert 40 < found.dates < 90
    assert found.cpu_s > cost.START_CPU_S


def test_credits_follow_the_price(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = WorkflowOptions("2021-05-01", "2021-06-30", area=area_from(BOX), output="fused")
    monkeypatch.setattr(cost, "PROBE_PX", 16)
    price = PriceSettings(cpu_hour=10, gb_hour=0, job=2)
    found = estimate(load_target("cdse"), options, model=str(model), price=price)
    assert found.km2 == pytest.approx(1.0)
    assert found.windows == 9  # 1 km and twice 980 m are 296 px
    assert found.credits == pytest.approx(2 + 10 * found.cpu_s / 3600)
    text = estimate_text(load_target("cdse"), options, str(model), price)
    assert "9 of 128 px" in text and "at 10 per CPU hour" in text and "not included" in text


def test_a_back_end_needs_an_area(model: Path) -> None:
    with pytest.raises(ValueError, match="needs an area"):
        estimate(load_target("cdse"), WorkflowOptions("2021", "2021"), model=str(model))


def test_the_network_reads_as_far_around_a_window_as_its_manifest_states(model: Path) -> None:
    assert read_model_files(locate_model(None))[1].network_radius_px == 3
    assert cost.network_margin_px(16, None) == 3 and cost.network_margin_px(2, None) == 2
    assert cost.network_margin_px(16, str(model)) == read_model_files(model)[1].network_radius_px


@pytest.mark.parametrize(("output", "numbers"), [("fused", 2 * 13), ("smoothed", 2 * 275), ("seasons", 2)])
def test_cost_is_the_sum_of_what_is_counted(
    output: str, numbers: int, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    """296 px a side in windows of 128 with 4 px that the network reads; dates loaded and numbers written by hand (the
    original smooths from 1 April to 31 December)."""
    monkeypatch.setattr(cost, "PROBE_PX", 16)
    options = WorkflowOptions("2021-05-01", "2021-06-30", area=area_from(BOX), output=output, method="reference")
    target, seen = load_target("cdse"), []
    probe = cost.probe_seconds

    def fixed(*given: Any) -> cost.Probe:
        seen.append(probe(*given))
        return replace(seen[-1], fusion=1e-3, phenology=1e-4)

    monkeypatch.setattr(cost, "probe_seconds", fixed)
    found = estimate(target, options, model=str(model))
    days = 61 + 2 * 60
    dates = sum(-(-days // every) for every in (5, 6, 10))
    pixels = 296**2
    fused = ((128 + 4) + (128 + 8) + (40 + 4)) ** 2
    assert seen[0].numbers == numbers
    assert seen[0].fusion > 0 and (seen[0].phenology > 0) == (output != "fused")
    expected = cost.START_CPU_S + 1e-3 * fused + 1e-4 * pixels
    expected += pixels * (cost.GRAPH_CPU_S * dates + cost.SAVE_CPU_S * numbers)
    assert found.cpu_s == pytest.approx(expected)
