"""What pydantic objects to, in the words of the command line."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"\w+")
_TYPES = {"int", "float", "str", "bool", "tuple", "list", "dict", "date"}  # how pydantic names a choice of a union
_EXPECTED = {
    "path_type": "a path",
    "tuple_type": "a list such as [a,b]",
    "list_type": "a list such as [a,b]",
    "dict_type": "names and values such as {a:1}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
}


def without_choices(names: Sequence[str]) -> list[str]:
    """The names of a setting without those by which pydantic tells the choices of a union apart."""
    return [name for name in names if _PLAIN.fullmatch(name) and name not in _TYPES]


def reason(item: Mapping[str, Any]) -> str:
    """Why a value is refused, from an entry of ``ValidationError.errors()``."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    if kind == "too_short":
        return f"expected a list of at least {context['min_length']}, and it has {context['actual_length']}"
    if kind == "union_tag_invalid":
        return f"expected one of {context['expected_tags']} (seen: {context['tag']!r})"
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return re.sub(r"^Input should be ", "expected ", text)


def seen(item: Mapping[str, Any]) -> str:
    """The refused value in brackets, empty for a whole group of settings."""
    value = item.get("input")
    if item["type"] == "union_tag_invalid" or not isinstance(value, str | int | float | bool | list | tuple | None):
        return ""
    return f" (seen: {list(value) if isinstance(value, tuple) else value!r})"


def joined(found: Sequence[tuple[str, str, str]]) -> list[str]:
    """One line a setting of (key, reason, value seen): where a union refuses a value, its choices stand beside."""
    lines: dict[str, tuple[list[str], str]] = {}
    for key, why, value in found:
        reasons, _ = lines.setdefault(key, ([], value))
        if why not in reasons:
            reasons.append(why)
    out = []
    for key, (reasons, value) in lines.items():
        told = [reasons[0], *(text.removeprefix("expected ") for text in reasons[1:])]
        out.append(f"{key + ': ' if key else ''}{' or '.join(told)}{value if key else ''}")
    return out
