"""``ndvi-fusion demo`` through the command line: a real cube, and the simulated chain in its smallest form."""

import json
import re
from pathlib import Path

import numpy as np
import rasterio

from fusion.cli import app as cli
from fusion.data.cube_files import read_cube
from tests.factory import mock_cube, write_cube


def check_report(out: Path) -> str:
    """The page stands alone: no file or address outside it is needed to show it."""
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") > 3
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]+"', page)
    return page


def check_maps(out: Path, shape: tuple[int, int]) -> None:
    for name in ("sos", "eos"):
        with rasterio.open(out / "maps" / f"{name}.tif") as file:
            assert file.shape == shape and file.crs is not None and file.dtypes == ("int16",)


def test_demo_on_a_cube_makes_maps_and_a_report_and_is_resumed(tmp_path: Path, caplog) -> None:
    write_cube(tmp_path / "cube.nc", mock_cube(t=73, y=20, x=24, start="2019-01-01"))
    words = ["demo", f"cube={tmp_path}/cube.nc", f"out={tmp_path}/out"]
    assert cli.main(words) == cli.OK
    out = tmp_path / "out"
    page = check_report(out)
    scored = json.loads((out / "steps" / "evaluate.json").read_text())["facts"]
    change = 100 * (scored["rows"][0]["+-10"] / scored["rows"][1]["+-10"] - 1)
    assert [row["method"] for row in scored["rows"]] == ["model", "linear"] and f"<b>{change:+.0f} %</b>" in page
    check_maps(out, (20, 24))
    assert read_cube(out / "ndvi.nc").sizes["t"] == 73
    assert (out / "seasons" / "smoothed.nc").is_file() and (out / "settings.yaml").is_file()
    made = (out / "ndvi.nc").stat().st_mtime_ns
    assert cli.main(words) == cli.OK  # every step is done already
    assert (out / "ndvi.nc").stat().st_mtime_ns == made
    assert cli.main([*words, "step_days=10"]) == cli.OK
    assert (out / "ndvi.nc").stat().st_mtime_ns > made


def test_demo_on_a_simulated_scene_goes_through_every_room(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["demo", f"out={out}", "size_px=64", "scenes=24", "train_minutes=0.02", "evaluation_scenes=1"]
    assert cli.main(words) == cli.OK
    check_report(out)
    check_maps(out, (64, 64))
    steps = {file.stem: json.loads(file.read_text()) for file in (out / "steps").glob("*.json")}
    before_openeo = {"simulate", "cube", "patches", "train", "export", "evaluate", "predict", "phenology"}
    assert set(steps) == before_openeo | {"package", "workflow"}
    graph = steps["workflow"]["facts"]
    assert graph["largest NDVI difference to the direct call"] <= 1e-3
    assert graph["season dates that differ by more than a day"].startswith("0 of ")
    assert np.isfinite(read_cube(out / "ndvi.nc").values).mean() > 0.99
    for folder in ("training", "model", "evaluation", "package", "seasons", "scene"):
        assert (out / folder / "settings.yaml").is_file(), f"settings of {folder} are not beside its outputs"
    assert {p.name for p in (out / "training" / "figures").iterdir()} == {"example_maps.png", "example_series.png"}
