"""The viewer: its state, its Panel layout, and the server on this machine."""

import html
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import panel as pn
import xarray as xr

from fusion.viewer.chart import Chart
from fusion.viewer.layers import Content, Picture, map_layers, picture
from fusion.viewer.map_panel import MapPanel, scale_of
from fusion.viewer.series import Clicked, Curve, field_at, field_series, pixel_at, pixel_series

ADDRESS = "127.0.0.1"
PIXEL, FIELD = "pixel", "field"
NEAREST_DAYS = 3  # largest distance between the two dates of a difference
TABLE_STYLE = "border-collapse: collapse; text-align: left; font-variant-numeric: tabular-nums"


class PortInUseError(OSError):
    """Another program listens on the port; the message names a way out."""


class Viewer:
    """One session: what is chosen, and the figures that show it.

    Attributes
    ----------
    layer, date, picks : Panel widgets
        The map's layer, its date, and whether a click selects a pixel or a field.
    clicked : Clicked
        What the last click found.
    """

    def __init__(self, content: Content) -> None:
        self.content, self.layers = content, map_layers(content)
        self.window: tuple[float, float, float, float] | None = None
        self.clicked: Clicked | None = None
        dates = [str(d) for d in content.result.ndvi.t.values.astype("datetime64[D]")]
        self.layer = pn.widgets.Select(label="map", options=list(self.layers), value=content.result.series_band)
        self.date = pn.widgets.DiscreteSlider(label="date", options=dates, value=dates[len(dates) // 2], width=520)
        self.picks = pn.widgets.RadioButtonGroup(options=[PIXEL, FIELD], value=PIXEL)
        whole = picture(content.result.ndvi.isel(t=0))
        self.map = MapPanel(whole, on_tap=self.tap, on_window=self.zoom)
        self.chart = Chart(compares=content.other is not None, observes=content.observations is not None)
        self.facts = pn.pane.HTML("", width=760)
        if content.fields is not None:
            self.map.outline(content.fields)
        for widget in (self.layer, self.date):
            widget.param.watch(lambda _: self.draw(), "value")
        self.tap(whole.x + whole.width / 2, whole.y + whole.height / 2)
        self.draw()
        if content.fields is not None:
            self.picks.value = FIELD

    @property
    def day(self) -> np.datetime64:
        """The date of the slider."""
        return np.datetime64(self.date.value)

    def draw(self) -> None:
        """Read the image of the chosen layer, date and window, and draw it."""
        label, (kind, what) = self.layer.value, self.layers[self.layer.value]
        title = label
        if kind == "season":
            image: Picture | None = picture(what, self.window)
        elif kind == "difference":
            image = self._difference()
            title = f"{label}, {self.day}" if image else f"{label}: no date of the other result near {self.day}"
        else:
            k = nearest(what, self.day)
            image = picture(what.isel(t=k), self.window)
            title = f"{label}, {str(what.t.values[k])[:10]}"
        if image is None:
            empty = picture(self.content.result.ndvi.isel(t=0), self.window)
            image = replace(empty, values=np.full_like(empty.values, np.nan))
        self.map.show(image, scale_of(kind, label, image.values), title)
        self.chart.show_date(self.day)
        self._write_facts()

    def _difference(self) -> Picture | None:
        assert self.content.other is not None
        one, two = self.content.result.ndvi, self.content.other.ndvi
        at = nearest(one, self.day), nearest(two, self.day)
        if abs(one.t.values[at[0]] - two.t.values[at[1]]) > np.timedelta64(NEAREST_DAYS, "D"):
            return None
        first, second = (picture(a.isel(t=k), self.window) for a, k in zip((one, two), at, strict=True))
        return replace(first, values=second.values - first.values)

    def zoom(self, window: tuple[float, float, float, float]) -> None:
        """Read the visible part again, at its own resolution."""
        if None not in window:
            self.window = window
            self.draw()

    def tap(self, x: float, y: float) -> None:
        """Show the series of the pixel or field at a place; a click outside changes nothing."""
        clicked = self._read(x, y)
        if clicked is None:
            return
        self.clicked = clicked
        self.map.mark(x, y)
        self.chart.show(clicked)
        self._write_facts()

    def _read(self, x: float, y: float) -> Clicked | None:
        if self.content.fields is not None and self.picks.value == FIELD:
            number = field_at(self.content, x, y)
            return None if number is None else field_series(self.content, number)
        pixel = pixel_at(self.content, x, y)
        return None if pixel is None else pixel_series(self.content, *pixel)

    def _write_facts(self) -> None:
        if self.clicked is not None:
            self.facts.object = facts_html(self.clicked, self.day)

    def layout(self) -> Any:
        """The whole viewer as a Panel object."""
        head = [self.layer, self.date] + ([self.picks] if self.content.fields is not None else [])
        return pn.Column(
            pn.Row(*head),
            pn.FlexBox(pn.pane.Bokeh(self.map.figure), pn.Column(pn.pane.Bokeh(self.chart.figure), self.facts)),
            sizing_mode="stretch_width",
        )


def nearest(images: xr.DataArray, day: np.datetime64) -> int:
    """Position of the date nearest to ``day``."""
    return int(np.argmin(np.abs(images.t.values - day)))


def facts_html(clicked: Clicked, day: np.datetime64) -> str:
    """What was clicked in numbers: NDVI on the date of the map, and its seasons."""
    lines = [f"<b>{html.escape(clicked.title)}</b>, {day}: NDVI {_value(clicked.fused, day)}"]
    if clicked.other is not None:
        lines.append(f"other result {_value(clicked.other, day)}")
    if clicked.observations is not None:
        seen = np.isfinite(clicked.observations.ndvi)
        inside = (clicked.observations.dates >= clicked.fused.dates[0]) & (
            clicked.observations.dates <= clicked.fused.dates[-1]
        )
        lines.append(f"{int((seen & inside).sum())} observations in the period")
    head = "".join(f'<th style="padding-right: 1.5em">{name}</th>' for name in ("season", "start", "maximum", "end",
                                                                             "amplitude", "QFLAG"))  # fmt: skip
    rows = ""
    for k, season in enumerate(clicked.seasons, 1):
        dates = [_date(season.dates.get(n), season.sigma_days.get(n, np.nan)) for n in ("SOSD", "MAXD", "EOSD")]
        cells = [str(k), *dates, _number(season.amplitude, 2), _number(season.qflag, 0)]
        rows += "<tr>" + "".join(f'<td style="padding-right: 1.5em">{cell}</td>' for cell in cells) + "</tr>"
    table = f'<table style="{TABLE_STYLE}"><tr>{head}</tr>{rows}</table>' if rows else "No season found."
    return f"<p>{'; '.join(lines)}</p>{table}"


def _value(curve: Curve, day: np.datetime64) -> str:
    ndvi, sigma = curve.at(day)
    if not np.isfinite(ndvi):
        return "no data"
    return f"{ndvi:.3f} ± {sigma:.3f}" if np.isfinite(sigma) else f"{ndvi:.3f}"


def _date(date: np.datetime64 | None, sigma: float) -> str:
    if date is None or np.isnat(date):
        return "–"
    return f"{date} ± {sigma:.0f} d" if np.isfinite(sigma) else str(date)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def make_server(content: Content, *, port: int, title: str) -> Any:
    """A server on this machine only; it does not run yet. Port 0: any free one.

    Raises
    ------
    PortInUseError
        Another program listens on the port.
    """
    from panel.io.server import get_server

    pn.extension()

    def session() -> Any:
        return Viewer(content).layout()

    try:
        return get_server({"/": session}, port=port, address=ADDRESS, title={"/": title}, verbose=False)
    except OSError as error:
        raise PortInUseError(
            f"port {port} cannot be used ({error.strerror}); give another one, or port=0 for any free port"
        ) from error


def serve(content: Content, *, port: int, show: bool, title: str, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; ``ready`` is called with the address once the server listens."""
    server = make_server(content, port=port, title=title)
    server.start()
    ready(f"http://{ADDRESS}:{server.port}/")
    if show:
        server.io_loop.add_callback(server.show, "/")
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        server.stop()
