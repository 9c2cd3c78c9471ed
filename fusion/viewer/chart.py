"""The chart of the viewer: observations, fused curves with their 90 % bands, and season dates of what was clicked."""

import numpy as np
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, HoverTool, Span
from bokeh.plotting import figure

from fusion.contract import NDVI_MAX
from fusion.evaluation.metrics import HALF_WIDTHS
from fusion.viewer.series import Clicked, Curve

FUSED, OTHER, OBSERVED = "#1b7f4d", "#3d6b99", "#d1495b"
MARKS = {"SOSD": ("start", "#2a7fb8"), "MAXD": ("maximum", "#d98c1f"), "EOSD": ("end", "#a33b2e")}


class Chart:
    """A Bokeh figure whose data are replaced at every click."""

    def __init__(self, *, compares: bool, observes: bool) -> None:
        self.figure = figure(
            width=760, height=360, x_axis_type="datetime", y_range=(-0.1, NDVI_MAX + 0.05),
            tools="xpan,xwheel_zoom,xbox_zoom,reset", toolbar_location="above", y_axis_label="NDVI",
            name="chart",
        )  # fmt: skip
        self.figure.toolbar.logo = None
        self.figure.xaxis.formatter = DatetimeTickFormatter(days="%d %b", months="%b %Y", years="%Y")
        self.marks = {name: ColumnDataSource({"x": []}) for name in MARKS}
        for name, (label, colour) in MARKS.items():
            self.figure.vspan("x", source=self.marks[name], color=colour, line_width=1.5, legend_label=label)
        self.fused = self._curve("result" if compares else "fused", FUSED)
        self.other = self._curve("other result", OTHER) if compares else None
        self.observed = ColumnDataSource({"t": [], "ndvi": []})
        if observes:
            dots = self.figure.scatter(
                "t", "ndvi", source=self.observed, color=OBSERVED, size=6, legend_label="observation"
            )
            self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[("date", "@t{%F}"), ("NDVI", "@ndvi{0.000}")],
                                            formatters={"@t": "datetime"}))  # fmt: skip
        self.now = Span(dimension="height", line_color="#22312b", line_dash="dotted", line_width=1)
        self.figure.add_layout(self.now)
        legend = self.figure.legend[0]
        legend.orientation, legend.background_fill_alpha, legend.border_line_alpha = "horizontal", 0.0, 0.0
        self.figure.add_layout(legend, "below")
        legend.click_policy = "hide"

    def _curve(self, label: str, colour: str) -> ColumnDataSource:
        source = ColumnDataSource({"t": [], "ndvi": [], "low": [], "high": []})
        self.figure.varea(
            "t", "low", "high", source=source, color=colour, alpha=0.18, legend_label=f"{label}, 90 % band"
        )
        self.figure.line("t", "ndvi", source=source, color=colour, line_width=2, legend_label=label)
        return source

    def show(self, clicked: Clicked) -> None:
        """Draw the series of a click."""
        self.figure.title.text = clicked.title
        self.fused.data = _columns(clicked.fused)
        if self.other is not None and clicked.other is not None:
            self.other.data = _columns(clicked.other)
        if clicked.observations is not None:
            seen = np.isfinite(clicked.observations.ndvi)
            self.observed.data = {"t": clicked.observations.dates[seen], "ndvi": clicked.observations.ndvi[seen]}
        for name, source in self.marks.items():
            dates = [s.dates[name] for s in clicked.seasons if name in s.dates and not np.isnat(s.dates[name])]
            source.data = {"x": np.array(dates, "datetime64[ms]")}

    def show_date(self, date: np.datetime64) -> None:
        """Move the line that marks the date of the map."""
        self.now.location = float(date.astype("datetime64[ms]").astype("int64"))


def _columns(curve: Curve) -> dict[str, np.ndarray]:
    half = HALF_WIDTHS[90] * curve.sigma
    known = np.isfinite(half) & np.isfinite(curve.ndvi)
    low, high = (np.where(known, curve.ndvi + sign * half, curve.ndvi) for sign in (-1, 1))
    return {"t": curve.dates, "ndvi": curve.ndvi, "low": low, "high": high}
