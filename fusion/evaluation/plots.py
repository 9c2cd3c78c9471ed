"""Figures of an evaluation for print: each function draws one figure from the tables or the gallery."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusion.contract import NDVI_MAX, NDVI_MIN
from fusion.evaluation.gallery import Gallery
from fusion.evaluation.leave_gap_out import SEASONS
from fusion.evaluation.metrics import COVERAGE_LEVELS, HALF_WIDTHS
from fusion.evaluation.predictor import LINEAR, MODEL
from fusion.whole_file import whole_file

COLOURS = (
    "#0b6e4f", "#d1495b", "#30638e", "#edae49", "#7d5ba6", "#8c8c8c", "#00a6c4", "#a0522d", "#f08fb0", "#9bc53d",
    "#1d1d1d", "#f26419",
)  # fmt: skip
STYLE: Any = {  # Any: matplotlib's own type is a literal of all keys
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def new_figure(columns: int = 1, rows: int = 1, width: float = 6.3, height: float = 3.4) -> tuple[Any, Any]:
    """A figure and its axes, off screen, in this module's style; ``axes`` is an array when there are several."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns)
    return figure, axes


def save(figure: Any, folder: Path, name: str, suffix: str = "png") -> Path:
    """Write ``name.png`` (or .pdf, .svg) at print resolution."""
    file = folder / f"{name}.{suffix}"
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=STYLE["savefig.dpi"])
    return file


def colour_of(predictors: Sequence[str]) -> dict[str, str]:
    """A colour of its own for each predictor: by its position in the list, further ones spread over the hues."""
    from matplotlib.colors import hsv_to_rgb, to_hex

    more = max(0, len(predictors) - len(COLOURS))
    spread = [to_hex(tuple(hsv_to_rgb((k / more, 0.55, 0.6)))) for k in range(more)]
    return dict(zip(predictors, [*COLOURS, *spread], strict=False))


def shown_predictors(predictors: Sequence[str], available: Sequence[str], count: int) -> list[str]:
    """At most ``count`` predictors to show side by side: the model, linear interpolation, then the others."""
    first = [name for name in (MODEL, LINEAR) if name in available]
    return [*first, *[name for name in predictors if name in available and name not in first]][:count]


def plot_mae(table: pd.DataFrame, group: str, label: str, predictors: Sequence[str]) -> Any:
    """MAE by ``group`` (gap or bin) with bootstrap intervals, one line per predictor."""
    figure, axis = new_figure()
    groups = list(dict.fromkeys(table[group]))
    for offset, name in enumerate(predictors):
        rows = table[table.predictor == name].set_index(group).reindex(groups)
        at = np.arange(len(groups)) + 0.08 * (offset - (len(predictors) - 1) / 2)
        spread = np.clip([rows.mae - rows.mae_low, rows.mae_high - rows.mae], 0, None)
        colour = colour_of(predictors)[name]
        axis.errorbar(at, rows.mae, yerr=spread, marker="o", ms=4, lw=1.4, capsize=2, label=name, color=colour)
    axis.set_xticks(np.arange(len(groups)), [str(g) for g in groups])
    axis.set(xlabel=label, ylabel="MAE (NDVI)", ylim=(0, None))
    axis.legend(frameon=False, fontsize=7, ncol=2)
    return figure


def plot_seasons(table: pd.DataFrame, predictors: Sequence[str]) -> Any:
    """MAE by meteorological season as grouped bars with intervals."""
    figure, axis = new_figure()
    seasons = [season for season in SEASONS if season in set(table.season)]
    width = 0.8 / max(len(predictors), 1)
    for offset, name in enumerate(predictors):
        rows = table[table.predictor == name].set_index("season").reindex(seasons)
        at = np.arange(len(seasons)) + width * (offset - (len(predictors) - 1) / 2)
        spread = np.clip([rows.mae - rows.mae_low, rows.mae_high - rows.mae], 0, None)
        axis.bar(at, rows.mae, width, yerr=spread, label=name, color=colour_of(predictors)[name], error_kw={"lw": 0.7})
    axis.set_xticks(np.arange(len(seasons)), seasons)
    axis.set(ylabel="MAE (NDVI)")
    axis.legend(frameon=False, fontsize=7, ncol=2)
    return figure


def plot_reliability(table: pd.DataFrame, group: str, predictor: str) -> Any:
    """Observed coverage of the 50, 80 and 90 % intervals against the nominal one, one line per gap or bin."""
    figure, axis = new_figure(width=3.6, height=3.6)
    rows = table[table.predictor == predictor]
    axis.plot([45, 100], [45, 100], color="0.5", lw=0.8, ls="--")
    for colour, (_, row) in zip(COLOURS, rows.iterrows(), strict=False):
        observed = [row[f"coverage_{level}"] for level in COVERAGE_LEVELS]
        axis.plot(COVERAGE_LEVELS, observed, marker="o", ms=4, label=f"{row[group]} d", color=colour)
    axis.set(xlabel="nominal interval (%)", ylabel="observed (%)", xlim=(45, 95), ylim=(40, 100))
    axis.legend(frameon=False, fontsize=7)
    return figure


def plot_density(density: dict[str, np.ndarray], predictors: Sequence[str]) -> Any:
    """Predicted against reference NDVI, counts on a logarithmic scale, one panel per predictor (at most three)."""
    shown = shown_predictors(predictors, list(density), 3)
    figure, axes = new_figure(columns=len(shown), width=2.6 * len(shown), height=2.8)
    for axis, name in zip(np.atleast_1d(axes), shown, strict=True):
        counts = np.log10(np.where(density[name] > 0, density[name], np.nan)).T
        axis.imshow(counts, origin="lower", extent=(NDVI_MIN, NDVI_MAX) * 2, cmap="viridis", aspect="equal")
        axis.plot([NDVI_MIN, NDVI_MAX], [NDVI_MIN, NDVI_MAX], color="0.3", lw=0.7)
        axis.grid(False)
        axis.set(title=name, xlabel="reference NDVI")
    np.atleast_1d(axes)[0].set_ylabel("predicted NDVI")
    return figure


def plot_series(gallery: Gallery, predictors: Sequence[str]) -> Any:
    """One pixel: truth, visible and withheld observations, and two predictors with their 90 % interval."""
    from matplotlib.dates import ConciseDateFormatter

    figure, axis = new_figure(height=3.0)
    dates = gallery.series_days.astype("datetime64[D]")  # type: ignore[union-attr]
    axis.plot(dates, gallery.series["truth"][0], color="0.2", lw=1.2, label="truth")
    for name in shown_predictors(predictors, list(gallery.series), 2):
        ndvi, sigma = gallery.series[name]
        colour = colour_of(predictors)[name]
        axis.plot(dates, ndvi, color=colour, lw=1.4, label=name)
        if sigma is not None:
            half = HALF_WIDTHS[90] * sigma
            axis.fill_between(dates, ndvi - half, ndvi + half, color=colour, alpha=0.18, lw=0, label="90 %")
    for observations, style, label in (
        (gallery.observations, "o", "observations"),
        (gallery.withheld, "x", "withheld observations"),
    ):
        if observations is not None:
            axis.plot(observations[0].astype("datetime64[D]"), observations[1], style, ms=4, color="0.4", label=label)
    axis.set(ylabel="NDVI", ylim=(-0.1, 1.05))
    axis.legend(frameon=False, fontsize=7, ncol=3)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))
    return figure


def plot_frames(gallery: Gallery, predictors: Sequence[str]) -> Any:
    """Images of one date in a withheld gap: the truth and up to four predictors, on the same colour scale."""
    shown = ["truth", *reversed(shown_predictors(predictors, list(gallery.frames), 4))]
    figure, axes = new_figure(columns=len(shown), width=1.9 * len(shown) + 0.6, height=2.3)
    low, high = np.nanpercentile(gallery.frames["truth"], (1, 99))
    image = None
    for axis, name in zip(np.atleast_1d(axes), shown, strict=True):
        image = axis.imshow(gallery.frames[name], vmin=low, vmax=high, cmap="YlGn", interpolation="nearest")
        axis.set_title(name if name != "truth" else f"truth, {gallery.frame_date}", fontsize=8)
        axis.set_axis_off()
    figure.colorbar(image, ax=list(np.atleast_1d(axes)), shrink=0.8, label="NDVI")
    return figure


def plot_lags(table: pd.DataFrame, predictors: Sequence[str]) -> Any:
    """MAE by lag in days; dashed lines are the hindcast, which uses all data."""
    figure, axis = new_figure()
    for name in predictors:
        rows = table[table.predictor == name]
        curve, hindcast = rows[rows.lag_days.notna()].sort_values("lag_days"), rows[rows.lag_days.isna()]
        colour = colour_of(predictors)[name]
        axis.plot(curve.lag_days, curve.mae, marker="o", ms=3.5, label=name, color=colour)
        if len(hindcast):
            axis.axhline(hindcast.mae.item(), color=colour, lw=0.8, ls="--")
    axis.set(xlabel="lag: days of data after the predicted date", ylabel="MAE (NDVI)", ylim=(0, None))
    axis.legend(frameon=False, fontsize=7, ncol=2)
    return figure


def plot_season_dates(table: pd.DataFrame, predictors: Sequence[str]) -> Any:
    """RMSE of season dates by length of the gap around the event."""
    events = list(dict.fromkeys(table.event))
    figure, axes = new_figure(columns=len(events), width=2.4 * len(events) + 0.3, height=2.9)
    for axis, event in zip(np.atleast_1d(axes), events, strict=True):
        for name in dict.fromkeys(table.predictor):
            rows = table[(table.predictor == name) & (table.event == event)].sort_values("gap_days")
            known = name in predictors  # the observations are not a predictor
            style = {"color": colour_of(predictors)[name]} if known else {"color": "0.1", "ls": ":"}
            axis.plot(rows.gap_days, rows.rmse_days, marker="o", ms=3.5, label=name, **style)
        axis.set(title=event, xlabel="gap around the event (days)", ylim=(0, None))
    np.atleast_1d(axes)[0].set_ylabel("RMSE (days)")
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=5, fontsize=7, frameon=False)
    return figure
