"""The report: self-contained, escaped, with the figures of its input."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fusion.contract import NDVI, NDVI_SIGMA
from fusion.demo.content import (
    ReportContent,
    build_report,
    example_pixels,
    longest_gap_days,
    sigma_share,
)
from fusion.demo.report import Report
from tests.factory import mock_cube, mock_truth

DAYS = np.arange(np.datetime64("2019-03-01"), np.datetime64("2019-12-20"), 5)


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
    assert "0.00000" in page  # 1.25e-6 with five digits


def test_real_input_claims_no_truth(content: ReportContent) -> None:
    real = ReportContent(
        content.cube, content.fused, simulated=False, source="A real cube", model="m", seasons=content.seasons
    )
    page = build_report(real).html()
    assert "SIMULATED" not in page and "truth of this scene" not in page and "no truth" in page


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
