"""Figures of the report, each drawn from labelled arrays and returned as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from fusion.contract import COARSE_NDVI, NDVI, NDVI_SIGMA, S2NDVI, VH
from fusion.evaluation.plots import colour_of

INK, MUTED, GRID = "#22312b", "#6b7d74", "#dfe6e2"
FUSED, OBS, TRUTH, BASELINE = "#1b7f4d", "#d1495b", "#22312b", "#8f8f8f"
CLOUD = "#c9ced1"
_STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.grid": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


def ndvi_colours() -> Any:
    """Colour map of NDVI, from sand to dark green; no data is grey."""
    anchors = ["#b58b5a", "#dcc48e", "#eee8b5", "#b9d67a", "#6fb04a", "#2f8a3b", "#0f5a2c"]
    return matplotlib.colors.LinearSegmentedColormap.from_list("ndvi", anchors).with_extremes(bad=CLOUD)


def date_text(date: Any) -> str:
    """A date as YYYY-MM-DD."""
    return str(np.datetime64(date, "D"))


def strip_dates(cube: xr.DataArray, start: str, end: str, n: int = 6) -> list[np.datetime64]:
    """Up to ``n`` dates spread over the period, partly cloudy ones included, each with more than 2 % clear pixels."""
    obs = cube.sel(bands=S2NDVI)
    share = np.isfinite(obs.values).mean(axis=(1, 2))
    inside = (cube.t.values >= np.datetime64(start)) & (cube.t.values <= np.datetime64(end))
    candidates = np.flatnonzero(inside & (share > 0.02))
    if candidates.size == 0:
        candidates = np.flatnonzero(inside)
    wanted = np.linspace(0, candidates.size - 1, min(n, candidates.size)).round().astype(int)
    return [cube.t.values[i] for i in candidates[np.unique(wanted)]]


def sensor_strip(cube: xr.DataArray, fused: xr.DataArray, dates: Sequence[np.datetime64], truth: Any = None) -> bytes:
    """Images of each sensor, the fused NDVI, its sigma and, if given, the truth (rows) on several dates (columns)."""
    rows: list[tuple[str, xr.DataArray, dict[str, Any]]] = [
        ("Sentinel-2 NDVI", cube.sel(bands=S2NDVI), _ndvi_scale()),
    ]
    bands = [str(b) for b in cube.bands.values]
    if VH in bands and np.isfinite(cube.sel(bands=VH)).any():
        decibel: Any = cube.sel(bands=VH)
        if cube.attrs.get("s1_units") == "linear":
            decibel = 10 * np.log10(decibel.where(decibel > 0))
        low, high = np.nanpercentile(decibel.values, (2, 98))
        rows.append(("Sentinel-1 VH, dB", decibel.dropna("t", how="all"), {"cmap": "bone", "vmin": low, "vmax": high}))
    if COARSE_NDVI in bands and np.isfinite(cube.sel(bands=COARSE_NDVI)).any():
        rows.append(("coarse NDVI, 300 m", cube.sel(bands=COARSE_NDVI).dropna("t", how="all"), _ndvi_scale()))
    rows.append(("fused NDVI", fused.sel(bands=NDVI), _ndvi_scale()))
    rows.append(("sigma", fused.sel(bands=NDVI_SIGMA), {"cmap": "magma_r", "vmin": 0, "vmax": 0.25}))
    if truth is not None:
        rows.append(("truth", truth, _ndvi_scale()))
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            len(rows),
            len(dates),
            figsize=(1.75 * len(dates) + 1.2, 1.75 * len(rows) + 0.3),
            squeeze=False,
            layout="constrained",
        )
        for row, (label, values, scale) in enumerate(rows):
            image: Any = None
            for column, date in enumerate(dates):
                axis = axes[row, column]
                image = axis.imshow(values.sel(t=date, method="nearest").values, interpolation="nearest", **scale)
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0:
                    axis.set_title(date_text(date))
                if column == 0:
                    axis.set_ylabel(label, color=INK)
            figure.colorbar(image, ax=axes[row, :].tolist(), shrink=0.8, aspect=14, pad=0.01)
        return _png(figure)


def series_panel(
    cube: xr.DataArray,
    fused: xr.DataArray,
    pixels: Sequence[tuple[int, int, str]],
    *,
    truth: xr.DataArray | None = None,
    seasons: Mapping[tuple[int, int], Sequence[tuple[str, np.datetime64]]] | None = None,
) -> bytes:
    """NDVI of single pixels: observations, fused curve with its 90 % band, linear interpolation, truth, seasons.

    ``seasons``: pixel -> (label, date) of every line to draw; only those inside the fused period are drawn.
    """
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            len(pixels), 1, figsize=(10.2, 2.1 * len(pixels)), sharex=True, squeeze=False, layout="constrained"
        )
        for axis, (row, column, name) in zip(axes[:, 0], pixels, strict=True):
            _draw_series(axis, cube.isel(y=row, x=column), fused.isel(y=row, x=column), truth, (row, column))
            for label, date in (seasons or {}).get((row, column), ()):
                if not fused.t.values[0] <= date <= fused.t.values[-1]:
                    continue
                axis.axvline(date, color=MUTED, lw=1, ls=":")
                axis.annotate(
                    label, (date, 0.97), xycoords=("data", "axes fraction"), color=MUTED, fontsize=8, va="top"
                )
            axis.set_title(name, loc="left")
            axis.set_ylim(-0.05, 1.02)
            axis.set_ylabel("NDVI")
            axis.grid(axis="y", color=GRID, lw=0.8)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0, 0].legend(loc="upper left", ncols=5, bbox_to_anchor=(0.3, 1.3), fontsize=8)
        axes[-1, 0].xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes[-1, 0].xaxis.get_major_locator()))
        return _png(figure)


def _draw_series(axis: Any, obs: xr.DataArray, fused: xr.DataArray, truth: Any, pixel: tuple[int, int]) -> None:
    ndvi, sigma = fused.sel(bands=NDVI), fused.sel(bands=NDVI_SIGMA)
    band = 1.645 * sigma
    axis.fill_between(fused.t.values, ndvi - band, ndvi + band, color=FUSED, alpha=0.16, lw=0, label="90 % band")
    observed = obs.sel(bands=S2NDVI).dropna("t")
    inside = (observed.t >= fused.t[0]) & (observed.t <= fused.t[-1])
    observed = observed.sel(t=observed.t[inside])
    if truth is not None:
        true = truth.isel(y=pixel[0], x=pixel[1])
        axis.plot(true.t.values, true.values, color=TRUTH, lw=1.1, label="truth")
    axis.plot(observed.t.values, observed.values, color=BASELINE, lw=1, ls="--", label="linear")
    axis.plot(fused.t.values, ndvi.values, color=FUSED, lw=1.8, label="fused")
    axis.plot(observed.t.values, observed.values, "o", color=OBS, ms=3.5, label="Sentinel-2 observation")


def map_row(maps: Sequence[tuple[str, np.ndarray, dict[str, Any]]]) -> bytes:
    """Maps side by side, each with its own colour bar; ``(title, values (y, x), imshow settings)``."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(maps), figsize=(3.3 * len(maps), 3.0), squeeze=False, layout="constrained")
        for axis, (title, values, scale) in zip(axes[0], maps, strict=True):
            image = axis.imshow(values, interpolation="nearest", **scale)
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
            figure.colorbar(image, ax=axis, shrink=0.85, aspect=16, pad=0.02)
        return _png(figure)


def availability(cube: xr.DataArray, start: str, end: str) -> bytes:
    """Dates of each sensor, and the share of the area with data on each date."""
    share = {
        str(band): np.isfinite(cube.sel(bands=band).values).mean(axis=(1, 2))
        for band in cube.bands.values
        if str(band) in (S2NDVI, VH, COARSE_NDVI)
    }
    names = {S2NDVI: "Sentinel-2, share clear", VH: "Sentinel-1", COARSE_NDVI: "coarse NDVI"}
    colours = {S2NDVI: OBS, VH: "#3d6b99", COARSE_NDVI: "#c28f2c"}
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(len(share), 1, figsize=(10.2, 0.75 * len(share) + 0.4), sharex=True, squeeze=False,
                                    layout="constrained")  # fmt: skip
        for axis, (band, values) in zip(axes[:, 0], share.items(), strict=True):
            seen = values > 0
            axis.vlines(cube.t.values[seen], 0, values[seen], color=colours[band], lw=1.6)
            axis.set_ylim(0, 1.05)
            axis.set_yticks([])
            axis.set_ylabel(names[band], rotation=0, ha="right", va="center", color=INK)
            axis.spines[["top", "right", "left"]].set_visible(False)
        axes[-1, 0].set_xlim(np.datetime64(start), np.datetime64(end))
        axes[-1, 0].xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes[-1, 0].xaxis.get_major_locator()))
        return _png(figure)


def film(cube: xr.DataArray, fused: xr.DataArray, *, every: int = 1, pixels: int = 240) -> bytes:
    """An animation (GIF): the latest Sentinel-2 image, clouds grey, beside the fused NDVI."""
    from PIL import Image, ImageDraw

    colours = ndvi_colours()
    obs = cube.sel(bands=S2NDVI).dropna("t", how="all")
    frames = []
    for date in fused.t.values[::every]:
        earlier = obs.t.values <= date
        raw = obs.isel(t=int(earlier.sum()) - 1).values if earlier.any() else np.full(obs.shape[1:], np.nan)
        pair = [raw, fused.sel(bands=NDVI, t=date).values]
        scaled = [(np.clip((np.ma.masked_invalid(p) - NDVI_LOW) / (NDVI_HIGH - NDVI_LOW), 0, 1)) for p in pair]
        images = [
            Image.fromarray((np.asarray(colours(s))[..., :3] * 255).astype(np.uint8)).resize(
                (pixels, pixels), Image.Resampling.NEAREST
            )
            for s in scaled
        ]
        frame = Image.new("RGB", (2 * pixels + 12, pixels + 22), "white")
        for k, picture in enumerate(images):
            frame.paste(picture, (k * (pixels + 12), 22))
        draw = ImageDraw.Draw(frame)
        draw.text((4, 5), "latest Sentinel-2 image", fill=INK)
        draw.text((pixels + 16, 5), f"fused NDVI, {date_text(date)}", fill=INK)
        frames.append(frame.quantize(48))
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=140, loop=0, optimize=True)
    return out.getvalue()


def gap_curves(rows: Sequence[Mapping[str, Any]], bins: Sequence[str], label: str) -> bytes:
    """Mean absolute error by gap length, a line and a colour of its own for each method.

    ``rows`` hold ``method`` and one value per bin, ``label`` says what the bins are.
    """
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.1), layout="constrained")
        colours = colour_of([str(row["method"]) for row in rows])
        for row in rows:
            name, errors = str(row["method"]), [row.get(b, np.nan) for b in bins]
            axis.plot(range(len(bins)), errors, "o-", label=name, color=colours[name], lw=1.8, ms=4)
        axis.set_xticks(range(len(bins)), bins)
        axis.set_xlabel(label)
        axis.set_ylabel("mean absolute error, NDVI")
        axis.set_ylim(bottom=0)
        axis.set_title("error by gap length", loc="left")
        axis.grid(axis="y", color=GRID, lw=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend()
        return _png(figure)


NDVI_LOW, NDVI_HIGH = 0.0, 0.95


def _ndvi_scale() -> dict[str, Any]:
    return {"cmap": ndvi_colours(), "vmin": NDVI_LOW, "vmax": NDVI_HIGH}


def season_scale(values: np.ndarray) -> dict[str, Any]:
    """Colour scale of a day-of-year map, 2nd to 98th percentile; pixels without season are grey."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 365.0)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=CLOUD)
    return {"cmap": colours, "vmin": float(low), "vmax": float(max(high, low + 1))}


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(figure)
    return out.getvalue()
