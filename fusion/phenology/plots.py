"""Plots of seasons for notebooks and reports: curve and season dates of one pixel, map of a parameter."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from fusion.contract import NDVI_MAX, ContractError
from fusion.phenology.layers import ndvi_and_sigma
from fusion.phenology.settings import DATES, MAIN_SUFFIX
from fusion.phenology.smoothing import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_COLOUR, OBS_COLOUR = "#1b6b3a", "#555555"
MARKERS = {"SOSD": ("start", "#2a7fb8"), "MAXD": ("maximum", "#d98c1f"), "EOSD": ("end", "#a33b2e")}


def plot_seasons(
    cube: xr.DataArray,
    data: xr.Dataset,
    *,
    observations: xr.DataArray | None = None,
    curve: str = "double_logistic",
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot the curve, observations, standard deviation and season dates of one pixel.

    Parameters
    ----------
    cube : xarray.DataArray
        The series of one pixel (only ``t`` and ``bands`` left, or y and x of size 1), as given to ``seasons``.
    data : xarray.Dataset
        The seasons of that pixel.
    observations : DataArray, optional
        Original observations to draw beside a fused series.
    curve : str
        Smoother of the line, a ``method`` of :func:`fusion.phenology.smoothing.smooth`.
    ax : matplotlib.axes.Axes, optional
        A new figure when not given.

    Raises
    ------
    ContractError
        More than one pixel.
    """
    import matplotlib.pyplot as plt

    cube, data = _one_pixel(cube), _one_pixel(data)
    ndvi, sigma = ndvi_and_sigma(cube, None)
    ax = ax if ax is not None else plt.subplots(figsize=(9, 3.5), layout="constrained")[1]
    dates = ndvi.t.values
    line = smooth(cube.expand_dims(y=1, x=1), method=curve, step_days=1).isel(y=0, x=0)
    if sigma is not None:
        ax.fill_between(
            dates, ndvi - sigma, ndvi + sigma, color=CURVE_COLOUR, alpha=0.18, lw=0, label="± 1 standard deviation"
        )
    ax.plot(dates, ndvi, ".", color=OBS_COLOUR, ms=4, label="series" if sigma is not None else "observations")
    if observations is not None:
        real, _ = ndvi_and_sigma(_one_pixel(observations), None)
        ax.plot(real.t.values, real, "o", mfc="none", color=OBS_COLOUR, ms=5, label="observations")
    ax.plot(line.t.values, line, color=CURVE_COLOUR, lw=1.5, label="curve")
    years = data if "year" in data.dims else data.expand_dims("year")
    for name, (label, colour) in MARKERS.items():
        for y, year in enumerate(years.year.values):
            for k in range(years.sizes["season"]):
                day = float(years[name].isel(year=y, season=k))
                if np.isfinite(day):
                    _mark(ax, int(year), day, _sigma_of(years, name, y, k), colour, label)
    ax.set(ylabel="NDVI", ylim=(min(0.0, float(ndvi.min())) - 0.05, NDVI_MAX))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), ncols=3, fontsize=8, frameon=False, loc="upper left")
    return ax


def _one_pixel(array):
    for dim in ("y", "x"):
        if dim in array.dims:
            if array.sizes[dim] != 1:
                raise ContractError(f"{dim} has {array.sizes[dim]} pixels; select one, for example cube.isel(y=0, x=0)")
            array = array.isel({dim: 0})
    return array


def _sigma_of(years: xr.Dataset, name: str, y: int, k: int) -> float:
    layer = f"{name}_SIGMA"
    return float(years[layer].isel(year=y, season=k)) if layer in years else float("nan")


def _mark(ax: "Axes", year: int, day: float, sigma: float, colour: str, label: str) -> None:
    from matplotlib.dates import date2num

    at = float(date2num(np.datetime64(f"{year:04d}-01-01", "D"))) + day
    ax.axvline(at, color=colour, lw=1.2, label=label)
    if np.isfinite(sigma):
        ax.axvspan(at - sigma, at + sigma, color=colour, alpha=0.15, lw=0)


def plot_parameter(data: xr.Dataset, name: str, *, season: int = 1, ax: "Axes | None" = None) -> "Axes":
    """Plot a map of one parameter of one season, or of the main season (``SOSD_main``); dates as calendar dates.

    Raises
    ------
    ContractError
        The parameter or season is not in the data set, or the data set holds several years.
    """
    from matplotlib.ticker import FuncFormatter

    if name not in data:
        raise ContractError(f"parameter is {name!r}; the data set has {', '.join(map(str, data.data_vars))}")
    layer = data[name]
    if "year" in layer.dims:
        raise ContractError(
            f"the data set holds the years {data.year.values.tolist()}; select one with data.sel(year=...)"
        )
    of_season = f", season {season}" if "season" in layer.dims else ""
    if "season" in layer.dims:
        if season not in layer.season.values:
            raise ContractError(f"season is {season}; the data set has {layer.season.values.tolist()}")
        layer = layer.sel(season=season)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 5), layout="constrained")[1]
    values = layer.transpose("y", "x").values.astype(float)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    extent = _extent(layer)
    image = ax.imshow(
        values, extent=extent, vmin=low, vmax=max(high, low + 1e-6), cmap="viridis", interpolation="nearest"
    )
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    label = layer.attrs.get("long_name", name)
    if name.removesuffix(MAIN_SUFFIX) in DATES and "year" in data.coords:
        zero = np.datetime64(f"{int(data.year):04d}-01-01", "D")
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda day, _: str(zero + round(day))))
        bar.set_label(label.removesuffix(", main season"))
    else:
        units = layer.attrs.get("units", "1")
        bar.set_label(label if units == "1" else f"{label} [{units}]")
    year = f", {int(data.year)}" if "year" in data.coords and data.year.ndim == 0 else ""
    plain = name.removesuffix(MAIN_SUFFIX)
    ax.set_title(f"{plain}{year}{of_season or (', main season' if plain != name else '')}")
    ax.ticklabel_format(style="plain", useOffset=False)
    shape = values.shape[1] / values.shape[0]
    ax.locator_params("x", nbins=max(1, min(4, round(4 * shape))))  # projected coordinates have seven digits
    ax.locator_params("y", nbins=max(1, min(4, round(4 / shape))))
    return ax


def _extent(layer: xr.DataArray) -> tuple[float, float, float, float] | None:
    if "x" not in layer.coords or "y" not in layer.coords or min(layer.sizes["x"], layer.sizes["y"]) < 2:
        return None
    x, y = layer.x.values, layer.y.values
    dx, dy = abs(x[1] - x[0]) / 2, abs(y[1] - y[0]) / 2
    return (x.min() - dx, x.max() + dx, y.min() - dy, y.max() + dy)
