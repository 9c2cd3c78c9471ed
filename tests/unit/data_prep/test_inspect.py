"""`inspect`: tells what is there, finds damage and leaks, draws the sheet."""

import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from data_prep.commands.inspect import InspectSettings, run
from data_prep.commands.patches import PatchesSettings
from data_prep.commands.patches import run as make
from data_prep.patches import CutSettings, SimulatedPatches
from data_prep.simulator.settings import SceneSettings
from fusion.contract import ContractError
from fusion.data.cube_files import write_cube
from fusion.data.patch import StoreError
from tests.factory import mock_cube


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    out = tmp_path_factory.mktemp("inspect") / "p.zarr"
    scene = SceneSettings(height=8, width=8, n_days=120)
    cut = CutSettings(patch_px=8, min_observations=2)
    make(PatchesSettings(source=SimulatedPatches(count=3, scene=scene), out=out, cut=cut, workers=0))
    return out


def text_of(table) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_a_store_is_described_and_drawn(store, tmp_path):
    text = text_of(run(InspectSettings(store=store, sheet=tmp_path / "sheet.png")))
    for word in ("finished, all hashes checked", "3 of 8 x 8 px", "vv_db", "gaps, days", "no overlap between splits"):
        assert word in text
    from matplotlib.image import imread

    picture = imread(tmp_path / "sheet.png")
    assert picture.shape[0] > 300 and len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 50


def test_damage_is_found_and_named(store, tmp_path):
    import shutil

    copy = tmp_path / "p.zarr"
    shutil.copytree(store, copy)
    key = sorted(p.name for p in (copy / "patch").glob("sim-*"))[1]
    header = copy / "patch" / key / "zarr.json"
    told = json.loads(header.read_text())
    told["attributes"]["split"] = "test" if told["attributes"]["split"] != "test" else "train"
    header.write_text(json.dumps(told))
    with pytest.raises(StoreError, match=key):
        run(InspectSettings(store=copy))
    shutil.rmtree(copy / "patch" / key)
    with pytest.raises(StoreError, match="manifest"):
        run(InspectSettings(store=copy, verify=False))


def test_a_cube_is_checked_too(tmp_path):
    cube = mock_cube()
    write_cube(cube, tmp_path / "c.nc")
    text = text_of(run(InspectSettings(store=tmp_path / "c.nc")))
    assert "complies with the contract" in text and "COARSE_NDVI" in text and "24, 2019-03-01" in text
    cube.loc[{"bands": "S2NDVI"}] *= 100
    write_cube(cube, tmp_path / "bad.nc")
    with pytest.raises(ContractError, match="S2NDVI"):
        run(InspectSettings(store=tmp_path / "bad.nc"))
    with pytest.raises(StoreError, match="not a patch store"):
        run(InspectSettings(store=tmp_path / "nothing"))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_fused_cube_is_told_apart_in_every_format(suffix, tmp_path):
    fused = mock_cube(t=8, y=4, x=4).isel(bands=[0, 1]).assign_coords(bands=["NDVI", "NDVI_SIGMA"])
    write_cube(fused, tmp_path / f"fused{suffix}")
    with pytest.raises(ContractError, match="it is fused already; give the cube of observations"):
        run(InspectSettings(store=tmp_path / f"fused{suffix}"))


def test_another_zarr_folder_is_no_store_of_an_old_version(tmp_path):
    xr.Dataset({"slope": ("y", [0.0, 1.0])}).to_zarr(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(StoreError, match=r"other.zarr is a Zarr folder, but no patch store as `ndvi-fusion patches`"):
        run(InspectSettings(store=tmp_path / "other.zarr"))
