"""The date of an image that has no time axis: from its band's name, its file's name or its tags, in order of rank."""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_prep.raw.cubes import SourceError

DatesBy = Literal["name", "tags"]
_DAY = r"((?:19|20)\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[T ]?(?:[01]\d|2[0-3])[:-]?[0-5]\d(?:[:-]?[0-5]\d(?:\.\d+)?)?Z?)?"
_DATE = re.compile(rf"(?<!\d){_DAY}{_CLOCK}(?!\d)")
_SENSING = re.compile(r"(?<!\d)((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T\d{6}")
_ACQUIRED = ("datetime", "time_coverage_start", "date", "start_date")
_PROCESSED = "TIFFTAG_DATETIME"  # written by the program that made the file, and rarely the time of the image
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_CALENDARS = ("none", "standard", "gregorian", "proleptic_gregorian", "noleap", "365_day")
_SAME = np.timedelta64(1, "D")  # time zones and midnight


def days_in(text: str) -> list[np.datetime64]:
    """The days that a text names (YYYYMMDD or YYYY-MM-DD, with or without a time of day), each once, in its order.

    >>> days_in("c_gls_NDVI300_202104010000_GLOBE"), days_in("S2_20210231_v12")
    ([np.datetime64('2021-04-01')], [])
    """
    return list(dict.fromkeys(day for match in _DATE.finditer(text) if (day := _day(match)) is not None))


def date_in_band(name: str) -> tuple[np.datetime64 | None, str]:
    """The first day in a band's name, and the name without its dates.

    >>> date_in_band("20210401T105031_20210401T105031_T31UFS_B4")
    (np.datetime64('2021-04-01'), 'T31UFS_B4')
    """
    days = days_in(name)
    return (days[0], _DATE.sub("", name).strip("-_. ")) if days else (None, name)


def date_of_file(path: Path, attrs: dict[str, Any], by: DatesBy = "name") -> tuple[np.datetime64, str | None]:
    """The date of a file's only image, and a remark where the evidence is weak or contradicts itself.

    Rank: a date in the name that is the only one or stands before a sensing time; the tags of acquisition; the first of
    several dates in the name; the time at which the file was made. ``by="tags"`` puts the tags first.

    Raises
    ------
    SourceError
        There is no date.
    """
    evidence = _evidence(path, attrs, by)
    if not evidence:
        raise SourceError(f"{path} has no time dimension and no date (YYYYMMDD or YYYY-MM-DD) in its name; rename it")
    source, day = evidence[0]
    others = [f"{other} by {where}" for where, other in evidence[1:] if abs(other - day) > _SAME]
    turned = "name" if by == "tags" else "tags"
    if others:
        return day, f"dated {day} by {source}, not {others[0]}; source.dates_by={turned} decides otherwise"
    if source == f"its tag {_PROCESSED}":
        return (
            day,
            f"dated {day} by {source}, often the time of processing; a date in the file's name decides otherwise",
        )
    return day, None


def contradiction(day: np.datetime64, path: Path) -> str | None:
    """A remark where the only date of a file's name is not the day that its time axis says."""
    named = days_in(path.name)
    if len(named) != 1 or abs(named[0] - day.astype("datetime64[D]")) <= _SAME:
        return None
    return f"dated {day.astype('datetime64[D]')} by its time axis, not {named[0]} by its name; rename it if it is right"


def plain_times(times: np.ndarray, where: str) -> np.ndarray:
    """The dates of a time axis as datetime64[ns]: of a calendar without leap days by year, month and day,
    of text by ISO 8601 (in UTC, where it names a zone).

    Raises
    ------
    SourceError
        Numbers without units, other text or calendars, or a missing date.
    """
    import pandas as pd

    if times.dtype.kind in "OUS":
        calendar = getattr(np.ravel(times)[0], "calendar", "none")
        if calendar not in _CALENDARS:
            raise SourceError(
                f"{where}: its dates are of the calendar {calendar}, whose days are no days of ours; expected one of "
                f"{_CALENDARS[1:]}; write the days of acquisition"
            )
        texts = [t.isoformat() if hasattr(t, "isoformat") else str(t) for t in np.ravel(times)]
        try:
            if not all(_ISO.match(text) for text in texts):
                raise ValueError
            read = pd.to_datetime(texts, utc=True, format="ISO8601")
        except ValueError:
            wrong = next((text for text in texts if not _ISO.match(text)), texts[0])
            raise SourceError(
                f"{where}: its dates are text like {wrong!r}; expected 'days since ...' or YYYY-MM-DD"
            ) from None
        times = read.tz_localize(None).to_numpy()
    if times.dtype.kind != "M":
        raise SourceError(
            f"{where}: its dates are numbers like {np.ravel(times)[0]} without units; expected 'days since ...'"
        )
    if np.isnat(times).any():
        raise SourceError(
            f"{where}: date number {int(np.argmax(np.isnat(times)))} is missing; drop that image or date it"
        )
    return times.astype("datetime64[ns]")


def _evidence(path: Path, attrs: dict[str, Any], by: DatesBy) -> list[tuple[str, np.datetime64]]:
    """(source, day), strongest first."""
    named = days_in(path.name)
    sensing = next((day for match in _SENSING.finditer(path.name) if (day := _day(match)) is not None), None)
    clear = sensing if sensing is not None else named[0] if len(named) == 1 else None
    tags = [(f"its tag {key}", days[0]) for key in _ACQUIRED if key in attrs if (days := _tagged(attrs[key]))]
    made = [(f"its tag {_PROCESSED}", days[0]) for days in [_tagged(attrs.get(_PROCESSED, ""))] if days]
    strong = [] if clear is None else [("its name", clear)]
    weak = [("the first date of its name", named[0])] if named and clear is None else []
    return [*tags, *made, *strong, *weak] if by == "tags" else [*strong, *tags, *weak, *made]


def _tagged(value: object) -> list[np.datetime64]:
    return days_in(str(value).replace(":", "-"))


def _day(match: re.Match[str]) -> np.datetime64 | None:
    try:
        return np.datetime64("-".join(match.groups()[:3]))
    except ValueError:  # 31 February
        return None
