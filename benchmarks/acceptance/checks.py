"""Requirements of a generator with their limits: one row per check, computed from the tables of an evaluation run."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.realism.difficulty import GAPS_D, REAL_LINEAR_MAE
from fusion.evaluation.metrics import MAE, SUMS

GATE_SPECTRUM_RATIO, GATE_MAE_RATIO = (
    0.8,
    1.02,
)  # adversarial stage: spectrum error 20 % smaller, MAE at most 2 % larger
MAE_TO_LINEAR, FAR_TO_BEST, ABLATION_GAIN = 0.55, 0.5, 1.15
COVERAGE_LIMITS = {"simulated": (88.0, 92.0), "real": (85.0, 93.0)}
COARSE_RMSE, LAG_RATIO, OBS_TOLERANCE = 0.02, 1.35, 0.15
REAL_SLACK, SEASON_SLACK, BIAS_LIMIT = 0.003, 0.005, 0.01
PHENOLOGY_EVENTS = ("SOS", "EOS")
PHENOLOGY_RATIO, PHENOLOGY_MEDIAN_DAYS, PHENOLOGY_GAP_DAYS = 0.4, 5.0, 60
FAR_BINS = ("60-100", ">100")

Row = dict[str, object]


def check(name: str, value: float, limit: str, passed: bool) -> Row:
    """One row of the table of checks; a NaN value does not pass."""
    return {"check": name, "value": float(value), "limit": limit, "passed": bool(passed and np.isfinite(value))}


def gate_table(by_overall: pd.DataFrame, images: pd.DataFrame, with_it: str, without: str) -> pd.DataFrame:
    """The adversarial gate: spectrum error and MAE of the network with adversarial stage / without."""
    spectrum = images.set_index("predictor").spectrum_error
    mae = by_overall.set_index("predictor").mae
    sharper, cost = spectrum[with_it] / spectrum[without], mae[with_it] / mae[without]
    rows = [
        check("spectrum error, with / without", sharper, f"<= {GATE_SPECTRUM_RATIO}", sharper <= GATE_SPECTRUM_RATIO),
        check("MAE, with / without", cost, f"<= {GATE_MAE_RATIO}", cost <= GATE_MAE_RATIO),
    ]
    return pd.DataFrame(rows)


def mae_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """MAE with predictors down and the groups of ``column`` across, in the table's order."""
    wide = table.pivot(index="predictor", columns=column, values="mae")
    return wide.reindex(columns=list(dict.fromkeys(table[column])))


def simulated_checks(
    tables: Mapping[str, pd.DataFrame],
    rows: Mapping[str, pd.DataFrame],
    model: str,
    baselines: list[str],
) -> pd.DataFrame:
    """Every requirement on simulated truth whose table exists."""
    found: list[Row] = []
    overall, bins = tables["overall"].set_index("predictor").mae, mae_by(tables["by_bin"], "bin")
    if "linear" in overall:
        ratio = overall[model] / overall["linear"]
        found.append(check("overall MAE / linear", ratio, f"<= {MAE_TO_LINEAR}", ratio <= MAE_TO_LINEAR))
    for name in bins.columns if baselines else ():
        ratio = bins.loc[model, name] / bins.loc[baselines, name].min()
        limit = FAR_TO_BEST if name in FAR_BINS else 1.0
        found.append(check(f"MAE / best baseline, {name} d", ratio, f"<= {limit}", ratio <= limit))
    far = far_mae(rows["holdout"])
    for label in ("minus S1", "minus coarse"):
        other = f"{model}, {label}"
        if other in far:
            gain = far[other] / far[model]
            found.append(check(f"MAE beyond 60 d, {label} / full", gain, f">= {ABLATION_GAIN}", gain >= ABLATION_GAIN))
    found += coverage_checks(tables["by_bin"], "bin", model, "simulated")
    found += further_checks(tables, model)
    if "against_observations" in tables and "linear" in set(tables["against_observations"].predictor):
        observations = mae_by(tables["against_observations"], "gap_days").loc["linear"]
        for gap, target in zip(GAPS_D, REAL_LINEAR_MAE, strict=True):
            if gap in observations:
                ratio = observations[gap] / target
                passed = abs(ratio - 1) <= OBS_TOLERANCE
                found.append(check(f"linear on observations +-{gap} d / real", ratio, f"1 +- {OBS_TOLERANCE}", passed))
    return pd.DataFrame(found)


def further_checks(tables: Mapping[str, pd.DataFrame], model: str) -> list[Row]:
    """Coarse consistency, near real time and season dates, where they were scored."""
    found = []
    if "coarse_consistency" in tables:
        rmse = tables["coarse_consistency"].set_index("predictor").rmse[model]
        found.append(check("coarse consistency, RMSE", rmse, f"<= {COARSE_RMSE}", rmse <= COARSE_RMSE))
    if "lags" in tables:
        lags = tables["lags"]
        at_zero = lags[(lags.predictor == model) & (lags.lag_days == 0)].ratio_to_hindcast
        if len(at_zero):
            ratio = at_zero.item()
            found.append(check("lag-0 MAE / hindcast", ratio, f"<= {LAG_RATIO}", ratio <= LAG_RATIO))
    if "season_dates" in tables:
        found += season_date_checks(tables["season_dates"], model)
    return found


def season_date_checks(table: pd.DataFrame, model: str) -> list[Row]:
    """SOS and EOS against the extractor on the gappy observations, without and with a gap over the event."""
    found = []
    own = table[(table.predictor == model) & table.event.isin(PHENOLOGY_EVENTS)]
    for row in own[own.gap_days.isin((0, PHENOLOGY_GAP_DAYS))].itertuples():
        name, ratio = f"{row.event} RMSE / observations, {row.gap_days} d gap", row.observations_rmse_ratio
        found.append(check(name, ratio, f"<= {PHENOLOGY_RATIO}", ratio <= PHENOLOGY_RATIO))
    for row in own[own.gap_days == PHENOLOGY_GAP_DAYS].itertuples():
        name, days = f"{row.event} median |error| (d), {row.gap_days} d gap", row.median_absolute_days
        found.append(check(name, days, f"<= {PHENOLOGY_MEDIAN_DAYS}", days <= PHENOLOGY_MEDIAN_DAYS))
    return found


def far_mae(rows: pd.DataFrame) -> pd.Series:
    """Pooled MAE beyond 60 days by predictor."""
    far = rows[(rows.unit == "pixel") & rows.bin.isin(FAR_BINS)].groupby("predictor")[list(SUMS)].sum()
    return far.apply(MAE.formula, axis=1)


def coverage_checks(table: pd.DataFrame, group: str, model: str, kind: str) -> list[Row]:
    """Share inside the 90 % interval in every gap or bin."""
    low, high = COVERAGE_LIMITS[kind]
    shares = table[table.predictor == model].set_index(group).coverage_90.dropna()
    return [
        check(f"90 % interval covers (%), {gap} d", share, f"{low:g}-{high:g}", low <= share <= high)
        for gap, share in shares.items()
    ]


def real_checks(tables: Mapping[str, pd.DataFrame], model: str, baselines: list[str]) -> pd.DataFrame:
    """Every requirement on real observations whose table exists."""
    found: list[Row] = []
    gaps = mae_by(tables["by_gap"], "gap_days")
    simple = [name for name in baselines if name.startswith(("linear", "whittaker"))]
    for gap in gaps.columns if simple else ():
        worse = gaps.loc[model, gap] - gaps.loc[simple, gap].min()
        limit = f"<= {REAL_SLACK}"
        found.append(check(f"MAE minus better of linear, Whittaker, +-{gap} d", worse, limit, worse <= REAL_SLACK))
    bias = tables["by_gap"][tables["by_gap"].predictor == model].set_index("gap_days").bias
    found += [check(f"bias, +-{gap} d", b, f"|b| <= {BIAS_LIMIT}", abs(b) <= BIAS_LIMIT) for gap, b in bias.items()]
    seasons = mae_by(tables["by_season"], "season")
    for season in seasons.columns if "linear" in seasons.index else ():
        worse = seasons.loc[model, season] - seasons.loc["linear", season]
        found.append(check(f"MAE minus linear, {season}", worse, f"<= {SEASON_SLACK}", worse <= SEASON_SLACK))
    found += coverage_checks(tables["by_gap"], "gap_days", model, "real")
    return pd.DataFrame(found)


def seed_table(table: pd.DataFrame, by: str, models: Sequence[str]) -> pd.DataFrame:
    """Mean, sample standard deviation and range of the MAE over models that differ in the training seed only."""
    rows = table[table.predictor.isin(models)]
    spread = rows.groupby(by, sort=False).mae.agg(["size", "mean", "std", "min", "max"])
    names = {"size": "models", "mean": "mae_mean", "std": "mae_std", "min": "mae_min", "max": "mae_max"}
    return spread.rename(columns=names).reset_index()
