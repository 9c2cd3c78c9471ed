"""Readers of the real sets that are no tables: their traps, by hand, and the stores of the real files."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.real_sets import no_red, vietnam
from benchmarks.real_sets.__main__ import LEAST_OBSERVATIONS, READERS, TABLES, write_set, write_table
from benchmarks.real_sets.series import RealPatch
from data_prep.split import held_quarter
from fusion.data.store import PatchStore
from tests.factory import mock_observations

REAL = os.environ.get("NDVI_FUSION_REAL_DATA")
needs_real = pytest.mark.skipif(REAL is None, reason="NDVI_FUSION_REAL_DATA is not set")


def test_the_offset_of_2022_and_what_is_no_data():
    dates = np.array(["2022-01-24", "2022-01-25"], "datetime64[ns]")
    red = np.array([400, 1400, 0, 400], np.uint16).reshape(1, 2, 2).repeat(2, axis=0)
    nir = np.array([3600, 4600, 4000, 3600], np.uint16).reshape(1, 2, 2).repeat(2, axis=0)
    classes = np.array([4, 4, 4, 9], np.uint8).reshape(1, 2, 2).repeat(2, axis=0)
    ndvi = vietnam.ndvi_of(red, nir, classes, dates)
    assert ndvi[0, 0, 0] == pytest.approx(0.8) and ndvi[1, 0, 1] == pytest.approx(0.8)
    assert np.isnan(ndvi[:, 1]).all()  # no data, cloud


def test_open_water_is_the_lower_limit_and_an_artefact_nothing():
    red, nir = (np.array(v, np.uint16).reshape(1, 1, 2) for v in ([900, 900], [500, 100]))
    ndvi = vietnam.ndvi_of(red, nir, np.full((1, 1, 2), 6), np.array(["2022-01-10"], "datetime64[ns]"))
    assert ndvi[0, 0, 0] == pytest.approx(-0.2) and np.isnan(ndvi[0, 0, 1])


def test_passes_are_moved_to_one_level_and_power_becomes_decibel():
    images = np.array([-8.0, -12.0, -9.0, -11.0]).reshape(4, 1, 1)
    moved = vietnam.leveled(images, np.array([True, False, True, False]))[:, 0, 0]
    np.testing.assert_allclose(moved, [-9.5, -10.5, -10.5, -9.5])
    np.testing.assert_allclose(vietnam.to_db(np.array([0.1, 0.0]), "linear"), [-10, np.nan])


def test_without_a_red_band_ndvi_comes_from_the_red_edge_and_clouds_have_a_margin():
    shape = (1, 9, 9)
    bands = {"B05": np.full(shape, 900), "B06": np.full(shape, 2400), "B8A": np.full(shape, 3000)}
    classes = np.full(shape, 4)
    classes[0, 0, 0] = 9
    s2 = xr.Dataset({k: (("t", "y", "x"), v) for k, v in {**bands, "SCL": classes}.items()})
    ndvi = no_red.ndvi_without_red(s2)[0]
    assert np.isnan(ndvi[:4, :4]).all() and np.isfinite(ndvi[4:]).all()
    assert ndvi[8, 8] == pytest.approx((3000 - 375) / (3000 + 375))


def test_a_set_is_stored_with_whole_groups_and_short_series_are_left_out(tmp_path):
    obs = mock_observations(t=30, y=8, x=8)
    few = obs.withhold(s2=np.arange(len(obs.s2_days)) >= LEAST_OBSERVATIONS - 1)
    patches = [RealPatch(f"{k}", f"g{k // 2}", obs) for k in range(20)] + [RealPatch("few", "g0", few)]
    write_set("demo", iter(patches), tmp_path / "demo.zarr")
    store = PatchStore.open(tmp_path / "demo.zarr")
    assert len(store) == 20 and store.manifest["content_sha256"] == store.content_hash()
    for key, fact in zip(store.keys, store.facts, strict=True):
        group = f"g{int(key.split('_')[1]) // 2}"
        assert fact["split"] == ("calibration" if held_quarter(f"demo{group}") else "train")


@needs_real
@pytest.mark.parametrize("name", ["points_flanders_2021", "no_red_flanders"])
def test_real_sets_have_a_held_part(name, tmp_path):
    data = Path(REAL or "")
    if name in TABLES:
        write_table(data, name, tmp_path / "s.zarr")
    else:
        write_set(name, READERS[name](data), tmp_path / "s.zarr")
    store = PatchStore.open(tmp_path / "s.zarr")
    splits = [fact["split"] for fact in store.facts]
    assert 0.1 < splits.count("calibration") / len(splits) < 0.4 and set(splits) == {"train", "calibration"}
    ndvi = np.concatenate([patch.observations.s2_ndvi.ravel() for patch in store])
    assert 0.3 < np.nanmean(ndvi) < 0.7
    assert -15 < np.median([np.nanmean(patch.observations.vv_db) for patch in store]) < -8
