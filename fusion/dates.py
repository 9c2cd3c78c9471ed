"""The one reader of dates that a user gives: first and last day of a period, in every command, call and UDF.

A month or a year is a whole one: as a start its first day, as an end its last. Also runs in a UDF.
"""

import datetime
import re

import numpy as np

from fusion.contract import FIRST_YEAR, LAST_YEAR, ContractError

DATE_FORMS = "a date 2021-05-01, a month 2021-05 or a year 2021 (a start is its first day, an end its last)"
DAY_FORMS = "a single date such as 2021-05-01"
_ISO = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]00:?00)?)?)?)?", re.ASCII
)
_ISO_UNITS = {"Y": 4, "M": 7}  # letters of a date that a datetime64 of this unit tells


class DateError(ContractError):
    """No date; the message names the setting, the value seen, and the forms that are read."""


def first_date(value: object, key: str = "start") -> datetime.date:
    """First day of a date, a month (``2021-05``) or a year (``2021``); see :func:`last_date` for the forms."""
    return _days_of(value, key, DATE_FORMS)[0]


def last_date(value: object, key: str = "end") -> datetime.date:
    """Last day of a date, a month (``2021-05``) or a year (``2021``).

    Parameters
    ----------
    value : str, date, datetime, datetime64 or int
        ISO text; a time of day in UTC is left out. A datetime64 of unit M or Y is a month or a year, and so is a whole
        number of four digits, since a command line cannot tell it from text.
    key : str
        What the message calls it.

    Raises
    ------
    DateError
        Anything else, a day that does not exist, or a year outside 1678 to 2261.
    """
    return _days_of(value, key, DATE_FORMS)[1]


def one_date(value: object, key: str = "date") -> datetime.date:
    """A single day: no month and no year."""
    first, last = _days_of(value, key, DAY_FORMS)
    if first != last:
        raise DateError(f"{key} is {_shown(value)}; expected {DAY_FORMS}")
    return first


def _days_of(value: object, key: str, forms: str) -> tuple[datetime.date, datetime.date]:
    """First and last day of what ``value`` says."""
    match = _ISO.fullmatch(_text(value))
    try:
        year, month, day = (int(part) if part else None for part in match.groups())  # type: ignore[union-attr]
        first = datetime.date(year or 0, month or 1, day or 1)
    except (AttributeError, ValueError):
        raise DateError(f"{key} is {_shown(value)}; expected {forms}") from None
    if not FIRST_YEAR <= first.year <= LAST_YEAR:
        raise DateError(f"{key} is {_shown(value)}; expected a date from {FIRST_YEAR} to {LAST_YEAR}")
    if day is not None:
        return first, first
    after = datetime.date(first.year + (month in (None, 12)), 1 if month is None else month % 12 + 1, 1)
    return first, after - datetime.timedelta(days=1)


def _shown(value: object) -> str:
    """The value as a message shows it: a numpy number or text as Python writes it."""
    return repr(str(value) if isinstance(value, np.str_ | np.datetime64) else value)


def _text(value: object) -> str:
    """ISO text of whatever tells a date; empty for what does not."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, datetime.date):  # a datetime and a pandas Timestamp are dates too
        return value.isoformat() if value == value else ""
    moment: np.ndarray = np.asarray(value) if hasattr(value, "dtype") else np.empty(0)
    if moment.dtype.kind == "M" and moment.size == 1:
        moment = moment.reshape(())
        return str(moment)[: _ISO_UNITS.get(np.datetime_data(moment.dtype)[0], 10)]
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and 1000 <= value <= 9999:
        return str(value)
    return ""
