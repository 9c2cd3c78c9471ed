"""Cubes that break the contract, through the command line: a reason on standard error, exit code 1, no output."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fusion.cli import app as cli
from fusion.contract import S2NDVI
from fusion.data.cube_files import read_cube
from tests.factory import mock_cube, write_cube

Change = Callable[[xr.DataArray], xr.DataArray]

BAD: dict[str, tuple[Change, str]] = {
    "missing band": (lambda c: c.sel(bands=["VV", "VH"]), "S2NDVI"),
    "missing dimension": (lambda c: c.isel(x=0, drop=True), "x"),
    "missing time coordinate": (lambda c: c.drop_vars("t"), "time"),
    "unsorted dates": (lambda c: c.isel(t=[2, 1, 0]), "sorted"),
    "duplicate dates": (lambda c: c.isel(t=[0, 1, 1]), "twice"),
    "dB declared linear": (lambda c: c.assign_attrs(s1_units="linear"), "dB"),
    "units not said": (lambda c: c.drop_attrs(), "s1_units"),
    "NDVI as numbers": (lambda c: (c * 250).assign_attrs(c.attrs), "NDVI"),
    "no pixel": (lambda c: c.isel(y=slice(0, 0)), "pixel"),
    "no date": (lambda c: c.isel(t=slice(0, 0)), "date"),
}


def predict(folder: Path, cube: xr.DataArray, *more: str) -> int:
    write_cube(folder / "cube.nc", cube)
    return cli.main(["predict", f"cube={folder}/cube.nc", f"out={folder}/dense.nc", "threads=1", *more])


@pytest.mark.parametrize("name", BAD)
def test_bad_cubes_are_refused_in_words(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, expected = BAD[name]
    assert predict(tmp_path, change(mock_cube(t=6, y=4, x=4))) == cli.FAILED
    said = capsys.readouterr().err
    assert "error: " in said and "Traceback" not in said
    assert expected in said
    assert [p.name for p in tmp_path.iterdir()] == ["cube.nc"]


def test_all_clouds_give_nan_of_full_shape(tmp_path: Path) -> None:
    cube = mock_cube(t=6, y=4, x=5)
    cube.loc[{"bands": S2NDVI}] = np.nan
    assert predict(tmp_path, cube) == cli.OK
    dense = read_cube(tmp_path / "dense.nc")
    assert dense.shape == (6, 2, 4, 5) and np.isnan(dense.values).all()


def test_a_single_date_and_a_cube_smaller_than_a_tile_are_answered(tmp_path: Path) -> None:
    cube = mock_cube(t=1, y=3, x=2)
    period = ["start=2019-03-01", "end=2019-03-31", "tile=32"]
    assert predict(tmp_path, cube, *period) == cli.OK
    dense = read_cube(tmp_path / "dense.nc")
    assert dense.shape == (7, 2, 3, 2) and np.isfinite(dense.values).all()
