"""JSON Schema of context v1, generated from the table that the UDFs themselves check against."""

import json

from udf.context import CONTEXT_KEYS, CONTEXT_ROLES

SCHEMA_FILE = "context_v1.schema.json"
_TYPES = {str: "string", int: "integer", float: "number", dict: "object", list: "array", type(None): "null"}


def context_schema() -> dict:
    """The JSON Schema (draft 2020-12) of context v1."""
    properties = {}
    for key, (types, default, allowed, description) in CONTEXT_KEYS.items():
        names = sorted({_TYPES[t] for t in types} - ({"integer"} if float in types else set()))
        entry: dict = {"description": description, "type": names[0] if len(names) == 1 else names, "default": default}
        if allowed == "date":
            entry["format"] = "date"
        elif isinstance(allowed, tuple) and isinstance(allowed[0], str):
            entry["enum"] = [*allowed, None] if type(None) in types else list(allowed)
        elif isinstance(allowed, tuple):
            bounds = ("const",) if len(allowed) == 1 else ("minimum", "maximum")
            entry |= dict(zip(bounds, allowed, strict=True))
        properties[key] = entry
    properties["bands"] |= {"propertyNames": {"enum": list(CONTEXT_ROLES)}, "additionalProperties": {"type": "string"}}
    properties["band_order"] |= {"items": {"enum": list(CONTEXT_ROLES)}, "uniqueItems": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ndvi-fusion UDF context, version 1",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def schema_text() -> str:
    """The schema as it stands in the repository."""
    return json.dumps(context_schema(), indent=2) + "\n"
