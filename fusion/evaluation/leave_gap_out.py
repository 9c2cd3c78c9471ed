"""Leave-gap-out: withhold all observations within some days of a clear date, predict this date, score its pixels."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from fusion.contract import S2NDVI, ContractError, check_layout
from fusion.evaluation.images import gradient_error, ssim
from fusion.evaluation.metrics import tally
from fusion.evaluation.predictor import Predictor, to_days
from fusion.evaluation.settings import LeaveGapOut
from fusion.evaluation.withholding import withhold_window
from fusion.features.measured import measured_cube

log = logging.getLogger(__name__)

# called with predictor, gap in days, predicted and observed image (y, x) after each prediction
Watcher = Callable[[str, int, np.ndarray, np.ndarray], None]

SEASONS = ("DJF", "MAM", "JJA", "SON")


def season_of(days: np.ndarray) -> np.ndarray:
    """Meteorological season of days since 1970-01-01: DJF, MAM, JJA or SON."""
    month = np.asarray(days).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    return np.array(SEASONS)[month % 12 // 3]


def scorable_days(cube: xr.DataArray, rules: LeaveGapOut) -> np.ndarray:
    """Days (since 1970-01-01) that can be scored under the rules.

    Raises
    ------
    ContractError
        No date qualifies, or the cube has no observation on a date given in the rules.
    """
    days = to_days(cube.t.values)
    observations = np.isfinite(cube.sel(bands=S2NDVI).transpose("t", "y", "x").values)
    if rules.dates is not None:
        wanted = to_days(np.array(rules.dates, "datetime64[D]"))
        absent = wanted[~np.isin(wanted, days[observations.any(axis=(1, 2))])]
        if absent.size:
            raise ContractError(
                f"no S2 observation on {absent.astype('datetime64[D]').tolist()}; remove them from 'dates'"
            )
        return wanted
    ever = observations.any(axis=0)
    clear = observations[:, ever].mean(axis=1) if ever.any() else np.zeros(len(days))
    inside = (days >= days[0] + rules.edge_days) & (days <= days[-1] - rules.edge_days)
    chosen = days[inside & (clear >= rules.min_clear) & (clear > 0)]
    if chosen.size == 0:
        best = f"{100 * clear[inside].max():.0f} % clear" if inside.any() else "none inside the margins"
        raise ContractError(
            f"no date can be scored: of {len(days)} dates {int(inside.sum())} lie at least {rules.edge_days} days from "
            f"both ends and the best is {best}; expected {100 * rules.min_clear:.0f} %; lower min_clear or edge_days"
        )
    if rules.max_dates is not None and chosen.size > rules.max_dates:
        chosen = chosen[np.linspace(0, chosen.size - 1, rules.max_dates).round().astype(int)]
    return chosen


def leave_gap_out(
    cube: xr.DataArray,
    predictors: Sequence[Predictor],
    rules: LeaveGapOut,
    *,
    site: str = "cube",
    watch: Watcher | None = None,
) -> pd.DataFrame:
    """Score every predictor for every scorable date and gap.

    Returns
    -------
    pandas.DataFrame
        One row per predictor, gap and date: ``site, predictor, gap_days, date, season``, ``visible_gap_days``
        (distance to the nearest date with visible observations), the sums of
        :func:`fusion.evaluation.metrics.tally`, ``mae``, ``ssim`` and ``gradient_error`` of the date's image.
    """
    check_layout(cube)
    cube = measured_cube(cube.transpose("t", "bands", "y", "x").compute())
    days = to_days(cube.t.values)
    rows = []
    for day in scorable_days(cube, rules):
        reference = np.asarray(cube.isel(t=int(np.searchsorted(days, day))).sel(bands=S2NDVI).values, np.float32)
        for gap in rules.gaps_days:
            withheld = withhold_window(cube, day - gap, day + gap)
            left = days[np.isfinite(withheld.sel(bands=S2NDVI).values).any(axis=(1, 2))]
            distance = float(np.abs(left - day).min()) if left.size else float("nan")
            for predictor in predictors:
                ndvi, sigma = predictor.predict(withheld, np.array([day]).astype("datetime64[D]"), target="observation")
                if watch is not None:
                    watch(predictor.name, gap, ndvi[0], reference)
                sums = tally(ndvi[0], reference, None if sigma is None else sigma[0])
                rows.append(
                    {
                        "site": site,
                        "predictor": predictor.name,
                        "gap_days": int(gap),
                        "date": str(day.astype("datetime64[D]")),
                        "season": str(season_of(day)),
                        "visible_gap_days": distance,
                        "mae": sums["absolute_error"] / sums["n"] if sums["n"] else float("nan"),
                        "ssim": ssim(ndvi[0], reference),
                        "gradient_error": gradient_error(ndvi[0], reference),
                        **sums,
                    }
                )
    return pd.DataFrame(rows)
