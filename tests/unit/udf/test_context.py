"""Context v1: the validator in the UDFs and the JSON Schema in the repository say the same."""

import json
from importlib.resources import files

import jsonschema
import pytest

from fusion.contract import ContractError
from udf.context import KEYS, check_context
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
    assert files("udf").joinpath(SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
    assert json.loads(schema_text()) == context_schema()


def test_every_key_is_described() -> None:
    for key, entry in context_schema()["properties"].items():
        assert len(entry["description"]) > 10, key
        assert "default" in entry


@pytest.mark.parametrize("context", GOOD)
def test_good(context: dict) -> None:
    jsonschema.validate(context, context_schema())
    filled = check_context(context)
    assert set(filled) == set(KEYS)
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


# --- what a published process gives: an interval and an area ----------------------------------------------------------


def test_an_interval_excludes_its_end() -> None:
    filled = check_context({"temporal_extent": ["2021-01-01", "2022-01-01"]})
    assert (filled["start"], filled["end"]) == ("2021-01-01", "2021-12-31")
    assert check_context({"temporal_extent": ["2020-02-28", "2020-02-29"]})["end"] == "2020-02-28"


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"temporal_extent": ["2021-01-01"]}, "expected two dates"),
        ({"temporal_extent": ["2021-01-01", None]}, "expected two dates"),
        ({"temporal_extent": ["2021-01-02", "2021-01-02"]}, "holds no day"),
        ({"temporal_extent": ["2021-01-01", "2022-01-01"], "start": "2021-01-01"}, "give one of them"),
        ({"spatial_extent": {"type": "Polygon", "coordinates": []}}, "no coordinates in degrees"),
        ({"spatial_extent": {"type": "Point", "coordinates": [640000.0, 5650000.0]}}, "no coordinates in degrees"),
    ],
)
def test_bad_intervals_and_areas(context: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_context(context)


def test_latitude_is_that_of_the_middle_of_the_area() -> None:
    ring = [[5.0, 50.0], [5.2, 50.0], [5.2, 52.0], [5.0, 50.0]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    south = {"type": "Polygon", "coordinates": [[[x, -y, 7.0] for x, y in ring]]}  # a third number is a height
    feature = {"type": "Feature", "properties": {"latitude": 1}, "geometry": polygon}
    for area, expected in (
        (polygon, 51.0),
        (south, -51.0),
        ({"type": "FeatureCollection", "features": [feature]}, 51.0),
        ({"type": "GeometryCollection", "geometries": [polygon]}, 51.0),
    ):
        assert check_context({"spatial_extent": area})["latitude"] == expected
    assert check_context({"spatial_extent": polygon, "latitude": 10})["latitude"] == 10
