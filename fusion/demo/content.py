"""Text, tables and figures of the report, from the results of the steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from data_prep.cube import clear_share
from fusion.contract import COARSE_NDVI, NDVI, NDVI_SIGMA, S2NDVI, VH
from fusion.demo import figures
from fusion.demo.example_pixels import HEADER, example_pixels, season_marks, season_rows
from fusion.demo.report import Report, decimal
from fusion.demo.steps import StepRecord

SIMULATED_NOTE = (
    "Everything on this page was made from SIMULATED satellite images: the scene, its clouds, its radar and its 300 m "
    "series come from the simulator of this project. The truth is therefore known, and the result can be scored "
    "against it; the figures do not apply to real fields."
)
REAL_NOTE = (
    "The input of this page is a real cube. There is no truth for it: the accuracy stated here is the error at "
    "observations of this cube that were withheld from the methods. `ndvi-fusion evaluate` does the same in full."
)


@dataclass(frozen=True)
class ReportContent:
    """Input of the report; sections whose data are None or empty are left out.

    ``cube`` and ``fused`` follow the contract. ``truth`` (t, y, x) is the clean NDVI, ``seasons`` (bands, y, x) season
    maps as day of the year with NaN = none, ``true_seasons`` the same of the truth, ``all_seasons`` the result of
    :func:`fusion.seasons`, of which the example pixels show every season. ``scores`` are rows with ``method`` and a
    mean absolute error for each of ``bins``, ``bin_label`` says what the bins are, and ``skill`` is a key figure with
    its label.
    """

    cube: xr.DataArray
    fused: xr.DataArray
    simulated: bool
    source: str
    model: str
    seasons: xr.DataArray | None = None
    truth: xr.DataArray | None = None
    true_seasons: xr.DataArray | None = None
    all_seasons: xr.Dataset | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)
    bins: tuple[str, ...] = ()
    bin_label: str = "days to the nearest observation"
    score_note: str = ""
    skill: tuple[str, str] | None = None
    openeo: dict[str, Any] = field(default_factory=dict)
    steps: Sequence[StepRecord] = ()
    files: Sequence[tuple[str, str]] = ()


def build_report(content: ReportContent) -> Report:
    """The report with all its sections."""
    note = SIMULATED_NOTE if content.simulated else REAL_NOTE
    report = Report(
        "Dense NDVI from cloudy observations",
        "Sentinel-2 observes the surface only where it is free of clouds. Radar observes it through clouds, a coarse "
        "sensor every day. "
        "This page shows how the three are fused into one NDVI value every few days, with its uncertainty, and which "
        "season dates follow.",
        note,
    )
    report.cards(_cards(content))
    _add_input(report, content)
    _add_fusion(report, content)
    _add_fields(report, content)
    if content.scores or content.score_note:
        add_accuracy(report, content)
    if content.seasons is not None:
        _add_seasons(report, content)
    if content.openeo:
        _add_openeo(report, content)
    _add_steps(report, content)
    return report


def longest_gap_days(cube: xr.DataArray, start: Any, end: Any) -> int:
    """Longest gap between observations, the ends of the period included, median over the pixels, days."""
    obs = cube.sel(bands=S2NDVI, t=slice(start, end))
    days = obs.t.values.astype("datetime64[D]").astype("int64")
    edges = np.array([np.datetime64(start, "D"), np.datetime64(end, "D")]).astype("int64")
    seen = np.isfinite(obs.values).reshape(len(days), -1)
    gaps = [np.diff(np.concatenate([edges[:1], days[column], edges[1:]])).max() for column in seen.T]
    return int(np.median(gaps))


def _period(content: ReportContent) -> tuple[Any, Any]:
    return content.fused.t.values[0], content.fused.t.values[-1]


def _cards(content: ReportContent) -> list[tuple[str, str]]:
    start, end = _period(content)
    cards = [
        (f"{100 * clear_share(content.cube, start, end):.0f} %", "of the pixels of all images are clear"),
        (
            f"{longest_gap_days(content.cube, start, end)} days",
            "longest time without an observation, median over the pixels",
        ),
        (
            f"{content.fused.sizes['t']}",
            "dates in the fused series, without gaps" if _complete(content) else "dates in the fused series",
        ),
    ]
    if content.truth is not None:
        cards.append(
            (f"{_truth_error(content):.3f}", "mean absolute error against the simulated truth of this scene, NDVI")
        )
    errors = _season_errors(content)
    if content.skill is not None:
        cards.append(content.skill)
    if "sos" in errors:
        cards.append((f"{errors['sos'][0]:.0f} days", "median error of the start of season against the truth"))
    seconds = sum(step.seconds for step in content.steps)
    if seconds:
        cards.append((f"{seconds / 60:.1f} min", "duration of all steps"))
    return cards


def _complete(content: ReportContent) -> bool:
    return bool(np.isfinite(content.fused.sel(bands=NDVI).values).all())


def _truth_error(content: ReportContent) -> float:
    assert content.truth is not None
    truth = content.truth.sel(t=content.fused.t, method="nearest").values
    return float(np.nanmean(np.abs(content.fused.sel(bands=NDVI).values - truth)))


def _add_input(report: Report, content: ReportContent) -> None:
    start, end = _period(content)
    bands = [str(b) for b in content.cube.bands.values]
    sensors = ["Sentinel-2 NDVI"]
    sensors += ["Sentinel-1 backscatter"] if VH in bands else []
    sensors += ["coarse NDVI (300 m)"] if COARSE_NDVI in bands else []
    report.section(
        "Satellite data",
        f"{content.source}: {content.cube.sizes['y']} x {content.cube.sizes['x']} pixels of 10 m, "
        f"with {', '.join(sensors)}. Clouds and their shadows were masked by the dilated scene classification.",
    )
    report.picture(
        figures.availability(content.cube, str(start)[:10], str(end)[:10]),
        "dates of each sensor",
        "Each line is a date with data. For Sentinel-2 its height is the share of the area that is clear.",
    )


def _add_fusion(report: Report, content: ReportContent) -> None:
    start, end = _period(content)
    report.section(
        "Fused NDVI",
        f"The model ({content.model}) reads the observations of all sensors together and computes NDVI every "
        f"{_step_days(content)} days, with its standard deviation (sigma). Grey in the first row is cloud: the "
        "fused image has no gap there, and sigma is its uncertainty.",
    )
    dates = figures.strip_dates(content.cube, str(start)[:10], str(end)[:10])
    report.picture(
        figures.sensor_strip(content.cube, content.fused, dates, content.truth),
        "images of the sensors and of the fused NDVI on several dates",
        "Columns: dates with a Sentinel-2 image; the other rows show their nearest date.",
    )
    report.picture(
        figures.film(content.cube, content.fused, every=max(1, -(-content.fused.sizes["t"] // 37))),
        "animation of the Sentinel-2 images beside the fused NDVI",
        "The season as observed by Sentinel-2 (left: the latest image) and fused (right).",
    )


def _step_days(content: ReportContent) -> int:
    days = content.fused.t.values.astype("datetime64[D]").astype("int64")
    return int(days[1] - days[0]) if days.size > 1 else 0


def _add_fields(report: Report, content: ReportContent) -> None:
    pixels, data = example_pixels(content.fused), content.all_seasons
    marks = season_marks(data, pixels) if data is not None else {}
    report.section(
        "Single pixels over time",
        "Dots are the clear observations. The green curve is the fused NDVI with its 90 % band, the dashed line "
        "linear interpolation" + ("; the thin black line is the truth." if content.truth is not None else "."),
    )
    report.picture(
        figures.series_panel(content.cube, content.fused, pixels, truth=content.truth, seasons=marks),
        "NDVI of three pixels over time",
        "Dotted vertical lines: start and end of every season." if marks else "Three pixels.",
    )
    if data is not None:
        report.table(
            HEADER,
            season_rows(data, pixels),
            caption="Every season of these pixels, with its standard deviations",
            digits=2,
        )


def add_accuracy(report: Report, content: ReportContent) -> None:
    """Add the section on accuracy; without scores, its note alone."""
    report.section("Accuracy", content.score_note)
    if not content.scores:
        return
    rows = [[str(row["method"]), *(row.get(b) for b in content.bins)] for row in content.scores]
    report.table(
        ["method", *content.bins],
        rows,
        caption=f"Mean absolute error of NDVI by {content.bin_label}; the smallest of each column is marked",
        digits=4,
        best="min",
    )
    report.picture(
        figures.gap_curves(content.scores, content.bins, content.bin_label),
        "mean absolute error by gap length",
        "The values of the table.",
    )


def _season_errors(content: ReportContent) -> dict[str, tuple[float, float, int]]:
    """Median and 90th percentile of the absolute error of the season dates, days, and the number of pixels."""
    if content.seasons is None or content.true_seasons is None:
        return {}
    found = {}
    for band in ("sos", "eos"):
        error = np.abs(content.seasons.sel(bands=band).values - content.true_seasons.sel(bands=band).values)
        error = error[np.isfinite(error)]
        if error.size:
            found[band] = (float(np.median(error)), float(np.percentile(error, 90)), int(error.size))
    return found


def _add_seasons(report: Report, content: ReportContent) -> None:
    assert content.seasons is not None
    report.section(
        "Season dates",
        "A curve is fitted to each pixel's fused series, weighted by its sigma; the season starts (SOS) where the "
        "curve has risen by 25 % of its amplitude, and ends (EOS) where it has fallen to 15 %. A field with several "
        "crops or cuts per year has several seasons; the maps show the one with the largest amplitude. Pixels without "
        "season dates are grey.",
    )
    maps = []
    for band, name in (("sos", "start of season, day of year"), ("eos", "end of season, day of year")):
        values = content.seasons.sel(bands=band).values
        maps.append((name, values, figures.season_scale(values)))
    if content.true_seasons is not None:
        scale = {"cmap": "RdBu_r", "vmin": -30, "vmax": 30}
        difference = content.seasons.sel(bands="sos").values - content.true_seasons.sel(bands="sos").values
        maps.append(("SOS minus truth, days", difference, scale))
    report.picture(figures.map_row(maps), "maps of start and end of season", "Season maps of the whole scene.")
    errors = _season_errors(content)
    if errors:
        report.table(
            ["", "median, days", "90th percentile, days", "pixels"],
            [[band.upper(), *values] for band, values in errors.items()],
            caption="Absolute difference to the dates of the same method on the true NDVI. Large differences occur "
            "mostly in fields with two seasons of similar amplitude, of which the true and the fused series have "
            "different main seasons",
            digits=1,
        )


def _add_openeo(report: Report, content: ReportContent) -> None:
    facts = content.openeo
    report.section(
        "The workflow on an openEO back-end",
        "The workflow from raw images to season maps is one openEO process graph: load, mask, dilate, NDVI, resample, "
        "merge, fusion by a UDF, smoothing and phenology by a second UDF, save. It was built with the openEO client "
        "and executed on this machine by openEO's client-side processing, with the UDF files that a "
        "back-end runs. "
        "`ndvi-fusion workflow target=terrascope` and `target=cdse` write the same graph for those back-ends.",
    )
    report.table(["check", "value"], [[str(k), v] for k, v in facts.items()], digits=5)


def _add_steps(report: Report, content: ReportContent) -> None:
    report.section("Steps and files")
    if content.steps:
        rows: list[list[Any]] = [[step.title, round(step.seconds, 1), _facts(step)] for step in content.steps]
        report.table(["step", "seconds", "result"], rows, digits=1)
    if content.files:
        report.text("Files in the folder of this report:")
        report.table(["file", "content"], [[f"`{name}`", what] for name, what in content.files])


def _facts(step: StepRecord) -> str:
    shown = {key: value for key, value in step.facts.items() if not isinstance(value, dict | list)}
    return "; ".join(f"{k} {decimal(v, 5) if isinstance(v, float) else v}" for k, v in shown.items())


def sigma_share(fused: xr.DataArray, truth: xr.DataArray, z: float = 1.645) -> float:
    """Share of truth values inside the fused NDVI +- z sigma."""
    true = truth.sel(t=fused.t, method="nearest").values
    inside = np.abs(fused.sel(bands=NDVI).values - true) <= z * fused.sel(bands=NDVI_SIGMA).values
    return float(inside[np.isfinite(true)].mean())
