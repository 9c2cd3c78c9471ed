"""docs/first_hour.md: every command and the Python of the page, on a user's file and on real fields."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from fusion.cli.app import main
from fusion.cli.settings import load_settings
from fusion.commands.view import ViewSettings
from fusion.data.cube_files import read_cube
from tests.factory import mock_cube

geopandas = pytest.importorskip("geopandas", reason="needs the extra 'fields'")
pytest.importorskip("exactextract", reason="needs the extra 'fields'")

PAGE = Path(__file__).parents[2] / "docs" / "first_hour.md"
REAL = os.environ.get("NDVI_FUSION_REAL_DATA")


def blocks(kind: str) -> list[str]:
    """Code blocks of the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_page(capsys: pytest.CaptureFixture) -> None:
    """Run every command in the working folder; a viewer would not end, so only its settings are checked."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for program, command, *words in map(shlex.split, lines):
        assert program == "ndvi-fusion"
        if command == "view":
            load_settings(command, ViewSettings, ["path=" + words[0], *words[1:]])
            assert all(Path(word.split("=")[-1]).exists() for word in words)
            continue
        assert main([command, *words]) == 0, capsys.readouterr().err


def write_fields(cube: xr.DataArray, file: Path) -> None:
    """Two fields, the left and the right half of the area."""
    from shapely.geometry import box

    west, south, east, north = cube.rio.bounds()
    middle = (west + east) / 2
    halves = [box(west, south, middle, north), box(middle, south, east, north)]
    geopandas.GeoDataFrame({"name": ["left", "right"]}, geometry=halves, crs=cube.rio.crs).to_file(file)


def test_a_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Stored as int16 with a scale, time and one variable only, as people save their NDVI."""
    cube = mock_cube(t=98, y=20, x=24, start="2018-09-01", radar=False, coarse=False)
    monkeypatch.chdir(tmp_path)
    own = cube.sel(bands="S2NDVI", drop=True).rename("ndvi", t="time")
    packed = {"ndvi": {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}}
    own.rio.write_crs(cube.rio.crs).to_netcdf("my_ndvi.nc", encoding=packed)
    write_fields(cube, tmp_path / "fields.gpkg")
    run_page(capsys)

    dense = read_cube(Path("outputs/ndvi.nc"))
    assert np.isfinite(dense.values).all() and list(dense.bands.values) == ["NDVI", "NDVI_SIGMA"]
    with rasterio.open("outputs/seasons/seasons_2019_main.tif") as file:
        sos = file.read(file.descriptions.index("SOSD") + 1)
    assert np.isfinite(sos).mean() >= 0.9
    names: dict = {}
    exec(blocks("python")[0], names)
    assert float(np.isfinite(names["seasons"].SOSD_main).mean()) >= 0.9
    np.testing.assert_allclose(names["dense"].NDVI, dense.sel(bands="NDVI"), atol=1e-4)  # stored as int16
    rows = pd.read_csv("outputs/fields/seasons.csv")
    assert set(rows.field) == {"left", "right"}
    for name, part in (("left", sos[:, :12]), ("right", sos[:, 12:])):
        row = rows[(rows.field == name) & rows.main.astype(bool)].iloc[0]
        assert abs(row.SOSD - np.median(part)) < 12, "the mean of a field starts near the median of its pixels"


@pytest.mark.skipif(REAL is None, reason="set NDVI_FUSION_REAL_DATA to the folder of real data")
def test_real_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The same page with the cube of belgium_2019, Sentinel-2 and radar, under the user's file name."""
    monkeypatch.chdir(tmp_path)
    assert main(["cube", f"input={Path(str(REAL)) / 'belgium_2019'}", "out=my_ndvi.nc"]) == 0
    write_fields(read_cube(tmp_path / "my_ndvi.nc"), tmp_path / "fields.gpkg")
    run_page(capsys)
    with rasterio.open("outputs/seasons/seasons_2019_main.tif") as file:
        sos = file.read(file.descriptions.index("SOSD") + 1)
    assert np.isfinite(sos).mean() >= 0.9
