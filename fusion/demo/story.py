"""The report's text and pictures, out of what the steps made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from fusion.contract import COARSE_NDVI, NDVI, NDVI_SIGMA, S2NDVI, VH
from fusion.demo import figures
from fusion.demo.report import Report
from fusion.demo.steps import StepRecord

SIMULATED_NOTE = (
    "Everything on this page was made from SIMULATED satellite images: the scene, its clouds, its radar and its 300 m "
    "series come from the simulator of this project, and the shipped weights were trained for a few minutes more on "
    "other simulated scenes. The truth is therefore known, and the result can be scored against it; the "
    "figures say nothing about real fields."
)
REAL_NOTE = (
    "The input of this page is a real cube. There is no truth for it here: scores on real observations that are "
    "withheld on purpose is what `ndvi-fusion evaluate` measures."
)


@dataclass(frozen=True)
class Story:
    """What the report tells; whatever is None or empty is left out.

    ``cube`` and ``fused`` follow the contract. ``truth`` (t, y, x) is the clean NDVI, ``seasons`` (bands, y, x) season
    maps as day of the year with NaN = none, ``true_seasons`` the same extractor's answer on the truth. ``scores`` are
    rows with ``method`` and a mean absolute error for each of ``bins``.
    """

    cube: xr.DataArray
    fused: xr.DataArray
    simulated: bool
    source: str
    model: str
    seasons: xr.DataArray | None = None
    truth: xr.DataArray | None = None
    true_seasons: xr.DataArray | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)
    bins: tuple[str, ...] = ()
    score_note: str = ""
    openeo: dict[str, Any] = field(default_factory=dict)
    steps: Sequence[StepRecord] = ()
    files: Sequence[tuple[str, str]] = ()


def tell(story: Story) -> Report:
    """The whole report."""
    note = SIMULATED_NOTE if story.simulated else REAL_NOTE
    report = Report(
        "Dense NDVI out of clouds",
        "Sentinel-2 sees the fields only between clouds. Radar sees through them, a coarse sensor sees every day. "
        "This page shows how the three are fused into one NDVI value every few days, with its uncertainty, and which "
        "season dates follow.",
        note,
    )
    report.cards(_cards(story))
    _tell_input(report, story)
    _tell_fusion(report, story)
    _tell_fields(report, story)
    if story.scores:
        _tell_scores(report, story)
    if story.seasons is not None:
        _tell_seasons(report, story)
    if story.openeo:
        _tell_openeo(report, story)
    _tell_making(report, story)
    return report


def clear_share(cube: xr.DataArray, start: Any, end: Any) -> float:
    """Share of pixels that Sentinel-2 saw, over its dates inside the period."""
    inside = cube.sel(bands=S2NDVI, t=slice(start, end))
    seen = np.isfinite(inside.values)
    dates = seen.any(axis=(1, 2))
    return float(seen[dates].mean()) if dates.any() else 0.0


def longest_gap_days(cube: xr.DataArray, start: Any, end: Any) -> int:
    """Longest time without any observation at all, the median over the pixels, days."""
    obs = cube.sel(bands=S2NDVI, t=slice(start, end))
    days = obs.t.values.astype("datetime64[D]").astype("int64")
    edges = np.array([np.datetime64(start, "D"), np.datetime64(end, "D")]).astype("int64")
    seen = np.isfinite(obs.values).reshape(len(days), -1)
    gaps = [np.diff(np.concatenate([edges[:1], days[column], edges[1:]])).max() for column in seen.T]
    return int(np.median(gaps))


def _period(story: Story) -> tuple[Any, Any]:
    return story.fused.t.values[0], story.fused.t.values[-1]


def _cards(story: Story) -> list[tuple[str, str]]:
    start, end = _period(story)
    cards = [
        (f"{100 * clear_share(story.cube, start, end):.0f} %", "of the pixels are clear on the dates with an image"),
        (
            f"{longest_gap_days(story.cube, start, end)} days",
            "longest time without an observation, median over the pixels",
        ),
        (f"{story.fused.sizes['t']}", "dates out, none missing" if _complete(story) else "dates out"),
    ]
    if story.truth is not None:
        cards.append(
            (f"{_truth_error(story):.3f}", "mean absolute error against the simulated truth of this scene, NDVI")
        )
    errors = _season_errors(story)
    if "sos" in errors:
        cards.append((f"{errors['sos'][0]:.0f} days", "median error of the start of season against the truth"))
    seconds = sum(step.seconds for step in story.steps)
    if seconds:
        cards.append((f"{seconds / 60:.1f} min", "all steps together"))
    return cards


def _complete(story: Story) -> bool:
    return bool(np.isfinite(story.fused.sel(bands=NDVI).values).all())


def _truth_error(story: Story) -> float:
    assert story.truth is not None
    truth = story.truth.sel(t=story.fused.t, method="nearest").values
    return float(np.nanmean(np.abs(story.fused.sel(bands=NDVI).values - truth)))


def _tell_input(report: Report, story: Story) -> None:
    start, end = _period(story)
    bands = [str(b) for b in story.cube.bands.values]
    sensors = ["Sentinel-2 NDVI"]
    sensors += ["Sentinel-1 backscatter"] if VH in bands else []
    sensors += ["coarse NDVI (300 m)"] if COARSE_NDVI in bands else []
    report.section(
        "What the satellites saw",
        f"{story.source}: {story.cube.sizes['y']} x {story.cube.sizes['x']} pixels of 10 m, with {', '.join(sensors)}. "
        "Clouds and their shadows were found with the scene classification, dilated, and removed.",
    )
    report.picture(
        figures.availability(story.cube, str(start)[:10], str(end)[:10]),
        "dates of each sensor",
        "Each line is a date with data. For Sentinel-2 its height is the share of the area that is clear.",
    )


def _tell_fusion(report: Report, story: Story) -> None:
    start, end = _period(story)
    report.section(
        "Dense NDVI out of them",
        f"The model ({story.model}) reads all observations of all sensors at once and gives NDVI every "
        f"{_step_days(story)} days, with one standard deviation. Grey in the first row is cloud: the fused image "
        "has no hole there, and its sigma tells how sure the model is.",
    )
    dates = figures.strip_dates(story.cube, str(start)[:10], str(end)[:10])
    report.picture(
        figures.sensor_strip(story.cube, story.fused, dates, story.truth),
        "images of the sensors and of the fused NDVI on several dates",
        "Columns: dates with a Sentinel-2 image; the other rows show their nearest date.",
    )
    report.picture(
        figures.film(story.cube, story.fused, every=max(1, -(-story.fused.sizes["t"] // 37))),
        "film of the Sentinel-2 images beside the fused NDVI",
        "The season as Sentinel-2 delivered it (left, the latest image stays until the next) and fused (right).",
    )


def _step_days(story: Story) -> int:
    days = story.fused.t.values.astype("datetime64[D]").astype("int64")
    return int(days[1] - days[0]) if days.size > 1 else 0


def example_pixels(fused: xr.DataArray) -> list[tuple[int, int, str]]:
    """Three pixels that differ in how much their NDVI moves: much, as half of the pixels do, little."""
    ndvi = fused.sel(bands=NDVI).values
    amplitude = np.nanpercentile(ndvi, 95, axis=0) - np.nanpercentile(ndvi, 5, axis=0)
    order = np.argsort(np.nan_to_num(amplitude, nan=-1.0), axis=None)
    picked = []
    for share, name in ((0.95, "a field with a strong season"), (0.5, "a typical pixel"), (0.05, "a steady pixel")):
        row, column = np.unravel_index(order[int(share * (order.size - 1))], amplitude.shape)
        picked.append((int(row), int(column), f"{name} (row {row}, column {column})"))
    return picked


def _tell_fields(report: Report, story: Story) -> None:
    pixels = example_pixels(story.fused)
    report.section(
        "Single pixels over time",
        "Dots are the clear observations. The green curve is the fused NDVI with its 90 % band, the dashed line what "
        "joining the observations gives" + ("; the thin black line is the truth." if story.truth is not None else "."),
    )
    report.picture(
        figures.series_panel(story.cube, story.fused, pixels, truth=story.truth, seasons=_season_marks(story, pixels)),
        "NDVI of three pixels over time",
        "Dotted vertical lines: start and end of season." if story.seasons is not None else "Three pixels.",
    )


def _season_marks(story: Story, pixels: Sequence[tuple[int, int, str]]) -> dict[tuple[int, int], list[tuple[str, Any]]]:
    if story.seasons is None:
        return {}
    year = np.datetime64(story.fused.t.values[story.fused.sizes["t"] // 2], "Y").astype("datetime64[D]")
    marks: dict[tuple[int, int], list[tuple[str, Any]]] = {}
    for row, column, _ in pixels:
        values = story.seasons.isel(y=row, x=column)
        marks[row, column] = [
            (str(band).upper(), year + np.timedelta64(int(values.sel(bands=band)) - 1, "D"))
            for band in ("sos", "eos")
            if band in values.bands.values and np.isfinite(values.sel(bands=band))
        ]
    return marks


def _tell_scores(report: Report, story: Story) -> None:
    report.section("How well", story.score_note)
    rows = [[str(row["method"]), *(row.get(b) for b in story.bins)] for row in story.scores]
    report.table(
        ["method", *story.bins],
        rows,
        caption="Mean absolute error of NDVI by days to the nearest observation; the least of each column is marked",
        digits=4,
        best="min",
    )
    report.picture(
        figures.gap_curves(story.scores, story.bins, "error grows with the gap"),
        "mean absolute error by gap length",
        "The same figures as a picture.",
    )


def _season_errors(story: Story) -> dict[str, tuple[float, float, int]]:
    """Median and 90th percentile of the absolute error in days against the truth's own season dates, and the pixels."""
    if story.seasons is None or story.true_seasons is None:
        return {}
    found = {}
    for band in ("sos", "eos"):
        error = np.abs(story.seasons.sel(bands=band).values - story.true_seasons.sel(bands=band).values)
        error = error[np.isfinite(error)]
        if error.size:
            found[band] = (float(np.median(error)), float(np.percentile(error, 90)), int(error.size))
    return found


def _tell_seasons(report: Report, story: Story) -> None:
    assert story.seasons is not None
    report.section(
        "Season dates",
        "A curve is fitted to each pixel's fused series, weighted by its sigma; the season starts (SOS) where it has "
        "climbed a quarter of its amplitude, and ends (EOS) where 15 % are left. A field with several crops or cuts a "
        "year has several seasons; the maps show the one with the largest amplitude. Grey pixels have none that could "
        "be dated.",
    )
    maps = []
    for band, name in (("sos", "start of season, day of year"), ("eos", "end of season, day of year")):
        values = story.seasons.sel(bands=band).values
        maps.append((name, values, figures.season_scale(values)))
    if story.true_seasons is not None:
        scale = {"cmap": "RdBu_r", "vmin": -30, "vmax": 30}
        difference = story.seasons.sel(bands="sos").values - story.true_seasons.sel(bands="sos").values
        maps.append(("SOS minus truth, days", difference, scale))
    report.picture(figures.map_row(maps), "maps of start and end of season", "Season maps of the whole scene.")
    errors = _season_errors(story)
    if errors:
        report.table(
            ["", "median, days", "90 % of the pixels below, days", "pixels"],
            [[band.upper(), *values] for band, values in errors.items()],
            caption="Absolute difference to the dates that the same method finds in the true NDVI; the large "
            "ones are mostly fields with two seasons of like size, where the truth and the fused series pick different "
            "ones",
            digits=1,
        )


def _tell_openeo(report: Report, story: Story) -> None:
    facts = story.openeo
    report.section(
        "The same on an openEO back-end",
        "The whole way from raw images to season maps is one openEO process graph: load, mask, dilate, NDVI, resample, "
        "merge, fusion by a UDF, smoothing and phenology by a second UDF, save. It was built with the openEO client "
        "and executed on this machine by openEO's client-side processing, with the very UDF files that a "
        "back-end gets. "
        "`ndvi-fusion workflow target=terrascope` and `target=cdse` write the same graph for those back-ends.",
    )
    report.table(["check", "value"], [[str(k), v] for k, v in facts.items()], digits=5)


def _tell_making(report: Report, story: Story) -> None:
    report.section("How this page was made")
    if story.steps:
        rows: list[list[Any]] = [[step.title, round(step.seconds, 1), _facts(step)] for step in story.steps]
        report.table(["step", "seconds", "what came out"], rows, digits=1)
    if story.files:
        report.text("Files in the folder of this report:")
        report.table(["file", "what is in it"], [[f"`{name}`", what] for name, what in story.files])


def _facts(step: StepRecord) -> str:
    return "; ".join(f"{key} {value}" for key, value in step.facts.items() if not isinstance(value, dict | list))


def sigma_share(fused: xr.DataArray, truth: xr.DataArray, z: float = 1.645) -> float:
    """Share of truth values inside the fused NDVI +- z sigma."""
    true = truth.sel(t=fused.t, method="nearest").values
    inside = np.abs(fused.sel(bands=NDVI).values - true) <= z * fused.sel(bands=NDVI_SIGMA).values
    return float(inside[np.isfinite(true)].mean())
