"""Context v1: the validator in the UDFs and the JSON Schema in the repository say the same."""

import json
from importlib.resources import files

import jsonschema
import pytest

from fusion.contract import ContractError
from udf.context import CONTEXT_KEYS, check_context
from udf.context_schema import SCHEMA_FILE, context_schema, schema_text

GOOD = [
    {},
    {"start": "2020-01-01", "end": "2020-12-31", "step_days": 3, "s1_units": "linear"},
    {"bands": {"S2NDVI": "ndvi"}, "band_order": ["S2NDVI", "VV"], "threads": 2, "model_sha256": "ab"},
    {"deps_dir": None, "insufficient": "error", "sigma": "ndvi", "phenology": {"start": 0.25}, "ndvi_scale": 1e-4},
]
BAD = [
    ({"step_day": 3}, r"'step_day' is unknown; did you mean 'step_days'"),
    ({"Start": "2020-01-01"}, r"did you mean 'start'"),
    ({"zzzzzz": 1}, r"known: version, model_dir"),
    ({"step_days": 0}, r"step_days is 0; expected 1 to 366"),
    ({"step_days": "5"}, r"step_days is '5' \(str\); expected int"),
    ({"step_days": True}, r"step_days is True \(bool\); expected int"),
    ({"start": "January"}, r"start is 'January'; expected a date"),
    ({"version": 2}, r"read version 1"),
    ({"s1_units": "db"}, r"did you mean 'dB'"),
    ({"insufficient": "drop"}, r"insufficient is 'drop' is unknown"),
    ({"threads": 65}, r"expected 1 to 64"),
    ({"bands": {"S2": "x"}}, r"role 'S2' is unknown; did you mean 'S2NDVI'"),
    ({"bands": ["S2NDVI"]}, r"expected dict or null"),
]


def test_schema_file_is_current() -> None:
    assert json.loads(files("udf").joinpath(SCHEMA_FILE).read_text()) == context_schema() == json.loads(schema_text())


def test_every_key_is_described() -> None:
    for key, entry in context_schema()["properties"].items():
        assert len(entry["description"]) > 10, key
        assert "default" in entry


@pytest.mark.parametrize("context", GOOD)
def test_good(context: dict) -> None:
    jsonschema.validate(context, context_schema())
    filled = check_context(context)
    assert set(filled) == set(CONTEXT_KEYS)
    assert filled | context == filled


@pytest.mark.parametrize(("context", "message"), BAD)
def test_bad(context: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_context(context)
    if context not in ({"start": "January"},):  # formats are annotations in JSON Schema
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(context, context_schema())


def test_defaults_satisfy_the_schema() -> None:
    jsonschema.validate(check_context({}), context_schema())
    assert check_context(None) == check_context({})


def test_a_whole_float_is_an_integer() -> None:
    """JSON has one type of number, and back-ends hand 5 over as 5.0."""
    assert check_context({"step_days": 5.0})["step_days"] == 5


def test_null_means_default() -> None:
    assert check_context({"step_days": None, "method": None}) == check_context({})


def test_period_the_wrong_way_round() -> None:
    with pytest.raises(ContractError, match=r"end 2019-01-01 lies before start 2020-01-01; swap"):
        check_context({"start": "2020-01-01", "end": "2019-01-01"})


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"bands": {"VV": "a", "VH": "a"}}, r"one label to two roles"),
        ({"band_order": ["VV", "VV"]}, r"names a role twice"),
        ({"band_order": ["VVV"]}, r"did you mean 'VV'"),
    ],
)
def test_roles(context: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_context(context)
