"""The patch store: what goes in comes out, patches are whole or absent, damage is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fusion.data.store import CoarseNative, Patch, PatchStore, StoreError, create_store, read_patch, write_patch
from fusion.features.observations import Observations


def make_patch(key="a_2020_r0_c0", *, split="train", size=8, seed=0, **changes) -> Patch:
    rng = np.random.default_rng(seed)
    ndvi = rng.uniform(-0.2, 1, (6, size, size)).astype(np.float32)
    ndvi[2, :4] = np.nan
    radar = rng.normal(-12, 3, (2, 4, size, size)).astype(np.float32)
    coarse = np.repeat(rng.uniform(0, 1, (3, 1, 1)), size, 1).repeat(size, 2).astype(np.float32)
    days = np.array([18000, 18005, 18010, 18020, 18021, 18030])
    obs = Observations(days, ndvi, days[:4] + 1, radar[0], radar[1], days[:3] + 2, coarse, latitude=51.5)
    patch = Patch(obs, split=split, site="a", year=2020, key=key, extra={"row": 0, "crs": "EPSG:32631"})
    return replace(patch, **changes)


def test_a_patch_survives_the_round_trip_within_the_packing(tmp_path):
    truth = np.linspace(0, 1, 5 * 64, dtype=np.float32).reshape(5, 8, 8)
    native = CoarseNative(np.full((3, 2, 2), 0.5, np.float32), np.array([0.0, 30.0]), np.array([5.0, 35.0]))
    patch = make_patch(
        truth=truth, truth_days=np.arange(5), cover=np.arange(64, dtype=np.int16).reshape(8, 8),
        suspect=np.zeros((6, 8, 8), bool), coarse_native=native,
    )  # fmt: skip
    store = create_store(tmp_path / "p.zarr")
    write_patch(store, patch)
    got = PatchStore.open(store)[0]
    assert got.observations.latitude == 51.5
    for name, tolerance in (("s2_ndvi", 0.5e-4), ("vv_db", 1e-3), ("vh_db", 1e-3), ("coarse_ndvi", 0.5e-4)):
        a, b = getattr(patch.observations, name), getattr(got.observations, name)
        assert b.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        assert np.nanmax(np.abs(a - b)) <= tolerance * 1.01
    np.testing.assert_array_equal(got.observations.s1_days, patch.observations.s1_days)
    np.testing.assert_allclose(got.truth, truth, atol=0.51e-4)
    np.testing.assert_array_equal(got.cover, patch.cover)
    assert got.suspect.dtype == bool
    np.testing.assert_array_equal(got.coarse_native.columns, [5.0, 35.0])
    assert (got.split, got.site, got.year, got.key, got.extra["crs"]) == ("train", "a", 2020, patch.key, "EPSG:32631")


def test_one_chunk_a_patch_int16_and_zarr_v3(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    write_patch(store, make_patch())
    folder = store / "patch" / "a_2020_r0_c0"
    header = json.loads((folder / "zarr.json").read_text())
    assert header["zarr_format"] == 3 and header["data_type"] == "int16"
    assert sum(f.is_file() for f in (folder / "c").rglob("*")) == 1


def test_a_sensor_may_be_absent(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    patch = make_patch(observations=make_patch().observations.withhold(s1=True, coarse=True))
    write_patch(store, patch)
    got = read_patch(store, patch.key, verify=True).observations
    assert got.vv_db.shape == (0, 8, 8) and got.coarse_ndvi.shape == (0, 8, 8) and got.s1_days.shape == (0,)


def test_hash_depends_on_content_only_and_existing_patches_are_kept(tmp_path):
    one, two = create_store(tmp_path / "1.zarr"), create_store(tmp_path / "2.zarr")
    for key in ("a_1", "b_1"):
        write_patch(one, make_patch(key))
    for key in ("b_1", "a_1"):
        write_patch(two, make_patch(key))
    assert PatchStore.open(one).content_hash() == PatchStore.open(two).content_hash()
    before = PatchStore.open(one).facts[0]["sha256"]
    assert write_patch(one, make_patch("a_1", seed=9)) == before
    assert write_patch(one, make_patch("a_1", seed=9), overwrite=True) != before


def test_radar_power_near_zero_is_clipped(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    patch = make_patch()
    patch.observations.vv_db[0, 0, 0] = -90.0
    write_patch(store, patch)
    assert read_patch(store, patch.key).observations.vv_db[0, 0, 0] == pytest.approx(-65.534)


def test_splits_and_order(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    for i, split in enumerate(("train", "test", "calibration", "train")):
        write_patch(store, make_patch(f"k{i}", split=split))
    opened = PatchStore.open(store)
    assert opened.keys == ("k0", "k1", "k2", "k3")
    assert opened.indices("train") == [0, 3] and opened.indices("calibration") == [2]
    with pytest.raises(StoreError, match="validation"):
        opened.indices("validation")


def test_an_unfinished_patch_is_not_seen(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    write_patch(store, make_patch())
    (store / ".partial" / "half").mkdir()
    (store / ".partial" / "half" / "zarr.json").write_text("{")
    assert len(PatchStore.open(store)) == 1


def test_damage_is_named(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    write_patch(store, make_patch())
    chunk = next(f for f in (store / "patch" / "a_2020_r0_c0" / "c").rglob("*") if f.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="a_2020_r0_c0"):
        read_patch(store, "a_2020_r0_c0", verify=True)
    chunk.unlink()
    with pytest.raises(StoreError, match="lost its data chunk"):
        read_patch(store, "a_2020_r0_c0")
    with pytest.raises(StoreError, match="patches"):
        PatchStore.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"key": "../x"}, "key"), ({"split": "val"}, "split"), ({"truth_days": np.arange(3)}, "truth"),
     ({"truth": np.full((1, 8, 8), 9.0, np.float32), "truth_days": np.arange(1)}, "truth"),
     ({"cover": np.zeros((4, 4), np.int16)}, "cover")],
)  # fmt: skip
def test_bad_patches_are_refused(tmp_path, changes, word):
    store = create_store(tmp_path / "p.zarr")
    with pytest.raises(StoreError, match=word):
        write_patch(store, make_patch(**changes))
    assert len(PatchStore.open(store)) == 0


def test_another_version_and_foreign_folders_are_refused(tmp_path):
    store = create_store(tmp_path / "p.zarr")
    header = json.loads((store / "zarr.json").read_text())
    header["attributes"]["store_version"] = 99
    (store / "zarr.json").write_text(json.dumps(header))
    with pytest.raises(StoreError, match="99"):
        PatchStore.open(store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(StoreError, match=r"letter\.txt"):
        create_store(tmp_path / "mine")
