"""Tables, from rows written by hand."""

import numpy as np
import pandas as pd
import pytest

from fusion.evaluation.metrics import tally
from fusion.evaluation.summaries import Bootstrap, difference_to, in_season_order, over_dates, pooled

QUICK = Bootstrap(draws=200)


def date_row(predictor: str, gap: int, date: str, errors: list[float], season: str = "JJA", site: str = "a") -> dict:
    sums = tally(np.array(errors), np.zeros(len(errors)))
    label = {"site": site, "predictor": predictor, "gap_days": gap, "date": date, "season": season}
    return label | {"mae": sums["absolute_error"] / sums["n"] if errors else np.nan} | sums


def test_every_date_weighs_the_same_over_dates_and_every_pixel_when_pooled():
    rows = pd.DataFrame([date_row("p", 2, "d1", [0.1]), date_row("p", 2, "d2", [0.3, 0.3, 0.3])])
    by_date = over_dates(rows, ["predictor", "gap_days"], bootstrap=QUICK).iloc[0]
    assert by_date.mae == pytest.approx(0.2) and by_date.bias == pytest.approx(0.2) and by_date.units == 2
    assert 0.1 <= by_date.mae_low < by_date.mae_high <= 0.3
    by_pixel = pooled(rows, ["predictor"], unit="date", bootstrap=QUICK).iloc[0]
    assert by_pixel.mae == pytest.approx((0.1 + 0.9) / 4) and by_pixel.n == 4


def test_dates_without_a_prediction_do_not_count():
    rows = pd.DataFrame([date_row("p", 2, "d1", [0.1]), date_row("p", 2, "d2", [])])
    table = over_dates(rows, ["predictor"], bootstrap=QUICK).iloc[0]
    assert table.mae == pytest.approx(0.1) and table.units == 1


def test_difference_is_paired_by_site_gap_and_date():
    rows = pd.DataFrame(
        [
            date_row("linear", 2, "d1", [0.10]),
            date_row("linear", 2, "d2", [0.30]),
            date_row("p", 2, "d2", [0.25]),
            date_row("p", 2, "d1", [0.05]),
        ]
    )
    table = difference_to(rows, "linear", ["predictor", "gap_days"], bootstrap=QUICK).iloc[0]
    # both dates are better by exactly 0.05, so the paired interval is a point although the dates differ much
    assert (table.difference, table.low, table.high) == pytest.approx((-0.05, -0.05, -0.05))


def test_seasons_stand_in_order():
    table = pd.DataFrame({"season": ["SON", "JJA", "DJF", "MAM"]})
    assert in_season_order(table).season.tolist() == ["DJF", "MAM", "JJA", "SON"]
