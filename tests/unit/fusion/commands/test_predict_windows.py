"""``predict`` of raw files and catalogues region by region: the answer of ``fuse``, an area, resuming, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from rasterio.warp import transform_bounds

import fusion
from data_prep.cube import open_cube
from data_prep.raw.cubes import SourceError
from fusion.commands import predict
from fusion.commands.predict import PredictSettings, run
from fusion.data.cube_files import read_cube, write_cube
from tests.factory import mock_cube
from tests.unit.data_prep.raw_files import CRS, LEFT, TOP, coarse_file, gee_like
from tests.unit.fusion.commands.test_predict_regions import counted

SIDE, PX = 48, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("raw")
    gee_like(made, n=SIDE, t=10)
    coarse_file(made / "coarse.nc", np.full((5, 6, 6), 160, "uint8"))
    return made


@pytest.fixture(scope="module")
def whole(folder) -> xr.DataArray:
    return fusion.fuse(open_cube(folder), step_days=10)


def settings(out: Path, **more: object) -> PredictSettings:
    return PredictSettings(out=out, **{"step_days": 10, "region": PX, "threads": 1, **more})  # type: ignore[arg-type]


def test_a_folder_gives_the_answer_of_fuse_and_resumes(folder, whole, tmp_path, monkeypatch):
    wanted = settings(tmp_path / "ndvi.zarr", cube=folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, stop_after=3)
        run(wanted)
    made_of = json.loads((tmp_path / ".ndvi.zarr.regions" / "made_of.json").read_text())
    assert made_of["decisions"]["grid of SCL"][1:4] == [LEFT + 10, LEFT + 20 * SIDE / 2 - 10, SIDE // 2]
    seen = counted(monkeypatch)
    run(wanted)
    assert len(seen) == 1  # of four
    np.testing.assert_allclose(read_cube(wanted.out), whole, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["ndvi.zarr"]


@pytest.mark.slow
def test_a_changed_file_or_mask_begins_anew(folder, tmp_path, monkeypatch):
    wanted = settings(tmp_path / "ndvi.zarr", cube=folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, stop_after=3)
        run(wanted)
    seen = counted(monkeypatch)
    run(wanted.model_copy(update={"optical": wanted.optical.model_copy(update={"mask": "none"})}))
    assert len(seen) == 4


def test_an_area_of_a_file_and_of_a_folder(folder, tmp_path):
    box = transform_bounds(CRS, "EPSG:4326", LEFT + 25, TOP - 195, LEFT + 395, TOP - 45)
    raw = open_cube(folder)
    file = write_cube(raw, tmp_path / "cube.nc")
    polygon = {
        "type": "Polygon",
        "coordinates": [[[box[k], box[j]] for k, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]],
    }
    (tmp_path / "area.geojson").write_text(json.dumps(polygon))
    run(settings(tmp_path / "file.nc", cube=file, area=box))
    run(settings(tmp_path / "regions.nc", cube=file, area=tmp_path / "area.geojson", region=32))
    run(settings(tmp_path / "folder.nc", cube=folder, area=box, region=None))
    of_file, by_region, of_folder = (read_cube(tmp_path / f"{n}.nc") for n in ("file", "regions", "folder"))
    np.testing.assert_allclose(of_file, fusion.fuse(raw.sel(x=of_file.x, y=of_file.y), step_days=10), atol=1e-6)
    np.testing.assert_allclose(of_file, by_region, atol=1e-6)
    assert of_file.x[0] == LEFT + 25 or of_file.x[0] in LEFT + np.array([5, 15, 35])
    assert of_folder.sizes["x"] == of_file.sizes["x"] and of_folder.rio.crs == of_file.rio.crs


@pytest.mark.slow
def test_a_source_instead_of_a_folder(folder, whole, tmp_path):
    source = {"kind": "files", "folder": folder, "s1_units": "dB"}
    run(settings(tmp_path / "ndvi.zarr", source=source))
    np.testing.assert_allclose(read_cube(tmp_path / "ndvi.zarr"), whole, atol=1e-6)


def test_what_contradicts_is_refused(folder, tmp_path):
    file = write_cube(mock_cube(t=6, y=8, x=8), tmp_path / "cube.nc")
    with pytest.raises(SourceError, match="optical is for raw data; leave optical"):
        run(settings(tmp_path / "a.nc", cube=file, optical={"mask": "disk"}))
    with pytest.raises(SourceError, match="the area .* has no pixel"):
        run(settings(tmp_path / "a.nc", cube=file, area=(2.0, 45.0, 2.1, 45.1)))
    with pytest.raises(ValidationError, match="give cube=FILE or cube=FOLDER, or source=stac"):
        settings(tmp_path / "a.nc")
    with pytest.raises(ValidationError, match="area belongs to cube; give source.bbox"):
        settings(tmp_path / "a.nc", source={"kind": "files", "folder": folder}, area=(2.0, 45.0, 2.1, 45.1))
    assert not predict.open_input(settings(tmp_path / "a.nc", cube=file))[0].around_px
