"""Contact sheet of patches: dates in columns, sensors in rows, clouds grey, statistics of gaps at the bottom."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from data_prep.statistics import GAP_EDGES_D, gap_histogram
from fusion.contract import NDVI_MIN
from fusion.data.patch import Patch
from fusion.whole_file import whole_file

_COLUMNS = 12
_ROWS = (
    ("S2 NDVI", "s2_days", "s2_ndvi", (0.0, 0.95), "RdYlGn"),
    ("VV dB", "s1_days", "vv_db", (-20.0, -4.0), "gray"),
    ("VH dB", "s1_days", "vh_db", (-28.0, -10.0), "gray"),
    ("coarse NDVI", "coarse_days", "coarse_ndvi", (0.0, 0.95), "RdYlGn"),
)


def contact_sheet(patches: list[Patch], path: Path, title: str) -> Path:
    """Draw the patches one below the other to a PNG file; equal patches give an equal image.

    Columns are ``_COLUMNS`` dates spread evenly over the patch; each sensor shows its image nearest to that date, with
    the date of the image above it. Grey = no data: cloud, shadow, or outside the swath.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = len(_ROWS) + 1  # one more for the truth
    figure = Figure(figsize=(1.05 * _COLUMNS + 1.2, 1.25 * rows * len(patches) + 2.6), dpi=80, layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.25 * rows * len(patches), 2.4])
    top, bottom = np.asarray(parts, object).ravel()
    axes = top.subplots(rows * len(patches), _COLUMNS, squeeze=False)
    for k, patch in enumerate(patches):
        _draw_patch(axes[k * rows : (k + 1) * rows], patch)
    _draw_gaps(bottom, patches)
    figure.suptitle(title, fontsize=10)
    with whole_file(path) as partial:
        figure.savefig(partial)
    return path


def _draw_patch(axes: np.ndarray, patch: Patch) -> None:
    obs = patch.observations
    all_days = np.concatenate([obs.s2_days, obs.s1_days, obs.coarse_days])
    dates = np.linspace(all_days.min(), all_days.max(), _COLUMNS)
    truth = ("truth", "truth_days", "truth", (0.0, 0.95), "RdYlGn")
    for row, (name, days_name, values_name, limits, colours) in zip(axes, (*_ROWS, truth), strict=True):
        owner = patch if name == "truth" else obs
        days, values = getattr(owner, days_name), getattr(owner, values_name)
        for column, axis in enumerate(row):
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(name, fontsize=7)
            if days is None or not len(days):
                axis.set_facecolor("white")
                axis.text(
                    0.5, 0.5, "none", ha="center", va="center", fontsize=6, color="grey", transform=axis.transAxes
                )
                continue
            nearest = int(np.argmin(np.abs(days - dates[column])))
            axis.set_facecolor("0.6")
            axis.imshow(values[nearest], vmin=limits[0], vmax=limits[1], cmap=colours, interpolation="nearest")
            axis.set_title(str(days[nearest].astype("datetime64[D]")), fontsize=6, pad=2)
    name = f"{patch.key}  ({patch.split})"
    title = axes[0, 0].text(0, 1.35, name, transform=axes[0, 0].transAxes, fontsize=8, weight="bold")
    title.set_in_layout(False)  # a long name must not widen the columns


def _draw_gaps(figure: object, patches: list[Patch]) -> None:
    left, right = figure.subplots(1, 2)  # type: ignore[attr-defined]
    counts = np.zeros(len(GAP_EDGES_D) - 1)
    for patch in patches:
        obs = patch.observations
        clear = np.isfinite(obs.s2_ndvi)
        counts += gap_histogram(obs.s2_days, clear)
        share = clear.mean(axis=(1, 2))
        right.plot(obs.s2_days.astype("datetime64[D]"), share, ".-", lw=0.6, ms=3, label=patch.key)
    labels = [f"{a}-{b}" for a, b in pairwise(GAP_EDGES_D)]
    left.bar(range(len(counts)), counts / max(1.0, counts.sum()))
    left.set_xticks(range(len(counts)), labels, fontsize=6, rotation=45)
    left.set_xlabel("days between clear observations of a pixel", fontsize=7)
    left.set_ylabel("share of gaps", fontsize=7)
    right.set_ylabel("clear share of the patch", fontsize=7)
    right.set_ylim(NDVI_MIN * 0, 1.02)
    for axis in (left, right):
        axis.tick_params(labelsize=6)
    if len(patches) <= 6:
        right.legend(fontsize=5)
