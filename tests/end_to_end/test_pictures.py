"""Report and viewer of a simulated scene in a real browser; ``--pictures`` renews the screenshots of the docs."""

from pathlib import Path

import pytest

from fusion.cli import app as cli
from fusion.inference.locate import SHIPPED
from tests.browser import PICTURES, keep_picture, page_in_browser
from tests.end_to_end.test_viewer_browser import click, running_viewer


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder, with the shipped model instead of a training."""
    out = tmp_path_factory.mktemp("demo") / "out"
    words = [f"out={out}", f"model={SHIPPED}", "size_px=96", "evaluation_scenes=1"]
    assert cli.main(["demo", *words]) == cli.OK
    return out


@pytest.mark.slow
def test_report_in_the_browser(demo: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with page_in_browser(1000, 1080) as (page, faults):
        page.goto((demo / "report.html").as_uri())
        assert page.locator("h2").count() == 7
        # a heading of words begins where the cells of its column begin
        table = page.locator("table", has_text="Simulate a scene")
        left = [
            table.locator(f"{row} >> nth=2").evaluate("e => e.getBoundingClientRect().left") for row in ("th", "td")
        ]
        aligned = table.locator("th >> nth=2").evaluate("e => getComputedStyle(e).textAlign")
        assert left[0] == left[1] and aligned == "left"
        widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
        assert len(widths) > 5 and min(widths) > 0
        picture = keep_picture(page, "report", tmp_path, wanted=request.config.getoption("--pictures"))
        assert not faults and picture.stat().st_size < 400_000


@pytest.mark.slow
def test_viewer_of_the_demo(demo: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from fusion.data.cube_files import read_cube

    fused = read_cube(demo / "ndvi.nc")
    spread = fused.sel(bands="NDVI").std("t").values
    row, column = divmod(int(spread.argmax()), spread.shape[1])
    with running_viewer(str(demo)) as address, page_in_browser(1400, 640) as (page, faults):
        page.goto(address)
        page.get_by_text("observations in the period").wait_for(timeout=60_000)
        line = click(page, float(fused.x[column]), float(fused.y[row]), f"Pixel, row {row}, column {column}")
        assert "observations in the period" in line
        page.mouse.move(700, 620)
        picture = keep_picture(page, "viewer", tmp_path, wanted=request.config.getoption("--pictures"))
        assert not faults and picture.stat().st_size < 300_000


def test_pictures_are_in_the_docs() -> None:
    for name, page in (("viewer", "viewer.md"), ("report", "index.md")):
        assert (PICTURES / f"{name}.png").stat().st_size < 400_000
        assert f"pictures/{name}.png" in (PICTURES.parent / page).read_text(encoding="utf-8")
