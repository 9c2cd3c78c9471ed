"""Dates of settings, calls and contexts: one rule on every path."""

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_prep.commands.cube import CubeSettings
from data_prep.cube import PrepareSettings
from data_prep.sources.openeo import OpenEOSource
from data_prep.sources.stac import StacSource
from fusion import fuse, smooth
from fusion.cli.settings import SettingsError, load_settings
from fusion.commands.predict import PredictSettings
from fusion.contract import NDVI
from fusion.dates import DateError, first_date, last_date, one_date
from fusion.evaluation.leave_gap_out import LeaveGapOut
from tests.factory import mock_cube
from udf.commands.workflow import WorkflowSettings
from udf.context import check_context
from udf.targets import load_target
from udf.workflow import WorkflowOptions

Period = tuple[Any, Any]
BOX = (5.0, 51.0, 5.1, 51.1)
READ = {
    ("2021-05", "2021-07"): ("2021-05-01", "2021-07-31"),
    ("2020-02", "2020-02"): ("2020-02-01", "2020-02-29"),
    ("2021-12", "2021-12"): ("2021-12-01", "2021-12-31"),
    ("2021", "2022"): ("2021-01-01", "2022-12-31"),
    ("2021-05-03", "2021-07-31"): ("2021-05-03", "2021-07-31"),
}
REFUSED = ("01/05/2021", "today", "20210501T000000", "20210501", "2021-13", "2021-02-30", "2021-5-1", "21", "9999")


def settings_period(settings: Any) -> Period:
    return settings.start, settings.end


def fused_period(start: Any, end: Any) -> Period:
    """Every day of the answer counts, since its last may lie before the end where the step does not hit it."""
    t = fuse(mock_cube(t=3, y=4, x=4), start=start, end=end, step_days=1).t.values.astype("datetime64[D]")
    return t[0], t[-1]


def smoothed_period(start: Any, end: Any) -> Period:
    cube = mock_cube(t=12, y=1, x=1).isel(bands=[0]).assign_coords(bands=[NDVI])
    t = smooth(cube, start=start, end=end).t.values.astype("datetime64[D]")
    return t[0], t[-1]


def context_period(start: Any, end: Any) -> Period:
    context = check_context({"start": start, "end": end})
    return context["start"], context["end"]


def command_line(command: str, settings_class: type, *others: str) -> Callable[[Any, Any], Period]:
    def read(start: Any, end: Any) -> Period:
        return settings_period(load_settings(command, settings_class, [*others, f"start={start}", f"end={end}"]))

    return read


PATHS: dict[str, Callable[[Any, Any], Period]] = {
    "cube": lambda s, e: settings_period(PrepareSettings(start=s, end=e)),
    "predict": lambda s, e: settings_period(PredictSettings(cube=Path("c.nc"), out=Path("o.nc"), start=s, end=e)),
    "workflow": lambda s, e: settings_period(
        WorkflowSettings(target=load_target("cdse"), out=Path("o"), start=s, end=e)
    ),
    "graph": lambda s, e: settings_period(WorkflowOptions(start=s, end=e)),
    "stac": lambda s, e: settings_period(StacSource(catalog="c.json", bbox=BOX, start=s, end=e)),
    "openeo": lambda s, e: settings_period(OpenEOSource(areas={"a": BOX}, folder=Path("f"), start=s, end=e)),
    "fuse": fused_period,
    "smooth": smoothed_period,
    "udf": context_period,
    "cube command": command_line("cube", CubeSettings, "input=in", "out=o.nc"),
    "predict command": command_line("predict", PredictSettings, "cube=c.nc", "out=o.nc"),
    "workflow command": command_line("workflow", WorkflowSettings, "target=cdse", "out=o"),
}


@pytest.mark.parametrize(("given", "right"), READ.items())
@pytest.mark.parametrize("path", PATHS)
def test_month_and_year_are_whole_on_every_path(path: str, given: Period, right: Period) -> None:
    assert tuple(map(str, PATHS[path](*given))) == right


@pytest.mark.parametrize("seen", REFUSED)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["start", "end"])
def test_anything_else_is_refused_by_name(path: str, seen: str, key: str) -> None:
    period = {"start": "2021", "end": "2021"} | {key: seen}
    with pytest.raises((ValueError, SettingsError)) as refused:
        PATHS[path](period["start"], period["end"])
    message = str(refused.value)
    assert key in message
    assert seen in message
    assert re.search(r"expected a date 2021-05-01, a month 2021-05 or a year 2021|expected a date from 1678", message)


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        (datetime.date(2021, 5, 3), "2021-05-03", "2021-05-03"),
        (datetime.datetime(2021, 5, 3, 23, 59), "2021-05-03", "2021-05-03"),
        (datetime.datetime(2021, 5, 3, tzinfo=datetime.UTC), "2021-05-03", "2021-05-03"),
        (pd.Timestamp("2021-05-03 10:00"), "2021-05-03", "2021-05-03"),
        (np.datetime64("2021-05-03T10:00", "ns"), "2021-05-03", "2021-05-03"),
        (np.datetime64("2021-05"), "2021-05-01", "2021-05-31"),
        (np.datetime64("2021"), "2021-01-01", "2021-12-31"),
        (xr.DataArray(np.datetime64("2020-01-06", "ns")), "2020-01-06", "2020-01-06"),
        ("2021-05-03T10:00:00.000Z", "2021-05-03", "2021-05-03"),
        (2021, "2021-01-01", "2021-12-31"),
    ],
)
def test_objects_tell_their_day_or_their_period(value: object, first: str, last: str) -> None:
    assert (str(first_date(value)), str(last_date(value))) == (first, last)


@pytest.mark.parametrize(
    "value",
    [None, "", True, 2021.0, 20210501, 18748, np.datetime64("NaT"), pd.NaT, [2021], {}, b"2021",
     datetime.datetime(2021, 5, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
     "2021-05-03T10:00:00+02:00", "٢٠٢١", np.datetime64("0021-05-01"), "2262-01-01"],
)  # fmt: skip
def test_no_date_is_made_of_anything_else(value: object) -> None:
    with pytest.raises(DateError, match="^season is .*; expected a date"):
        last_date(value, "season")


def test_a_single_day_is_no_month() -> None:
    assert one_date("2021-05-03") == datetime.date(2021, 5, 3)
    with pytest.raises(DateError, match="date is '2021-05'; expected a single date such as 2021-05-01"):
        one_date("2021-05")
    with pytest.raises(ValueError, match="expected a single date such as 2021-05-01"):
        LeaveGapOut(dates=("2021-05",))
