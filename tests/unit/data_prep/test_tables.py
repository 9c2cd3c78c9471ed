"""Long tables of points and fields as patches of one pixel."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from data_prep.commands.patches import PatchesSettings, run
from data_prep.raw.cubes import SourceError
from data_prep.settings import TablePatches
from data_prep.split import SplitSettings, held_quarter
from data_prep.tables import clean_name
from fusion.cli.settings import load_settings
from fusion.data.store import PatchStore
from fusion.data.table_settings import TableColumns

DAYS = pd.date_range("2021-03-01", periods=40, freq="6D")


def rows(sample: str, **columns: object) -> pd.DataFrame:
    ndvi = np.where(np.arange(40) % 2 == 0, np.linspace(0.2, 0.8, 40), np.nan)
    radar = np.where(np.arange(40) % 4 == 0, -11.0, np.nan)
    given = {"sample": sample, "date": DAYS, "ndvi": ndvi, "vv_db": radar, "vh_db": radar - 6, "lat": 48.9, "lon": 19.2}
    return pd.DataFrame({**given, "red": 0.1, **columns})


def table(folder: Path, *parts: pd.DataFrame, suffix: str = ".parquet") -> Path:
    file = folder / f"fields{suffix}"
    joined = pd.concat(parts, ignore_index=True)
    joined.to_parquet(file) if suffix == ".parquet" else joined.to_csv(file, index=False)
    return file


def stored(folder: Path, file: Path, **source: object) -> PatchStore:
    out = folder / "fields.zarr"
    run(PatchesSettings(source=TablePatches(table=file, **source), out=out, workers=0, overwrite=True))
    return PatchStore.open(out)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_every_sample_becomes_a_patch_of_one_pixel_on_its_own_dates(tmp_path, suffix):
    store = stored(tmp_path, table(tmp_path, rows("a"), rows("b")[:30], suffix=suffix))
    assert store.keys == ("fields_a", "fields_b")
    first, second = store
    days = DAYS.to_numpy("datetime64[D]").astype(int)
    np.testing.assert_array_equal(first.observations.s2_days, days[::2])
    np.testing.assert_array_equal(first.observations.s1_days, days[::4])
    np.testing.assert_allclose(first.observations.s2_ndvi[:, 0, 0], np.linspace(0.2, 0.8, 40)[::2], atol=1e-4)
    np.testing.assert_allclose(first.observations.vh_db[:, 0, 0], -17, atol=2e-3)
    assert first.observations.shape == (1, 1) and first.observations.latitude == 48.9
    assert len(second.observations.s2_days) == 15
    assert first.extra["first"] == "2021-03-01" and first.year == 2021
    assert store.manifest["dates"] == ["2021-03-01", "2021-10-15"] and store.manifest["patches"] == 2


def test_values_of_one_day_are_averaged_and_dekads_moved_to_their_middle(tmp_path):
    again = rows("a")[:1].assign(ndvi=0.4, date=DAYS[0] + pd.Timedelta(hours=10))
    (patch,) = stored(tmp_path, table(tmp_path, rows("a"), again), shift_days=5)
    assert str(patch.observations.s2_days[0].astype("datetime64[D]")) == "2021-03-06"
    assert patch.observations.s2_ndvi[0, 0, 0] == pytest.approx(0.3, abs=1e-4)
    assert len(patch.observations.s2_days) == 20


def test_where_keeps_clear_observations_and_all_radar(tmp_path):
    haze = rows("a", red=np.where(np.arange(40) < 10, 0.5, 0.1))
    (patch,) = stored(tmp_path, table(tmp_path, haze), where="red < 0.3 and not (date.dt.month >= 10)")
    days = patch.observations.s2_days.astype("datetime64[D]")
    assert str(days[0]) == "2021-04-30" and str(days[-1]) < "2021-10"
    assert len(patch.observations.s1_days) == 10
    with pytest.raises(SourceError, match="cloud"):
        stored(tmp_path, table(tmp_path, haze), where="cloud < 0.3")
    with pytest.raises(SourceError, match="is no condition"):
        stored(tmp_path, table(tmp_path, haze), where="red + 1")


@pytest.mark.parametrize("unit", [{"group": "plot"}, {"group_pattern": "^[^_]+"}])
def test_a_group_is_never_divided_and_the_held_quarter_is_fixed(tmp_path, unit):
    parts = [rows(f"p{k}_{year}", plot=f"p{k}") for k in range(24) for year in (2021, 2022)]
    store = stored(tmp_path, table(tmp_path, *parts), name="grass", **unit)
    splits: dict[str, set[str]] = {}
    for key, fact in zip(store.keys, store.facts, strict=True):
        splits.setdefault(key.split("_")[1], set()).add(fact["split"])
    assert {name: {"calibration"} if held_quarter(f"grass{name}") else {"train"} for name in splits} == splits
    assert 2 <= sum(found == {"calibration"} for found in splits.values()) <= 11
    assert len(store) == 48


def test_the_split_of_a_group_can_be_named(tmp_path):
    out = tmp_path / "f.zarr"
    source = TablePatches(table=table(tmp_path, rows("a"), rows("b")))
    split = SplitSettings(sites={"fields:a": "test", "fields:b": "train"})
    run(PatchesSettings(source=source, out=out, split=split, workers=0))
    assert [f["split"] for f in PatchStore.open(out).facts] == ["test", "train"]


def test_columns_have_the_names_they_are_given(tmp_path):
    other = rows("a").rename(columns={"sample": "id", "date": "system:time_start", "vv_db": "VV", "vh_db": "VH"})
    other["system:time_start"] = DAYS.astype("datetime64[ms]").astype("int64")
    columns = TableColumns(sample="id", date="system:time_start", vv="VV", vh="VH")
    (patch,) = stored(tmp_path, table(tmp_path, other.drop(columns=["lat", "lon"]), suffix=".csv"), columns=columns)
    assert str(patch.observations.s2_days[0].astype("datetime64[D]")) == "2021-03-01"
    assert len(patch.observations.s1_days) == 10 and patch.observations.latitude is None


def test_a_table_without_radar_gives_series_without(tmp_path):
    (patch,) = stored(tmp_path, table(tmp_path, rows("a").drop(columns=["vv_db", "vh_db"])))
    assert len(patch.observations.s1_days) == 0 and len(patch.observations.s2_days) == 20


def test_linear_radar_becomes_decibel_and_undeclared_linear_radar_is_refused(tmp_path):
    linear = table(tmp_path, rows("a").assign(vv_db=0.1, vh_db=0.01))
    (patch,) = stored(tmp_path, linear, s1_units="linear")
    np.testing.assert_allclose(patch.observations.vv_db, -10, atol=2e-3)
    with pytest.raises(SourceError, match=r"it looks linear.*source\.s1_units"):
        stored(tmp_path, linear)


def test_what_is_wrong_with_a_table_is_named(tmp_path):
    file = table(tmp_path, rows("a"))
    with pytest.raises(SourceError, match=r"no column NDVI \(it has sample, date, ndvi"):
        stored(tmp_path, file, columns=TableColumns(ndvi="NDVI"))
    with pytest.raises(SourceError, match="no column plot"):
        stored(tmp_path, file, group="plot")
    with pytest.raises(SourceError, match="does not match sample 'a'"):
        stored(tmp_path, file, group_pattern="[0-9]+")
    with pytest.raises(SourceError, match="has vv_db but no vh_db"):
        stored(tmp_path, table(tmp_path, rows("a").drop(columns="vh_db")))
    with pytest.raises(SourceError, match="unreadable date"):
        stored(tmp_path, table(tmp_path, rows("a").assign(date="spring")))
    with pytest.raises(SourceError, match="too few observations"):
        stored(tmp_path, table(tmp_path, rows("a")[:10]))
    with pytest.raises(SourceError, match="belongs to 2 groups"):
        stored(tmp_path, table(tmp_path, rows("a", plot=["x", "y"] * 20)), group="plot")
    with pytest.raises(SourceError, match="there is no file"):
        stored(tmp_path, tmp_path / "none.csv")
    with pytest.raises(ValidationError, match=r"expected \.parquet or \.csv"):
        TablePatches(table=tmp_path / "fields.xlsx")


def test_names_fit_a_key_and_stay_apart():
    assert clean_name("LR100_2021") == "LR100_2021"
    assert clean_name("a/b") != clean_name("a b") and clean_name("a/b").startswith("a_b-")


def test_the_table_of_the_page_becomes_a_store_by_the_command_of_the_page(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "data_prep.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```csv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^ndvi-fusion patches (source=table .*)$", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("fields.csv").write_text(example)
    run(load_settings("patches", PatchesSettings, [*shlex.split(line), "workers=0", "cut.min_observations=3"]))
    store = PatchStore.open(tmp_path / "fields.zarr")
    assert store.keys == ("fields_field_7", "fields_field_8")
    seventh, eighth = (patch.observations for patch in store)
    np.testing.assert_allclose(seventh.s2_ndvi[:, 0, 0], [0.41, 0.47, 0.55], atol=1e-4)
    np.testing.assert_allclose(seventh.vv_db[:, 0, 0], [-11.2, -10.8], atol=2e-3)
    np.testing.assert_allclose(eighth.s2_ndvi[:, 0, 0], [0.38, 0.45, 0.52], atol=1e-4)  # red 0.38 is cloud
    assert len(eighth.s1_days) == 1 and eighth.latitude == 48.9


def test_the_command_line_takes_a_table(tmp_path):
    words = ["source=table", "source.table=fields.csv", "source.where=red < 0.3", "source.shift_days=5", "out=o.zarr"]
    made = load_settings("patches", PatchesSettings, words)
    assert made.source == TablePatches(table=Path("fields.csv"), where="red < 0.3", shift_days=5)
