"""Context v1: the parameters of the two UDFs, checked key by key. Bundled into both UDF files.

The same context may be given to both UDFs; each reads its own keys. ``context_v1.schema.json`` in this folder is the
JSON Schema of the table below.
"""

import difflib
from datetime import timedelta

from fusion.contract import COARSE_NDVI, S1_UNITS, S2NDVI, SEASON_METHOD, STEP_DAYS, VH, VV, ContractError
from fusion.dates import first_date, last_date

VERSION = 1
OUTPUTS = ("fused", "smoothed", "seasons")
ROLES = (S2NDVI, VV, VH, COARSE_NDVI)

# key: (types, default, allowed values or (low, high)); descriptions: udf/context_schema.py
KEYS = {
    "version": ((int,), VERSION, (VERSION,)),
    "model_dir": ((str,), "ndvi_fusion_model", None),
    "model_sha256": ((str, type(None)), None, None),
    "deps_dir": ((str, type(None)), "ndvi_fusion_deps", None),
    "bands": ((dict, type(None)), None, None),
    "band_order": ((list, type(None)), None, None),
    "start": ((str, type(None)), None, "date"),
    "end": ((str, type(None)), None, "date"),
    "temporal_extent": ((list, type(None)), None, None),
    "step_days": ((int,), STEP_DAYS, (1, 366)),
    "s1_units": ((str, type(None)), None, S1_UNITS),
    "latitude": ((int, float, type(None)), None, (-90, 90)),
    "spatial_extent": ((dict, type(None)), None, None),
    "ndvi_scale": ((int, float), 1.0, None),
    "ndvi_offset": ((int, float), 0.0, None),
    "coarse_scale": ((int, float), 1.0, None),
    "coarse_offset": ((int, float), 0.0, None),
    "min_observations": ((int,), 1, (0, 100000)),
    "insufficient": ((str,), "nan", ("nan", "keep", "error")),
    "sigma": ((str,), "observation", ("observation", "ndvi")),
    "counts": ((bool,), False, None),
    "lead_days": ((int,), 0, (0, 400)),
    "window_px": ((int, type(None)), None, (4, 2048)),
    "overlap_px": ((int,), 0, (0, 512)),
    "threads": ((int,), 1, (1, 64)),
    "method": ((str,), SEASON_METHOD, None),
    "output": ((str,), "seasons", OUTPUTS),
    "phenology": ((dict,), {}, None),
    "smoothing": ((dict,), {}, None),
}


def check_context(context: dict | None) -> dict:
    """The context with every default filled in.

    Raises
    ------
    ContractError
        Unknown key (the message names the nearest one), wrong type, value out of range.
    """
    given = dict(context or {})
    for key in given:
        if key not in KEYS:
            raise ContractError(unknown_word(f"context key {key!r}", str(key), tuple(KEYS)))
    filled = {key: given.get(key, default) for key, (_, default, _) in KEYS.items()}
    for key, (types, default, allowed) in KEYS.items():
        if filled[key] is None and type(None) not in types:
            filled[key] = default  # back-ends pass an omitted parameter as null
        filled[key] = _checked_value(key, filled[key], types, allowed)
    _check_bands(filled)
    if filled["temporal_extent"] is not None:
        filled["start"], filled["end"] = _dates_of_interval(filled)
    if filled["latitude"] is None and filled["spatial_extent"] is not None:
        filled["latitude"] = latitude_of_area(filled["spatial_extent"])
    if filled["start"] and filled["end"] and filled["end"] < filled["start"]:
        raise ContractError(f"context: end {filled['end']} lies before start {filled['start']}; swap them")
    return filled


def _checked_value(key: str, value, types: tuple, allowed):
    """One value of the context, checked; whole floats become int where int is expected (JSON has one number type)."""
    if int in types and float not in types and isinstance(value, float) and value.is_integer():
        value = int(value)
    wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
    if wrong:
        names = " or ".join("null" if t is type(None) else t.__name__ for t in types)
        raise ContractError(f"context {key} is {value!r} ({type(value).__name__}); expected {names}")
    if value is None or allowed is None:
        return value
    if allowed == "date":
        return (last_date if key == "end" else first_date)(value, f"context {key}").isoformat()
    if isinstance(value, str):
        if value not in allowed:
            raise ContractError(unknown_word(f"context {key} is {value!r}", value, allowed))
    elif len(allowed) == 1 and value != allowed[0]:
        raise ContractError(
            f"context {key} is {value!r}; these UDFs read version {allowed[0]}; use the matching release of the UDFs"
        )
    elif len(allowed) == 2 and not allowed[0] <= value <= allowed[1]:
        raise ContractError(f"context {key} is {value}; expected {allowed[0]} to {allowed[1]}")
    return value


def _dates_of_interval(filled: dict) -> tuple[str, str]:
    """First and last date of an openEO interval, which excludes its end."""
    given = filled["temporal_extent"]
    if filled["start"] or filled["end"]:
        raise ContractError("context gives temporal_extent and start or end; give one of them")
    if len(given) != 2 or None in given:
        raise ContractError(
            f"context temporal_extent is {given!r}; expected two dates, the first and the day after the last"
        )
    first, after = (first_date(value, "context temporal_extent") for value in given)
    if after <= first:
        raise ContractError(f"context temporal_extent {given!r} holds no day; its end is excluded and has to lie later")
    return first.isoformat(), (after - timedelta(days=1)).isoformat()


def latitude_of_area(area: dict) -> float:
    """Latitude of the middle of a GeoJSON object in degrees, from -90 to 90, to 0.1 degrees.

    Raises
    ------
    ContractError
        It holds no coordinates, or they are no degrees.
    """
    north = sorted(_latitudes(area))
    if not north or not -90 <= north[0] <= north[-1] <= 90:
        raise ContractError(
            "context spatial_extent holds no coordinates in degrees; give a GeoJSON polygon in longitude and latitude"
        )
    return round((north[0] + north[-1]) / 2, 1)


def _latitudes(part) -> list:
    """Second numbers of all positions in a (nested) GeoJSON object."""
    if isinstance(part, dict):
        return [
            lat for key in ("features", "geometry", "geometries", "coordinates") for lat in _latitudes(part.get(key))
        ]
    if not isinstance(part, list | tuple):
        return []
    if len(part) >= 2 and all(isinstance(value, int | float) for value in part):
        return [part[1]]
    return [lat for inner in part for lat in _latitudes(inner)]


def _check_bands(filled: dict) -> None:
    """Refuse roles that do not exist and labels used twice."""
    for role in filled["bands"] or {}:
        if role not in ROLES:
            raise ContractError(unknown_word(f"context bands: role {role!r}", str(role), ROLES))
    labels = list((filled["bands"] or {}).values())
    if len(set(map(str, labels))) != len(labels):
        raise ContractError(f"context bands gives one label to two roles: {filled['bands']}")
    order = filled["band_order"] or []
    for role in order:
        if role not in ROLES:
            raise ContractError(unknown_word(f"context band_order: role {role!r}", str(role), ROLES))
    if len(set(order)) != len(order):
        raise ContractError(f"context band_order names a role twice: {order}")


def unknown_word(what: str, word: str, known: tuple) -> str:
    """Error message for an unknown word, with the nearest known one."""
    folded = {str(k).casefold(): k for k in known}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"known: {', '.join(map(str, known))}"
    return f"{what} is unknown; {hint}"
