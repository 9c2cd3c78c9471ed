"""Memory that a process keeps: blocks of rasters, bounded wherever many are read or written."""

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config

from data_prep import windows
from data_prep.farm import run_all
from fusion.data import raster_files
from fusion.process_memory import GDAL_CACHE_BYTES, bounded_gdal_cache
from tests.factory import mock_cube
from udf.local import saving
from udf.local.regions import Output

MUCH = 999 * 2**20


@pytest.fixture(autouse=True)
def no_setting(monkeypatch):
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)


def kept() -> int:
    return int(get_gdal_config("GDAL_CACHEMAX"))


def in_a_region() -> int:
    seen: list[dict[str, int]] = []
    run_all([SimpleNamespace(name="a", identity="b")], lambda task: {"kept": kept()}, workers=0,
            on_done=lambda task, result: seen.append(result))  # fmt: skip
    return seen[0]["kept"]


def in_a_plan() -> int:
    seen: list[int] = []

    def load() -> None:
        seen.append(kept())
        raise InterruptedError

    with pytest.raises(InterruptedError):
        windows.plan_area(SimpleNamespace(load=load), None)  # type: ignore[arg-type]
    return seen[0]


def in_a_raster(tmp_path, monkeypatch) -> int:
    file, read_back = tmp_path / "a.tif", []
    monkeypatch.setattr(raster_files, "refuse_cut_off", lambda *_: read_back.append(kept()))
    with raster_files.opened_raster(
        file, file, shape=(1, 16, 16), dtype=np.float32, crs="EPSG:32631", nodata=float("nan"), names=["a"],
        transform=rasterio.transform.from_origin(0, 0, 10, 10),
    ) as write:  # fmt: skip
        write((slice(0, 16), slice(0, 16)), np.zeros((1, 16, 16), np.float32))
        written = kept()
    return written if read_back == [written] else -1


def in_a_result(tmp_path, monkeypatch) -> int:
    seen: list[int] = []
    monkeypatch.setattr(saving, "_write_geotiffs", lambda *_: seen.append(kept()) or [])
    with saving.output_folder(Output(tmp_path)):
        saving.save_result(mock_cube(t=2, y=3, x=3), "GTiff")
    return seen[0]


def test_little_of_rasters_is_kept_wherever_many_are_read_or_written(tmp_path, monkeypatch):
    places = (
        in_a_region, in_a_plan, lambda: in_a_raster(tmp_path, monkeypatch), lambda: in_a_result(tmp_path, monkeypatch)
    )  # fmt: skip
    for place in places:
        with rasterio.Env(GDAL_CACHEMAX=MUCH):
            assert kept() == MUCH and place() == GDAL_CACHE_BYTES


def test_the_users_own_setting_stays(monkeypatch):
    monkeypatch.setenv("GDAL_CACHEMAX", "128")
    with rasterio.Env(GDAL_CACHEMAX=MUCH), bounded_gdal_cache():
        assert kept() == MUCH
