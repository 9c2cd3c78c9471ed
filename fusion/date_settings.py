"""Dates as settings: pydantic types that read what :mod:`fusion.dates` reads. Not for UDFs, which have no pydantic."""

import datetime
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from fusion.dates import DATE_FORMS, DAY_FORMS, FIRST_YEAR, LAST_YEAR, DateError, first_date, last_date, one_date


def _by(read: Callable[[object], datetime.date], forms: str) -> BeforeValidator:
    def value_of(value: Any) -> Any:
        if value is None:
            return value  # pydantic refuses it where it is not allowed
        try:
            return read(value)
        except DateError:  # pydantic names the key and the value
            raise ValueError(f"expected {forms}, within {FIRST_YEAR} to {LAST_YEAR}") from None

    return BeforeValidator(value_of)


FirstDate = Annotated[datetime.date, _by(first_date, DATE_FORMS)]
LastDate = Annotated[datetime.date, _by(last_date, DATE_FORMS)]
OneDate = Annotated[datetime.date, _by(one_date, DAY_FORMS)]
