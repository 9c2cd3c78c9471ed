"""Context v1: what a caller may tell the two UDFs, checked key by key. Bundled into both UDF files.

The same context may be given to both UDFs; each reads what concerns it. ``context_v1.schema.json`` in this folder says
the same as JSON Schema and is generated from the table below.
"""

import datetime
import difflib

from fusion.contract import COARSE_NDVI, S1_UNITS, S2NDVI, SEASON_METHOD, STEP_DAYS, VH, VV, ContractError

CONTEXT_VERSION = 1
CONTEXT_ROLES = (S2NDVI, VV, VH, COARSE_NDVI)

# key: (types, default, allowed values or (low, high), description)
CONTEXT_KEYS = {
    "version": ((int,), CONTEXT_VERSION, (CONTEXT_VERSION,), "version of this context"),
    "model_dir": (
        (str,), "ndvi_fusion_model", None,
        "folder that holds model.onnx and manifest.json: the #name of the model archive, or a path",
    ),
    "model_sha256": (
        (str, type(None)), None, None,
        "SHA-256 of model.onnx that the caller expects; null checks the manifest's only",
    ),
    "deps_dir": (
        (str, type(None)), "ndvi_fusion_deps", None,
        "folder with onnxruntime unpacked: the #name of the dependency archive; null where it is installed",
    ),
    "bands": (
        (dict, type(None)), None, None,
        "role -> label of the cube's bands, for cubes with other labels than the roles",
    ),
    "band_order": (
        (list, type(None)), None, None,
        "roles in the order of the cube's bands, for cubes that arrive without labels",
    ),
    "start": ((str, type(None)), None, "date", "first date of the fused series, YYYY-MM-DD"),
    "end": ((str, type(None)), None, "date", "last date of the fused series, YYYY-MM-DD"),
    "step_days": ((int,), STEP_DAYS, (1, 366), "days between two dates of the fused series"),
    "s1_units": ((str, type(None)), None, S1_UNITS, "units of VV and VH; needed when the cube holds radar"),
    "latitude": (
        (int, float, type(None)), None, (-90, 90),
        "degrees north of the area: tells the network the season (from 45 degrees on); null: it does without",
    ),
    "ndvi_scale": ((int, float), 1.0, None, "factor that turns the cube's S2NDVI into NDVI"),
    "ndvi_offset": ((int, float), 0.0, None, "added after the factor, S2NDVI"),
    "coarse_scale": (
        (int, float), 1.0, None,
        "factor that turns the cube's COARSE_NDVI into NDVI (PROBA-V digital numbers: 0.004)",
    ),
    "coarse_offset": ((int, float), 0.0, None, "added after the factor, COARSE_NDVI (PROBA-V digital numbers: -0.08)"),
    "min_observations": ((int,), 1, (0, 100000), "clear Sentinel-2 observations that a pixel needs"),
    "insufficient": (
        (str,), "nan", ("nan", "keep", "error"),
        "pixels with fewer observations than min_observations: nan = no data, keep = the model's guess, error = stop",
    ),
    "sigma": ((str,), "observation", ("observation", "ndvi"), "standard deviation of one observation or of the NDVI itself"),
    "threads": ((int,), 1, (1, 64), "onnxruntime threads of one call; back-ends give one core a task"),
    "method": (
        (str,), SEASON_METHOD, None,
        "phenology: how dates are read; 'reference' gives the original workflow's two dates",
    ),
    "output": ((str,), "seasons", ("seasons", "smoothed"), "phenology: season maps, or the smoothed series"),
    "phenology": ((dict,), {}, None, "options of the season extraction, by name"),
    "smoothing": ((dict,), {}, None, "options of the smoother, by name"),
}  # fmt: skip


def check_context(context: dict | None) -> dict:
    """The context with every default filled in.

    Raises
    ------
    ContractError
        Unknown key (names the near miss), wrong type, value out of range.
    """
    given = dict(context or {})
    for key in given:
        if key not in CONTEXT_KEYS:
            raise ContractError(context_unknown(f"context key {key!r}", str(key), tuple(CONTEXT_KEYS)))
    filled = {key: given.get(key, default) for key, (_, default, _, _) in CONTEXT_KEYS.items()}
    for key, (types, default, allowed, _) in CONTEXT_KEYS.items():
        if filled[key] is None and type(None) not in types:
            filled[key] = default  # a back-end turns an omitted parameter into null
        filled[key] = context_value(key, filled[key], types, allowed)
    context_bands(filled)
    if filled["start"] and filled["end"] and filled["end"] < filled["start"]:
        raise ContractError(f"context: end {filled['end']} lies before start {filled['start']}; swap them")
    return filled


def context_value(key: str, value, types: tuple, allowed):
    """One value of the context, checked; whole floats become int where an int is asked (JSON has one number type)."""
    if int in types and float not in types and isinstance(value, float) and value.is_integer():
        value = int(value)
    wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
    if wrong:
        names = " or ".join("null" if t is type(None) else t.__name__ for t in types)
        raise ContractError(f"context {key} is {value!r} ({type(value).__name__}); expected {names}")
    if value is None or allowed is None:
        return value
    if allowed == "date":
        try:
            return datetime.date.fromisoformat(value[:10]).isoformat()
        except ValueError:
            raise ContractError(f"context {key} is {value!r}; expected a date YYYY-MM-DD") from None
    if isinstance(value, str):
        if value not in allowed:
            raise ContractError(context_unknown(f"context {key} is {value!r}", value, allowed))
    elif len(allowed) == 1 and value != allowed[0]:
        raise ContractError(
            f"context {key} is {value!r}; these UDFs read version {allowed[0]}; take their matching release"
        )
    elif len(allowed) == 2 and not allowed[0] <= value <= allowed[1]:
        raise ContractError(f"context {key} is {value}; expected {allowed[0]} to {allowed[1]}")
    return value


def context_bands(filled: dict) -> None:
    """Refuse roles that do not exist and labels used twice."""
    for role in filled["bands"] or {}:
        if role not in CONTEXT_ROLES:
            raise ContractError(context_unknown(f"context bands: role {role!r}", str(role), CONTEXT_ROLES))
    labels = list((filled["bands"] or {}).values())
    if len(set(map(str, labels))) != len(labels):
        raise ContractError(f"context bands gives one label to two roles: {filled['bands']}")
    order = filled["band_order"] or []
    for role in order:
        if role not in CONTEXT_ROLES:
            raise ContractError(context_unknown(f"context band_order: role {role!r}", str(role), CONTEXT_ROLES))
    if len(set(order)) != len(order):
        raise ContractError(f"context band_order names a role twice: {order}")


def context_unknown(what: str, word: str, known: tuple) -> str:
    """Message on a word that is not among the known ones, with the nearest of them."""
    folded = {str(k).casefold(): k for k in known}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"known: {', '.join(map(str, known))}"
    return f"{what} is unknown; {hint}"
