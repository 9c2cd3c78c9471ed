"""The map of the viewer: one image at screen resolution, outlines of fields, the mark of the clicked place."""

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.events import RangesUpdate, Tap
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, WheelZoomTool
from bokeh.palettes import RdBu11, Viridis256
from bokeh.plotting import figure

from fusion.contract import NDVI_SIGMA
from fusion.viewer.layers import Picture

SAND_TO_GREEN = ("#b58b5a", "#dcc48e", "#eee8b5", "#b9d67a", "#6fb04a", "#2f8a3b", "#0f5a2c")
NO_DATA = "#c9ced1"
SIZE_PX = 480


def gradient(anchors: tuple[str, ...], count: int = 128) -> list[str]:
    """``count`` colours between the anchors, linear in RGB."""
    rgb = np.array([[int(a[i : i + 2], 16) for i in (1, 3, 5)] for a in anchors], float)
    at = np.linspace(0, len(anchors) - 1, count)
    mixed = np.stack([np.interp(at, np.arange(len(anchors)), rgb[:, channel]) for channel in range(3)], axis=1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in mixed.round().astype(int)]


NDVI_PALETTE = gradient(SAND_TO_GREEN)
SIGMA_PALETTE = gradient(("#fff7ec", "#fdbb84", "#d7301f", "#4d0000"))
DIFFERENCE_PALETTE = gradient(tuple(RdBu11))


def scale_of(kind: str, label: str, values: np.ndarray) -> tuple[list[str], float, float]:
    """Palette and limits: fixed for NDVI, sigma and differences, 2nd to 98th percentile for other values."""
    if kind == "difference":
        return DIFFERENCE_PALETTE, -0.3, 0.3
    if label == NDVI_SIGMA:
        return SIGMA_PALETTE, 0.0, 0.25
    if kind == "band" and "NDVI" in label:
        return NDVI_PALETTE, 0.0, 0.95
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    return list(Viridis256), float(low), float(max(high, low + 1e-6))


class MapPanel:
    """A Bokeh figure with an image that is read again, finer, when the user zooms in.

    ``on_tap`` is called with x and y of a click, ``on_window`` with (west, south, east, north) after zoom or pan.
    """

    def __init__(self, whole: Picture, *, on_tap: Callable, on_window: Callable) -> None:
        aspect = min(max(whole.height / whole.width, 0.4), 1.4)
        self.figure = figure(
            width=SIZE_PX + 70, height=int(SIZE_PX * aspect) + 60, match_aspect=True, toolbar_location="above",
            tools="pan,box_zoom,reset", x_range=(whole.x, whole.x + whole.width),
            y_range=(whole.y, whole.y + whole.height), name="map",
        )  # fmt: skip
        wheel = WheelZoomTool()
        self.figure.add_tools(wheel)
        self.figure.toolbar.active_scroll = wheel
        self.figure.toolbar.logo = None
        self.mapper = LinearColorMapper(palette=NDVI_PALETTE, low=0, high=1, nan_color=NO_DATA)
        self.source = ColumnDataSource(
            {"image": [np.zeros((1, 1), np.float32)], "x": [0], "y": [0], "dw": [1], "dh": [1]}
        )
        pixel = whole.width / whole.values.shape[1]
        digits = max(0, -int(np.floor(np.log10(pixel))))  # more for degrees than for metres
        decimals = "0." + "0" * digits if digits else "0"
        at = f"$x{{{decimals}}}, $y{{{decimals}}}"
        drawn = self.figure.image(
            image="image", x="x", y="y", dw="dw", dh="dh", source=self.source, color_mapper=self.mapper
        )
        self.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("value", "@image{0.000}"), ("x, y", at)]))
        self.figure.add_layout(ColorBar(color_mapper=self.mapper, width=10), "right")
        self.outlines = ColumnDataSource({"xs": [], "ys": []})
        self.figure.multi_polygons(
            "xs", "ys", source=self.outlines, fill_alpha=0, line_color="#22312b", line_width=1,
            nonselection_fill_alpha=0, nonselection_line_alpha=1, selection_fill_alpha=0,
        )  # fmt: skip
        self.chosen = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter("x", "y", source=self.chosen, marker="cross", size=16, line_width=3, color="#d1495b")
        for axis in (self.figure.xaxis, self.figure.yaxis):
            axis.formatter.use_scientific = False
            axis.ticker.desired_num_ticks = 4
        self.figure.on_event(Tap, lambda event: on_tap(event.x, event.y))
        self.figure.on_event(RangesUpdate, lambda event: on_window((event.x0, event.y0, event.x1, event.y1)))

    def show(self, image: Picture, scale: tuple[list[str], float, float], title: str) -> None:
        """Draw an image."""
        self.mapper.update(palette=scale[0], low=scale[1], high=scale[2])
        self.source.data = {
            "image": [image.values], "x": [image.x], "y": [image.y], "dw": [image.width], "dh": [image.height],
        }  # fmt: skip
        self.figure.title.text = title

    def outline(self, fields: Any) -> None:
        """Draw the polygons of a GeoDataFrame, holes included."""
        fields = [getattr(shape, "geoms", [shape]) for shape in fields.geometry]
        rings = [[[part.exterior, *part.interiors] for part in parts] for parts in fields]
        self.outlines.data = {
            axis: [[[list(ring.coords.xy[k]) for ring in part] for part in parts] for parts in rings]
            for k, axis in enumerate(("xs", "ys"))
        }

    def mark(self, x: float, y: float) -> None:
        """Put the cross on a place."""
        self.chosen.data = {"x": [x], "y": [y]}
