"""Every figure of reports: no two tick labels overlap, no two methods share a colour."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import fusion
from fusion.commands.evaluate import EvaluateSettings
from fusion.contract import S2NDVI
from fusion.demo import figures
from fusion.demo.simulated import BINS
from fusion.evaluation import plots
from fusion.evaluation.baselines import make_baselines
from fusion.evaluation.gallery import Gallery
from fusion.phenology.plots import plot_parameter, plot_seasons
from tests.factory import mock_cube, mock_fused

DEFAULTS = EvaluateSettings(out="outputs/x")  # type: ignore[arg-type]
METHODS = ["model", "model, minus S1", "model, minus coarse", "model, S2 only"]
METHODS += [b.name for b in make_baselines(list(DEFAULTS.baselines), list(DEFAULTS.whittaker_lambdas))]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def overlapping_labels(figure: Any) -> list[tuple[str, str]]:
    """Pairs of tick labels of one axis that cover each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pairs = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
            boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
            pairs += [
                (labels[j].get_text(), labels[i].get_text())
                for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])
            ]  # fmt: skip
    return pairs


def evaluation_figures() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(0)

    def table(column: str, groups: list, **more: Any) -> pd.DataFrame:
        rows = [
            {"predictor": m, column: g, "mae": 0.05, "mae_low": 0.04, "mae_high": 0.06, **more}
            for m in METHODS
            for g in groups
        ]
        return pd.DataFrame(rows)

    yield "mae_by_gap", plots.plot_mae(table("bin", list(BINS)), "bin", "days", METHODS)
    yield "mae_by_season", plots.plot_seasons(table("season", ["DJF", "MAM", "JJA", "SON"]), METHODS)
    cover = table("bin", list(BINS), coverage_50=52.0, coverage_80=79.0, coverage_90=91.0)
    yield "reliability", plots.plot_reliability(cover, "bin", "model")
    yield "density", plots.plot_density({m: rng.poisson(2, (120, 120)) for m in METHODS}, METHODS)
    days = np.arange(17_800, 18_400, 5)
    gallery = Gallery(
        series={m: (np.full(days.size, 0.5), np.full(days.size, 0.1)) for m in ("truth", *METHODS)}, series_days=days,
        observations=(days[::3], np.full(days[::3].size, 0.4)),
    )  # fmt: skip
    yield "example_series", plots.plot_series(gallery, METHODS)
    yield "mae_by_lag", plots.plot_lags(table("lag_days", [0.0, 10.0, 20.0, 60.0]), METHODS)
    dates = pd.concat([table("gap_days", [0, 20, 40, 60, 80], event=e, rmse_days=5.0) for e in ("SOS", "peak", "EOS")])
    yield "season_dates", plots.plot_season_dates(dates, METHODS)


def test_figures_of_an_evaluation() -> None:
    assert {name: found for name, figure in evaluation_figures() if (found := overlapping_labels(figure))} == {}


@pytest.mark.parametrize(("y", "x"), [(64, 12), (64, 64), (64, 200), (20, 100)])
def test_maps_and_curves_of_seasons(y: int, x: int) -> None:
    fused = mock_fused(mock_cube(t=4, y=y, x=x))
    pixel = fused.isel(y=[0], x=[0])
    data = fusion.seasons(pixel, use_numba=False)
    curve = plot_seasons(pixel, data)
    same = data.isel(y=0, x=0).broadcast_like(fused.isel(t=0, bands=0, drop=True)).assign_coords(y=fused.y, x=fused.x)
    assert overlapping_labels(curve.figure) == [] and overlapping_labels(plot_parameter(same, "SOSD").figure) == []


@pytest.mark.parametrize("days", [120, 900])
def test_figures_of_the_demo(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    cube = mock_cube(t=days // 5, y=8, x=8, start="2019-01-01")
    fused = mock_fused(cube)
    start, end = (str(cube.t.values[k])[:10] for k in (0, -1))
    figures.availability(cube, start, end)
    figures.series_panel(cube, fused, [(0, 0, "a"), (3, 3, "b")])
    figures.map_row([("sos", np.full((8, 8), 100.0), figures.season_scale(np.array([80.0, 120.0])))] * 3)
    figures.gap_curves([{"method": m, **dict.fromkeys(BINS, 0.1)} for m in METHODS], BINS, "days")
    assert len(drawn) == 4 and [overlapping_labels(figure) for figure in drawn] == [[]] * 4
    assert cube.sel(bands=S2NDVI).notnull().any()


def test_no_two_methods_share_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len([m for m in METHODS if m.startswith("whittaker")]) == 2
    for count in (len(METHODS), 30):
        names = [*METHODS, *(f"other {k}" for k in range(30))][:count]
        assert len(set(plots.colour_of(names).values())) == count
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    figures.gap_curves([{"method": m, "<15": 0.1} for m in METHODS], ("<15",), "days")
    colours = [line.get_color() for line in drawn[0].axes[0].lines]
    assert len(set(colours)) == len(METHODS)
