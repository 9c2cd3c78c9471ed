"""Report tables from rows of sums: pooled metrics, means over dates, bootstrap intervals."""

from collections.abc import Sequence

import pandas as pd

from fusion.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_ratio
from fusion.evaluation.leave_gap_out import SEASONS
from fusion.evaluation.metrics import METRICS, SUMS
from fusion.evaluation.settings import Bootstrap


def pooled(rows: pd.DataFrame, by: Sequence[str], *, unit: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Metrics of each group over all its pixels, with a bootstrap interval of the MAE over ``unit`` (scenes).

    Returns
    -------
    pandas.DataFrame
        Columns ``by``, ``n``, ``units``, every metric of :data:`fusion.evaluation.metrics.METRICS`, ``mae_low``,
        ``mae_high``. Groups keep the order of their first appearance.
    """
    out = []
    for key, group in rows.groupby(list(by), sort=False, dropna=False, observed=True):
        sums = group[list(SUMS)].sum()
        units = group.groupby(unit, sort=False)[["absolute_error", "n"]].sum()
        interval = bootstrap_ratio(units.absolute_error.to_numpy(), units.n.to_numpy(), **bootstrap.arguments)
        label = dict(zip(by, key, strict=True))
        scores = {metric.name: metric.formula(sums) for metric in METRICS}
        out.append(label | {"n": int(sums.n), "units": interval.units} | scores | limits(interval))
    return pd.DataFrame(out)


def over_dates(rows: pd.DataFrame, by: Sequence[str], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Means over dates of the leave-gap-out protocol: every date has the same weight, whatever its number of pixels.

    MAE, bias, SSIM and gradient error are means over dates; ``mae_low`` and ``mae_high`` are the bootstrap interval of
    the MAE over dates. The other metrics are computed over all pixels.
    """
    out = []
    for key, group in rows.groupby(list(by), sort=False, dropna=False, observed=True):
        sums = group[list(SUMS)].sum()
        seen = group[group.n > 0]
        interval = bootstrap_mean(seen.mae.to_numpy(), **bootstrap.arguments)
        scores = {metric.name: metric.formula(sums) for metric in METRICS}
        scores |= {"mae": interval.mean, "bias": float((seen.error / seen.n).mean()) if len(seen) else float("nan")}
        images = {name: float(seen[name].mean()) for name in ("ssim", "gradient_error") if name in seen}
        label = dict(zip(by, key, strict=True))
        out.append(label | {"n": int(sums.n), "units": interval.units} | scores | images | limits(interval))
    return pd.DataFrame(out)


def limits(interval: Interval) -> dict[str, float]:
    """The ends of an interval as columns ``mae_low`` and ``mae_high``."""
    return {"mae_low": interval.low, "mae_high": interval.high}


def difference_to(rows: pd.DataFrame, reference: str, by: Sequence[str], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """MAE of each predictor minus MAE of ``reference``, paired by date, with a bootstrap interval.

    An interval below zero means that the predictor is significantly better.
    """
    base = rows[rows.predictor == reference].set_index(["site", "gap_days", "date"]).mae
    others = rows[rows.predictor != reference].copy()
    index = pd.MultiIndex.from_frame(others[["site", "gap_days", "date"]])
    others["difference"] = others.mae.to_numpy() - base.reindex(index).to_numpy()
    out = []
    for key, group in others.groupby(list(by), sort=False, observed=True):
        interval = bootstrap_mean(group.difference.to_numpy(), **bootstrap.arguments)
        label = dict(zip(by, key, strict=True))
        ends = {"low": interval.low, "high": interval.high, "units": interval.units}
        out.append(label | {"difference": interval.mean} | ends)
    return pd.DataFrame(out)


def lag_curve(rows: pd.DataFrame, *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Pooled MAE by lag, and its ratio to the hindcast of the same predictor (``lag_days`` NaN)."""
    table = pooled(rows, ["predictor", "lag_days"], unit="scene", bootstrap=bootstrap)
    hindcast = table[table.lag_days.isna()].set_index("predictor").mae
    table["ratio_to_hindcast"] = table.mae / table.predictor.map(hindcast)
    return table


def image_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean image metrics of the scored images, per predictor."""
    columns = ["ssim", "gradient_error"]
    table = rows.groupby("predictor", sort=False)[columns].mean()
    return table.assign(frames=rows.groupby("predictor", sort=False).size()).reset_index()


def in_season_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table by season, from winter to autumn, stable."""
    return table.iloc[table.season.map(SEASONS.index).argsort(kind="stable")].reset_index(drop=True)
