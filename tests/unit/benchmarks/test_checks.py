"""Limits and the adversarial gate, from tables written by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.acceptance.checks import gate_table, real_checks, season_date_checks, seed_table, simulated_checks
from fusion.evaluation.metrics import SUMS
from fusion.evaluation.summaries import over_dates
from tests.unit.fusion.evaluation.test_summaries import QUICK, date_row


def simulated_tables(model_mae: float, linear_mae: float) -> tuple[dict, dict]:
    by_bin = pd.DataFrame(
        {"predictor": name, "bin": label, "mae": mae, "coverage_90": 90.0 if name == "model" else np.nan}
        for name, mae in (("model", model_mae), ("linear", linear_mae))
        for label in ("<15", ">100")
    )
    overall = pd.DataFrame({"predictor": ["model", "linear"], "mae": [model_mae, linear_mae]})
    rows = pd.DataFrame(
        {"predictor": name, "unit": "pixel", "bin": ">100", **dict.fromkeys(SUMS, 0.0), "absolute_error": mae, "n": 1.0}
        for name, mae in (("model", model_mae), ("model, minus S1", 1.2 * model_mae))
    )
    return {"overall": overall, "by_bin": by_bin}, {"holdout": rows}


def test_simulated_checks_compare_with_the_best_baseline():
    tables, rows = simulated_tables(0.05, 0.10)
    found = simulated_checks(tables, rows, "model", ["linear"]).set_index("check")
    assert found.value["overall MAE / linear"] == pytest.approx(0.5)
    assert found.value["MAE beyond 60 d, minus S1 / full"] == pytest.approx(1.2)
    assert found.passed.all() and len(found) == 6  # overall, two bins, one ablation, two coverages
    tables, rows = simulated_tables(0.06, 0.10)
    found = simulated_checks(tables, rows, "model", ["linear"]).set_index("check")
    assert not found.passed["overall MAE / linear"]  # 0.6 > 0.55
    assert found.passed["MAE / best baseline, <15 d"] and not found.passed["MAE / best baseline, >100 d"]  # limit 0.5


def test_difficulty_of_the_scenes_is_compared_with_real_observations():
    tables, rows = simulated_tables(0.05, 0.10)
    tables["against_observations"] = pd.DataFrame(
        {"predictor": ["linear"] * 2, "gap_days": [2, 10], "mae": [0.077, 0.06]}
    )
    found = simulated_checks(tables, rows, "model", ["linear"]).set_index("check")
    assert found.passed["linear on observations +-2 d / real"]  # 1.1
    assert not found.passed["linear on observations +-10 d / real"]  # 0.6; +-20 was not scored and gives no line
    assert sum(found.index.str.startswith("linear on observations")) == 2


def test_gate_asks_for_a_fifth_sharper_at_two_percent():
    overall = pd.DataFrame({"predictor": ["model", "without adversarial"], "mae": [0.0510, 0.0500]})
    images = pd.DataFrame({"predictor": ["model", "without adversarial"], "spectrum_error": [0.39, 0.50]})
    gate = gate_table(overall, images, "model", "without adversarial")
    assert gate.value.tolist() == pytest.approx([0.78, 1.02]) and gate.passed.tolist() == [True, True]
    images.loc[0, "spectrum_error"] = 0.41
    assert gate_table(overall, images, "model", "without adversarial").passed.tolist() == [False, True]


def test_real_checks_hold_every_gap_and_season_against_linear():
    rows = [date_row(name, 2, date, [error], season=season)
            for name, date, season, error in (("linear", "d1", "JJA", 0.1), ("linear", "d2", "DJF", 0.05),
                                              ("model", "d1", "JJA", 0.06), ("model", "d2", "DJF", 0.056))]  # fmt: skip
    frame = pd.DataFrame(rows)
    tables = {
        "by_gap": over_dates(frame, ["predictor", "gap_days"], bootstrap=QUICK),
        "by_season": over_dates(frame, ["predictor", "season"], bootstrap=QUICK),
    }
    found = real_checks(tables, "model", ["linear"]).set_index("check")
    assert found.value["MAE minus better of linear, Whittaker, +-2 d"] == pytest.approx(0.058 - 0.075)
    assert found.passed["MAE minus linear, JJA"] and not found.passed["MAE minus linear, DJF"]  # 0.006 worse
    assert not found.passed["bias, +-2 d"]


def test_spread_over_seeds():
    table = pd.DataFrame(
        {"predictor": ["model", "seed 2", "seed 3", "linear"], "bin": "<15", "mae": [0.1, 0.2, 0.3, 9.0]}
    )
    row = seed_table(table, "bin", ["model", "seed 2", "seed 3"]).iloc[0]
    assert row.models == 3 and row.mae_mean == pytest.approx(0.2) and row.mae_std == pytest.approx(0.1)
    assert row.mae_min == 0.1 and row.mae_max == 0.3


def test_season_dates_are_compared_with_the_observations_with_and_without_a_gap():
    row = {"predictor": "model", "event": "EOS", "observations_rmse_ratio": 0.5, "median_absolute_days": 4.0}
    found = season_date_checks(pd.DataFrame([{**row, "gap_days": gap} for gap in (0, 30, 60)]), "model")
    assert [(r["check"], r["passed"]) for r in found] == [
        ("EOS RMSE / observations, 0 d gap", False),
        ("EOS RMSE / observations, 60 d gap", False),
        ("EOS median |error| (d), 60 d gap", True),
    ]
