"""``ndvi-fusion view`` in a real browser: the map, the slider, clicks on pixels and fields, two results."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion.contract import NDVI
from fusion.data.cube_files import read_cube, write_cube
from tests.browser import page_in_browser
from tests.factory import mock_cube, mock_fused

pytest.importorskip("panel", reason="needs the extra 'view'")
geopandas = pytest.importorskip("geopandas", reason="needs the extra 'view'")

# where a place of the map lies on the page, from the scales of Bokeh's own view
ON_PAGE = """([x, y]) => {
  const model = Bokeh.documents[0].get_model_by_name("map");
  const view = Bokeh.index.find_one(model);
  const box = view.canvas_view.el.getBoundingClientRect();
  return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
}"""
SHAPE = '() => Bokeh.documents[0].get_model_by_name("map").renderers[0].data_source.data.image[0].shape'


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up scene, a second result, and two fields: the first covers rows and columns 8 to 20."""
    folder = tmp_path_factory.mktemp("view")
    cube = mock_cube(t=73, y=64, x=64, start="2019-01-01")
    fused = mock_fused(cube)
    write_cube(cube, folder / "cube.nc")
    write_cube(fused, folder / "ndvi.nc")
    write_cube(fused.where(fused.bands != NDVI, fused + 0.05), folder / "ndvi_s2.nc")
    from shapely.geometry import box

    x, y = cube.x.values, cube.y.values
    fields = [box(x[8] - 5, y[20] - 5, x[20] + 5, y[8] + 5), box(x[40], y[50], x[56], y[30])]
    geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=fields, crs=cube.rio.crs).to_file(folder / "fields.gpkg")
    return folder


@pytest.fixture(scope="module")
def address(scene: Path) -> Iterator[str]:
    """The running viewer of the scene."""
    with running_viewer(str(scene), f"other={scene}/ndvi_s2.nc", f"fields={scene}/fields.gpkg") as found:
        yield found


@contextlib.contextmanager
def running_viewer(*words: str) -> Iterator[str]:
    """A viewer started from the command line on a free port; its address."""
    words = ("view", *words, "port=0", "browser=false")
    server = subprocess.Popen([sys.executable, "-m", "fusion", *words], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        lines: list[str] = []
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                yield found.group(0)
                return
        pytest.fail("the viewer did not start: " + "".join(lines))
    finally:
        server.terminate()
        server.wait(20)
        server.stderr.close()  # type: ignore[union-attr]


def timed_out() -> type[Exception]:
    """Playwright's own error; imported late, since the package may be absent."""
    from playwright.sync_api import TimeoutError as TimedOut

    return TimedOut


def click(page: Any, x: float, y: float, text: str) -> str:
    """Click a place of the map and wait for ``text``; returns the line with the facts.

    A click that comes before the server has heard of the button before it is lost, so it is tried again.
    """
    line = page.get_by_text(re.compile(rf"{text}.*NDVI"))
    for patience in (5_000, 10_000, 20_000):
        page.mouse.click(*page.evaluate(ON_PAGE, [float(x), float(y)]))
        with contextlib.suppress(timed_out()):
            line.wait_for(timeout=patience)
            break
    return line.inner_text(timeout=1_000)


def test_clicks_slider_and_layers(address: str, scene: Path) -> None:
    fused = read_cube(scene / "ndvi.nc")
    with page_in_browser(1400, 660) as (page, faults):
        page.goto(address)
        page.get_by_text("observations in the period").wait_for(timeout=30_000)
        # a field, then a pixel of it
        x, y = fused.x.values, fused.y.values
        line = click(page, x[14], y[14], "Field 1, mean of 121 pixels")  # 13 x 13 px, without a buffer of 10 m
        day = re.search(r"\d{4}-\d\d-\d\d", line).group(0)  # type: ignore[union-attr]
        mean = float(fused.sel(bands="NDVI", t=day).isel(y=slice(9, 20), x=slice(9, 20)).mean())
        assert f"NDVI {mean:.3f} ±" in line and "other result" in line
        page.get_by_role("button", name="pixel").click()
        line = click(page, x[45], y[12], "Pixel, row 12, column 45")
        here = fused.sel(t=day).isel(y=12, x=45)
        ndvi, sigma = (float(here.sel(bands=band)) for band in ("NDVI", "NDVI_SIGMA"))
        assert f"NDVI {ndvi:.3f} ± {sigma:.3f}" in line
        # the slider moves the map's date by one step
        page.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        later = str(np.datetime64(day) + 5)
        page.get_by_text(re.compile(rf"Pixel, row 12, column 45.*{later}")).wait_for(timeout=15_000)
        # another layer, and a closer view of it
        page.locator("select").select_option("difference, other minus result")
        page.wait_for_function(f"() => ({SHAPE})().join() == '64,64'")
        page.mouse.move(*page.evaluate(ON_PAGE, [float(x[30]), float(y[30])]))
        page.mouse.wheel(0, -600)
        page.wait_for_function(f"() => ({SHAPE})()[0] < 64", timeout=15_000)
        assert not faults
