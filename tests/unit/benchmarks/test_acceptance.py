"""The whole acceptance: networks named by options, the settings of the product, further tables, limits."""

import json

import pytest

from benchmarks.acceptance.__main__ import main
from tests.factory import mock_model
from tests.unit.fusion.commands.test_evaluate import series_file

SMALL = [
    "truth.settings.height=32", "truth.settings.width=32", "truth.settings.n_days=420", "truth.seed=5", "scenes=1",
    "near_real_time.scenes=1", "near_real_time.dates=1", "near_real_time.lags_days=[0]", "phenology.scenes=0",
    "leave_gap_out.gaps_days=[10]", "leave_gap_out.max_dates=2",
    "leave_gap_out.min_clear=0.3", "bootstrap.draws=20", "tracking.enabled=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"random": str(mock_model(root / "random", 1)), "untrained": str(mock_model(root / "untrained", None))}


def test_simulated_scenes_with_the_gate_the_seeds_and_the_s2_only_net(nets, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept.json"
    options = ["--without-adversarial", nets["random"], "--seed", nets["random"], "--s2-only-net", nets["random"]]
    options += ["--radar-scenes", "1", "--suspect-scenes", "1", "--observation-scenes", "1", "--results", str(kept)]
    given = [f"out={out}", f"model={nets['untrained']}", "ablations=[s1]", "baselines=[linear]", *SMALL]
    main([*options, *given])
    scores = json.loads((out / "scores.json").read_text())
    others = ["seed 2", "without adversarial", "S2-only network"]
    assert scores["predictors"] == ["model", "model, minus S1", *others, "linear"]
    hashes = scores["models_sha256"]
    assert set(hashes) == {"model", *others}
    assert hashes["seed 2"] == hashes["S2-only network"] == hashes["without adversarial"] != hashes["model"]
    tables = scores["tables"]
    wanted = {"coarse_consistency", "radar_level", "suspect_observations", "against_observations"}
    assert wanted | {"seeds", "gate", "checks", "images", "lags"} <= set(tables)
    mae = {row["predictor"]: row["mae"] for row in tables["overall"]}
    assert mae["S2-only network"] != mae["seed 2"]  # the same weights, but not shown radar and coarse
    spread = {row["bin"]: row for row in tables["seeds"]}
    assert spread["all"]["mae_mean"] == pytest.approx((mae["model"] + mae["seed 2"]) / 2, rel=1e-5)
    level = [row for row in tables["radar_level"] if row["shift"] == "both +1 dB"]
    assert max(row["largest_change"] for row in level) < 1e-4  # all radar features are differences
    assert [row["predictor"] for row in tables["suspect_observations"]] == ["model"] * 5  # one row a threshold
    assert {row["predictor"] for row in tables["against_observations"]} == {
        "model", "seed 2", "without adversarial", "linear",
    }  # fmt: skip
    image = {row["predictor"]: row for row in tables["images"]}
    ratio = image["model"]["spectrum_error"] / image["without adversarial"]["spectrum_error"]
    assert tables["gate"][0]["value"] == pytest.approx(ratio, rel=1e-6) and len(tables["gate"]) == 2
    found = {row["check"]: row["value"] for row in tables["checks"]}
    assert found["overall MAE / linear"] == pytest.approx(1.0, abs=1e-3)  # the untrained network is linear
    assert {"coarse consistency, RMSE", "lag-0 MAE / hindcast", "linear on observations +-10 d / real"} <= set(found)
    assert {"gap_60_days.png", "gradient_spectrum.png"} <= {p.name for p in (out / "figures").iterdir()}
    results = json.loads(kept.read_text())
    assert results["command"].startswith("python -m benchmarks.acceptance --without-adversarial")
    assert results["overall"][0]["mae"] == round(mae["model"], 5) and results["models_sha256"] == hashes


def test_real_observations_are_held_against_linear_and_whittaker(nets, tmp_path, capsys):
    file = series_file(tmp_path)
    given = [f"cube={file}", "reader=ndvi", "reader.latitude=50", f"model={nets['untrained']}", "ablations=[]"]
    given += ["baselines=[linear]", "leave_gap_out.max_dates=4", "tracking.enabled=false", "figures=false"]
    main([f"out={tmp_path / 'out'}", *given])
    checks = json.loads((tmp_path / "out" / "scores.json").read_text())["tables"]["checks"]
    values = {row["check"]: row["value"] for row in checks}
    assert values["MAE minus better of linear, Whittaker, +-10 d"] == pytest.approx(0.0, abs=1e-4)
    assert "checks" in capsys.readouterr().out


def test_a_mistyped_setting_is_named(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["out=x", "scene=3"])
    assert refused.value.code == 2 and "did you mean 'scenes'" in capsys.readouterr().err
