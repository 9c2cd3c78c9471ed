"""Figures of acceptance: the same gap filled by several methods, and mean spectra of the NDVI gradient."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.acceptance.gap_example import GapExample
from fusion.evaluation.plots import colour_of, new_figure, shown_predictors
from fusion.evaluation.predictor import LINEAR, MODEL

WITHOUT_ADVERSARIAL = "without adversarial"
SIDE_BY_SIDE = (LINEAR, WITHOUT_ADVERSARIAL, MODEL)  # predictors shown beside the truth, from left to right


def plot_gaps(examples: Sequence[GapExample]) -> Any:
    """A date in the middle of a 60-day gap, one scene per row: truth, linear, without and with adversarial stage."""
    names = ["truth", *[name for name in SIDE_BY_SIDE if name in examples[0].frames]]
    width, height = 1.9 * len(names) + 0.7, 2.15 * len(examples) + 0.2
    figure, axes = new_figure(columns=len(names), rows=len(examples), width=width, height=height)
    titles = {MODEL: "with adversarial"} if WITHOUT_ADVERSARIAL in names else {}
    for row, example in zip(np.reshape(axes, (len(examples), len(names))), examples, strict=True):
        truth, image = example.frames["truth"], None
        low, high = np.nanpercentile(truth, (1, 99))
        for axis, name in zip(row, names, strict=True):
            frame = example.frames[name]
            image = axis.imshow(frame, vmin=low, vmax=high, cmap="YlGn", interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            error = "" if name == "truth" else f"\nMAE {np.nanmean(np.abs(frame - truth)):.3f}"
            axis.set_title(f"{titles.get(name, name)}{error}", fontsize=8)
        row[0].set_ylabel(f"{example.date}\ngap of {example.gap_days} days", fontsize=7)
        figure.colorbar(image, ax=list(row), shrink=0.85, label="NDVI")
    return figure


def plot_spectra(spectra: dict[str, tuple[np.ndarray, int]], predictors: Sequence[str]) -> Any:
    """Mean power spectrum of the NDVI gradient inside withheld gaps; the spectrum error scores the shaded half."""
    figure, axis = new_figure()
    for name in ("truth", *shown_predictors(predictors, list(spectra), 4)):
        total, count = spectra[name]
        frequency = np.arange(1, total.size + 1) / (2 * total.size)
        style = {"color": "0.15", "lw": 1.8} if name == "truth" else {"color": colour_of(predictors)[name], "lw": 1.2}
        axis.plot(frequency, 10 ** (total / count), label=name, **style)
    axis.axvspan(0.25, 0.5, color="0.95", zorder=0)
    axis.set(xlabel="cycles per pixel of 10 m", ylabel="power of the NDVI gradient", yscale="log", xlim=(0, 0.5))
    axis.legend(frameon=False, fontsize=7, ncol=2)
    return figure
