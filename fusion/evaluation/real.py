"""Scoring of real cubes, where the reference is the withheld observations."""

import logging
from collections.abc import Iterable, Sequence

import pandas as pd
import xarray as xr

from fusion.contract import ContractError
from fusion.evaluation.gallery import Gallery
from fusion.evaluation.leave_gap_out import LeaveGapOut, leave_gap_out
from fusion.evaluation.predictor import Predictor
from fusion.evaluation.summaries import Bootstrap, difference_to, in_season_order, over_dates

log = logging.getLogger(__name__)


def score_cubes(
    cubes: Iterable[tuple[str, xr.DataArray]],
    predictors: Sequence[Predictor],
    rules: LeaveGapOut,
) -> tuple[pd.DataFrame, Gallery, dict[str, str]]:
    """Score cubes; returns leave-gap-out rows, the density of scored pixels, and cubes left out with the reason.

    Raises
    ------
    ContractError
        No cube can be scored.
    """
    gallery = Gallery()
    rows, left_out = [], {}
    for site, cube in cubes:
        try:
            found = leave_gap_out(
                cube,
                predictors,
                rules,
                site=site,
                watch=lambda name, _, ndvi, reference: gallery.count(name, ndvi, reference),
            )
        except ContractError as error:
            log.warning("%s is left out: %s", site, error)
            left_out[site] = str(error)
            continue
        rows.append(found)
    if not rows:
        raise ContractError("\n".join(left_out.values()) or "there is no cube to score")
    return pd.concat(rows, ignore_index=True), gallery, left_out


def real_tables(rows: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, pd.DataFrame]:
    """Tables of the report, by name."""
    tables = {
        "by_gap": over_dates(rows, ["predictor", "gap_days"], bootstrap=bootstrap),
        "by_season": in_season_order(over_dates(rows, ["predictor", "season"], bootstrap=bootstrap)),
        "by_season_and_gap": in_season_order(
            over_dates(rows, ["predictor", "season", "gap_days"], bootstrap=bootstrap)
        ),
    }
    if rows.site.nunique() > 1:
        tables["by_site_and_gap"] = over_dates(rows, ["predictor", "site", "gap_days"], bootstrap=bootstrap)
    names = list(dict.fromkeys(rows.predictor))
    if "linear" in names and len(names) > 1:
        tables["against_linear"] = difference_to(rows, "linear", ["predictor", "gap_days"], bootstrap=bootstrap)
    return tables
