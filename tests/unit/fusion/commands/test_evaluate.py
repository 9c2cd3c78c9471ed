"""The command from settings to files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from pydantic import ValidationError

from fusion.cli.settings import load_settings
from fusion.commands.evaluate import EvaluateSettings, cube_paths, run
from fusion.contract import ContractError
from fusion.evaluation.report import plain, slug
from fusion.evaluation.tracking import Tracking, metric_values, parameters, record
from tests.factory import mock_store

NDVI_READER = {"_target_": "fusion.data.ndvi_files.open_ndvi"}


def series_file(folder: Path, name: str = "site.csv", years: int = 2) -> Path:
    """A single-pixel series with a season and an observation every five days."""
    dates = pd.date_range("2018-01-01", periods=73 * years, freq="5D")
    ndvi = 0.5 + 0.3 * np.sin(2 * np.pi * (dates.dayofyear - 100) / 365)
    file = folder / name
    pd.DataFrame({"t": dates.strftime("%Y-%m-%d"), "NDVI": ndvi}).to_csv(file, index=False)
    return file


def settings_of(tmp_path: Path, **changes) -> EvaluateSettings:
    values = {"model": "none", "baselines": ("linear", "whittaker"), "bootstrap": {"draws": 50}}
    values["tracking"] = {"enabled": False}
    return EvaluateSettings(**({"out": tmp_path / "out"} | values | changes))


def test_real_series_give_tables_json_rows_and_figures(tmp_path):
    file = series_file(tmp_path)
    settings = settings_of(tmp_path, cube=file, reader=NDVI_READER, leave_gap_out={"max_dates": 12})
    assert run(settings) is not None
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["kind"] == "real" and len(scores["scored_dates"]["site"]) == 12
    by_gap = pd.DataFrame(scores["tables"]["by_gap"])
    assert set(by_gap.predictor) == {"linear", "whittaker 1e3", "whittaker 1e4"}
    rows = pd.read_csv(tmp_path / "out" / "rows" / "leave_gap_out.csv")
    linear = rows[(rows.predictor == "linear") & (rows.gap_days == 30)]
    assert by_gap[(by_gap.predictor == "linear") & (by_gap.gap_days == 30)].mae.item() == pytest.approx(
        linear.mae.mean(), rel=1e-4
    )
    made = {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    assert {"mae_by_gap.png", "mae_by_season.png", "density.png"} <= made
    assert not [p for p in (tmp_path / "out").rglob("*partial*")]


def test_a_folder_of_series_is_scored_site_by_site_and_hopeless_sites_are_left_out(tmp_path):
    folder = tmp_path / "sites"
    folder.mkdir()
    series_file(folder, "a.csv")
    series_file(folder, "b.csv")
    (folder / "c.csv").write_text("t,NDVI\n2020-01-01,0.5\n2020-01-06,0.5\n")
    rules = {"max_dates": 4, "gaps_days": (10,)}
    run(settings_of(tmp_path, cube=folder, reader=NDVI_READER, leave_gap_out=rules, figures=False))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert sorted({row["site"] for row in scores["tables"]["by_site_and_gap"]}) == ["a", "b"]
    assert "no date can be scored" in scores["left_out"]["c"]
    only = settings_of(tmp_path, cube=folder / "c.csv", reader=NDVI_READER)
    with pytest.raises(ContractError, match="no date can be scored"):
        run(only)


def test_a_store_is_scored_by_its_split(tmp_path):
    store = mock_store(tmp_path / "patches.zarr", {"one": "test", "two": "train"}, t=40, y=6, x=6, cloud=0.5)
    quiet = {
        "near_real_time": {"scenes": 0},
        "phenology": {"scenes": 0},
        "holdout": {"windows": 0},
    }
    opener = {"_target_": "fusion.data.store.PatchStore.open"}
    run(settings_of(tmp_path, store=store, open_store=opener, baselines=("linear",), **quiet))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["kind"] == "simulated" and scores["scenes"] == ["one"]
    (overall,) = scores["tables"]["overall"]
    assert 0 < overall["mae"] < 0.05  # only the clouds withhold anything
    with pytest.raises(ContractError, match="there is no scene to score"):
        run(settings_of(tmp_path, store=store, open_store=opener, split="calibration", **quiet))


def test_run_is_recorded_where_a_tracking_uri_is_configured(tmp_path):
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    rules = {"max_dates": 3, "gaps_days": (10,)}
    changes = {"tracking": {"uri": uri, "experiment": "scores"}, "figures": False, "leave_gap_out": rules}
    run(settings_of(tmp_path, cube=series_file(tmp_path), reader=NDVI_READER, **changes))
    client = mlflow.MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("scores").experiment_id])
    assert found.data.params["leave_gap_out.max_dates"] == "3"
    table = pd.read_csv(tmp_path / "out" / "tables" / "by_gap.csv").set_index("predictor")
    assert found.data.metrics["linear/10/mae"] == pytest.approx(table.mae["linear"], rel=1e-5)
    assert {a.path for a in client.list_artifacts(found.info.run_id)} >= {"scores.json", "tables", "rows"}


@pytest.mark.parametrize("said", [["others={mine: a/model, yours: b}"], ["others.mine=a/model", "others.yours=b"]])
def test_further_nets_have_names_of_ones_own(tmp_path, said):
    made = load_settings("evaluate", EvaluateSettings, [f"out={tmp_path}", *said])
    assert made.others == {"mine": "a/model", "yours": "b"}


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="either cube=PATH"):
        settings_of(tmp_path, cube="a.nc", store="b.zarr")
    with pytest.raises(ValidationError, match="should be 'linear', 'whittaker'"):
        settings_of(tmp_path, baselines=("cubic",))
    with pytest.raises(ValidationError, match="leaves nothing to compare"):
        settings_of(tmp_path, baselines=())
    with pytest.raises(ValidationError, match="which mean something else"):
        settings_of(tmp_path, model="shipped", others={"linear": "x"})
    with pytest.raises(ValidationError, match="different whole numbers"):
        settings_of(tmp_path, leave_gap_out={"gaps_days": (2, 2)})
    with pytest.raises(ContractError, match="does not exist"):
        cube_paths(settings_of(tmp_path, cube=tmp_path / "absent.nc"))


def test_every_reader_composes():
    for reader, target in (("cube", "data_prep.cube.open_cube"), ("ndvi", "fusion.data.ndvi_files.open_ndvi")):
        settings = load_settings("evaluate", EvaluateSettings, ["out=x", f"reader={reader}"])
        assert settings.reader["_target_"] == target
    square = load_settings("evaluate", EvaluateSettings, ["out=x", "reader=scl_square"]).reader["settings"]
    optical = instantiate(square, _convert_="all").optical
    assert (optical.mask, optical.remove_classes, optical.dilation_px) == ("square", (3, 8, 9, 10), 5)


def test_names_and_numbers_for_files():
    assert slug("model, minus S1") == "model_minus_s1"
    assert plain({"a": np.float32(0.5), 2: [np.nan, np.int64(3)]}) == {"a": 0.5, "2": [None, 3]}
    assert plain((None, np.bool_(True), Path("b"))) == [None, True, "b"]
    assert parameters({"a": {"b": 1, "c": {"d": 2}}, "e": "x" * 900}) == {"a.b": "1", "a.c.d": "2", "e": "x" * 490}


def test_metrics_have_names_that_mlflow_accepts():
    from mlflow.utils.validation import _validate_metric_name

    from fusion.evaluation.report import Evaluation

    scores = {"mae": [0.1], "rmse": [0.2], "bias": [np.nan], "coverage_90": [np.nan], "crps": [np.nan]}
    table = pd.DataFrame({"predictor": ["model, minus S1"], "bin": [">100"], **scores})
    values = metric_values(Evaluation("simulated", {"by_bin": table}, {}, ["m"]))
    assert values == {"model_minus_s1/over_100/mae": 0.1, "model_minus_s1/over_100/rmse": 0.2}
    for name in values:
        _validate_metric_name(name)


def test_no_record_where_tracking_is_off(tmp_path, monkeypatch):
    from fusion.evaluation.report import Evaluation

    monkeypatch.chdir(tmp_path)
    assert record(Evaluation("real", {}, {}, []), {}, Tracking(enabled=False), tmp_path) is None
    assert list(tmp_path.iterdir()) == []
