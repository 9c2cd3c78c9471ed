"""The report: self-contained, escaped, with the figures of its input."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA
from fusion.demo.content import (
    ReportContent,
    add_accuracy,
    build_report,
    longest_gap_days,
    sigma_share,
)
from fusion.demo.example_pixels import example_pixels, season_marks, season_rows
from fusion.demo.report import Report, decimal
from fusion.demo.skill import accuracy
from fusion.demo.steps import StepRecord
from tests.factory import mock_cube, mock_truth

DAYS = np.arange(np.datetime64("2019-03-01"), np.datetime64("2019-12-20"), 5)


POWER = re.compile(r"\d[eE]-\d")
SCORED = {
    "dates": 12,
    "pixels": 4096,
    "rows": [{"method": "model", "+-10": 0.08, "+-30": 0.09}, {"method": "linear", "+-10": 0.1, "+-30": 0.14}],
    "differences": [
        {"gap_days": 10, "difference": -0.02, "low": -0.03, "high": -0.01},
        {"gap_days": 30, "difference": -0.05, "low": -0.07, "high": 0.01},
    ],
}


def truth_of(cube: xr.DataArray) -> xr.DataArray:
    values = mock_truth(DAYS.astype("int64"), cube.sizes["y"], cube.sizes["x"])
    coords = {"t": DAYS.astype("datetime64[ns]"), "y": cube.y, "x": cube.x}
    return xr.DataArray(values, dims=("t", "y", "x"), coords=coords)


def fused_of(truth: xr.DataArray, error: float = 0.02, sigma: float = 0.05) -> xr.DataArray:
    bands = xr.Variable("bands", [NDVI, NDVI_SIGMA])
    return xr.concat([truth + error, xr.full_like(truth, sigma)], bands).transpose("t", "bands", "y", "x")


@pytest.fixture(scope="module")
def content() -> ReportContent:
    cube = mock_cube(t=58, y=12, x=12)
    truth = truth_of(cube)
    dates = np.stack([np.full((12, 12), 110.0), np.full((12, 12), 250.0)])
    dates[0, 0, 0] = np.nan
    seasons = xr.DataArray(dates, dims=("bands", "y", "x"), coords={"bands": ["sos", "eos"], "y": cube.y, "x": cube.x})
    return ReportContent(
        cube=cube,
        fused=fused_of(truth),
        simulated=True,
        source="A fake scene",
        model="a fake",
        truth=truth,
        seasons=seasons,
        true_seasons=seasons + 4,
        scores=[{"method": "linear", "<15": 0.02, "15-30": 0.05}, {"method": "model", "<15": 0.03, "15-30": 0.04}],
        bins=("<15", "15-30"),
        openeo={"largest NDVI difference": 1.25e-6},
        files=[("ndvi.nc", "fused NDVI")],
    )


@pytest.fixture(scope="module")
def page(content: ReportContent) -> str:
    return build_report(content).html("made for a test")


def test_page_is_self_contained(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "url(" not in page and "<script" not in page and "@import" not in page
    assert page.count("data:image/png;base64,") >= 5
    assert page.count("data:image/gif;base64,") == 1


def test_page_is_written_whole(tmp_path: Path) -> None:
    file = Report("t", "s").write(tmp_path / "report.html")
    assert file.read_text().endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [file]


def test_page_says_what_is_simulated_and_the_figures(page: str) -> None:
    assert "SIMULATED" in page
    assert "<b>0.020</b>" in page  # the fused series is the truth plus 0.02
    assert "<b>4 days</b>" in page  # the true dates are 4 days later
    assert '<td class="best">0.0200</td>' in page and '<td class="best">0.0400</td>' in page
    assert "below 0.00001" in page and not POWER.search(page)  # 1.25e-6


@pytest.fixture(scope="module")
def real_page(content: ReportContent) -> str:
    step = StepRecord("workflow", "Run", 1.0, "", {"largest difference": 3.57e-07, "dates": 3})
    real = replace(content, simulated=False, truth=None, true_seasons=None, openeo={}, steps=[step], **accuracy(SCORED))
    return build_report(real).html()


def test_real_input_claims_no_truth(real_page: str) -> None:
    assert "SIMULATED" not in real_page and "truth of this scene" not in real_page and "no truth" in real_page


def test_results_of_steps_are_not_written_with_powers(real_page: str) -> None:
    assert "largest difference below 0.00001; dates 3" in real_page and not POWER.search(real_page)


def test_skill_on_the_users_own_cube(real_page: str) -> None:
    assert "<b>-20 %</b>" in real_page and "12 dates of this cube" in real_page
    assert "-0.030 to -0.010; the interval does not contain 0" in real_page
    assert "by days withheld on each side of the scored date" in real_page
    assert '<td class="best">0.0800</td>' in real_page


def test_a_cube_that_cannot_be_scored_gets_the_reason(content: ReportContent) -> None:
    fields = accuracy({"not scored": "no date can be scored: 3 dates"})
    assert fields == {"score_note": "This cube could not be scored: no date can be scored: 3 dates"}
    report = Report("t", "s")
    add_accuracy(report, replace(content, scores=[], **fields))
    assert "no date can be scored" in report.html() and "<table" not in report.html()


def test_text_is_escaped() -> None:
    report = Report("<b>", "a & b")
    report.section("x < y", "a `code <i>` b", "one ` alone")
    page = report.html()
    assert "<h1>&lt;b&gt;</h1>" in page and "a &amp; b" in page and "x &lt; y" in page
    assert "<code>code &lt;i&gt;</code>" in page and "one ` alone" in page


def test_tables_mark_the_least_and_show_gaps() -> None:
    report = Report("t", "s")
    report.table(["m", "a", "b"], [["x", 0.5, None], ["y", 0.25, float("nan")]], best="min", digits=2)
    page = report.html()
    assert page.count('class="best"') == 1 and '<td class="best">0.25</td>' in page
    assert page.count("<td>–</td>") == 2


def test_headings_stand_over_their_column() -> None:
    """A heading is aligned as the cells below it: words to the left, numbers to the right."""
    report = Report("t", "s")
    report.table(["step", "seconds", "result"], [["a", 1.5, "dates 3"], ["b", None, "ok"]])
    page = report.html()
    assert re.findall(r"<th scope=\"col\"( class=\"text\")?>(\w+)</th>", page) == [
        (' class="text"', "step"), ("", "seconds"), (' class="text"', "result"),
    ]  # fmt: skip
    assert "th.text, td.text { text-align: left; }" in page


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(3.57e-07, 5, "below 0.00001"), (0.0, 5, "0.00000"), (-3e-9, 3, "below 0.001"), (0.0006, 3, "0.001")],
)  # fmt: skip
def test_small_numbers_are_not_written_with_powers(value: float, digits: int, text: str) -> None:
    assert decimal(value, digits) == text


def test_every_season_of_the_example_pixels_is_shown() -> None:
    """Three seasons over two years, one without an end: lines and rows for all of them, in order of time."""
    days = {
        "SOSD": [[80, 200], [-10, np.nan]],
        "MAXD": [[120, 230], [30, np.nan]],
        "EOSD": [[150, np.nan], [90, np.nan]],
    }
    coords = {"year": [2019, 2020], "season": [1, 2], "y": [0], "x": [0]}
    dims = ("year", "season", "y", "x")
    layers = {n: (dims, np.array(v, float)[..., None, None]) for n, v in days.items()}
    layers |= {f"{n}_SIGMA": (dims, np.full((2, 2, 1, 1), 4.0)) for n in days}
    data = xr.Dataset(
        {**layers, "AMPL": (dims, np.full((2, 2, 1, 1), 0.5)), "QFLAG": (dims, np.full((2, 2, 1, 1), 9))}, coords
    )
    pixels = [(0, 0, "a pixel")]
    assert [(label, str(date)) for label, date in season_marks(data, pixels)[0, 0]] == [
        ("SOS 1", "2019-03-22"), ("EOS 1", "2019-05-31"), ("SOS 2", "2019-07-20"),
        ("SOS 3", "2019-12-22"), ("EOS 3", "2020-03-31"),
    ]  # fmt: skip
    rows = season_rows(data, pixels)
    assert rows[1] == [
        "a pixel",
        "2019",
        "2019-07-20\u00a0±\u00a04\u00a0d",
        "2019-08-19\u00a0±\u00a04\u00a0d",
        "–",
        0.5,
        "9",
    ]
    one_year = season_marks(data.sel(year=2020), pixels)[0, 0]
    assert [label for label, _ in one_year] == ["SOS", "EOS"]


def test_longest_gap_counts_the_ends() -> None:
    cube = mock_cube(t=4, y=1, x=1, cloud=0, radar=False, coarse=False)  # 1, 6, 11, 16 March
    cube.values[1:3] = np.nan
    assert longest_gap_days(cube, "2019-03-01", "2019-03-16") == 15
    assert longest_gap_days(cube, "2019-02-01", "2019-03-16") == 28  # 1 February to 1 March


def test_example_pixels_differ_in_amplitude() -> None:
    cube = mock_cube(t=40, y=6, x=6)
    truth = truth_of(cube)
    values = np.zeros((len(DAYS), 6, 6)) + 0.3
    values[: len(DAYS) // 2] += np.linspace(0, 0.5, 36).reshape(6, 6)
    names = example_pixels(fused_of(truth.copy(data=values), error=0))
    amplitude = [np.ptp(values[:, row, column]) for row, column, _ in names]
    assert amplitude == sorted(amplitude, reverse=True) and amplitude[0] > 0.4 > 0.1 > amplitude[2]


def test_sigma_share() -> None:
    truth = truth_of(mock_cube(t=4, y=2, x=2))
    assert sigma_share(fused_of(truth, error=0.02, sigma=0.02), truth) == 1.0
    assert sigma_share(fused_of(truth, error=0.02, sigma=0.01), truth) == 0.0
